"""Seed and publication day in, synthetic filings out: always the same ones; and from a company or a reference
number back to its filings.

Every filing is drawn from its own random source, named by seed, day and index, so that a day needs no other
day to be known and a change of one knob does not move the rest. Who files when is the `rota`. Reference numbers
run through the year of deposit, roughly in order of deposit; before April 2022 they count within batches (NBB
reference, section 3).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import random
import re
from typing import TYPE_CHECKING, Literal

from filingd.sandbox.companies import Company, company, index_of
from filingd.sandbox.dice import die, roll
from filingd.sandbox.rota import FIRST_YEAR, Rota
from filingd.sandbox.seasons import is_working_day

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filingd.sandbox.rota import Slot
    from filingd.sandbox.settings import SandboxSettings

Format = Literal["json", "xbrl", "pdf"]
# Shares of ModelType among latest filings (NBB reference, section 7.2), and the models that are filed as PDF.
MODELS = (
    ("m87-f", 45.0), ("m81-f", 18.0), ("m01-f", 15.0), ("m07-f", 10.0), ("m02-f", 8.5), ("m82-f", 2.0),
    ("m87-a", 0.5), ("m81-a", 0.4), ("m04-f", 0.4), ("m05-f", 0.3), ("m08-f", 0.2),
)  # fmt: skip
PDF_ONLY_MODELS = ("m120-f-p", "m02-f-p", "m01-f-p", "m212-f-p", "m121-f-p", "m05-f-p")
FIRST_OF_FORMAT: dict[Format, dt.date] = {  # by day of deposit (section 6.4)
    "json": dt.date(2022, 4, 4),
    "xbrl": dt.date(2007, 4, 1),
    "pdf": dt.date(1998, 1, 1),
}
FOREIGN_CURRENCIES = ("USD", "GBP", "CHF")
_ALL_WEIGHTS = sum(weight for _, weight in MODELS)
_RUNNING_NUMBERS_FROM = dt.date(2022, 4, 4)  # section 3
_ALL_COMPANIES_FROM = 2022  # before, a day lacks the filings of companies that were not there yet
_EURO_FROM = 2002
_BEFORE_MICRO, _BEFORE_CODE_OF_2019 = 2016, 2020  # years of deposit of the first m07 and the first m8x
_LAST_YEARS_SHIFT, _AUGUST_2022_SHIFT = 700_000, 20_300_000  # section 15.3
_OWN_RANGE = 60_000_000
_BATCH = 100_000
_HALF_WORD = 2**32
_REFERENCE = re.compile(r"(\d{4})-(\d{8})")
_NO_YEAR_LATER = 2100


@dataclasses.dataclass(frozen=True, slots=True)
class Filing:
    """One synthetic filing; its documents follow from these fields alone."""

    reference_number: str
    published_on: dt.date
    index: int  # within its publication day
    deposited_on: dt.date
    exercise_start: dt.date
    exercise_end: dt.date
    assembly_on: dt.date | None
    model_type: str
    deposit_type: str
    currency: str
    company: Company
    enterprise_name: str  # of the time of the deposit
    enterprise_listed: bool  # false: the reference in the day's zip lacks its EnterpriseNumber
    activity_code: str | None
    structured: bool  # neither filed as PDF nor lacking its JSON and XBRL for no reason that could be seen
    linked: bool  # the reference has an AccountingDataURL
    late: bool  # appears after its day opened
    big_xbrl: bool
    revision: int = 0  # above 0: the registry changed the figures of a past day
    source: str = ""  # names the random source of the documents

    @property
    def pdf_only(self) -> bool:
        """Filed as PDF: ModelType ends in `-p`."""
        return self.model_type.endswith("-p")

    @property
    def slot(self) -> Slot:
        """Publication day and index within it."""
        return self.published_on, self.index

    def exists_as(self, document: Format) -> bool:
        """Whether the registry has the document: by kind of filing, and by the format's first day."""
        return self.deposited_on >= FIRST_OF_FORMAT[document] and (self.structured or document == "pdf")


