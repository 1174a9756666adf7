"""What the register knows of a company, before it takes the shape of an answer.

Dates are texts as KVK writes them, `YYYYMMDD` with zeros for unknown parts (KVK reference, section 7.1). An empty text, a
None and an empty tuple mean that the fact is missing, and that the answer leaves it out.
"""

from __future__ import annotations

from typing import Literal

import msgspec

RowType = Literal["hoofdvestiging", "nevenvestiging", "rechtspersoon"]
ROW_TYPES: tuple[RowType, ...] = ("hoofdvestiging", "nevenvestiging", "rechtspersoon")
LINKS_SINCE = "20100522"  # whoever was deregistered before has no links in search results (section 6)


class Foreign(msgspec.Struct, frozen=True, gc=False):
    """The parts of an address abroad."""

    street: str
    town: str
    country: str
    region: str = ""


class Address(msgspec.Struct, frozen=True, gc=False):
    """One address of a branch or of a legal person. `number` and `po_box` are 0 if there is none."""

    kind: Literal["bezoekadres", "correspondentieadres"] = "bezoekadres"
    street: str = ""
    number: int = 0
    letter: str = ""
    addition: str = ""
    postcode: str = ""
    po_box: int = 0
    town: str = ""
    foreign: Foreign | None = None
    is_shielded: bool = False


class Activity(msgspec.Struct, frozen=True, gc=False):
    """An SBI activity; codes are texts, since they may begin with a zero."""

    code: str
    text: str
    is_main: bool


class Branch(msgspec.Struct, frozen=True, gc=False):
    """A branch (vestiging). A non-commercial one has one name and perhaps an alias instead of trade names."""

    number: str
    names: tuple[str, ...]
    addresses: tuple[Address, ...]
    is_main: bool = False
    is_commercial: bool = True
    also_known_as: str = ""
    registered_on: str = ""
    started_on: str = ""
    ended_on: str = ""
    full_time: int | None = None
    part_time: int | None = None
    websites: tuple[str, ...] = ()
    activities: tuple[Activity, ...] = ()

    @property
    def workers(self) -> int | None:
        """Everybody who works there; None if nobody ever told."""
        if self.full_time is None or self.part_time is None:
            return None
        return self.full_time + self.part_time


class Company(msgspec.Struct, frozen=True, gc=False):
    """A registration. A legal person has an RSIN and a statutory name; an eenmanszaak has neither."""

    number: str
    name: str
    legal_form: str
    full_legal_form: str
    branches: tuple[Branch, ...] = ()
    rsin: str = ""
    statutory_name: str = ""
    also_known_as: str = ""
    expired_name: str = ""
    names: tuple[str, ...] = ()
    registered_on: str = ""
    started_on: str = ""
    ended_on: str = ""
    deregistered_on: str = ""
    is_non_mailing: bool = False
    addresses: tuple[Address, ...] = ()  # of the legal person; in its profile only if it has no branch
    activities: tuple[Activity, ...] = ()
    has_legal_person_row: bool = False

    @property
    def main_branch(self) -> Branch | None:
        """The main branch, if there is one."""
        return next((branch for branch in self.branches if branch.is_main), None)

    @property
    def is_active(self) -> bool:
        """Whether it is still registered."""
        return not self.deregistered_on

    @property
    def is_shielded(self) -> bool:
        """Whether any of its addresses is."""
        addresses = [*self.addresses, *(place for branch in self.branches for place in branch.addresses)]
        return any(place.is_shielded for place in addresses)

    @property
    def workers(self) -> int | None:
        """The sum over its branches; None if one of them never told."""
        counts = [branch.workers for branch in self.branches]
        return None if not counts or None in counts else sum(count or 0 for count in counts)

    def branch(self, number: str) -> Branch | None:
        """One branch by its number."""
        return next((branch for branch in self.branches if branch.number == number), None)


class Row(msgspec.Struct, frozen=True, gc=False):
    """A possible line of a search result: a branch, or a legal person as such."""

    company: str
    branch: str  # empty for a legal person
    kind: RowType
    names: tuple[str, ...]
    addresses: tuple[Address, ...]
    rsin: str = ""
    expired_name: str = ""
    is_active: bool = True
    has_links: bool = True


def rows_of(company: Company) -> list[Row]:
    """The lines that a search can show of a company."""
    rows = [_branch_row(company, branch) for branch in company.branches]
    if company.has_legal_person_row:
        rows.append(_legal_person_row(company))
    return rows


def _branch_row(company: Company, branch: Branch) -> Row:
    known = (*branch.names, branch.also_known_as)
    return Row(
        company=company.number,
        branch=branch.number,
        kind="hoofdvestiging" if branch.is_main else "nevenvestiging",
        names=tuple(name for name in known if name),
        addresses=branch.addresses,
        rsin=company.rsin,
        expired_name=company.expired_name if branch.is_main else "",
        is_active=company.is_active and not branch.ended_on,
        has_links=_has_links(company),
    )


def _legal_person_row(company: Company) -> Row:
    known = (company.statutory_name or company.name, company.also_known_as)
    return Row(
        company=company.number,
        branch="",
        kind="rechtspersoon",
        names=tuple(name for name in known if name),
        addresses=company.addresses,
        rsin=company.rsin,
        expired_name=company.expired_name,
        is_active=company.is_active,
        has_links=_has_links(company),
    )


def _has_links(company: Company) -> bool:
    return company.is_active or company.deregistered_on >= LINKS_SINCE
