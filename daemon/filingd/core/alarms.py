"""Alarms: what somebody should look at, told from facts alone.

`KINDS` says what each kind means and what to do; `standing` is the one table from facts to alarms that stand; `news` tells
what has to be said of them now, given what was said before. An alarm is told by its kind and its subject: a day, a lane, a
family and a field. It is raised when it appears, told again at intervals while it stands, and cleared when it is over.

What does not alarm: a day that is simply not due; a day that is proven to be empty; a day that was older than anybody could
have had in time when the mirror began (a backfill), until something of it was asked for and yet it does not become complete.
"""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from filingd.core import ledger, limits, units

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from filingd.core.model import AccountSpec

DAY_S = 86_400.0
_FEW_FILINGS = 50  # below this a share of a day says nothing
_FEW_WITHOUT = 3  # so many filings have to lack a field: a single odd one is no change of format
_MOST = 0.5  # a field is one of a day if at least this share of its filings has it
_DAYS_BEFORE = 7  # with how many earlier days a day's fields are compared
_LONG_FAILING = limits.STRIKES_TO_PAUSE + 4  # failures in a row: about ten minutes of growing pauses


class Kind(NamedTuple):
    """What a kind of alarm means, and what to do about it."""

    meaning: str
    remedy: str


KINDS: Mapping[str, Kind] = {
    "nothing_on_a_working_day": Kind(
        "the registry has nothing for a working day",
        "It is asked again by itself. If the day is known to have nothing, list it in [nbb] known_empty_days.",
    ),
    "missing_though_listed": Kind(
        "a dataset is said to be empty although filings are listed",
        "It is asked again by itself; with the query product its documents are fetched one by one.",
    ),
    "documents_without_references": Kind(
        "a day has documents and no references",
        "It is asked again by itself. If it stays so, quote the request id of `filingd items show` to the registry's support.",
    ),
    "list_unreadable": Kind(
        "no filing can be read out of the references of a day",
        "Look at the refused file in quarantine/: the format may have changed, and filingd has to follow it.",
    ),
    "day_uncommitted": Kind(
        "a day is about to leave its window, or has left it, and is not complete",
        "See its reasons in `filingd status`. Without the archive product what is not had in time is lost.",
    ),
    "day_open": Kind(
        "a day has been open for too long",
        "See its reasons in `filingd status`, and its items with `filingd items list --day`.",
    ),
    "low_json_share": Kind(
        "few filings of a day have JSON",
        "Compare with other days. If it is usual by now, lower [nbb] min_json_share.",
    ),
    "high_json_share": Kind(
        "a day has more JSON documents than filings",
        "Look which documents are not listed: `filingd status` names the first ones.",
    ),
    "field_missing": Kind(
        "most filings of a day lack a field that those of the days before have",
        "It may have another name now: see unknown_field. What is stored is complete; filingd has to follow the format.",
    ),
    "unknown_field": Kind(
        "references carry a field that filingd does not know",
        "Nothing is lost: it is stored as it came. Once you have looked at it, list it in [nbb] known_fields.",
    ),
    "unknown_model": Kind(
        "references name a model that filingd does not know",
        "Nothing is lost. Once you have looked at it, list it in [nbb] known_models.",
    ),
    "unknown_label": Kind(
        "improved documents carry a label that filingd does not know",
        "Nothing is lost: they are stored as they came. Report it, so that filingd learns the label.",
    ),
    "casing_changed": Kind(
        "the fields of a day are spelled in another casing than those of the day before",
        "filingd reads either. Look at whatever else reads the zips.",
    ),
    "lane_blocked": Kind("a product is closed to us", "See what the registry said; `filingd doctor` asks with each key."),
    "quota_spent": Kind(
        "the calls of a subscription are used up",
        "Wait until they are replenished, or order more and have the keys looked at again (SIGHUP).",
    ),
    "lane_failing": Kind(
        "a product fails again and again",
        "It is tried again by itself. `filingd doctor` tells whether name, network, certificate or service fail.",
    ),
    "allowance_low": Kind(
        "an account has used 80 % of its calls or budget of the month",
        "See `filingd status` for when they run out. With `spread = true` what is left lasts until the month ends.",
    ),
    "allowance_almost_spent": Kind(
        "an account has used 95 % of its calls or budget of the month",
        "See `filingd status` for when they run out. At the end its lanes wait for the next month.",
    ),
    "allowance_spent": Kind(
        "an account's calls or budget of the month are used up: its lanes wait for the next month",
        "It goes on by itself when the month turns. To go on now, configure more of them and restart filingd.",
    ),
    "key_unreadable": Kind("a key cannot be read", "Put it where the configuration says; it is noticed by itself."),
    "room_low": Kind(
        "too little room on the disk of the store: downloads pause",
        "Make room, or lower [store] keep_free; downloads go on by themselves.",
    ),
    "clock_skew": Kind(
        "this machine's clock is far from the registry's: days are asked for too early or too late",
        "Set it right (timedatectl status).",
    ),
}  # fmt: skip