class Generator:
    """The filings of every day under one set of settings. Thread-safe: nothing is ever changed but caches."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._seed = settings.seed
        self.rota = Rota(settings)
        self._model_die = die(settings.seed, "model")
        self._habit_die = die(settings.seed, "habits")
        self._cached_day = functools.lru_cache(maxsize=128)(self._make_day)
        self.filing = functools.lru_cache(maxsize=4096)(self._filing)

    # --- by day ---

    def filings(self, day: dt.date) -> tuple[Filing, ...]:
        """All filings of a publication day, late ones included, in order of reference number."""
        return self._cached_day(day)

    def addition(self, day: dt.date, index: int) -> Filing:
        """A filing that the registry adds to a past day afterwards; index counts the additions from 0."""
        return self.filing(day, self.rota.count(day) + index)

    def _make_day(self, day: dt.date) -> tuple[Filing, ...]:
        slots = [(day, index) for index in range(self.rota.count(day)) if self.exists(day, index)]
        return tuple(
            sorted((self._filing(*slot) for slot in slots), key=lambda filing: filing.reference_number)
        )

    def exists(self, day: dt.date, index: int) -> bool:
        """Whether the registry published that filing of its own accord."""
        if not 0 <= index < self.rota.count(day):
            return False
        return day.year >= _ALL_COMPANIES_FROM or day.year >= self._company(day, index).founded_in

    def _company(self, day: dt.date, index: int) -> Company:
        return company(self._seed, self.rota.owner(day, index))

    # --- by company and by reference number ---

    def company(self, number: str) -> Company | None:
        """The enterprise of a number, if the registry knows it."""
        index = index_of(number)
        return company(self._seed, index) if index is not None and index < self.rota.companies else None

    def numbers(self, count: int) -> list[str]:
        """The first enterprise numbers the registry knows."""
        return [company(self._seed, index).number for index in range(min(count, self.rota.companies))]

    def filings_of(self, number: str, until: dt.date) -> list[Filing]:
        """All filings of an enterprise that are published on or before a day, in an arbitrary order."""
        index = index_of(number)
        if index is None or index >= self.rota.companies:
            return []
        slots = self.rota.slots_of(index, company(self._seed, index).founded_in, until.year)
        made = [self.filing(*slot) for slot in slots if slot[0] <= until and self.exists(*slot)]
        order = die(self._seed, "order")
        return sorted(made, key=lambda filing: roll(order, filing.published_on.toordinal(), filing.index))

    def locate(self, reference_number: str) -> Slot | None:
        """Where a reference number belongs: its publication day and the index within it.

        The index may be one of an addition; whether the filing was published, `exists` says.
        """
        found = _REFERENCE.fullmatch(reference_number)
        if not found or not FIRST_YEAR <= int(found[1]) < _NO_YEAR_LATER:
            return None
        for day, index in self._candidates(int(found[1]), int(found[2])):
            if index >= 0 and self.filing(day, index).reference_number == reference_number:
                return day, index
        return None

    def _candidates(self, year: int, number: int) -> Iterator[Slot]:
        """What a number may mean, by each of the rules of `_reference_number`."""
        nth_batch, within = divmod(number, _BATCH)
        half_days, from_last_year = divmod(nth_batch - 100, 2)
        if year <= _RUNNING_NUMBERS_FROM.year and 1 <= half_days <= 366:
            yield _day_of(year + from_last_year, half_days), within - 1
        if number >= _OWN_RANGE and 1 <= (nth := (number - _OWN_RANGE) // _BATCH) <= 366:
            yield _day_of(year, nth), within
            yield _day_of(year + 1, nth), within
        for shift, later in ((0, 0), (_LAST_YEARS_SHIFT, 1), (_AUGUST_2022_SHIFT, 0)):
            day = self.rota.year(year + later).day_of_number(number - shift)
            if day is not None:
                yield day, (number - shift - self.rota.year(day.year).numbers_of(day)[0]) // self._step(day)

    # --- one filing ---

    def habits(self, owner: int) -> tuple[bool, bool]:
        """Whether a company files as PDF, and whether it keeps its accounts in another currency than the euro."""
        foreign, as_pdf = divmod(roll(self._habit_die, owner), _HALF_WORD)
        settings = self._settings
        return (
            as_pdf < settings.pdf_only_share * _HALF_WORD,
            foreign < settings.foreign_currency_share * _HALF_WORD,
        )

    def _filing(self, day: dt.date, index: int) -> Filing:
        settings = self._settings
        corrected = self.rota.corrected(day, index)
        owner = self.rota.holder(*(corrected or (day, index)))
        filer = company(self._seed, owner)
        year = corrected[0].year if corrected else day.year
        rng = random.Random(f"{self._seed}/filing/{day}/{index}")
        deposited_on = day - dt.timedelta(days=rng.choices((1, 2, 3, 5, 8, 13), (30, 30, 20, 10, 7, 3))[0])
        exercise_end = dt.date(year - 1, *filer.closing)
        model_type = self._model(owner, year)
        unexplained = rng.random() < settings.unexplained_gap_share
        return Filing(
            reference_number=self._reference_number(day, index, deposited_on),
            published_on=day,
            index=index,
            deposited_on=deposited_on,
            exercise_start=_exercise_start(rng, exercise_end),
            exercise_end=exercise_end,
            assembly_on=_assembly(rng, exercise_end, deposited_on),
            model_type=model_type,
            deposit_type="Correction" if corrected else "Initial",
            currency=self._currency(owner, year),
            company=filer,
            enterprise_name=filer.name_in(deposited_on.year),
            enterprise_listed=rng.random() >= settings.missing_enterprise_share,
            activity_code=_activity(rng, filer),
            structured=not unexplained and not model_type.endswith("-p"),
            linked=_has_url(rng, deposited_on, model_type) and not (unexplained and rng.random() < 0.5),
            late=index > 0 and rng.random() < settings.late_share,
            big_xbrl=index == 0 and _has_big(settings, day),
            source=f"{self._seed}/documents/{day}/{index}",
        )

    def _model(self, owner: int, year: int) -> str:
        """A company keeps its model in most years; older ones are those of their time (section 15.3)."""
        chance = roll(self._model_die, owner)
        if year < 1985:
            return "m900-p"
        if self.habits(owner)[0]:
            return PDF_ONLY_MODELS[chance % len(PDF_ONLY_MODELS)]
        if roll(self._model_die, owner, year) % 100 < 5:
            chance = roll(self._model_die, owner, year) >> 8
        return _of_its_time(_weighted_model(chance), year)

    def _currency(self, owner: int, year: int) -> str:
        if year < _EURO_FROM:
            return "BEF"
        return FOREIGN_CURRENCIES[owner % len(FOREIGN_CURRENCIES)] if self.habits(owner)[1] else "EUR"

    def _step(self, day: dt.date) -> int:
        """Between two running numbers of a day: the published filings lie among unpublished ones."""
        _, capacity = self.rota.year(day.year).numbers_of(day)
        return max(1, (capacity - 8) // max(self.rota.count(day), 1))

    def _reference_number(self, day: dt.date, index: int, deposited_on: dt.date) -> str:
        base, capacity = self.rota.year(day.year).numbers_of(day)
        nth_day, last_year = day.timetuple().tm_yday, deposited_on.year < day.year
        offset = index * self._step(day)
        if deposited_on < _RUNNING_NUMBERS_FROM:
            number = (100 + 2 * nth_day + last_year) * _BATCH + index + 1
        elif offset >= capacity:
            # more filings than the real registry has: their own range, so that no other day moves
            number = _OWN_RANGE + nth_day * _BATCH + index
        else:
            august_2022 = (deposited_on.year, deposited_on.month) == (2022, 8)
            shift = _LAST_YEARS_SHIFT if last_year else _AUGUST_2022_SHIFT if august_2022 else 0
            number = base + offset + shift
        return f"{deposited_on.year}-{number:08d}"


def _day_of(year: int, nth: int) -> dt.date:
    return dt.date(year, 1, 1) + dt.timedelta(days=nth - 1)


def _weighted_model(chance: int) -> str:
    left = chance % 100_000 / 100_000 * _ALL_WEIGHTS
    for name, weight in MODELS:
        left -= weight
        if left < 0:
            return name
    return MODELS[0][0]


def _of_its_time(model: str, year: int) -> str:
    """The model that a company of this kind used before the present ones existed."""
    if year < _BEFORE_CODE_OF_2019:
        model = model.replace("m8", "m0", 1) if model[:3] in ("m81", "m82", "m87") else model
    if year < _BEFORE_MICRO:
        model = model.replace("m07", "m01", 1).replace("m08", "m04", 1)
    return model if year >= 1993 else "m01-f-p"


def _has_url(rng: random.Random, deposited_on: dt.date, model_type: str) -> bool:
    """Null on the oldest ones, plain models included, now and then until December 2006 (section 15.2)."""
    if deposited_on.year >= 2007:
        return True
    return deposited_on.year >= 2005 and not model_type.endswith("-p") and rng.random() < 0.5


def _activity(rng: random.Random, filer: Company) -> str | None:
    """The activity follows the deposit (section 15.1); empty or null now and then."""
    chance = rng.random()
    if chance < 0.84:
        return filer.activity_code
    return "" if chance < 0.93 else None if chance < 0.95 else "70220"


def _has_big(settings: SandboxSettings, day: dt.date) -> bool:
    return (
        bool(settings.big_xbrl_every_days)
        and is_working_day(day)
        and day.toordinal() % settings.big_xbrl_every_days == 0
    )


def _exercise_start(rng: random.Random, end: dt.date) -> dt.date:
    if rng.random() < (0.005 if end.year >= 1995 else 0.6):
        return dt.date(1900, 1, 1)  # the registry's sentinel for "unknown" (section 15.4)
    return end.replace(year=end.year - 1) + dt.timedelta(days=1)


def _assembly(rng: random.Random, end: dt.date, deposited_on: dt.date) -> dt.date | None:
    if rng.random() < (0.01 if end.year >= 1985 else 0.9):
        return rng.choice((None, dt.date(9999, 1, 1)))  # section 15.4
    span = max((deposited_on - end).days - 1, 1)
    return end + dt.timedelta(days=rng.randrange(span))
