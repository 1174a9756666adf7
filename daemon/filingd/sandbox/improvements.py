"""What the bank makes of a filing afterwards, and on which day it finalised it: seeded, and known from both sides.

Each filing's improvements follow from its own dice (NBB reference, section 6.6): figures read out of a PDF, an
amount converted to euro, figures that the bank corrected, and now and then a second improvement weeks later. A day's
improvements are those of the filings of the months before that were finalised then; whether a filing has any is told
by its number alone, so that no filing is made that has none.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import random
from typing import TYPE_CHECKING, Literal

from filingd.sandbox.dice import die, share, shares
from filingd.sandbox.seasons import is_working_day

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filingd.sandbox.generator import Filing, Generator
    from filingd.sandbox.rota import Slot
    from filingd.sandbox.settings import SandboxSettings

Kind = Literal["Pdf_extracted", "Euro_converted", "Corrected"]
Part = Literal["", "AA", "SB", "AA+SB"]
KINDS: tuple[Kind, ...] = ("Pdf_extracted", "Euro_converted", "Corrected")
IMPROVEMENTS_FROM = dt.date(2022, 4, 4)
_ONE_DAY = dt.timedelta(days=1)
_LONGEST_LAG_DAYS = 30  # from deposit to publication: more than any is
_LONGEST_FIRST_DAYS, _LONGEST_AGAIN_DAYS, _LONGEST_CLOSURE_DAYS = 60, 40, 8
_LONGEST_DAYS = _LONGEST_FIRST_DAYS + _LONGEST_AGAIN_DAYS + 2 * _LONGEST_CLOSURE_DAYS
_AGAIN_SHARES: dict[Kind, float] = {"Pdf_extracted": 0.1, "Euro_converted": 0.2, "Corrected": 0.3}
_SAME_PART_AGAIN = 0.65  # of the filings that are corrected again; the others get their other part corrected


@dataclasses.dataclass(frozen=True, slots=True)
class Improvement:
    """One improvement of one filing; `nth` counts the filing's improvements from 0."""

    slot: Slot
    finalised_on: dt.date
    nth: int
    kind: Kind
    part: Part = ""  # of what is corrected: annual accounts, social balance
    listed: bool = True  # false: a document without a reference line (section 6.6)
    revision: int = 0  # above 0: the registry changed the figures of a past day


class Improver:
    """The improvements under one set of settings. Thread-safe: nothing is ever changed but caches."""

    def __init__(self, settings: SandboxSettings, generator: Generator) -> None:
        self._settings, self._generator = settings, generator
        self._corrected_die = die(settings.seed, "corrected")
        self._cached_publications = functools.lru_cache(maxsize=4096)(self._of_publication_day)

    def of_filing(self, filing: Filing) -> tuple[Improvement, ...]:
        """All improvements of a filing, the earliest first."""
        return tuple(self._of_slot(*filing.slot)) if filing.deposited_on >= IMPROVEMENTS_FROM else ()

    def on_day(self, day: dt.date) -> list[Improvement]:
        """What was finalised on a day, in an order that does not change."""
        if not is_working_day(day):
            return []
        back = range(1, _LONGEST_DAYS + 1)
        publications = (self._cached_publications(day - back_days * _ONE_DAY) for back_days in back)
        return [entry for made in publications for entry in made if entry.finalised_on == day]

    def addition(self, day: dt.date, nth: int) -> Improvement | None:
        """An improvement that the registry adds to a past day afterwards: one of a filing that has no other."""
        earlier = day - dt.timedelta(days=21)
        for back_days in range(_LONGEST_CLOSURE_DAYS):
            published_on = earlier - back_days * _ONE_DAY
            improved = {entry.slot for entry in self._cached_publications(published_on)}
            plain = [slot for slot in self._slots(published_on) if slot not in improved]
            if plain:
                return Improvement(plain[nth % len(plain)], day, 0, "Corrected", "AA")
        return None

    def _slots(self, day: dt.date) -> list[Slot]:
        return [(day, index) for index in range(self._generator.rota.count(day))]

    def _of_publication_day(self, day: dt.date) -> tuple[Improvement, ...]:
        if day < IMPROVEMENTS_FROM:
            return ()
        owners = self._generator.rota.owners(day)
        chances = shares(self._corrected_die, day.toordinal(), len(owners))
        made = [
            entry
            for index, (owner, chance) in enumerate(zip(owners, chances, strict=True))
            if (kind := self._first_kind(owner, chance)) is not None
            for entry in self._of_kind(kind, day, index)
        ]
        return tuple(
            entry for entry in made if self._generator.filing(*entry.slot).deposited_on >= IMPROVEMENTS_FROM
        )

    # --- one filing ---

    def _of_slot(self, day: dt.date, index: int) -> Iterator[Improvement]:
        owner = self._generator.rota.owner(day, index)
        kind = self._first_kind(owner, share(self._corrected_die, day.toordinal(), index))
        return iter(()) if kind is None else self._of_kind(kind, day, index)

    def _of_kind(self, kind: Kind, day: dt.date, index: int) -> Iterator[Improvement]:
        rng = random.Random(f"{self._settings.seed}/improvements/{day}/{index}")
        listed = kind != "Pdf_extracted" or rng.random() >= self._settings.unlisted_extraction_share
        first = Improvement(
            slot=(day, index),
            finalised_on=_working_day(day + rng.randrange(2, _LONGEST_FIRST_DAYS) * _ONE_DAY),
            nth=0,
            kind=kind,
            part=rng.choices(("AA", "SB", "AA+SB"), (65, 15, 20))[0] if kind == "Corrected" else "",
            listed=listed,
        )
        yield first
        if listed and rng.random() < _AGAIN_SHARES[kind]:
            yield _again(first, rng)

    def _first_kind(self, owner: int, chance: float) -> Kind | None:
        """Told without making the filing: a few in a hundred of all filings have an improvement."""
        as_pdf, foreign = self._generator.habits(owner)
        if as_pdf:
            return "Pdf_extracted" if chance < self._settings.extracted_share else None
        if foreign:
            return "Euro_converted"
        return "Corrected" if chance < self._settings.corrected_share else None


def _again(first: Improvement, rng: random.Random) -> Improvement:
    """A later correction: of the same part, under the same file name, or of the other one."""
    part: Part = "AA"
    if first.part in ("AA", "SB"):
        other: Part = "SB" if first.part == "AA" else "AA"
        part = first.part if rng.random() < _SAME_PART_AGAIN else other
    elif first.part:
        part = first.part
    later = _working_day(first.finalised_on + rng.randrange(1, _LONGEST_AGAIN_DAYS) * _ONE_DAY)
    return dataclasses.replace(first, finalised_on=later, nth=1, kind="Corrected", part=part)


def _working_day(day: dt.date) -> dt.date:
    """That day, or the next on which the bank works."""
    while not is_working_day(day):
        day += _ONE_DAY
    return day