class Alarm(msgspec.Struct, frozen=True):
    """One alarm that stands. `since_at` is when it began, as far as that is known. `group`, `key` and `lane` name the day, the
    item and the lane concerned, if there is one."""

    kind: str
    subject: str
    since_at: float
    detail: str
    group: str | None = None
    key: str | None = None
    lane: str | None = None

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return KINDS[self.kind].remedy

    @property
    def identity(self) -> tuple[str, str]:
        """What tells it from others."""
        return (self.kind, self.subject)


class Bounds(msgspec.Struct, frozen=True):
    """From when on something is an alarm. `look_back_days`: how old a day may be whose content is one."""

    open_after_s: float = 2 * DAY_S
    uncommitted_age_days: int = 25
    look_back_days: int = 14
    min_json_share: float = 0.85  # 0 switches it off
    max_json_share: float = 1.0
    max_clock_skew_s: float = 120.0


# ------------------------------------------------------------------------------------------------- facts


class Listing(msgspec.Struct, frozen=True):
    """What the list of a day holds: in how many filings each known field was seen, and what nobody knows, by name."""

    stored_at: float
    filings: int
    fields: Mapping[str, int] = {}
    unknown_fields: Mapping[str, int] = {}
    unknown_models: Mapping[str, int] = {}
    casing: str = ""

    def has_mostly(self, field: str) -> bool:
        """Whether the field is one of this day's."""
        return self.fields.get(field, 0) >= self.filings * _MOST


class DayFacts(msgspec.Struct, frozen=True):
    """One publication day, as far as its alarms go.

    `published_at` is when it could be had first, `opened_at` when the mirror began to expect it or it was opened again.
    `begun_at` is the first that is known of it; None before anything came. `answers` are the items whose answer is an
    alarm once it is proven, by key: reason and since when. `is_waiting`: it is not due; `gave_up`: tries are used up;
    `is_lost`: it will not be served any more. `filings` and `with_json` are those of a complete day.
    """

    group: str
    family: str
    day: dt.date
    age_days: int
    published_at: float
    opened_at: float
    is_sealed: bool
    begun_at: float | None = None
    is_waiting: bool = False
    gave_up: bool = False
    is_lost: bool = False
    answers: Mapping[str, tuple[str, float]] = {}
    unreadable_key: str | None = None
    listing: Listing | None = None
    filings: int | None = None
    with_json: int | None = None
    unknown_labels: Mapping[str, int] = {}

    @property
    def age_when_opened_days(self) -> float:
        """How long it had been published when the mirror began to expect it, or it was opened again."""
        return max(0.0, self.opened_at - self.published_at) / DAY_S


class LaneFacts(msgspec.Struct, frozen=True):
    """One lane. `refusal` is what the registry said when it closed the lane, if that is known."""

    state: limits.LaneState
    refusal: str = ""


class AccountFacts(msgspec.Struct, frozen=True):
    """One account in the month that it is now. `used_percent` is None where nothing is limited; `is_spent`: lanes wait for the
    next one."""

    name: str
    month: str
    used_percent: float | None
    is_spent: bool


def facts_of_account(spec: AccountSpec, spending: ledger.Spending, dearest_microeur: int) -> AccountFacts:
    """The facts of an account from what was spent of it; `dearest_microeur` is the price of the dearest call of its lanes."""
    is_spent = ledger.calls_left(spec, spending, dearest_microeur) == 0
    return AccountFacts(spec.name, spending.month, ledger.used_percent(spec, spending), is_spent)


