"""Seed and publication day in, synthetic filings out: always the same ones.

Every filing is drawn from its own random source, named by seed, day and index, so that a day needs no other
day to be known and a change of one knob does not move the rest. Reference numbers run through the year of
deposit, roughly in order of deposit (NBB reference, section 3).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import itertools
import random
from typing import TYPE_CHECKING

from filingd.sandbox.companies import COMPANIES, Company, company
from filingd.sandbox.seasons import filings_count, is_working_day, real_filings

if TYPE_CHECKING:
    from filingd.sandbox.settings import SandboxSettings

# Shares of ModelType among latest filings (NBB reference, section 7.2), and the models that are filed as PDF.
MODELS = (
    ("m87-f", 45.0), ("m81-f", 18.0), ("m01-f", 15.0), ("m07-f", 10.0), ("m02-f", 8.5), ("m82-f", 2.0),
    ("m87-a", 0.5), ("m81-a", 0.4), ("m04-f", 0.4), ("m05-f", 0.3), ("m08-f", 0.2),
)  # fmt: skip
PDF_ONLY_MODELS = ("m120-f-p", "m02-f-p", "m01-f-p", "m212-f-p", "m121-f-p", "m05-f-p")
_ACTIVITIES = ("62010", "70100", "47730", "56101", "68200", "49410", "", None)
_MODEL_NAMES, _MODEL_WEIGHTS = zip(*MODELS, strict=True)


@dataclasses.dataclass(frozen=True, slots=True)
class Filing:
    """One synthetic filing; its documents follow from these fields alone."""

    reference_number: str
    published_on: dt.date
    deposited_on: dt.date
    exercise_start: dt.date
    exercise_end: dt.date
    assembly_on: dt.date | None
    model_type: str
    deposit_type: str
    company: Company
    enterprise_listed: bool  # false: the reference lacks its EnterpriseNumber
    activity_code: str | None
    structured: bool  # JSON and XBRL exist
    late: bool  # appears after its day opened
    big_xbrl: bool
    revision: int = 0  # above 0: the registry changed the figures of a past day
    source: str = ""  # names the random source of the documents

    @property
    def pdf_only(self) -> bool:
        """Filed as PDF: ModelType ends in `-p`."""
        return self.model_type.endswith("-p")


@dataclasses.dataclass(frozen=True, slots=True)
class _Draft:
    """What is drawn before a correction borrows from an earlier filing."""

    company_index: int
    model_type: str
    exercise_end: dt.date
    lag_days: int
    is_correction: bool


class Generator:
    """The filings of every day under one set of settings. Thread-safe: nothing is ever changed but caches."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._seed = settings.seed
        self._cached_day = functools.lru_cache(maxsize=128)(self._make_day)
        self._cached_bases = functools.lru_cache(maxsize=16)(self._make_bases)

    def filings(self, day: dt.date) -> tuple[Filing, ...]:
        """All filings of a publication day, late ones included, in order of reference number."""
        return self._cached_day(day)

    def addition(self, day: dt.date, index: int) -> Filing:
        """A filing that the registry adds to a past day afterwards; index counts the additions from 0."""
        return self._filing(day, filings_count(self._settings, day) + index)

    def _make_day(self, day: dt.date) -> tuple[Filing, ...]:
        made = [self._filing(day, index) for index in range(filings_count(self._settings, day))]
        return tuple(sorted(made, key=lambda filing: filing.reference_number))

    def _rng(self, *name: object) -> random.Random:
        return random.Random("/".join(map(str, (self._seed, *name))))

    def _draft(self, day: dt.date, index: int) -> _Draft:
        rng = self._rng("draft", day, index)
        pdf_only = rng.random() < self._settings.pdf_only_share
        model = rng.choice(PDF_ONLY_MODELS) if pdf_only else rng.choices(_MODEL_NAMES, _MODEL_WEIGHTS)[0]
        return _Draft(
            company_index=rng.randrange(COMPANIES),
            model_type=model,
            exercise_end=_exercise_end(rng, day),
            lag_days=rng.choices((1, 2, 3, 5, 8, 13), (30, 30, 20, 10, 7, 3))[0],
            is_correction=rng.random() < self._settings.correction_share,
        )

    def _corrected(self, day: dt.date, index: int) -> _Draft | None:
        """The earlier filing that a correction replaces, if one is near."""
        rng = self._rng("correction", day, index)
        earlier = day - dt.timedelta(days=rng.randrange(1, 21))
        count = filings_count(self._settings, earlier)
        for _ in range(min(count, 5)):
            draft = self._draft(earlier, rng.randrange(count))
            if not draft.is_correction:
                return draft
        return None

    def _filing(self, day: dt.date, index: int) -> Filing:
        draft = self._draft(day, index)
        earlier = self._corrected(day, index) if draft.is_correction else None
        if earlier is not None:
            draft = dataclasses.replace(earlier, lag_days=draft.lag_days)
        rng = self._rng("filing", day, index)
        deposited_on = day - dt.timedelta(days=draft.lag_days)
        unexplained = rng.random() < self._settings.unexplained_gap_share
        return Filing(
            reference_number=self._reference_number(day, index, deposited_on),
            published_on=day,
            deposited_on=deposited_on,
            exercise_start=_exercise_start(rng, draft.exercise_end),
            exercise_end=draft.exercise_end,
            assembly_on=_assembly(rng, draft.exercise_end, deposited_on),
            model_type=draft.model_type,
            deposit_type="Correction" if earlier else "Initial",
            company=company(self._seed, draft.company_index),
            enterprise_listed=rng.random() >= self._settings.missing_enterprise_share,
            activity_code=rng.choice(_ACTIVITIES),
            structured=not unexplained and not draft.model_type.endswith("-p"),
            late=index > 0 and rng.random() < self._settings.late_share,
            big_xbrl=index == 0 and _has_big(self._settings, day),
            source=f"{self._seed}/documents/{day}/{index}",
        )

    def _reference_number(self, day: dt.date, index: int, deposited_on: dt.date) -> str:
        count = max(filings_count(self._settings, day), 1)
        base, capacity = self._cached_bases(day.year)[day]
        offset = index * max(1, (capacity - 8) // count)
        if (
            offset >= capacity
        ):  # more filings than the real registry has: their own range, so that no other day moves
            return f"{deposited_on.year}-{60_000_000 + day.timetuple().tm_yday * 100_000 + index:08d}"
        last_year = deposited_on.year < day.year
        august_2022 = (deposited_on.year, deposited_on.month) == (2022, 8)  # section 15.3
        shift = 700_000 if last_year else 20_300_000 if august_2022 else 0
        return f"{deposited_on.year}-{base + offset + shift:08d}"

    def _make_bases(self, year: int) -> dict[dt.date, tuple[int, int]]:
        """Per day of a year its first running number and how many numbers it may use."""
        first = dt.date(year, 1, 1)
        days = [first + dt.timedelta(days=n) for n in range((dt.date(year + 1, 1, 1) - first).days)]
        capacities = [int(real_filings(self._settings, day) * 1.15) + 10 for day in days]
        starts = itertools.accumulate(capacities, initial=1)
        return {
            day: (start, capacity) for day, start, capacity in zip(days, starts, capacities, strict=False)
        }


def _has_big(settings: SandboxSettings, day: dt.date) -> bool:
    return (
        bool(settings.big_xbrl_every_days)
        and is_working_day(day)
        and day.toordinal() % settings.big_xbrl_every_days == 0
    )


def _exercise_end(rng: random.Random, day: dt.date) -> dt.date:
    if rng.random() < 0.85:
        return dt.date(day.year - 1, 12, 31)
    return dt.date(day.year - 1, 6, 30) if rng.random() < 0.5 else dt.date(day.year - 1, 9, 30)


def _exercise_start(rng: random.Random, end: dt.date) -> dt.date:
    if rng.random() < 0.005:
        return dt.date(1900, 1, 1)  # the registry's sentinel for "unknown" (section 15.4)
    return dt.date(end.year - 1, end.month, end.day) + dt.timedelta(days=1)


def _assembly(rng: random.Random, end: dt.date, deposited_on: dt.date) -> dt.date | None:
    if rng.random() < 0.01:
        return rng.choice((None, dt.date(9999, 1, 1)))  # section 15.4
    span = max((deposited_on - end).days - 1, 1)
    return end + dt.timedelta(days=rng.randrange(span))
