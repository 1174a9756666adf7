"""Which company files on which day, and the way back: from a company to its filings without making any day.

A year's days hold a number of filings each (`seasons`); laid end to end they are the *slots* of that year. One
permutation, the same in every year, gives each slot to a company, so that a company files about the same time every
year. A slot may be drawn to hold a correction instead: it then belongs to the filing that an offset finds on one
earlier day, which can be undone too. Nothing here depends on `filings_on`: setting the count of a day moves no other.
"""

from __future__ import annotations

import bisect
import datetime as dt
import functools
import itertools
import math
from typing import TYPE_CHECKING

from filingd.sandbox.dice import die, roll, share, shares
from filingd.sandbox.seasons import real_filings, scaled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filingd.sandbox.settings import SandboxSettings

Slot = tuple[dt.date, int]  # publication day, index within it
FIRST_YEAR = 1978  # the oldest references (section 15.3)
_COMPANIES_AT_SCALE_ONE = 520_000  # somewhat more than filings a year: not everybody files every year
_FEWEST_COMPANIES = 300
_MOST_DAYS_BACK = 20  # from a correction to what it corrects, before days without filings are stepped over
_LONGEST_CLOSURE_DAYS = 8
_ONE_DAY = dt.timedelta(days=1)


def companies_of(settings: SandboxSettings) -> int:
    """How many enterprises the registry knows at that scale."""
    return max(round(_COMPANIES_AT_SCALE_ONE * settings.scale), _FEWEST_COMPANIES)


class Year:
    """The days of one year: how many filings each has of itself, their slots, and their running numbers."""

    def __init__(self, settings: SandboxSettings, year: int) -> None:
        self.first = dt.date(year, 1, 1)
        days = [self.first + dt.timedelta(days=n) for n in range((dt.date(year + 1, 1, 1) - self.first).days)]
        real = [real_filings(settings, day) for day in days]
        self.counts = [scaled(settings, day, number) for day, number in zip(days, real, strict=True)]
        self.starts = list(itertools.accumulate(self.counts, initial=0))
        self.capacities = [int(number * 1.15) + 10 for number in real]
        self.numbers = list(itertools.accumulate(self.capacities, initial=1))

    @property
    def slots(self) -> int:
        """Filings of the whole year."""
        return self.starts[-1]

    def count(self, day: dt.date) -> int:
        """Filings of a day of this year."""
        return self.counts[(day - self.first).days]

    def start(self, day: dt.date) -> int:
        """The slot of a day's first filing."""
        return self.starts[(day - self.first).days]

    def at(self, slot: int) -> Slot:
        """Day and index of a slot."""
        nth = bisect.bisect_right(self.starts, slot) - 1
        return self.first + dt.timedelta(days=nth), slot - self.starts[nth]

    def numbers_of(self, day: dt.date) -> tuple[int, int]:
        """A day's first running number, and how many it may use."""
        nth = (day - self.first).days
        return self.numbers[nth], self.capacities[nth]

    def day_of_number(self, number: int) -> dt.date | None:
        """The day that may use a running number."""
        nth = bisect.bisect_right(self.numbers, number) - 1
        return self.first + dt.timedelta(days=nth) if 0 <= nth < len(self.counts) else None


