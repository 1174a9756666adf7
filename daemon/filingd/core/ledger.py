"""What may be spent of an account, and what was: calls and money by calendar month, in whole calls and millionths of a euro.

**The promise.** A call is *reserved* before it is sent, and only if neither the calls nor the money of the month are used up
with it; what is reserved is durable before the request leaves. So whatever happens after, as many calls are booked as the
registry can have counted, or more, and none is sent that is not allowed. A reservation is *settled* (spent) when the request may
have left, whatever became of it: nobody knows what a registry bills for a broken call. It is *released* only if no byte left.
What a start finds reserved counts as spent.

**Months** are those of the account's time zone. A call that is under way when a month ends, or within `TURN_MARGIN_S` of that, is
booked in both months, since nobody knows in which the registry counts it: the clocks of two parties are never the same. In those
seconds nothing new is reserved.

**Spread.** With `AccountSpec.is_spread` paid calls are spaced: the time that is left, over the calls that are left. The spacing
leaves room behind the last of them, so that it can still be made.

All of it is arithmetic on unix seconds that are passed in.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec.structs import replace

from filingd.core import calendar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from filingd.core.model import AccountSpec, GateSpec, LaneSpec

MICROEUR_PER_EUR = 1_000_000
WARNING_PERCENTS = (80, 95)
TURN_MARGIN_S = 5.0  # on either side of the turn of a month
LATE_ARRIVAL_S = (
    900.0  # a call that was under way at a death arrived this long after it was begun, at the latest
)
QUOTA_PROBE_S = 24 * 3600.0
LEAST_PACE_S = 900.0  # from less of a day no pace is told

CALLS_SPENT, BUDGET_SPENT, MONTH_TURNS, SPREAD = "calls_spent", "budget_spent", "month_turns", "spread"


class Spending(msgspec.Struct, frozen=True):
    """What an account spent in one calendar month.

    `reserved_*` are of calls that are not settled. `warned_percent` is the highest of `WARNING_PERCENTS` that was told.
    `first_at` and `last_at` are when something was reserved first and last, `paid_at` when a call that costs money was. `day_*`
    is what was reserved (less what was released) on the day of the last.
    """

    account: str
    month: str  # such as 2026-11
    spent_calls: int = 0
    spent_microeur: int = 0
    reserved_calls: int = 0
    reserved_microeur: int = 0
    warned_percent: int = 0
    first_at: float | None = None
    last_at: float | None = None
    paid_at: float | None = None
    day_calls: int = 0
    day_microeur: int = 0

    @property
    def used_calls(self) -> int:
        """Calls that are spent or reserved."""
        return self.spent_calls + self.reserved_calls

    @property
    def used_microeur(self) -> int:
        """Money that is spent or reserved."""
        return self.spent_microeur + self.reserved_microeur


# ---------------------------------------------------------------- months


def month_at(now: float, zone: dt.tzinfo) -> str:
    """The calendar month in `zone` at an instant, such as 2026-11."""
    return _month_of(calendar.day_at(now, zone))


@functools.lru_cache(maxsize=64)
def month_begins_at(month: str, zone: dt.tzinfo) -> float:
    """The instant at which a month begins in `zone`."""
    return dt.datetime.fromisoformat(f"{month}-01").replace(tzinfo=zone).timestamp()


@functools.lru_cache(maxsize=64)
def month_ends_at(month: str, zone: dt.tzinfo) -> float:
    """The instant at which the next one begins."""
    return month_begins_at(_next_month(month), zone)


def _next_month(month: str) -> str:
    first = dt.date.fromisoformat(f"{month}-01")
    return _month_of(first + dt.timedelta(days=31))


def months_about(now: float, zone: dt.tzinfo) -> set[str]:
    """The months in which the registry may count what reaches it now: both at the turn, since its clock is not ours."""
    return {month_at(now - TURN_MARGIN_S, zone), month_at(now + TURN_MARGIN_S, zone)}


def _month_of(day: dt.date) -> str:
    return f"{day.year:04}-{day.month:02}"


# ---------------------------------------------------------------- transitions


def reserved(spending: Spending, price_microeur: int, now: float, zone: dt.tzinfo) -> Spending:
    """One more call is under way."""
    last_at = spending.last_at
    is_same_day = last_at is not None and calendar.day_at(now, zone) == calendar.day_at(last_at, zone)
    return replace(
        spending,
        reserved_calls=spending.reserved_calls + 1,
        reserved_microeur=spending.reserved_microeur + price_microeur,
        first_at=now if spending.first_at is None else spending.first_at,
        last_at=now,
        paid_at=now if price_microeur else spending.paid_at,
        day_calls=1 + (spending.day_calls if is_same_day else 0),
        day_microeur=price_microeur + (spending.day_microeur if is_same_day else 0),
    )


def settled(spending: Spending, price_microeur: int) -> Spending:
    """A call that was reserved was sent, or may have been."""
    assert spending.reserved_calls > 0, "a call was settled that was not reserved"
    return replace(
        spending,
        reserved_calls=spending.reserved_calls - 1,
        reserved_microeur=spending.reserved_microeur - price_microeur,
        spent_calls=spending.spent_calls + 1,
        spent_microeur=spending.spent_microeur + price_microeur,
    )


def released(spending: Spending, price_microeur: int) -> Spending:
    """No byte of a call that was reserved left."""
    assert spending.reserved_calls > 0, "a call was released that was not reserved"
    return replace(
        spending,
        reserved_calls=spending.reserved_calls - 1,
        reserved_microeur=spending.reserved_microeur - price_microeur,
        day_calls=max(0, spending.day_calls - 1),
        day_microeur=max(0, spending.day_microeur - price_microeur),
    )


def recovered(spendings: Sequence[Spending], zone: dt.tzinfo) -> list[Spending]:
    """What a start goes on with, of one account, given what is recorded: what was reserved at a death counts as spent.

    Where that death may have been at the end of a month, it counts in the next one as well.
    """
    found = {spending.month: spending for spending in spendings}
    for spending in sorted(spendings, key=lambda each: each.month):
        month = _next_month(spending.month)
        if spending.reserved_calls and _may_arrive_later(spending, zone):
            following = found.get(month) or Spending(spending.account, month)
            found[month] = _with_spent(following, spending.reserved_calls, spending.reserved_microeur)
    return [_all_spent(each) for each in found.values()]


def _may_arrive_later(spending: Spending, zone: dt.tzinfo) -> bool:
    """Whether what was under way last can have arrived in the next month."""
    ends_at = month_ends_at(spending.month, zone)
    return spending.last_at is None or spending.last_at > ends_at - LATE_ARRIVAL_S


def _all_spent(spending: Spending) -> Spending:
    clear = replace(spending, reserved_calls=0, reserved_microeur=0)
    return _with_spent(clear, spending.reserved_calls, spending.reserved_microeur)


def _with_spent(spending: Spending, calls: int, microeur: int) -> Spending:
    return replace(
        spending, spent_calls=spending.spent_calls + calls, spent_microeur=spending.spent_microeur + microeur
    )


# ---------------------------------------------------------------- what is left, and when it goes on


class Left(NamedTuple):
    """What is left of a month; None where there is no limit."""

    calls: int | None
    microeur: int | None


class Closing(NamedTuple):
    """Why no call may be begun now, and until when: one of `CALLS_SPENT`, `BUDGET_SPENT`, `MONTH_TURNS`, `SPREAD`."""

    reason: str
    until_at: float

    @property
    def is_stop(self) -> bool:
        """Whether it is a stop of the month, no matter of seconds or of pace."""
        return self.reason in {CALLS_SPENT, BUDGET_SPENT}


def quota_pause_s(now: float, zone: dt.tzinfo) -> float:
    """How long a registry is left alone whose quota is used up, if it does not say when there is a new one.

    Until the month turns; but it is asked once a day, since nobody knows whether its period is our month.
    """
    return min(QUOTA_PROBE_S, month_ends_at(month_at(now, zone), zone) + TURN_MARGIN_S - now)


def left_of(spec: AccountSpec, spending: Spending) -> Left:
    """What is left; never below zero, although a limit may have been lowered."""
    calls, money = spec.calls_per_month, spec.budget_per_month_microeur
    return Left(
        None if calls is None else max(0, calls - spending.used_calls),
        None if money is None else max(0, money - spending.used_microeur),
    )


def calls_left(spec: AccountSpec, spending: Spending, price_microeur: int) -> int | None:
    """How many calls of this price are left; None if there is no limit to them."""
    left = left_of(spec, spending)
    paid = None if left.microeur is None or not price_microeur else left.microeur // price_microeur
    return min((count for count in (left.calls, paid) if count is not None), default=None)


def closing(
    spec: AccountSpec, spending: Spending, price_microeur: int, now: float, zone: dt.tzinfo
) -> Closing | None:
    """Why a call of this price may not be begun now; None if it may. `spending` is that of the month at `now`."""
    ends_at = month_ends_at(spending.month, zone)
    opens_at = ends_at + TURN_MARGIN_S
    left = left_of(spec, spending)
    if left.calls == 0:
        return Closing(CALLS_SPENT, opens_at)
    if left.microeur is not None and left.microeur < price_microeur:
        return Closing(BUDGET_SPENT, opens_at)
    if now > ends_at - TURN_MARGIN_S:
        return Closing(MONTH_TURNS, opens_at)
    begun_at = month_begins_at(spending.month, zone) + TURN_MARGIN_S
    if now < begun_at:
        return Closing(MONTH_TURNS, begun_at)
    paced_at = _paced_at(spec, spending, price_microeur, ends_at)
    is_ahead = now < paced_at and not (spending.paid_at or now) > now  # else the clock was set back
    return Closing(SPREAD, paced_at) if is_ahead else None


def _paced_at(spec: AccountSpec, spending: Spending, price_microeur: int, ends_at: float) -> float:
    """When the next call of this price has its turn."""
    if not (spec.is_spread and price_microeur) or spending.paid_at is None:
        return -math.inf
    calls = calls_left(spec, spending, price_microeur)
    if calls is None:
        return -math.inf
    # One more than are left: the last of them comes a whole space before the month ends, not when it is over.
    return spending.paid_at + max(0.0, ends_at - TURN_MARGIN_S - spending.paid_at) / (calls + 1)


# ---------------------------------------------------------------- warnings and outlook


def used_percent(spec: AccountSpec, spending: Spending) -> float | None:
    """How much of the month's calls or money is used, whichever is more; None without a limit."""
    parts = (
        (spending.used_calls, spec.calls_per_month),
        (spending.used_microeur, spec.budget_per_month_microeur),
    )
    shares = [100.0 * used / whole if whole else 100.0 for used, whole in parts if whole is not None]
    return max(shares, default=None)


