"""An account at work: nothing is sent that is not booked durably, nothing beyond the month, and nothing twice."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import zoneinfo
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from engine.rig import KEY, EngineRig, serve_books
from fakes.clock import FakeClock
from fakes.http import Reply
from fakes.ledger import FakeLedger
from fakes.log import FakeLog
from fakes.registry import FakeRegistry, lane_spec
from filingd.adapters.steps import SilentSteps
from filingd.core import events, steps
from filingd.core.errors import DiskFaultError
from filingd.core.ledger import TURN_MARGIN_S, Spending
from filingd.core.model import AccountSpec, Item, State
from filingd.engine.account import Account, MonthSpentError
from filingd.engine.supervisor import Until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filingd.core.model import Request

AMSTERDAM = zoneinfo.ZoneInfo("Europe/Amsterdam")
CARD = "lib/card"
PRICE = 20_000
FREE, PAID = "lib/desk", "lib/copier"  # looking costs nothing, a copy does
MONTH = "2026-11"
TURN_AT = dt.datetime(2026, 12, 1, tzinfo=AMSTERDAM).timestamp()


class World:
    """One account and its ledger; `build` again after a death."""

    def __init__(self, now_at: float = 1_795_000_000.0, **limits: Any) -> None:
        self.spec = AccountSpec(CARD, "Europe/Amsterdam", **limits)
        self.clock = FakeClock(now_at)
        self.ledger = FakeLedger()
        self.log = FakeLog()
        self.build()

    def build(self) -> None:
        kept = list(self.ledger.kept.values())
        self.account = Account(self.spec, AMSTERDAM, kept, self.ledger, self.clock, self.log, SilentSteps())

    async def spend(self, calls: int = 1, price: int = PRICE) -> None:
        for _ in range(calls):
            reservation = await self.account.reserve(price)
            assert reservation is not None
            await reservation.prepare()
            reservation.begun()
            reservation.end()

    def kept(self, month: str = MONTH) -> Spending:
        return self.ledger.kept[CARD, month]


# ------------------------------------------------------------------ reserving


async def test_a_call_is_booked_durably_before_it_may_go_out() -> None:
    world = World()
    reservation = await world.account.reserve(PRICE)
    assert reservation is not None
    assert (world.kept().reserved_calls, world.kept().reserved_microeur) == (1, PRICE)
    reservation.begun()
    reservation.end()
    await world.account.close()
    assert (world.kept().spent_calls, world.kept().reserved_calls) == (1, 0)


async def test_a_call_of_which_no_byte_left_is_given_back_and_that_is_told() -> None:
    world, told = World(calls_per_month=1), list[str]()
    world.account.on_change.append(lambda: told.append("room"))
    reservation = await world.account.reserve(PRICE)
    assert reservation is not None
    assert await world.account.reserve(PRICE) is None
    told.clear()
    reservation.end()
    reservation.end()
    assert told == ["room"]
    await world.spend()


async def test_what_died_under_way_counts_as_spent_from_the_next_start_on() -> None:
    world = World(calls_per_month=3)
    await world.spend()
    assert await world.account.reserve(PRICE) is not None
    world.build()
    assert world.account.spending.spent_calls == 2
    await world.spend()
    assert await world.account.reserve(PRICE) is None


async def test_what_cannot_be_recorded_is_not_sent_and_not_booked() -> None:
    world = World()

    async def refuse(_: Sequence[Spending]) -> None:
        raise DiskFaultError("no")

    world.ledger.before_save = refuse
    with pytest.raises(DiskFaultError):
        await world.account.reserve(PRICE)
    assert world.account.spending.used_calls == 0
    world.ledger.before_save = None
    await world.spend()
    await world.account.close()
    assert world.kept().spent_calls == 1


async def test_all_who_wait_share_one_save_and_settling_waits_for_none() -> None:
    world = World()
    gate = asyncio.Event()

    async def slow(_: Sequence[Spending]) -> None:
        await gate.wait()

    world.ledger.before_save = slow
    waiting = [asyncio.create_task(world.account.reserve(PRICE)) for _ in range(100)]
    await asyncio.sleep(0)
    gate.set()
    reservations = await asyncio.gather(*waiting)
    assert world.ledger.saves == 1
    assert world.kept().reserved_calls == 100
    gate.clear()
    for reservation in reservations:
        assert reservation is not None
        reservation.begun()
        reservation.end()  # returns although nothing can be saved now
    assert world.account.spending.spent_calls == 100
    gate.set()
    await world.clock.sleep(1.0)
    assert (world.kept().spent_calls, world.ledger.saves) == (100, 2)


async def test_what_is_settled_while_something_is_saved_is_saved_before_long() -> None:
    world = World()
    first, second = await world.account.reserve(PRICE), await world.account.reserve(PRICE)
    assert first is not None
    assert second is not None

    async def settle_meanwhile(_: Sequence[Spending]) -> None:
        second.begun()
        second.end()

    world.ledger.before_save = settle_meanwhile
    first.begun()
    first.end()
    await world.clock.sleep(2.0)
    assert (world.kept().spent_calls, world.kept().reserved_calls) == (2, 0)


async def test_a_waiter_that_is_cancelled_is_not_booked_and_disturbs_no_other() -> None:
    world = World()
    gate = asyncio.Event()

    async def slow(_: Sequence[Spending]) -> None:
        await gate.wait()

    world.ledger.before_save = slow
    gone, stays = (asyncio.create_task(world.account.reserve(PRICE)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait({gone})
    gate.set()
    assert await stays is not None
    assert world.account.spending.reserved_calls == 1


# ------------------------------------------------------------------ the turn of a month


async def test_a_call_that_waits_across_the_turn_is_booked_in_the_month_in_which_it_goes_out() -> None:
    world = World(TURN_AT - TURN_MARGIN_S - 1)
    reservation = await world.account.reserve(PRICE)
    assert reservation is not None
    await world.clock.sleep(2 * TURN_MARGIN_S + 2)
    assert world.account.spending.reserved_calls == 1, "nobody knows yet in which month it will be counted"
    await reservation.prepare()
    assert (world.kept().used_calls, world.kept("2026-12").reserved_calls) == (0, 1)
    reservation.begun()
    reservation.end()
    await world.account.close()
    assert (world.kept().used_calls, world.kept("2026-12").spent_calls) == (0, 1)


async def test_a_call_that_is_under_way_at_the_turn_is_spent_in_both_months() -> None:
    world = World(TURN_AT - TURN_MARGIN_S - 1, calls_per_month=1)
    reservation = await world.account.reserve(PRICE)
    assert reservation is not None
    await reservation.prepare()
    reservation.begun()
    await world.clock.sleep(2 * TURN_MARGIN_S + 2)
    assert await world.account.reserve(PRICE) is None, (
        "the only call of December may be the one that is under way"
    )
    reservation.end()
    await world.account.close()
    assert (world.kept().spent_calls, world.kept("2026-12").spent_calls) == (1, 1)


async def test_a_call_that_is_answered_after_the_turn_is_spent_in_both_months_although_nobody_looked() -> (
    None
):
    world = World(TURN_AT - TURN_MARGIN_S - 1)
    reservation = await world.account.reserve(PRICE)
    assert reservation is not None
    await reservation.prepare()
    reservation.begun()
    await world.clock.sleep(2 * TURN_MARGIN_S + 2)
    reservation.end()
    await world.account.close()
    assert (world.kept().spent_calls, world.kept("2026-12").spent_calls) == (1, 1)


@pytest.mark.parametrize("sent_s", [-TURN_MARGIN_S / 2, -0.01, 0.01, TURN_MARGIN_S / 2])
async def test_a_call_that_goes_out_about_the_turn_is_booked_in_both_months_before_it_does(
    sent_s: float,
) -> None:
    world = World(TURN_AT - TURN_MARGIN_S - 1)
    reservation = await world.account.reserve(PRICE)
    assert reservation is not None
    await world.clock.sleep(TURN_MARGIN_S + 1 + sent_s)
    await reservation.prepare()
    assert (world.kept().reserved_calls, world.kept("2026-12").reserved_calls) == (1, 1)
    reservation.begun()
    reservation.end()
    await world.account.close()
    assert (world.kept().spent_calls, world.kept("2026-12").spent_calls) == (1, 1)


async def test_a_call_that_is_answered_just_before_the_turn_is_spent_in_both_months_with_all_others() -> None:
    world = World(TURN_AT - TURN_MARGIN_S - 1)
    first, second = await world.account.reserve(PRICE), await world.account.reserve(PRICE)
    assert first is not None
    assert second is not None
    for each in (first, second):
        await each.prepare()
        each.begun()
    await world.clock.sleep(TURN_MARGIN_S)
    first.end()
    await world.clock.sleep(2 * TURN_MARGIN_S)
    second.end()
    await world.account.close()
    assert (world.kept().spent_calls, world.kept("2026-12").spent_calls) == (2, 2)


async def test_what_waited_across_the_turn_does_not_go_out_where_the_new_month_has_no_room() -> None:
    world = World(TURN_AT - TURN_MARGIN_S - 1, calls_per_month=2)
    first, second = await world.account.reserve(PRICE), await world.account.reserve(PRICE)
    assert first is not None
    assert second is not None
    await world.clock.sleep(2 * TURN_MARGIN_S + 2)
    assert world.account.spending.used_calls == 2
    world.account.spec = replace(world.spec, calls_per_month=1)
    with pytest.raises(MonthSpentError):
        await first.prepare()
    first.end()
    await second.prepare()
    assert (world.account.spending.month, world.account.spending.used_calls) == ("2026-12", 1)


# ------------------------------------------------------------------ warnings


async def test_both_thresholds_are_told_once_a_month_across_restarts() -> None:
    world = World(calls_per_month=20)
    for _ in range(20):
        await world.spend()
        await world.account.close()
        world.build()
    told = [line["percent"] for line in world.log.of(events.ACCOUNT_WARNED)]
    assert told == [80, 95]
    assert {line["calls"] for line in world.log.of(events.ACCOUNT_WARNED)} == {16, 19}


# ------------------------------------------------------------------ at work


def copier_rig(
    respond: Callable[[Request], Reply] = serve_books, *, price: int = PRICE, **limits: Any
) -> EngineRig:
    """A library whose texts cost something, and whose lists do not."""
    lanes = [
        replace(lane_spec(FREE, concurrency=4), account=CARD),
        replace(lane_spec(PAID, concurrency=4), account=CARD, price_microeur=price),
    ]
    spec = AccountSpec(CARD, "Europe/Amsterdam", **limits)
    registry = FakeRegistry(shelves=6, lanes=lanes, accounts=[spec], is_documents=True)
    registry.lane_of = {f"lib/shelf-{number}/text": PAID for number in range(1, 7)}
    return EngineRig(registry, respond)


def document(_: Request) -> Reply:
    return Reply(200, b'{"a": 1}')


def calls_of(rig: EngineRig, leaf: str) -> int:
    return sum(request.url.endswith(leaf) for request in rig.http.requests)


async def test_at_the_end_of_the_budget_paid_lanes_wait_and_free_ones_go_on() -> None:
    rig = copier_rig(document, budget_per_month_microeur=3 * PRICE)
    await rig.run()
    assert (calls_of(rig, "list"), calls_of(rig, "text")) == (6, 3)
    stop = rig.log.of(events.LANE_PARKED)
    assert [(line["lane"], line["reason"]) for line in stop] == [(PAID, "budget_spent")]
    assert stop[0]["until_at"] == TURN_AT + TURN_MARGIN_S
    assert rig.ledger.kept[CARD, MONTH].spent_microeur == 3 * PRICE
    assert rig.ledger.kept[CARD, MONTH].spent_calls == 9
    assert rig.lanes[PAID].is_blocked
    assert not rig.lanes[FREE].is_blocked
    assert {row.state for row in rig.manifest.rows.values()} == {State.DUE, State.STORED}


async def test_at_the_end_of_the_calls_every_lane_waits_and_a_restart_with_more_goes_on() -> None:
    rig = copier_rig(document, calls_per_month=7)
    await rig.run()
    assert len(rig.http.requests) == 7
    await rig.run()
    assert len(rig.http.requests) == 7, "the same setting is no news"
    rig.registry._accounts = [AccountSpec(CARD, "Europe/Amsterdam", 100)]
    await rig.run()
    assert len(rig.http.requests) == 12
    assert rig.ledger.kept[CARD, MONTH].spent_calls == 12


async def test_a_daemon_that_is_out_of_calls_goes_on_by_itself_when_the_month_turns() -> None:
    rig = copier_rig(document, calls_per_month=8)
    rig.clock = FakeClock(TURN_AT - 600.0)
    engine = await rig.begin(Until.STOPPED)
    await rig.clock.sleep(599.0)
    assert len(rig.http.requests) == 8
    await rig.clock.sleep(1.0 + TURN_MARGIN_S + 1.0)
    assert len(rig.http.requests) == 12
    opened = [line["lane"] for line in rig.log.of(events.LANE_OPENED)]
    assert sorted(opened) == [PAID, FREE]
    rig.supervisor.stop()
    await rig.ended(engine)
    assert rig.ledger.kept[CARD, "2026-12"].spent_calls == 4


async def test_spread_calls_come_one_by_one_and_without_a_line_each() -> None:
    rig = copier_rig(document, calls_per_month=13, is_spread=True)
    rig.clock = FakeClock(TURN_AT - 8000.0)
    sent_at: list[float] = []

    def timed(request: Request) -> Reply:
        if request.url.endswith("text"):
            sent_at.append(rig.clock.now())
        return document(request)

    rig.http._respond = timed
    engine = await rig.begin(Until.STOPPED)
    await rig.clock.sleep(7990.0)
    assert len(sent_at) == 6
    spaces_s = [after - before for before, after in itertools.pairwise(sent_at)]
    assert min(spaces_s) > 600.0, spaces_s
    assert not rig.log.of(events.LANE_PARKED)
    assert not rig.log.of(events.LANE_OPENED)
    assert not [row for row in rig.manifest.rows.values() if row.state is State.ACTIVE]
    rig.supervisor.stop()
    await rig.ended(engine)


async def test_who_works_off_what_is_due_does_not_wait_for_days_until_a_spread_call() -> None:
    rig = copier_rig(document, calls_per_month=3, is_spread=True)
    rig.clock = FakeClock(TURN_AT - 10 * 86_400.0)
    engine = await rig.begin(Until.IDLE)
    await rig.ended(engine)
    assert rig.clock.elapsed_s < 3600.0
    assert 1 <= rig.accounts[CARD].spending.spent_calls <= 3


async def test_lanes_that_wait_for_spread_calls_take_turns() -> None:
    papers, maps = "lib/papers", "lib/maps"
    lanes = [
        replace(lane_spec(name, concurrency=4), account=CARD, price_microeur=PRICE) for name in (papers, maps)
    ]
    spec = AccountSpec(CARD, "Europe/Amsterdam", 100, is_spread=True)
    registry = FakeRegistry(shelves=20, lanes=lanes, accounts=[spec], is_documents=True)
    registry.lane_of = {f"lib/shelf-{number}/text": maps for number in range(1, 21)}
    rig = EngineRig(registry, document)
    rig.clock = FakeClock(TURN_AT - 4000.0)
    engine = await rig.begin(Until.STOPPED)
    await rig.clock.sleep(12 * 40.0)
    asked = [request.url.rpartition("/")[2] for request in rig.http.requests[:10]]
    assert asked in (["list", "text"] * 5, ["text", "list"] * 5)
    rig.supervisor.stop()
    await rig.ended(engine)


@pytest.mark.parametrize("reason", ["head_timeout", "connection_lost"])
async def test_a_call_that_broke_after_it_may_have_left_stays_booked(reason: str) -> None:
    rig = copier_rig(lambda _: Reply(head_reason=reason), calls_per_month=2)
    rig.registry.shelves = 1
    await rig.run()
    assert rig.accounts[CARD].spending.spent_calls == 2


async def test_a_call_without_a_connection_costs_nothing() -> None:
    rig = copier_rig(document, calls_per_month=2)
    item = await rig.want("lib/shelf-1/text")
    rig.http._keys = {}  # whose key cannot be read: no connection is even tried
    await rig.worker._handle(rig.lanes[PAID], item)
    assert rig.accounts[CARD].spending.used_calls == 0


async def test_the_steps_between_booking_sending_and_settling_are_named() -> None:
    rig = copier_rig(document)
    await rig.attempt("lib/shelf-1/text")
    spent = [step for step in rig.steps.seen if step in steps.SPEND_STEPS]
    assert spent == [steps.CALL_RESERVED, steps.CALL_ANSWERED]


async def test_the_heartbeat_says_what_was_spent_and_what_is_left() -> None:
    rig = copier_rig(document, calls_per_month=10, budget_per_month_microeur=200_000)
    await rig.run()
    beat = rig.log.of(events.HEARTBEAT)
    assert all(line["accounts"].keys() == {CARD} for line in beat)
    await rig.engine.heartbeat.beat()
    assert rig.log.of(events.HEARTBEAT)[-1]["accounts"][CARD] == {
        "month": MONTH, "calls": 10, "microeur": PRICE * calls_of(rig, "text"), "calls_left": 0,
        "microeur_left": 200_000 - PRICE * calls_of(rig, "text"),
    }  # fmt: skip


async def test_an_item_whose_lane_has_no_account_costs_nothing() -> None:
    rig = EngineRig(FakeRegistry())
    await rig.run()
    assert rig.ledger.saves == 0
    assert isinstance(rig.row(KEY), Item)
