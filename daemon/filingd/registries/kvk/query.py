"""The parameters of a search (KVK reference, section 2), checked before a call is spent: KVK refuses all if one is wrong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from filingd.core.watchlist import SearchError, shown
from filingd.registries.kvk.payloads import TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KVK_NUMBER, RSIN, BRANCH_NUMBER = "kvkNummer", "rsin", "vestigingsnummer"
NAME, STREET, TOWN, TYPE = "naam", "straatnaam", "plaats", "type"
HOUSE_NUMBER, HOUSE_LETTER = "huisnummer", "huisletter"
POSTCODE, PO_BOX = "postcode", "postbusnummer"
INACTIVE = "inclusiefInactieveRegistraties"
_PAGING = frozenset({"pagina", "resultatenPerPagina"})
_POSTCODE = re.compile(r"[0-9]{4}[A-Z]{2}", re.ASCII)
_SMALL_NUMBER = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_LONGEST_TEXT = 256
# One of these there has to be: what KVK makes of a call without any is unknown.
_CRITERIA = (KVK_NUMBER, RSIN, BRANCH_NUMBER, NAME, STREET, POSTCODE, TOWN)

Parameters = tuple[tuple[str, str], ...]  # in the order of KVK's own table; `type` may come several times


def bad(field: str, value: object, remedy: str) -> SearchError:
    """The error of a field: its value and what to write."""
    return SearchError(f"{field} is {shown(repr(value))}. {remedy}")


def text(field: str, value: object) -> str:
    """A text with something in it."""
    if not isinstance(value, str) or not value.strip():
        raise bad(field, value, "Write a text in quotes.")
    cleaned = " ".join(value.split())
    if len(cleaned) > _LONGEST_TEXT or not cleaned.isprintable():
        raise bad(field, value, f"Write at most {_LONGEST_TEXT} printable characters.")
    return cleaned


def postcode(field: str, value: object) -> str:
    """A postcode as KVK takes it: in capitals and without a blank."""
    bare = value.replace(" ", "").upper() if isinstance(value, str) else ""
    if _POSTCODE.fullmatch(bare) is None:
        raise bad(field, value, 'Write four digits and two letters, such as "1234AB".')
    return bare


def small_number(field: str, value: object) -> str:
    """A house number or PO box: one to five digits, in quotes or without."""
    digits = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(digits, str) or _SMALL_NUMBER.fullmatch(digits) is None:
        raise bad(field, value, "Write a whole number from 1 to 99999.")
    return digits


def _digits(count: int) -> Callable[[str, object], str]:
    def check(field: str, value: object) -> str:
        if not (isinstance(value, str) and len(value) == count and value.isascii() and value.isdigit()):
            raise bad(field, value, f"Write {count} digits in quotes, with the zeros in front.")
        return value

    return check


def _letter(field: str, value: object) -> str:
    if not (isinstance(value, str) and len(value) == 1 and value.isalpha()):
        raise bad(field, value, "Write one letter in quotes.")
    return value


def _flag(field: str, value: object) -> str:
    if not isinstance(value, bool):
        raise bad(field, value, "Write true or false.")
    return "true" if value else "false"


# In the order in which they are sent; `type` is read by itself.
_CHECKS: Mapping[str, Callable[[str, object], str]] = {
    KVK_NUMBER: _digits(8),
    RSIN: _digits(9),
    BRANCH_NUMBER: _digits(12),
    NAME: text,
    STREET: text,
    HOUSE_NUMBER: small_number,
    HOUSE_LETTER: _letter,
    POSTCODE: postcode,
    PO_BOX: small_number,
    TOWN: text,
    INACTIVE: _flag,
}
PARAMETERS = (*_CHECKS, TYPE)
KNOWN = frozenset({*PARAMETERS, *_PAGING})


def parameters(table: Mapping[str, Any]) -> Parameters:
    """The parameters of a search, from what stands under their names in TOML.

    Raises:
        SearchError: one is wrong, stands where it may not, or there is none to search by.
    """
    for field in sorted(_PAGING & table.keys()):
        raise bad(field, table[field], "Remove it: all pages are fetched.")
    found = [(field, check(field, table[field])) for field, check in _CHECKS.items() if field in table]
    if TYPE in table:
        found += [(TYPE, one) for one in _types(table[TYPE])]
    _check_together(frozenset(table))
    return tuple(found)


def _types(value: object) -> list[str]:
    given = value if isinstance(value, list) else [value]
    if not given or any(one not in TYPES for one in given):
        raise bad(TYPE, value, f"Write one or more of {', '.join(TYPES)}.")
    return sorted(set(given), key=TYPES.index)


def _check_together(fields: frozenset[str]) -> None:
    """Section 2: which parameters KVK takes only beside others."""
    if not fields.intersection(_CRITERIA):
        raise SearchError(f"It says nothing to search by. Write at least one of {', '.join(_CRITERIA)}.")
    for field, others in _NEEDS.items():
        if field in fields and not fields.intersection(others):
            raise SearchError(
                f"{field} is there without {' or '.join(others)}. Write that too, or remove {field}."
            )


_NEEDS: Mapping[str, tuple[str, ...]] = {
    HOUSE_NUMBER: (POSTCODE,),
    HOUSE_LETTER: (HOUSE_NUMBER,),
    POSTCODE: (HOUSE_NUMBER, PO_BOX),
    PO_BOX: (POSTCODE,),
}
