"""Belgian enterprise numbers (NBB reference, section 3)."""

from __future__ import annotations

import re

_SEPARATORS = re.compile(r"[\s.\-/]+")
_PREFIX = re.compile(r"^BE", re.IGNORECASE)
_DIGITS = re.compile(r"[0-9]{9,10}")
_FIRST_DIGITS = ("0", "1")


def enterprise_number(text: str) -> str | None:
    """The ten digits of an enterprise number, however it is written: `BE 0403.101.811`, `403101811`.

    None if it is none: other signs, another length, another first digit, or check digits that do not fit
    (97 less the first eight digits modulo 97). Nine digits lack the zero in front.
    """
    bare = _PREFIX.sub("", _SEPARATORS.sub("", text))
    if _DIGITS.fullmatch(bare) is None:
        return None
    number = bare.zfill(10)
    if not number.startswith(_FIRST_DIGITS) or int(number[8:]) != check_digits(number[:8]):
        return None
    return number


def check_digits(first_eight: str) -> int:
    """The last two digits of the number that begins with these eight."""
    return 97 - int(first_eight) % 97


def shown(number: str) -> str:
    """An enterprise number as people write it: `0403.101.811`."""
    return f"{number[:4]}.{number[4:7]}.{number[7:]}"