class Facts(msgspec.Struct, frozen=True):
    """All that alarms are told from. What is None is not known to whoever asks: nothing is said of it either way."""

    now: float
    days: Sequence[DayFacts]
    lanes: Sequence[LaneFacts]
    accounts: Sequence[AccountFacts] = ()
    free_bytes: int | None = None
    keep_free_bytes: int = 0
    clock_ahead_s: float | None = None
    key_problems: Mapping[str, str] | None = None

    @property
    def unknown_kinds(self) -> frozenset[str]:
        """The kinds that cannot be told from these facts."""
        parts = (
            ("room_low", self.free_bytes),
            ("clock_skew", self.clock_ahead_s),
            ("key_unreadable", self.key_problems),
        )
        return frozenset(kind for kind, known in parts if known is None)


# ------------------------------------------------------------------------------------------------- the table


def standing(facts: Facts, bounds: Bounds) -> list[Alarm]:
    """Every alarm that these facts amount to, in the order of `KINDS`, oldest first."""
    found = [alarm for rule in _RULES for alarm in rule(facts, bounds)]
    order = {kind: number for number, kind in enumerate(KINDS)}
    return sorted(found, key=lambda alarm: (order[alarm.kind], alarm.since_at, alarm.subject))


def _answers(facts: Facts, _: Bounds) -> Iterator[Alarm]:
    for day in facts.days:
        for key, (kind, since_at) in day.answers.items():
            yield Alarm(kind, key, since_at, f"{key}: {KINDS[kind].meaning}", day.group, key)


def _unreadable_lists(facts: Facts, _: Bounds) -> Iterator[Alarm]:
    for day in facts.days:
        if day.unreadable_key is not None:
            detail = f"{day.unreadable_key} was refused: no filing could be read out of it"
            yield Alarm("list_unreadable", day.group, facts.now, detail, day.group, day.unreadable_key)


def _open_days(facts: Facts, bounds: Bounds) -> Iterator[Alarm]:
    for day in facts.days:
        if day.is_sealed or day.is_waiting:
            continue
        since_at = _open_since(day, bounds)
        if _is_uncommitted(day, bounds):
            due_at = day.published_at + bounds.uncommitted_age_days * DAY_S
            detail = f"{day.day} is {day.age_days} days old and not complete"
            yield Alarm("day_uncommitted", day.group, due_at, detail, day.group)
        elif since_at is not None and facts.now - since_at > bounds.open_after_s:
            hours = round((facts.now - since_at) / 3600.0)
            yield Alarm(
                "day_open", day.group, since_at, f"{day.day} has been open for {hours} hours", day.group
            )


def _is_uncommitted(day: DayFacts, bounds: Bounds) -> bool:
    """Whether a day that could have been had in time is not complete at an age at which it may soon be too late."""
    was_within_reach = day.age_when_opened_days <= bounds.uncommitted_age_days
    return day.age_days > bounds.uncommitted_age_days and was_within_reach


def _open_since(day: DayFacts, bounds: Bounds) -> float | None:
    """Since when a day should have become complete; None if nobody waited for it yet, or other alarms say more."""
    if day.is_lost or day.answers or day.unreadable_key is not None:
        return None
    since_at = max(day.published_at, day.opened_at)
    if day.opened_at - day.published_at <= bounds.open_after_s:
        return since_at
    if day.begun_at is not None:  # a backfill, or opened again: the wait begins when something came
        return max(day.opened_at, day.begun_at)
    return since_at if day.gave_up else None


def _json_shares(facts: Facts, bounds: Bounds) -> Iterator[Alarm]:
    for day in _recent(facts, bounds):
        if day.filings is None or day.with_json is None or day.listing is None:
            continue
        detail = f"{day.with_json} of {day.filings} filings of {day.day} have JSON"
        if day.filings >= _FEW_FILINGS and day.with_json < day.filings * bounds.min_json_share:
            yield Alarm("low_json_share", day.group, day.listing.stored_at, detail, day.group)
        elif day.with_json > day.filings * bounds.max_json_share:
            yield Alarm("high_json_share", day.group, day.listing.stored_at, detail, day.group)


def _lanes(facts: Facts, _: Bounds) -> Iterator[Alarm]:
    for lane in facts.lanes:
        state = lane.state
        if kind := _lane_kind(state):
            reason = limits.PARK_REASONS.get(state.park_reason or "", "")
            since_at = (
                facts.now if state.parked_until_at is None else state.parked_until_at - state.parked_for_s
            )
            yield Alarm(kind, state.name, since_at, lane.refusal or reason, lane=state.name)


