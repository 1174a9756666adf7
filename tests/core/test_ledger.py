"""Months, reservations, stops, spread and outlook of an account: pure arithmetic, over tables and properties."""

from __future__ import annotations

import datetime as dt
import itertools
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from filingd.core import ledger
from filingd.core.ledger import (
    BUDGET_SPENT,
    CALLS_SPENT,
    LATE_ARRIVAL_S,
    MONTH_TURNS,
    SPREAD,
    TURN_MARGIN_S,
    Left,
    Spending,
)
from filingd.core.model import AccountSpec, GateSpec, LaneSpec

AMSTERDAM = zoneinfo.ZoneInfo("Europe/Amsterdam")
DAY_S = 86_400.0
PRICE = 20_000  # 0.02 EUR
NAME = "reg/main"


def at(text: str) -> float:
    """An instant as clocks in Amsterdam show it."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=AMSTERDAM).timestamp()


NOON = at("2026-11-16T12:00")


def account(calls: int | None = None, eur: float | None = None, *, is_spread: bool = False) -> AccountSpec:
    budget = None if eur is None else round(eur * 1_000_000)
    return AccountSpec(NAME, "Europe/Amsterdam", calls, budget, is_spread)


def month(calls: int = 0, microeur: int = 0, **fields: object) -> Spending:
    return replace(Spending(NAME, "2026-11", calls, microeur), **fields)


def reserve(spending: Spending, price: int = PRICE, now: float = NOON) -> Spending:
    return ledger.reserved(spending, price, now, AMSTERDAM)


def closing(spec: AccountSpec, spending: Spending, price: int = PRICE, now: float = NOON) -> str | None:
    found = ledger.closing(spec, spending, price, now, AMSTERDAM)
    return None if found is None else found.reason


# ---------------------------------------------------------------- months


@pytest.mark.parametrize(
    ("instant", "month_name"),
    [
        ("2026-10-31T23:59:59+01:00", "2026-10"),
        ("2026-10-31T23:30:00+00:00", "2026-11"),  # half past midnight in Amsterdam
        ("2027-01-01T00:00:00+01:00", "2027-01"),
        ("2026-08-31T22:00:00+00:00", "2026-09"),  # summer time
    ],
)
def test_a_month_is_that_of_the_accounts_zone(instant: str, month_name: str) -> None:
    assert ledger.month_at(dt.datetime.fromisoformat(instant).timestamp(), AMSTERDAM) == month_name


@given(st.dates(dt.date(2020, 1, 1), dt.date(2040, 12, 1)))
def test_months_follow_each_other_without_a_gap_and_summer_time_changes_their_length(day: dt.date) -> None:
    name = day.strftime("%Y-%m")
    begins_at, ends_at = ledger.month_begins_at(name, AMSTERDAM), ledger.month_ends_at(name, AMSTERDAM)
    assert ledger.month_at(begins_at, AMSTERDAM) == name == ledger.month_at(ends_at - 1, AMSTERDAM)
    assert ledger.month_at(begins_at - 1, AMSTERDAM) != name != ledger.month_at(ends_at, AMSTERDAM)
    days = (ends_at - begins_at) / DAY_S
    assert round(days * 24) - round(days) * 24 == {3: -1, 10: 1}.get(day.month, 0)


# ---------------------------------------------------------------- reserving


def test_a_reservation_is_spent_or_given_back_to_the_last_call_and_cent() -> None:
    under_way = reserve(reserve(month(7, 140_000)))
    assert (under_way.used_calls, under_way.used_microeur) == (9, 180_000)
    one_of_each = ledger.released(ledger.settled(under_way, PRICE), PRICE)
    assert (one_of_each.spent_calls, one_of_each.spent_microeur) == (8, 160_000)
    assert (one_of_each.reserved_calls, one_of_each.reserved_microeur) == (0, 0)


@pytest.mark.parametrize("transition", [ledger.settled, ledger.released])
def test_what_was_not_reserved_is_neither_settled_nor_released(transition: object) -> None:
    with pytest.raises(AssertionError, match="not reserved"):
        transition(month(3), PRICE)  # type: ignore[operator]


actions = st.lists(
    st.tuples(st.sampled_from(["reserve", "settle", "release", "die"]), st.sampled_from([0, PRICE, 7]))
)


@given(actions, st.integers(0, 12), st.integers(0, 200_000))
def test_whatever_happens_no_limit_is_passed_and_nothing_sent_is_forgotten(
    done: list[tuple[str, int]], calls: int, budget: int
) -> None:
    spec = AccountSpec(NAME, "Europe/Amsterdam", calls, budget)
    spending, open_prices, sent_calls, sent_microeur = month(), list[int](), 0, 0
    for action, price in done:
        if action == "reserve" and ledger.closing(spec, spending, price, NOON, AMSTERDAM) is None:
            spending = reserve(spending, price)
            open_prices.append(price)
        elif action == "die":
            (spending,) = ledger.recovered([spending], AMSTERDAM)
            sent_calls, sent_microeur = sent_calls + len(open_prices), sent_microeur + sum(open_prices)
            open_prices = []
        elif open_prices and action == "settle":
            paid = open_prices.pop()
            spending, sent_calls, sent_microeur = (
                ledger.settled(spending, paid), sent_calls + 1, sent_microeur + paid,
            )  # fmt: skip
        elif open_prices and action == "release":
            spending = ledger.released(spending, open_prices.pop())
        assert (spending.spent_calls, spending.spent_microeur) == (sent_calls, sent_microeur)
        assert (spending.reserved_calls, spending.reserved_microeur) == (len(open_prices), sum(open_prices))
        assert spending.used_calls <= calls
        assert spending.used_microeur <= budget


# ---------------------------------------------------------------- stops


@pytest.mark.parametrize(
    ("spec", "spending", "price", "reason"),
    [
        (account(calls=10), month(9), PRICE, None),
        (account(calls=10), month(10), PRICE, CALLS_SPENT),
        (account(calls=10), month(10), 0, CALLS_SPENT),
        (account(calls=10), month(9, reserved_calls=1), PRICE, CALLS_SPENT),
        (account(eur=0.05), month(1, 20_000), PRICE, None),
        (account(eur=0.05), month(2, 40_000), PRICE, BUDGET_SPENT),
        (account(eur=0.05), month(2, 40_000), 0, None),
        (account(eur=0.04), month(1, 20_000, reserved_microeur=20_000), PRICE, BUDGET_SPENT),
        (account(eur=0.0), month(), PRICE, BUDGET_SPENT),
        (account(eur=0.0), month(), 0, None),
        (account(calls=0), month(), 0, CALLS_SPENT),
        (account(), month(10**9, 10**15), PRICE, None),
        (account(calls=5, eur=1.0), month(9), PRICE, CALLS_SPENT),  # the limit was lowered
    ],
)
def test_a_month_stops_at_its_calls_and_at_its_budget(
    spec: AccountSpec, spending: Spending, price: int, reason: str | None
) -> None:
    assert closing(spec, spending, price) == reason


def test_a_stop_lasts_until_the_month_has_turned_for_whatever_clock() -> None:
    stop = ledger.closing(account(calls=1), month(1), 0, NOON, AMSTERDAM)
    assert stop is not None
    assert stop.is_stop
    assert stop.until_at == at("2026-12-01T00:00") + TURN_MARGIN_S


def test_around_the_turn_of_a_month_nothing_is_begun_so_that_no_call_falls_into_the_other_one() -> None:
    turn_at = at("2026-12-01T00:00")
    december = Spending(NAME, "2026-12")
    assert closing(account(calls=9), month(), now=turn_at - TURN_MARGIN_S) is None
    assert closing(account(calls=9), month(), now=turn_at - TURN_MARGIN_S + 0.001) == MONTH_TURNS
    assert closing(account(calls=9), december, now=turn_at) == MONTH_TURNS
    assert closing(account(calls=9), december, now=turn_at + TURN_MARGIN_S) is None


# ---------------------------------------------------------------- what a start finds


def test_what_a_start_finds_reserved_counts_as_spent() -> None:
    found = reserve(reserve(month(5, 100_000)))
    (after,) = ledger.recovered([found], AMSTERDAM)
    assert (after.spent_calls, after.spent_microeur, after.reserved_calls) == (7, 140_000, 0)


def test_what_was_under_way_at_a_death_near_the_end_of_a_month_counts_in_both() -> None:
    late_at = at("2026-12-01T00:00") - LATE_ARRIVAL_S + 1
    rows = [reserve(month(5), now=late_at), Spending(NAME, "2026-12", 3)]
    november, december = ledger.recovered(rows, AMSTERDAM)
    assert (november.spent_calls, december.spent_calls, december.spent_microeur) == (6, 4, PRICE)
    assert ledger.recovered([november, december], AMSTERDAM) == [november, december]
    early = reserve(month(5), now=late_at - 2)
    assert [each.month for each in ledger.recovered([early], AMSTERDAM)] == ["2026-11"]


# ---------------------------------------------------------------- spread


def run_of(spec: AccountSpec, spending: Spending, price: int, now: float) -> list[float]:
    """Make each call as soon as it may be made, to the end of the month; when they were made."""
    made_at, ends_at = [], ledger.month_ends_at(spending.month, AMSTERDAM)
    while now < ends_at:
        shut = ledger.closing(spec, spending, price, now, AMSTERDAM)
        if shut is None:
            spending = ledger.settled(ledger.reserved(spending, price, now, AMSTERDAM), price)
            made_at.append(now)
        else:
            assert shut.until_at > now, "it waits for what is over"
            now = shut.until_at
    return made_at


@given(st.integers(1, 40), st.floats(0, 29.9), st.booleans())
def test_spread_calls_last_to_the_end_of_the_month_and_all_of_them_can_be_made(
    calls: int, begins_day: float, limits_money: bool
) -> None:
    spec = account(None if limits_money else calls, calls * 0.02 if limits_money else None, is_spread=True)
    begun_at = at("2026-11-01T00:00") + begins_day * DAY_S
    made_at = run_of(spec, month(), PRICE, begun_at)
    assert len(made_at) == calls
    spaces_s = [after - before for before, after in itertools.pairwise(made_at)]
    even_s = (at("2026-12-01T00:00") - TURN_MARGIN_S - made_at[0]) / calls
    assert all(abs(space_s - even_s) < 1.0 for space_s in spaces_s)


def test_calls_without_a_price_are_not_spaced_but_make_those_that_are_left_rarer() -> None:
    spec = account(calls=100, is_spread=True)
    spending = reserve(month())
    assert closing(spec, spending, 0, NOON + 1) is None
    shut = ledger.closing(spec, spending, PRICE, NOON + 1, AMSTERDAM)
    fewer = ledger.closing(spec, reserve(spending, 0, NOON + 1), PRICE, NOON + 1, AMSTERDAM)
    assert shut is not None
    assert fewer is not None
    assert shut.reason == SPREAD
    assert not shut.is_stop
    assert fewer.until_at > shut.until_at


def test_spreading_nothing_and_without_a_limit_divides_by_nothing() -> None:
    assert closing(account(is_spread=True), reserve(month())) is None
    assert closing(account(calls=1, is_spread=True), reserve(month())) == CALLS_SPENT
    assert closing(account(calls=0, is_spread=True), month()) == CALLS_SPENT
    assert closing(account(eur=0.019, is_spread=True), month()) == BUDGET_SPENT


def test_a_clock_that_was_set_back_does_not_make_spread_calls_wait_for_its_former_time() -> None:
    assert closing(account(calls=100, is_spread=True), reserve(month(), now=NOON + DAY_S)) is None


# ---------------------------------------------------------------- warnings and outlook


def test_each_threshold_is_told_once_and_the_higher_one_alone_if_both_are_passed() -> None:
    spec, told, spending = account(calls=1000), list[tuple[int, int]](), month()
    for _ in range(1000):
        spending = reserve(spending)
        if (percent := ledger.warning_due(spec, spending)) is not None:
            told.append((spending.used_calls, percent))
            spending = ledger.warned(spending, percent)
    assert told == [(800, 80), (950, 95)]
    assert ledger.warning_due(spec, month(990)) == 95
    assert ledger.warning_due(account(eur=1.0), month(1, 800_000)) == 80
    assert ledger.warning_due(account(), month(10**9)) is None


def test_at_todays_pace_it_runs_out_before_the_month_ends_or_not() -> None:
    def outlook(spec: AccountSpec, calls_today: int, now: float = NOON) -> float | None:
        spending = month(500, first_at=at("2026-11-02T00:00"))
        for _ in range(calls_today):
            spending = ledger.settled(reserve(spending, now=NOON), PRICE)
        return ledger.runs_out_at(spec, spending, now, AMSTERDAM)

    ten_at_night = pytest.approx(at("2026-11-16T22:00"), abs=1.0)
    assert outlook(account(calls=720), 120) == ten_at_night  # 10 an hour, 100 left
    assert outlook(account(eur=4.4), 120) == ten_at_night  # 0.20 an hour, 2.00 left
    assert outlook(account(calls=900, eur=4.4), 120) == ten_at_night
    assert outlook(account(calls=100_000), 120) is None
    assert outlook(account(calls=720), 0) is None
    assert outlook(account(), 120) is None
    assert outlook(account(calls=620), 120) == NOON
    assert outlook(account(calls=720), 120, now=NOON + DAY_S) is None  # nothing yet today


def test_the_pace_of_a_first_day_begins_with_its_first_call() -> None:
    spending = month()
    for minute in range(30):
        spending = ledger.settled(reserve(spending, now=NOON + 60 * minute), PRICE)
    out_at = ledger.runs_out_at(account(calls=60), spending, NOON + 1800, AMSTERDAM)
    assert out_at == pytest.approx(NOON + 3600, abs=1.0)


# ---------------------------------------------------------------- plans

LANES = [
    LaneSpec("reg/search", 10.0, gate="reg", account=NAME),
    LaneSpec("reg/profile", 10.0, gate="reg", account=NAME, price_microeur=PRICE),
    LaneSpec("reg/other", 10.0, gate="reg", account="reg/other", price_microeur=PRICE),
    LaneSpec("old/desk", 2.0),
]


def cost(spec: AccountSpec, spending: Spending, **calls: int) -> ledger.Cost:
    return ledger.cost_of(spec, spending, LANES, {f"reg/{lane}": count for lane, count in calls.items()})


def test_a_plan_is_told_in_calls_and_euros_of_each_account() -> None:
    planned = cost(account(calls=1000, eur=50), month(100, 2_000_000), search=40, profile=300, other=9)
    assert planned == ledger.Cost(NAME, 340, 300, 6_000_000, 900, 48_000_000, 1)


@pytest.mark.parametrize(
    ("spec", "spending", "calls", "months"),
    [
        (account(eur=50), month(), 2500, 1),
        (account(eur=50), month(), 2501, 2),
        (account(eur=50), month(2400, 48_000_000), 2600, 2),
        (account(eur=50), month(2400, 48_000_000), 2601, 3),
        (account(calls=100), month(100), 1, 2),
        (account(calls=0), month(), 1, None),
        (account(eur=0.019), month(), 1, None),
        (account(eur=0.05), month(), 5, 3),  # two a month, and a cent that buys nothing
        (account(), month(), 10**9, 1),
        (account(eur=0.0), month(), 0, 1),
    ],
)
def test_a_plan_says_how_many_months_it_takes(
    spec: AccountSpec, spending: Spending, calls: int, months: int | None
) -> None:
    assert cost(spec, spending, profile=calls).months == months


def test_lanes_that_share_a_gate_take_their_time_together() -> None:
    calls = {"reg/search": 100, "reg/profile": 200, "reg/other": 300, "old/desk": 10}
    assert ledger.least_time_s(calls, LANES, [GateSpec("reg", 100.0)]) == 6.0
    assert ledger.least_time_s({"old/desk": 10}, LANES, [GateSpec("reg", 100.0)]) == 5.0
    assert ledger.least_time_s({}, [], []) == 0.0


def test_what_is_left_is_never_below_nothing() -> None:
    assert ledger.left_of(account(calls=5, eur=0.01), month(9, 50_000)) == Left(0, 0)


@pytest.mark.parametrize(
    ("microeur", "text"),
    [(50_000_000, "50.00"), (20_000, "0.02"), (19_000, "0.019"), (1, "0.000001"), (0, "0.00"),
     (1_234_567_890_000, "1,234,567.89"), (-20_000, "-0.02"), (100_000, "0.10")],
)  # fmt: skip
def test_an_amount_is_written_to_the_last_fraction(microeur: int, text: str) -> None:
    assert ledger.as_eur(microeur) == text