class Rota:
    """Slots and companies under one set of settings. Thread-safe: nothing is ever changed but caches."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self.companies = companies_of(settings)
        self._stride = _coprime(int(self.companies * 0.618), self.companies)
        self._stride_back = pow(self._stride, -1, self.companies)
        self._shift = roll(die(settings.seed, "shift"), 0) % self.companies
        self._overflow_die = die(settings.seed, "overflow")
        self._correction_die = die(settings.seed, "correction")
        self._back_die = die(settings.seed, "days back")
        self.year = functools.lru_cache(maxsize=128)(lambda year: Year(settings, year))
        self._corrected_day = functools.lru_cache(maxsize=4096)(self._find_corrected_day)

    def natural(self, day: dt.date) -> int:
        """Filings of a day, whatever `filings_on` says."""
        return self.year(day.year).count(day)

    def count(self, day: dt.date) -> int:
        """Filings of a day."""
        override = self._settings.filings_on.get(day.isoformat())
        return self.natural(day) if override is None else override

    # --- from a day to companies ---

    def owner(self, day: dt.date, index: int) -> int:
        """The company whose filing this is, counted from 0."""
        return self.holder(*(self.corrected(day, index) or (day, index)))

    def holder(self, day: dt.date, index: int) -> int:
        """The company of a slot, correction or not."""
        year = self.year(day.year)
        if index < year.count(day):
            return (
                ((year.start(day) + index) % self.companies - self._shift)
                * self._stride_back
                % self.companies
            )
        beyond = index - year.count(day)
        return (beyond * self._stride + self._overflow_shift(day)) % self.companies

    def owners(self, day: dt.date) -> list[int]:
        """`owner` of every filing of a day, at a fraction of the price."""
        natural, count = self.natural(day), self.count(day)
        drawn = shares(self._correction_die, day.toordinal(), min(natural, count))
        first, size, back = self.year(day.year).start(day) - self._shift, self.companies, self._stride_back
        return [
            (first + index) * back % size
            if chance >= self._settings.correction_share
            else self.owner(day, index)
            for index, chance in enumerate(drawn)
        ] + [self.holder(day, index) for index in range(natural, count)]

    def _overflow_shift(self, day: dt.date) -> int:
        return roll(self._overflow_die, day.toordinal()) % self.companies

    def corrected(self, day: dt.date, index: int) -> Slot | None:
        """The earlier filing that this one corrects, or None: it is an initial one."""
        if not self._drawn_as_correction(day, index):
            return None
        earlier = self._corrected_day(day)
        if earlier is None:
            return None
        target = (index + self._offset(day)) % self.natural(earlier)
        return None if self._drawn_as_correction(earlier, target) else (earlier, target)

    def _drawn_as_correction(self, day: dt.date, index: int) -> bool:
        if index >= self.natural(day):
            return False
        return share(self._correction_die, day.toordinal(), index) < self._settings.correction_share

    def _offset(self, day: dt.date) -> int:
        return roll(self._back_die, day.toordinal(), 1) >> 32

    def _find_corrected_day(self, day: dt.date) -> dt.date | None:
        """The one day whose filings this day's corrections mean."""
        back = 1 + roll(self._back_die, day.toordinal()) % _MOST_DAYS_BACK
        for more in range(_LONGEST_CLOSURE_DAYS):
            earlier = day - dt.timedelta(days=back + more)
            if self.natural(earlier):
                return earlier
        return None

    # --- and back ---

    def slots_of(self, company: int, first_year: int, last_year: int) -> Iterator[Slot]:
        """Every filing of a company in those years, in no order; a correction counts with what it corrects."""
        for year in range(first_year, last_year + 1):
            for slot in range(
                (company * self._stride + self._shift) % self.companies, self.year(year).slots, self.companies
            ):
                day, index = self.year(year).at(slot)
                if self.corrected(day, index) is None:
                    yield day, index
                    yield from self._corrections_of(day, index)
        yield from self._overflowing(company)

    def _corrections_of(self, day: dt.date, index: int) -> Iterator[Slot]:
        for ahead in range(1, _MOST_DAYS_BACK + _LONGEST_CLOSURE_DAYS + 1):
            later = day + ahead * _ONE_DAY
            if self.natural(later) and self._corrected_day(later) == day:
                there = (index - self._offset(later)) % self.natural(day)
                for candidate in range(there, self.natural(later), self.natural(day)):
                    if self.corrected(later, candidate) == (day, index):
                        yield later, candidate

    def _overflowing(self, company: int) -> Iterator[Slot]:
        """Filings on days that `filings_on` made larger than they are by themselves."""
        for text, count in self._settings.filings_on.items():
            day = dt.date.fromisoformat(text)
            beyond = (company - self._overflow_shift(day)) * self._stride_back % self.companies
            for index in range(self.natural(day) + beyond, count, self.companies):
                yield day, index


def _coprime(start: int, number: int) -> int:
    return next(value for value in itertools.count(max(start, 1)) if math.gcd(value, number) == 1)