def _lane_kind(state: limits.LaneState) -> str | None:
    """A lane that is tried again is closed to us until a call went well."""
    if state.park_reason in limits.BLOCKED_REASONS and state.blocks:
        return "lane_blocked"
    if state.park_reason == limits.QUOTA and state.throttles:
        return "quota_spent"
    return "lane_failing" if state.strikes >= _LONG_FAILING else None


def _accounts(facts: Facts, _: Bounds) -> Iterator[Alarm]:
    for account in facts.accounts:
        if kind := _account_kind(account):
            detail = f"{account.used_percent or 0.0:.0f} % of {account.month} are used"
            yield Alarm(kind, f"{account.name} {account.month}", facts.now, detail)


def _account_kind(account: AccountFacts) -> str | None:
    if account.is_spent:
        return "allowance_spent"
    low, almost_spent = ledger.WARNING_PERCENTS
    percent = account.used_percent or 0.0
    return (
        "allowance_almost_spent" if percent >= almost_spent else "allowance_low" if percent >= low else None
    )


def _keys(facts: Facts, _: Bounds) -> Iterator[Alarm]:
    for name, problem in (facts.key_problems or {}).items():
        yield Alarm("key_unreadable", name, facts.now, problem)


def _room(facts: Facts, _: Bounds) -> Iterator[Alarm]:
    if facts.free_bytes is not None and facts.free_bytes < facts.keep_free_bytes:
        free, keep = units.format_size(facts.free_bytes), units.format_size(facts.keep_free_bytes)
        yield Alarm("room_low", "store", facts.now, f"{free} are free, {keep} are to stay free")


def _clock(facts: Facts, bounds: Bounds) -> Iterator[Alarm]:
    ahead_s = facts.clock_ahead_s
    if ahead_s is not None and abs(ahead_s) > bounds.max_clock_skew_s:
        which = "ahead of" if ahead_s > 0 else "behind"
        detail = f"this machine's clock is {abs(ahead_s):.0f} s {which} the registry's"
        yield Alarm("clock_skew", "clock", facts.now, detail)


# ------------------------------------------------------------------------------------------------- what days hold


def _recent(facts: Facts, bounds: Bounds) -> Iterator[DayFacts]:
    return (day for day in facts.days if day.age_days <= bounds.look_back_days)


def _listed(facts: Facts) -> Mapping[str, list[tuple[DayFacts, Listing]]]:
    """The days of each family that list something, oldest first."""
    families: dict[str, list[tuple[DayFacts, Listing]]] = {}
    for day in sorted(facts.days, key=lambda day: day.day):
        if day.listing is not None and day.listing.filings:
            families.setdefault(day.family, []).append((day, day.listing))
    return families


def _casings(facts: Facts, bounds: Bounds) -> Iterator[Alarm]:
    for listed in _listed(facts).values():
        for (before, earlier), (day, listing) in itertools.pairwise(listed):
            if day.age_days > bounds.look_back_days or listing.casing == earlier.casing:
                continue
            detail = f"{day.day}: {listing.casing}, {before.day}: {earlier.casing}"
            yield Alarm("casing_changed", day.group, listing.stored_at, detail, day.group)


def _unknown_names(facts: Facts, bounds: Bounds) -> Iterator[Alarm]:
    """Once a name, however many filings and days carry it."""
    seen: set[tuple[str, str]] = set()
    for day in sorted(_recent(facts, bounds), key=lambda day: day.day):
        for kind, names in _names_in(day):
            for name, count in names.items():
                subject = f"{day.family} {name}"
                if (kind, subject) not in seen:
                    seen.add((kind, subject))
                    since_at = day.listing.stored_at if day.listing else day.published_at
                    yield Alarm(
                        kind, subject, since_at, f"{name!r}: {count} times on {day.day}, the first such day"
                    )


def _names_in(day: DayFacts) -> Iterator[tuple[str, Mapping[str, int]]]:
    if day.listing is not None:
        yield "unknown_field", day.listing.unknown_fields
        yield "unknown_model", day.listing.unknown_models
    yield "unknown_label", day.unknown_labels


