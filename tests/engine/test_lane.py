"""A lane: what it leases and gives back, whom it wakes, and what verdicts do to it as a whole."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from engine.rig import HOUR_S, KEY, EngineRig, book
from fakes.http import Reply
from fakes.registry import CELLAR, DESK, FakeRegistry, lane_spec
from filingd.core import events, steps
from filingd.core.model import Blocked, Failed, Item, Nothing, NotYet, State, Stored, Throttled
from filingd.engine.lane import BLOCKED_REASONS, KeyUse
from filingd.engine.supervisor import Until

if TYPE_CHECKING:
    from filingd.core.model import Request, Verdict

NOW = 1_795_000_000.0
FIRST = KeyUse(0, 0)


def due(rig: EngineRig, number: int, due_at: float = NOW, priority: int = 0, lane: str = DESK) -> str:
    """An item that is due; its key."""
    key = f"lib/shelf-{number}/list"
    rig.manifest.rows[key] = Item(key, lane, due_at=due_at, priority=priority)
    return key


def states(rig: EngineRig) -> list[str]:
    return [row.state.name for _, row in sorted(rig.manifest.rows.items())]


async def make_a_call(rig: EngineRig) -> None:
    """One call from its turn to its end."""
    permit = await rig.lane.turn()
    assert permit is not None
    permit.end()


# ------------------------------------------------------------------------------------------ items


async def test_items_come_by_priority_and_then_by_due_time_each_leased_when_it_is_taken() -> None:
    rig = EngineRig()
    late, early, urgent = due(rig, 1, NOW - 1), due(rig, 2, NOW - 2), due(rig, 3, NOW, priority=-1)
    taken = [(await rig.lane.next_item()).key for _ in range(3)]
    assert taken == [urgent, early, late]
    assert states(rig) == ["ACTIVE"] * 3


async def test_a_narrow_lane_leases_one_item_at_a_time_so_that_newer_work_never_waits_behind_it() -> None:
    rig = EngineRig(FakeRegistry(lanes=[lane_spec(concurrency=3)]))
    for number in range(1, 4):
        due(rig, number)
    await rig.lane.next_item()
    assert states(rig) == ["ACTIVE", "DUE", "DUE"]
    assert not rig.lane.holds_items


async def test_a_wide_lane_leases_ahead_and_gives_back_what_it_has_not_begun() -> None:
    rig = EngineRig(FakeRegistry(lanes=[lane_spec(concurrency=4)]))
    for number in range(1, 10):
        due(rig, number)
    await rig.lane.next_item()
    assert states(rig) == ["ACTIVE"] * 8 + ["DUE"]
    assert rig.lane.holds_items
    await rig.lane.give_back()
    assert states(rig) == ["ACTIVE"] + ["DUE"] * 8
    assert {row.due_at for row in rig.manifest.rows.values() if row.state is State.DUE} == {NOW}
    assert not rig.lane.holds_items


async def test_a_wide_lane_fetches_more_work_before_it_runs_out() -> None:
    rig = EngineRig(FakeRegistry(lanes=[lane_spec(concurrency=4)]))
    for number in range(1, 17):
        due(rig, number)
    for _ in range(5):
        await rig.lane.next_item()
    await rig.until(lambda: states(rig).count("ACTIVE") == 16)
    assert rig.steps.seen == [steps.ITEM_LEASED] * 2


async def test_a_closed_lane_has_given_back_or_handed_out_everything_it_leased() -> None:
    rig = EngineRig(FakeRegistry(lanes=[lane_spec(concurrency=4)]))
    for number in range(1, 17):
        due(rig, number)
    for _ in range(5):
        await rig.lane.next_item()
    await rig.lane.close()
    await rig.lane.give_back()
    leased = states(rig).count("ACTIVE")
    await rig.clock.sleep(HOUR_S)
    assert states(rig).count("ACTIVE") == leased == 5


async def test_an_item_that_was_put_back_is_the_next_one() -> None:
    rig = EngineRig()
    due(rig, 1), due(rig, 2)
    item = await rig.lane.next_item()
    rig.lane.put_back(item)
    assert (await rig.lane.next_item()) == item


# ------------------------------------------------------------------------------------------ waiting


async def test_a_lane_without_work_sleeps_until_the_next_item_is_due() -> None:
    rig = EngineRig()
    due(rig, 1, NOW + 42.0)
    await rig.lane.next_item()
    assert rig.clock.now() == pytest.approx(NOW + 42.0)


async def test_a_lane_looks_once_a_minute_whatever_the_manifest_promised() -> None:
    rig = EngineRig()
    waiting = asyncio.create_task(rig.lane.next_item())
    await rig.clock.sleep(10.0)
    due(rig, 1)  # nobody says so
    await waiting
    assert rig.clock.now() == pytest.approx(NOW + 60.0)


async def test_a_lane_that_is_woken_finds_new_work_at_once() -> None:
    rig = EngineRig()
    waiting = asyncio.create_task(rig.lane.next_item())
    await rig.clock.sleep(10.0)
    due(rig, 1)
    rig.lane.wake()
    await waiting
    assert rig.clock.now() == pytest.approx(NOW + 10.0)


async def test_a_wake_up_between_looking_and_waiting_is_not_slept_through() -> None:
    rig = EngineRig()
    looked = rig.manifest.next_due_at

    async def next_due_at(lane: str) -> float | None:
        found = await looked(lane)
        due(rig, 1), due(rig, 2)
        rig.lane.wake()
        return found

    rig.manifest.next_due_at = next_due_at  # type: ignore[method-assign]
    await asyncio.gather(rig.lane.next_item(), rig.lane.next_item())
    assert rig.clock.now() == NOW


# ------------------------------------------------------------------------------------------ verdicts


async def test_patience_parks_the_lane_halves_its_rate_and_gives_back_what_was_leased() -> None:
    rig = EngineRig(FakeRegistry(lanes=[lane_spec(concurrency=4, calls_per_s=10.0)]))
    for number in range(1, 9):
        due(rig, number)
    await rig.lane.next_item()
    await rig.lane.heed(Throttled("crowded", 30.0), FIRST)
    assert states(rig) == ["ACTIVE"] + ["DUE"] * 7
    assert (rig.lane.state.park_reason, rig.lane.state.slowdown) == ("throttled", 2.0)
    assert rig.manifest.kept_lanes[DESK] == rig.lane.state
    assert not rig.lane.is_blocked
    assert rig.log.of(events.LANE_THROTTLED, lane=DESK, reason="crowded", retry_after_s=30.0)
    await rig.lane.next_item()
    assert rig.clock.now() == pytest.approx(NOW + 30.0)
    assert rig.log.of(events.LANE_OPENED, lane=DESK)


async def test_failures_in_a_row_pause_the_lane_and_a_success_between_them_begins_the_count_anew() -> None:
    rig = EngineRig()
    strike = Failed("status_500", NOW)
    verdicts: list[Verdict] = [*[strike] * 4, Stored(), *[strike] * 5]
    reasons = []
    for verdict in verdicts:
        await rig.lane.heed(verdict, FIRST)
        reasons.append(rig.lane.state.park_reason)
    assert reasons == [None] * 9 + ["failing"]
    assert rig.log.of(events.LANE_PARKED, lane=DESK, strikes=5)


@pytest.mark.parametrize(
    "verdict",
    [Stored(), Nothing("gone", NOW), NotYet("closed", NOW), Failed("torn", NOW, strikes_lane=False)],
)
async def test_what_is_the_items_own_affair_never_parks_its_lane(
    verdict: Stored | Nothing | NotYet | Failed,
) -> None:
    rig = EngineRig()
    for _ in range(20):
        await rig.lane.heed(verdict, FIRST)
    assert rig.lane.state.park_reason is None
    await make_a_call(rig)


async def test_a_refused_key_makes_room_for_the_next_one_and_only_the_last_parks_the_lane() -> None:
    rig = EngineRig(FakeRegistry(lanes=[lane_spec(keys=2)]))
    refused = Blocked("card_refused", "no such reader", key_at_fault=True)
    blocked = []
    for used in (0, 0, 1):  # the second is said of the key that is not used any more
        await rig.lane.heed(refused, KeyUse(used, 0))
        blocked.append((rig.lane.is_blocked, rig.lane.key_name))
    assert blocked == [(False, "key-1"), (False, "key-1"), (True, "key-0")]
    assert rig.lane.state.park_reason in BLOCKED_REASONS
    assert rig.log.of(events.LANE_PARKED, lane=DESK, reason="card_refused", detail="no such reader")
    assert rig.lane.refusal == "no such reader"


async def test_a_call_that_waits_for_its_turn_is_sent_away_when_the_lane_is_parked() -> None:
    rig = EngineRig(FakeRegistry(lanes=[lane_spec(calls_per_s=1.0, burst=1)]))
    await make_a_call(rig)
    waiting = asyncio.create_task(rig.lane.turn())
    await rig.clock.sleep(0.1)
    await rig.lane.heed(Throttled("crowded", 600.0), FIRST)
    assert (await waiting) is None
    assert rig.clock.now() < NOW + 1.0
    assert (await rig.lane.turn()) is None, "while it is parked nobody begins to wait"
    await rig.clock.sleep(601.0)
    await make_a_call(rig)


async def test_a_waiter_that_is_cancelled_ends_cancelled_even_if_its_lane_is_parked_at_the_same_moment() -> (
    None
):
    rig = EngineRig(FakeRegistry(lanes=[lane_spec(calls_per_s=1.0, burst=1)]))
    await make_a_call(rig)
    waiting = asyncio.create_task(rig.lane.turn())
    await rig.clock.sleep(0.1)
    waiting.cancel()
    await rig.lane.heed(Throttled("crowded", 600.0), FIRST)
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_spent_quota_closes_the_lane_until_it_is_replenished_and_does_not_slow_it_down() -> None:
    rig = EngineRig()
    due(rig, 1)
    await rig.lane.heed(Throttled("quota", 49 * HOUR_S, is_quota=True), FIRST)
    assert (rig.lane.state.park_reason, rig.lane.state.slowdown) == ("quota", 1.0)
    assert rig.lane.is_blocked, "nobody waits two days for it until idle"
    await rig.lane.next_item()
    assert rig.clock.now() == pytest.approx(NOW + 49 * HOUR_S)


# ------------------------------------------------------------------------------------------ lanes side by side


async def test_a_parked_lane_takes_nothing_from_the_other_ones() -> None:
    def respond(request: Request) -> Reply:
        # A long crowd at the desk; the cellar is empty.
        return Reply(429) if request.url.endswith("/text") else Reply(200, book(request.url))

    specs = [lane_spec(DESK, concurrency=2, calls_per_s=10.0), lane_spec(CELLAR, concurrency=2)]
    rig = EngineRig(FakeRegistry(shelves=30, lanes=[specs[1], specs[0]]), respond, overall=2)
    rig.registry.lane_of = {key: DESK for key in rig.registry.expected(0.0) if key.endswith("/text")}
    engine = await rig.begin()
    await rig.until(lambda: sum(row.state is State.STORED for row in rig.manifest.rows.values()) == 30)
    assert rig.clock.now() < NOW + 25.0, "nobody waited for the desk to open"
    rig.supervisor.stop()
    await rig.ended(engine)
    texts = [row for key, row in rig.manifest.rows.items() if key.endswith("/text")]
    assert {(row.state, row.attempts) for row in texts} == {(State.DUE, 0)}


async def test_a_run_until_idle_does_not_wait_for_a_lane_that_is_closed_to_us() -> None:
    registry = FakeRegistry(shelves=4, lanes=[lane_spec(concurrency=4, calls_per_s=1.0, burst=1)])
    rig = EngineRig(registry, lambda _: Reply(401))
    await rig.run(Until.IDLE)
    assert rig.clock.now() < NOW + 60.0
    assert rig.lane.is_blocked
    assert {row.state for row in rig.manifest.rows.values()} == {State.DUE}
    assert len(rig.http.requests) == 1


async def test_a_run_until_idle_does_wait_for_a_lane_that_was_asked_for_patience() -> None:
    replies = [Reply(429)]
    rig = EngineRig(respond=lambda request: replies.pop() if replies else Reply(200, book(request.url)))
    await rig.run(Until.IDLE)
    assert rig.clock.now() >= NOW + 30.0
    assert rig.row(KEY).state is State.STORED
    rig.check_agreement()
