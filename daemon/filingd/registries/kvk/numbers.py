"""KVK numbers, RSINs and branch numbers (KVK reference, section 8).

A number is told by its length. Spreadsheets take zeros off the front: up to eight digits are a KVK number, exactly nine an RSIN,
ten to twelve a branch number. Whoever means another kind writes its name in front: `RSIN 12345678`, `VEST 38509504`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from filingd.core.watchlist import CompanyNumberError

if TYPE_CHECKING:
    from collections.abc import Mapping

KVK_DIGITS, RSIN_DIGITS, BRANCH_DIGITS = 8, 9, 12
# KVK numbers began at 01000000, so a sound one lacks one zero at most; with some room, and no more: a stray number in a list must
# not cost a call.
_FEWEST_DIGITS = 5
_SEPARATORS = re.compile(r"[\s.\-_/]+")
_WRITTEN = re.compile(r"(?P<kind>KVK|RSIN|VEST)?(?:NUMMER|NR)?:?(?P<digits>[0-9]+)", re.IGNORECASE)
# What a spreadsheet makes of a number that it takes for a quantity: 8750110.0, 9.9E+7. Its digits are not the number's.
_QUANTITY = re.compile(
    r"(?:[0-9]+|[0-9]{1,3}(?:[.,][0-9]{3})+)[.,][0-9]{1,2}|[0-9.,]+E[+-]?[0-9]+", re.IGNORECASE | re.ASCII
)
_KINDS: Mapping[str, int] = {"KVK": KVK_DIGITS, "RSIN": RSIN_DIGITS, "VEST": BRANCH_DIGITS}
_NAMES: Mapping[int, str] = {KVK_DIGITS: "KVK number", RSIN_DIGITS: "RSIN", BRANCH_DIGITS: "branch number"}
_RSIN_WEIGHTS = (9, 8, 7, 6, 5, 4, 3, 2, -1)
_REMEDY = "Write a KVK number with 8 digits, an RSIN with 9 or a branch number with 12."


class _Read(NamedTuple):
    """A number in plain form, and how many zeros had to be put in front."""

    number: str
    zeros: int


def plain_number(text: str) -> str:
    """The 8, 9 or 12 digits of a number, however it is written and whatever zeros it lacks.

    Raises:
        CompanyNumberError: it is none; says why.
    """
    return text if _is_plain(text) else _read(text).number


def remark_on(text: str) -> str | None:
    """What is worth knowing of a number that can be used: zeros that were put in front, an RSIN that fails its check. None if
    it is as it should be, or no number at all."""
    if _is_plain(text) and not is_rsin(text):
        return None
    try:
        number, zeros = _read(text)
    except CompanyNumberError:
        return None
    told = []
    if zeros:
        told.append(f"Zeros were put in front: it counts as the {_NAMES[len(number)]} {number}. Write it so.")
    if is_rsin(number) and not passes_eleven_test(number):
        told.append("It fails the check of RSINs and is asked for all the same: look it up.")
    return " ".join(told) or None


def _is_plain(text: str) -> bool:
    """Whether it is a number as it should be: most lines of most lists are, and there may be a million of them."""
    return len(text) in _NAMES and text.isascii() and text.isdigit() and bool(text.strip("0"))


def _read(text: str) -> _Read:
    if _QUANTITY.fullmatch(text.strip()):
        raise CompanyNumberError(f"It is a quantity, as a spreadsheet writes it, and no number. {_REMEDY}")
    bare = _SEPARATORS.sub("", text)
    if not bare:
        raise CompanyNumberError(f"There is no number. {_REMEDY}")
    found = _WRITTEN.fullmatch(bare) if bare.isascii() else None
    if found is None:
        raise CompanyNumberError(f"It is no number of the Trade Register. {_REMEDY}")
    digits = found["digits"]
    length = _KINDS[found["kind"].upper()] if found["kind"] else _length_for(digits)
    if not _FEWEST_DIGITS <= len(digits) <= length:
        raise CompanyNumberError(f"It has {len(digits)} digits. {_REMEDY}")
    if not digits.strip("0"):
        raise CompanyNumberError(f"It is nothing but zeros. {_REMEDY}")
    return _Read(digits.zfill(length), length - len(digits))


def _length_for(digits: str) -> int:
    return next((length for length in _NAMES if len(digits) <= length), BRANCH_DIGITS)


def is_company(number: str) -> bool:
    """Whether a plain number is a KVK number."""
    return len(number) == KVK_DIGITS


def is_rsin(number: str) -> bool:
    """Whether a plain number is an RSIN."""
    return len(number) == RSIN_DIGITS


def is_branch(number: str) -> bool:
    """Whether a plain number is a branch number."""
    return len(number) == BRANCH_DIGITS


def passes_eleven_test(rsin: str) -> bool:
    """Whether nine digits pass the check of RSINs: weighted 9 to 2 and -1, their sum is divisible by 11."""
    return sum(weight * int(digit) for weight, digit in zip(_RSIN_WEIGHTS, rsin, strict=True)) % 11 == 0
