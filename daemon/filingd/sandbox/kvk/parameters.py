"""The query of a call: what is valid, and what it asks for (KVK reference, section 2)."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from filingd.sandbox.kvk.errors import Refusal
from filingd.sandbox.kvk.registrations import ROW_TYPES
from filingd.sandbox.kvk.rsin import passes_eleven_test
from filingd.sandbox.kvk.searching import Criteria, words_of

if TYPE_CHECKING:
    from multidict import MultiMapping

    from filingd.sandbox.kvk.settings import KvkSandboxSettings

VISIBLE = 1000
MOST_PER_PAGE = 100
_BOOLEAN = re.compile(r"(?i)true|false")
_PATTERNS = {
    "naam": re.compile(r".*\w.*"),
    "plaats": re.compile(r".*\S.*"),
    "straatnaam": re.compile(r"(?=.*\S).{1,256}"),
    "huisnummer": re.compile(r"[0-9]{1,5}"),
    "huisletter": re.compile(r"[a-zA-Z]"),
    "postcode": re.compile(r"[0-9]{4}[a-zA-Z]{2}"),
    "postbusnummer": re.compile(r"[0-9]{1,5}"),
    "inclusiefInactieveRegistraties": _BOOLEAN,
    "geoData": _BOOLEAN,
    "pagina": re.compile(r"0*[1-9][0-9]{0,3}"),
    "resultatenPerPagina": re.compile(r"0*([1-9][0-9]?|100)"),
}
# Numbers have codes of their own.
_NUMBERS = {
    "kvkNummer": (re.compile(r"[0-9]{8}"), "IPD0004"),
    "vestigingsnummer": (re.compile(r"[0-9]{12}"), "IPD0006"),
    "rsin": (re.compile(r"[0-9]{9}"), "IPD0010"),
}
_COMPANIONS = {
    "huisnummer": ("postcode",),
    "huisletter": ("huisnummer",),
    "postcode": ("huisnummer", "postbusnummer"),
    "postbusnummer": ("postcode",),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Search:
    """A valid search and the page of it that is wanted, counted from 1."""

    criteria: Criteria
    page: int
    per_page: int

    @property
    def start(self) -> int:
        """The place of the page's first line."""
        return (self.page - 1) * self.per_page


def refusal_of(
    query: MultiMapping[str], known: frozenset[str], settings: KvkSandboxSettings, *, is_search: bool
) -> Refusal | None:
    """What is wrong with the parameters; None if nothing is."""
    if not is_search and not settings.strict_profile_parameters:
        return None
    invalid = [name for name in dict.fromkeys(query) if name not in known or not _is_valid(query, name)]
    if invalid:
        return Refusal("IPD1999", ", ".join(invalid))
    return _wrong_number(query, settings) or _wrong_type(query) or _lonely(query)


def _is_valid(query: MultiMapping[str], name: str) -> bool:
    values = query.getall(name)
    pattern = _PATTERNS.get(name)
    return (len(values) == 1 or name == "type") and (pattern is None or bool(pattern.fullmatch(values[0])))


def _wrong_number(query: MultiMapping[str], settings: KvkSandboxSettings) -> Refusal | None:
    for name, (pattern, code) in _NUMBERS.items():
        if name in query and not pattern.fullmatch(query[name]):
            return Refusal(code, query[name])
    if "rsin" in query and settings.failing_rsin == "400" and not passes_eleven_test(query["rsin"]):
        return Refusal("IPD0010", query["rsin"])
    return None


def _wrong_type(query: MultiMapping[str]) -> Refusal | None:
    unknown = [value for value in query.getall("type", []) if value not in ROW_TYPES]
    return Refusal("IPD5203", unknown[0]) if unknown else None


def _lonely(query: MultiMapping[str]) -> Refusal | None:
    """A parameter that is allowed only beside another."""
    lonely = [
        name
        for name, companions in _COMPANIONS.items()
        if name in query and not any(companion in query for companion in companions)
    ]
    return Refusal("IPD1999", ", ".join(lonely)) if lonely else None


def search_of(query: MultiMapping[str]) -> Search:
    """A search from parameters that `refusal_of` found nothing wrong with."""
    criteria = Criteria(
        company=query.get("kvkNummer", ""),
        branch=query.get("vestigingsnummer", ""),
        rsin=query.get("rsin", ""),
        words=words_of(query.get("naam", "")),
        street=query.get("straatnaam", "").strip(),
        number=_whole(query, "huisnummer"),
        letter=query.get("huisletter", ""),
        postcode=query.get("postcode", ""),
        po_box=_whole(query, "postbusnummer"),
        town=query.get("plaats", "").strip(),
        kinds=frozenset(kind for kind in ROW_TYPES if kind in query.getall("type", [])),
        is_with_inactive=query.get("inclusiefInactieveRegistraties", "false").lower() == "true",
    )
    return Search(criteria, int(query.get("pagina", "1")), int(query.get("resultatenPerPagina", "10")))


def _whole(query: MultiMapping[str], name: str) -> int | None:
    return int(query[name]) if name in query else None