def warning_due(spec: AccountSpec, spending: Spending) -> int | None:
    """The threshold that was reached and has not been told this month; None if there is none."""
    percent = used_percent(spec, spending)
    reached = [each for each in WARNING_PERCENTS if percent is not None and percent >= each]
    return reached[-1] if reached and reached[-1] > spending.warned_percent else None


def warned(spending: Spending, percent: int) -> Spending:
    """It was told."""
    return replace(spending, warned_percent=percent)


def runs_out_at(spec: AccountSpec, spending: Spending, now: float, zone: dt.tzinfo) -> float | None:
    """When calls or money are used up at today's pace; None if not before the month ends.

    Today's pace is what was begun today over the time since midnight, or since the first call of the month.
    """
    left = left_of(spec, spending)
    if 0 in left:
        return now
    midnight_at = calendar.instant_of(calendar.day_at(now, zone), dt.time.min, zone)
    if spending.last_at is None or spending.last_at < midnight_at:
        return None
    elapsed_s = max(LEAST_PACE_S, now - max(midnight_at, spending.first_at or midnight_at))
    used = ((left.calls, spending.day_calls), (left.microeur, spending.day_microeur))
    spans_s = [rest * elapsed_s / today for rest, today in used if rest is not None and today]
    at = now + min(spans_s, default=math.inf)
    return at if at < month_ends_at(spending.month, zone) else None


