"""What the four products answer about one base's register now."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from filingd.sandbox.kvk import payloads
from filingd.sandbox.kvk.errors import Refusal
from filingd.sandbox.kvk.operations import PREFIXES
from filingd.sandbox.kvk.parameters import VISIBLE, search_of
from filingd.sandbox.kvk.payloads import PROFILES, Style

if TYPE_CHECKING:
    from multidict import MultiMapping

    from filingd.sandbox.kvk.operations import Operation
    from filingd.sandbox.kvk.parameters import Search
    from filingd.sandbox.kvk.payloads import LinkShape, Payload
    from filingd.sandbox.kvk.register import Found
    from filingd.sandbox.kvk.registrations import Company
    from filingd.sandbox.kvk.settings import Base, Release
    from filingd.sandbox.world import World


@dataclasses.dataclass(frozen=True, slots=True)
class ReleaseFacts:
    """How answers looked at some time; a None link shape follows `Accept` (sections 3, 18.1, 18.2)."""

    profile_links: LinkShape | None
    search_links: LinkShape | None
    profile_version: str
    search_version: str = "2.1.0"
    links_first: bool = False  # in searches
    embedded_first: bool = False
    first_row: int = 0  # from which line on search results are listed, the earlier ones coming last


RELEASES: dict[Release, ReleaseFacts] = {
    "2025-08": ReleaseFacts("objects", None, "1.4.5", links_first=True, first_row=1),
    "2025-12": ReleaseFacts("arrays", "arrays", "1.5.0", links_first=True, first_row=1),
    "2026-02": ReleaseFacts("arrays", None, "1.5.0"),
    "2026-08": ReleaseFacts("objects", None, "1.5.0", embedded_first=True),
}


class Lookup:
    """One question to one base's register. Reads only; may be used from a thread."""

    def __init__(self, world: World, base: Base, asked_links: LinkShape) -> None:
        self._settings = world.settings.kvk
        self._register = world.kvk.registers[base]
        self._base_url = (self._settings.public_url or world.base_url) + PREFIXES[base]
        self._base, self._asked_links = base, asked_links
        self.release = RELEASES[self._settings.release]

    def _links(self, of_release: LinkShape | None) -> LinkShape:
        chosen = self._settings.links
        if chosen in ("arrays", "objects"):
            return chosen
        return self._asked_links if chosen == "accept" or of_release is None else of_release

    # --- profiles ---

    def profile(self, operation: Operation, number: str, *, with_geo: bool) -> Payload | Refusal:
        """The answer of an operation about one number, or why there is none."""
        if self._base == "test" and number in self._settings.erroneous_numbers:
            return Refusal(self._settings.erroneous_numbers[number], number)
        style = Style(
            self._base_url, self._links(self.release.profile_links), embedded_first=self.release.embedded_first,
            with_geo=with_geo, product=operation.product,
        )  # fmt: skip
        payload = self._payload(operation, number, style)
        return payload if payload is not None else Refusal(operation.not_found, number)

    def _payload(self, operation: Operation, number: str, style: Style) -> Payload | None:
        by_branch = operation.product == "vestigingsprofiel"
        company = self._register.company_of_branch(number) if by_branch else self._register.company(number)
        if company is None or not self._is_delivered(company):
            return None
        if by_branch:
            branch = company.branch(number)
            return payloads.branch_profile(company, branch, style) if branch else None
        if operation.name == "vestigingen" and not company.branches and self._settings.no_branches == "404":
            return None
        return PROFILES[operation.name](company, style)

    def _is_delivered(self, company: Company) -> bool:
        return company.is_active or self._settings.deregistered_profile == "200"

    # --- searches ---

    def search(self, query: MultiMapping[str], shift: int = 0) -> Payload | Refusal:
        """One page of a search; may take seconds for the first among many companies."""
        wanted = search_of(query)
        settings = self._settings
        if wanted.criteria.is_empty:
            return Refusal("IPD1998") if settings.no_criteria == "400" else Refusal("IPD5200")
        if wanted.start >= VISIBLE:
            return Refusal("IPD1999", "pagina") if settings.beyond_visible == "400" else Refusal("IPD5200")
        found = self._register.search(wanted.criteria)
        if wanted.start >= len(found):
            return Refusal("IPD5200")
        return self._page(wanted, found, query, shift)

    def _page(self, wanted: Search, found: Found, query: MultiMapping[str], shift: int) -> Payload:
        links = self._links(self.release.search_links)
        style = Style(self._base_url, links, links_first=self.release.links_first, product="zoeken")
        stop = min(wanted.start + wanted.per_page, VISIBLE)
        rows = found.between(wanted.start, stop, self.release.first_row + shift)
        fields: dict[str, Any] = {
            "pagina": wanted.page,
            "resultatenPerPagina": wanted.per_page,
            "totaal": len(found),
            **self._neighbours(wanted, len(found), query),
            "resultaten": [payloads.result(row, wanted.criteria, style) for row in rows],
        }
        return style.linked(fields, {"self": _page_path(query, wanted, wanted.page)})

    def _neighbours(self, wanted: Search, count: int, query: MultiMapping[str]) -> dict[str, str]:
        pages: dict[str, str] = {}
        if wanted.page > 1:
            pages["vorige"] = self._base_url + _page_path(query, wanted, wanted.page - 1)
        if wanted.start + wanted.per_page < min(count, VISIBLE):
            pages["volgende"] = self._base_url + _page_path(query, wanted, wanted.page + 1)
        return pages


def _page_path(query: MultiMapping[str], wanted: Search, page: int) -> str:
    """KVK's links carry the parameters in lower case, the page last (section 2)."""
    asked = [
        (name.lower(), value)
        for name, value in query.items()
        if name not in ("pagina", "resultatenPerPagina")
    ]
    paging = [("pagina", page), ("resultatenperpagina", wanted.per_page)]
    return f"/v2/zoeken?{urlencode([*asked, *paging])}"
