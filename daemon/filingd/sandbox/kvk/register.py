"""What one base knows: fictitious companies, seeded ones, and the changes made while the sandbox runs."""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from filingd.core.errors import ConfigError
from filingd.sandbox.kvk import fictitious
from filingd.sandbox.kvk.registrations import Address, rows_of
from filingd.sandbox.kvk.searching import SeededIndex, matches, place_of
from filingd.sandbox.kvk.seeded import FIRST_NUMBER, Population, SeededCompanies, kvk_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from filingd.sandbox.kvk.registrations import Company, Row
    from filingd.sandbox.kvk.searching import Criteria
    from filingd.sandbox.kvk.settings import Base, KvkSandboxSettings


class NewAddress(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """A visiting address to move to."""

    street: str = "Verhuisweg"
    number: int = 1
    letter: str = ""
    postcode: str = "9999ZZ"
    town: str = "Nieuwdorp"


class Change(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """What happened to a company. Several may be given; what is None stays as it is."""

    address: NewAddress | None = None  # of its main branch, or of the legal person if it has none
    is_shielded: bool | None = None  # all its addresses
    is_non_mailing: bool | None = None
    name: str | None = None
    deregistered_on: str | None = None  # YYYYMMDD; empty: registered again
    closed_branch: str | None = None  # a branch number that goes
    is_unknown: bool = False  # as if the number had never been given out


class Register:
    """The companies of one base. Read from threads; changed from the event loop."""

    def __init__(self, own: Iterable[Company], seeded: SeededCompanies) -> None:
        self._own = {company.number: company for company in own}
        self._seeded = seeded
        self._changed: dict[str, Company | None] = {}
        self._building = threading.Lock()
        self._built: SeededIndex | None = None

    # --- by number ---

    def company(self, number: str) -> Company | None:
        """The company of a KVK number, as it is now."""
        if number in self._changed:
            return self._changed[number]
        return self._original(number)

    def _original(self, number: str) -> Company | None:
        return self._own.get(number) or self._seeded.by_number(number)

    def company_of_branch(self, number: str) -> Company | None:
        """The company with this branch."""
        owner = next((company for company in self._own.values() if company.branch(number)), None)
        owner = owner or self._seeded.by_branch(number)
        company = self.company(owner.number) if owner else None
        return company if company and company.branch(number) else None

    def numbers(self, limit: int) -> list[str]:
        """KVK numbers that are known, the fictitious ones first."""
        seeded = (kvk_number(place) for place in range(len(self._seeded)))
        known = (number for number in (*self._own, *seeded) if self.company(number))
        return [number for number, _ in zip(known, range(limit), strict=False)]

    # --- searches ---

    @property
    def _index(self) -> SeededIndex:
        with self._building:  # by one thread; the others wait for it
            if self._built is None:
                self._built = SeededIndex(self._seeded)
            return self._built

    def search(self, criteria: Criteria) -> Found:
        """The lines of a search; may take seconds for the first among many companies."""
        held = [row for company in self._held(criteria) for row in rows_of(company) if matches(row, criteria)]
        lines = self._indexed(criteria)
        return Found(held, lines, self._index if lines else None)

    def _held(self, criteria: Criteria) -> Iterator[Company]:
        """The companies that are looked at one by one: those with a case of their own, changed ones, and one asked by number."""
        changed = tuple(self._changed.items())  # which may grow meanwhile
        yield from (company for number in self._own if (company := self.company(number)))
        yield from (company for number, company in changed if company and number not in self._own)
        asked = self._seeded_by_number(criteria)
        if asked and asked.number not in self._changed:
            yield asked

    def _seeded_by_number(self, criteria: Criteria) -> Company | None:
        if criteria.company:
            return self._seeded.by_number(criteria.company) if criteria.company not in self._own else None
        if criteria.branch:
            return self._seeded.by_branch(criteria.branch)
        return self._seeded.by_rsin(criteria.rsin) if criteria.rsin else None

    def _indexed(self, criteria: Criteria) -> tuple[int, ...]:
        if criteria.company or criteria.branch or criteria.rsin or not len(self._seeded):
            return ()
        lines = self._index.found(criteria)
        gone = {int(number) - FIRST_NUMBER for number in tuple(self._changed)}
        return tuple(line for line in lines if place_of(line) not in gone) if gone else lines

    # --- changes ---

    def change(self, number: str, change: Change) -> None:
        """Make something happen to a company; raises `ConfigError` if there is none."""
        company = self.company(number)
        if company is None:
            raise ConfigError(
                f"KVK number {number} is unknown to this base of the sandbox: nothing to change."
            )
        self._changed[number] = None if change.is_unknown else _changed(company, change)

    def undo(self, number: str) -> bool:
        """Put a company back as it was made; false if nothing had happened to it."""
        return self._changed.pop(number, self) is not self

    def changed(self) -> list[str]:
        """The numbers of the companies to which something happened."""
        return sorted(self._changed)


class Found:
    """The lines of one search: those that are held, then those of the index, made when they are shown."""

    def __init__(self, held: list[Row], lines: tuple[int, ...], index: SeededIndex | None) -> None:
        self._held, self._lines, self._index = held, lines, index

    def __len__(self) -> int:
        return len(self._held) + len(self._lines)

    def between(self, start: int, stop: int, shift: int = 0) -> list[Row]:
        """The lines from `start` to before `stop`, after moving all of them round by `shift`."""
        count = len(self)
        return [self._at((place + shift) % count) for place in range(start, min(stop, count))]

    def _at(self, place: int) -> Row:
        if place < len(self._held):
            return self._held[place]
        assert self._index is not None
        return self._index.row(self._lines[place - len(self._held)])


def _changed(company: Company, change: Change) -> Company:
    if change.address is not None:
        company = _moved(company, change.address)
    if change.is_shielded is not None:
        company = _with_addresses(company, is_shielded=change.is_shielded)
    if change.is_non_mailing is not None:
        company = replace(company, is_non_mailing=change.is_non_mailing)
    if change.name is not None:
        company = _renamed(company, change.name)
    if change.deregistered_on is not None:
        company = replace(company, deregistered_on=change.deregistered_on, ended_on=change.deregistered_on)
    if change.closed_branch is not None:
        kept = tuple(branch for branch in company.branches if branch.number != change.closed_branch)
        company = replace(company, branches=kept)
    return company


def _moved(company: Company, new: NewAddress) -> Company:
    address = Address(
        street=new.street, number=new.number, letter=new.letter, postcode=new.postcode, town=new.town
    )
    branches = tuple(
        replace(branch, addresses=(address, *branch.addresses[1:])) if branch.is_main else branch
        for branch in company.branches
    )
    seat = (address,) if company.addresses else ()
    return replace(company, branches=branches, addresses=seat)


def _with_addresses(company: Company, *, is_shielded: bool) -> Company:
    def shielded(addresses: tuple[Address, ...]) -> tuple[Address, ...]:
        return tuple(replace(address, is_shielded=is_shielded) for address in addresses)

    branches = tuple(replace(branch, addresses=shielded(branch.addresses)) for branch in company.branches)
    return replace(company, branches=branches, addresses=shielded(company.addresses))


def _renamed(company: Company, name: str) -> Company:
    branches = tuple(
        replace(branch, names=(name, *branch.names[1:])) if branch.is_main else branch
        for branch in company.branches
    )
    statutory = name if company.statutory_name else ""
    names = (name, *company.names[1:]) if company.names else ()
    return replace(
        company,
        name=name,
        statutory_name=statutory,
        names=names,
        branches=branches,
        expired_name=company.name,
    )


def population_of(settings: KvkSandboxSettings, seed: int) -> Population:
    """The knobs that make the seeded companies."""
    return Population(
        seed=seed,
        companies=settings.companies,
        crowd_companies=settings.crowd_companies,
        inactive_share=settings.inactive_share,
        foreign_share=settings.foreign_share,
        shielded_share=settings.shielded_share,
        non_mailing_share=settings.non_mailing_share,
    )


def make_registers(population: Population) -> dict[Base, Register]:
    """The registers of both bases at their beginning."""
    nobody = SeededCompanies(dataclasses.replace(population, companies=0))
    return {
        "api": Register(
            [*fictitious.special_cases(), fictitious.production_namesake()], SeededCompanies(population)
        ),
        "test": Register([*fictitious.test_set(), *fictitious.special_cases()], nobody),
    }