def _missing_fields(facts: Facts, _: Bounds) -> Iterator[Alarm]:
    """A field that was always there stays missed until a day has it again, or the days that had it are too old."""
    for family, listed in _listed(facts).items():
        missed: dict[str, Alarm] = {}
        for number, (day, listing) in enumerate(listed):
            for field in [field for field in missed if listing.has_mostly(field)]:
                del missed[field]
            for field in _usual_fields(listed[max(0, number - _DAYS_BEFORE) : number]):
                without = listing.filings - listing.fields.get(field, 0)
                if field not in missed and not listing.has_mostly(field) and without >= _FEW_WITHOUT:
                    detail = f"{field}: {without} of {listing.filings} filings of {day.day} lack it"
                    missed[field] = Alarm(
                        "field_missing", f"{family} {field}", listing.stored_at, detail, day.group
                    )
        yield from missed.values()


def _usual_fields(before: Iterable[tuple[DayFacts, Listing]]) -> list[str]:
    """The fields that most filings of some days have."""
    filings, fields = 0, Counter[str]()
    for _, listing in before:
        filings += listing.filings
        fields.update(listing.fields)
    return [field for field, count in fields.items() if count >= filings * _MOST]


_RULES: tuple[Callable[[Facts, Bounds], Iterator[Alarm]], ...] = (
    _answers,
    _unreadable_lists,
    _open_days,
    _json_shares,
    _missing_fields,
    _unknown_names,
    _casings,
    _lanes,
    _accounts,
    _keys,
    _room,
    _clock,
)


# ------------------------------------------------------------------------------------------------- what is said of it


class Told(msgspec.Struct, frozen=True):
    """An alarm that stands and was said; `told_at` is when it was said last."""

    alarm: Alarm
    told_at: float


class News(NamedTuple):
    """What has to be said now: alarms that are new, those that still stand and are told again, those that are over.

    `told` is what stands after it was said.
    """

    raised: Sequence[Alarm]
    repeated: Sequence[Alarm]
    cleared: Sequence[Alarm]
    told: Sequence[Told]


def news(told: Sequence[Told], now_standing: Sequence[Alarm], facts: Facts, repeat_s: float) -> News:
    """Compare what stands with what was said before. An alarm keeps the instant since when it stands."""
    before = {each.alarm.identity: each for each in told}
    current = {alarm.identity: alarm for alarm in merged(told, now_standing, facts)}
    raised = [alarm for identity, alarm in current.items() if identity not in before]
    repeated = [
        alarm for identity, alarm in current.items() if _is_due(before.get(identity), facts.now, repeat_s)
    ]
    cleared = [each.alarm for identity, each in before.items() if identity not in current]
    said = {alarm.identity for alarm in (*raised, *repeated)}
    after = [
        Told(alarm, facts.now if identity in said else before[identity].told_at)
        for identity, alarm in current.items()
    ]
    return News(raised, repeated, cleared, after)


def merged(told: Sequence[Told], now_standing: Sequence[Alarm], facts: Facts) -> list[Alarm]:
    """What stands now, each since it was first said, and what was said of which these facts know nothing."""
    before = {each.alarm.identity: each.alarm for each in told}
    kept = [alarm for alarm in before.values() if alarm.kind in facts.unknown_kinds]
    return [*(_since_first(alarm, before) for alarm in now_standing), *kept]


def _since_first(alarm: Alarm, before: Mapping[tuple[str, str], Alarm]) -> Alarm:
    known = before.get(alarm.identity)
    if known is None or known.since_at >= alarm.since_at:
        return alarm
    return msgspec.structs.replace(alarm, since_at=known.since_at)


def _is_due(told: Told | None, now: float, repeat_s: float) -> bool:
    """Whether it is time to say it again; a clock that was set back is no reason to be silent."""
    return told is not None and not 0.0 <= now - told.told_at < repeat_s


# ------------------------------------------------------------------------------------------------- remembered


class _Remembered(msgspec.Struct, frozen=True):
    """The file in the store in which it is remembered what was said."""

    format: int
    told: tuple[Told, ...]


_FORMAT = 1


def told_text(told: Sequence[Told]) -> str:
    """What was said, as the text of a file."""
    return msgspec.json.format(msgspec.json.encode(_Remembered(_FORMAT, tuple(told)))).decode() + "\n"


def told_of(text: str | None) -> Sequence[Told]:
    """What a file says was said; nothing if there is none, or it cannot be understood: then it is said again."""
    try:
        known = msgspec.json.decode(text or "", type=_Remembered)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return ()
    return [each for each in known.told if each.alarm.kind in KINDS] if known.format == _FORMAT else ()
