"""Belgian enterprise numbers (NBB reference, section 3)."""

from __future__ import annotations

import re

from filingd.core.watchlist import CompanyNumberError

_SEPARATORS = re.compile(r"[\s.\-/]+")
_PREFIX = re.compile(r"^BE", re.IGNORECASE)
_DIGITS = re.compile(r"[0-9]{9,10}")
_FIRST_DIGITS = ("0", "1")


def enterprise_number(text: str) -> str | None:
    """The ten digits of an enterprise number, however it is written: `BE 0403.101.811`, `403101811`.

    None if it is none: other signs, another length, another first digit, or check digits that do not fit
    (97 less the first eight digits modulo 97). Nine digits lack the zero in front.
    """
    bare = _bare(text)
    if _DIGITS.fullmatch(bare) is None:
        return None
    number = bare.zfill(10)
    if not number.startswith(_FIRST_DIGITS) or int(number[8:]) != check_digits(number[:8]):
        return None
    return number


def plain_number(text: str) -> str:
    """As `enterprise_number`, for whoever has to say what is wrong.

    Raises:
        CompanyNumberError: it is none; says why.
    """
    number = enterprise_number(text)
    if number is None:
        raise CompanyNumberError(_fault(_bare(text)))
    return number


def _fault(bare: str) -> str:
    if not bare:
        return "There is no number. Write the ten digits of an enterprise number, such as 0403.101.811."
    if not (bare.isascii() and bare.isdigit()):
        return "An enterprise number has nothing but digits, dots and blanks. Write it as 0403.101.811."
    if _DIGITS.fullmatch(bare) is None:
        return f"It has {len(bare)} digits and an enterprise number has ten. Write it as 0403.101.811."
    number = bare.zfill(10)
    if not number.startswith(_FIRST_DIGITS):
        return "An enterprise number begins with 0 or 1. Look it up and correct it."
    right = check_digits(number[:8])
    return f"Its check digits do not fit: a number that begins with {number[:8]} ends in {right:02d}. Look it up and correct it."


def _bare(text: str) -> str:
    return _PREFIX.sub("", _SEPARATORS.sub("", text))


def check_digits(first_eight: str) -> int:
    """The last two digits of the number that begins with these eight."""
    return 97 - int(first_eight) % 97


def shown(number: str) -> str:
    """An enterprise number as people write it: `0403.101.811`."""
    return f"{number[:4]}.{number[4:7]}.{number[7:]}"


def mistyped(text: str) -> str | None:
    """The number that begins with the same eight digits and has right check digits, if that is all that is wrong with a text.

    None if it is a number, or has not the shape of one.
    """
    bare = _bare(text)
    if _DIGITS.fullmatch(bare) is None or enterprise_number(text) is not None:
        return None
    first_eight = bare.zfill(10)[:8]
    return f"{first_eight}{check_digits(first_eight):02d}" if first_eight.startswith(_FIRST_DIGITS) else None