# ---------------------------------------------------------------- what a plan costs


class Cost(msgspec.Struct, frozen=True):
    """What planned calls take of one account: all of them, those that cost money, and the money.

    `left_calls` and `left_microeur` are what is left this month before them. `months` is how many calendar months they take, this
    one included; None if they can never be made, because a month has no room for one of them.
    """

    account: str
    calls: int
    paid_calls: int
    microeur: int
    left_calls: int | None
    left_microeur: int | None
    months: int | None


def cost_of(
    spec: AccountSpec, spending: Spending, lanes: Iterable[LaneSpec], calls_by_lane: Mapping[str, int]
) -> Cost:
    """What so many calls on each lane take of an account; lanes that spend of another one do not count."""
    counted = [
        (calls_by_lane.get(lane.name, 0), lane.price_microeur) for lane in lanes if lane.account == spec.name
    ]
    calls = sum(count for count, _ in counted)
    paid_calls = sum(count for count, price in counted if price)
    microeur = sum(count * price for count, price in counted)
    dearest = max((price for count, price in counted if count), default=0)
    left = left_of(spec, spending)
    spans = [
        _months(calls, left.calls, spec.calls_per_month, 1),
        _months(microeur, left.microeur, spec.budget_per_month_microeur, dearest),
    ]
    months = None if None in spans else max(span for span in spans if span is not None)
    return Cost(spec.name, calls, paid_calls, microeur, left.calls, left.microeur, months)


def _months(wanted: int, left: int | None, a_month: int | None, piece: int) -> int | None:
    """How many months an amount takes that is used in pieces; None if a month has no room for one of them."""
    if left is None or a_month is None or wanted <= left:
        return 1
    usable = a_month // piece * piece if piece else a_month
    if not usable:
        return None
    return 1 + -(-(wanted - (left // piece * piece if piece else left)) // usable)


def least_time_s(
    calls_by_lane: Mapping[str, int], lanes: Iterable[LaneSpec], gates: Iterable[GateSpec]
) -> float:
    """How long so many calls on each lane take at the least: lanes run beside each other, but for those that share a gate."""
    rates = {gate.name: gate.calls_per_s for gate in gates}
    calls: dict[str, int] = {}
    for lane in lanes:
        queue = lane.gate or lane.name
        rates.setdefault(queue, lane.calls_per_s)
        calls[queue] = calls.get(queue, 0) + calls_by_lane.get(lane.name, 0)
    return max((count / rates[queue] for queue, count in calls.items()), default=0.0)


def as_eur(microeur: int) -> str:
    """An amount for people, exact: `50.00`, `0.019`."""
    whole, fraction = divmod(abs(microeur), MICROEUR_PER_EUR)
    digits = f"{fraction:06d}"
    shown = digits[:2] if digits[2:] == "0000" else digits.rstrip("0")
    return f"{'-' if microeur < 0 else ''}{whole:,}.{shown}"
