"""Lanes that share a gate: one pace, one pool, one health; and each its own product."""

from __future__ import annotations

import asyncio
import datetime as dt
import zoneinfo
from itertools import pairwise
from typing import TYPE_CHECKING

from msgspec.structs import replace

from engine.rig import EngineRig
from fakes.clock import FakeClock
from fakes.http import Reply
from fakes.registry import FakeRegistry, lane_spec
from filingd.core import events
from filingd.core.ledger import QUOTA_PROBE_S as DAY_S
from filingd.core.ledger import TURN_MARGIN_S
from filingd.core.model import AccountSpec, Blocked, GateSpec, Stored, Throttled
from filingd.engine.lane import KeyUse
from filingd.engine.supervisor import Until

if TYPE_CHECKING:
    from filingd.core.model import Request

LISTS, TEXTS = "lib/lists", "lib/texts"
GATE = "lib"
FIRST = KeyUse(0, 0)


def gated_rig(
    shelves: int = 3, *, calls_per_s: float = 1000.0, burst: int = 100, concurrency: int = 4, overall: int = 1
) -> EngineRig:
    """Lists and texts are lanes of their own behind one gate. [run] concurrency is one: it does not count here."""
    lanes = [replace(lane_spec(name, calls_per_s=9.0, concurrency=4), gate=GATE) for name in (LISTS, TEXTS)]
    gate = GateSpec(GATE, calls_per_s, burst, concurrency)
    registry = FakeRegistry(shelves, lanes=lanes, gates=[gate], is_documents=True)
    registry.lane_of = {f"lib/shelf-{number}/text": TEXTS for number in range(1, shelves + 1)}
    return EngineRig(registry, lambda _: Reply(200, b'{"a": 1}'), overall=overall)


async def test_lanes_behind_one_gate_keep_its_rate_together_and_lose_nothing_of_it() -> None:
    rig = gated_rig(shelves=40, calls_per_s=4.0, burst=1)
    sent_s: list[float] = []

    def timed(request: Request) -> Reply:
        sent_s.append(rig.clock.monotonic())
        return Reply(200, b"{}")

    rig.http._respond = timed
    await rig.run()
    assert len(sent_s) == 80
    for first_s in sent_s:
        assert sum(first_s <= each_s < first_s + 1.0 for each_s in sent_s) <= 4
    assert sent_s[-1] - sent_s[0] < 79 / 4.0 * 1.02
    assert max(after - before for before, after in pairwise(sent_s)) < 0.3


async def test_the_pool_of_the_gate_counts_instead_of_the_one_for_all() -> None:
    rig = gated_rig(shelves=8, concurrency=3)
    gate = asyncio.Event()
    rig.http._respond = lambda _: Reply(200, b"{}", gate=gate)
    engine = await rig.begin(Until.IDLE)
    await rig.clock.sleep(5.0)
    assert rig.http.open_now == 3
    gate.set()
    await rig.ended(engine)
    assert rig.http.most_at_once == 3


async def test_a_throttling_parks_all_lanes_of_the_gate_and_outlives_a_restart() -> None:
    rig = gated_rig()
    await rig.lanes[LISTS].heed(Throttled("crowded", 600.0), FIRST)
    throttled = rig.log.of(events.LANE_THROTTLED)
    assert [line["lane"] for line in throttled] == [GATE]
    assert rig.manifest.kept_lanes[GATE].park_reason == "throttled"
    rig.build()
    assert await rig.lanes[TEXTS].turn() is None
    assert rig.lanes[TEXTS].shut_for == ("throttled", rig.clock.now() + 600.0)
    assert rig.gates[GATE].state.slowdown == 2.0
    assert rig.lanes[TEXTS].state.slowdown == 1.0
    await rig.clock.sleep(601.0)
    assert await rig.lanes[TEXTS].turn() is not None


async def test_whoever_waits_at_the_gate_is_sent_away_when_it_is_parked() -> None:
    rig = gated_rig(calls_per_s=1.0, burst=1)
    assert await rig.lanes[LISTS].turn() is not None
    waiting = [asyncio.create_task(rig.lanes[name].turn()) for name in (LISTS, TEXTS)]
    await rig.clock.sleep(0.1)
    await rig.lanes[LISTS].heed(Throttled("crowded", 600.0), FIRST)
    assert await asyncio.gather(*waiting) == [None, None]


async def test_a_wide_refusal_closes_the_gate_and_another_one_its_lane_alone() -> None:
    rig = gated_rig()
    await rig.lanes[LISTS].heed(Blocked("not_yours", "not in your contract"), FIRST)
    assert (rig.lanes[LISTS].is_blocked, rig.lanes[TEXTS].is_blocked) == (True, False)
    await rig.lanes[TEXTS].heed(Blocked("card_refused", "who?", key_at_fault=True, is_wide=True), FIRST)
    assert rig.lanes[TEXTS].is_blocked
    assert rig.gates[GATE].state.park_reason == "keys_refused"
    assert rig.gates[GATE].health.refusal == "who?"
    assert [line["lane"] for line in rig.log.of(events.LANE_PARKED)] == [LISTS, GATE]


async def test_an_order_to_look_again_opens_gate_and_lanes_and_says_so_once_each() -> None:
    rig = gated_rig()
    await rig.lanes[TEXTS].heed(Blocked("not_yours"), FIRST)
    await rig.lanes[TEXTS].heed(Blocked("card_refused", key_at_fault=True, is_wide=True), FIRST)
    engine = await rig.begin(Until.STOPPED)  # a start asks once more by itself
    await rig.lanes[TEXTS].heed(Blocked("card_refused", key_at_fault=True, is_wide=True), FIRST)
    await rig.clock.sleep(1.0)
    for lane in rig.lanes.values():
        await lane.reload()
    await rig.clock.sleep(1.0)
    assert all(not lane.is_blocked for lane in rig.lanes.values())
    assert [line["lane"] for line in rig.log.of(events.LANE_OPENED)] == [GATE]
    rig.supervisor.stop()
    await rig.ended(engine)


async def test_an_exchanged_key_opens_the_gate_that_the_former_one_closed() -> None:
    rig = gated_rig()
    lane = rig.lanes[TEXTS]
    used = lane.key_in_use
    await lane.heed(Blocked("card_refused", key_at_fault=True, is_wide=True), used)
    for each in rig.lanes.values():
        await each.keys_changed({"key-0"})
    assert all(not each.is_blocked for each in rig.lanes.values())
    await lane.heed(Blocked("card_refused", key_at_fault=True, is_wide=True), used)
    assert not lane.is_blocked, "what is said of the former key is no news"


async def test_a_success_on_any_lane_takes_the_slowdown_of_the_gate_back() -> None:
    rig = gated_rig()
    await rig.lanes[LISTS].heed(Throttled("crowded", 1.0), FIRST)
    await rig.clock.sleep(2.0)
    for _ in range(40):
        await rig.lanes[TEXTS].heed(Stored(), FIRST)
    assert rig.gates[GATE].state.slowdown == 1.0
    assert rig.manifest.kept_lanes[GATE].throttles == 0


async def test_whoever_watches_keys_and_alarms_hears_of_the_gate() -> None:
    rig = gated_rig()
    heard: list[str] = []
    rig.lanes[LISTS].on_health.append(lambda: heard.append("lists"))
    await rig.lanes[TEXTS].heed(Throttled("crowded", 1.0), FIRST)
    assert heard == ["lists"]


async def slow_rig(answer: Reply) -> tuple[EngineRig, asyncio.Task[None]]:
    """Eight calls at a time, each answered after half a second."""
    rig = gated_rig(shelves=40, concurrency=8)
    tasks: set[asyncio.Task[None]] = set()

    async def open_later(gate: asyncio.Event) -> None:
        await rig.clock.sleep(0.5)
        gate.set()

    def respond(_: Request) -> Reply:
        gate = asyncio.Event()
        tasks.add(asyncio.create_task(open_later(gate)))
        return Reply(answer.status, b"{}", gate=gate)

    rig.http._respond = respond
    return rig, await rig.begin(Until.STOPPED)


def asked(rig: EngineRig, leaf: str) -> int:
    return sum(request.url.endswith(leaf) for request in rig.http.requests)


async def test_a_refused_lane_is_probed_by_one_call_however_many_it_may_make_at_a_time() -> None:
    rig, engine = await slow_rig(Reply(401))
    await rig.clock.sleep(10.0)
    assert rig.lanes[LISTS].is_blocked
    for wait_s in (300.0, 600.0, 1200.0):
        before = asked(rig, "list"), asked(rig, "text")
        await rig.clock.sleep(wait_s)
        assert (asked(rig, "list"), asked(rig, "text")) == (before[0] + 1, before[1] + 1)
    rig.supervisor.stop()
    await rig.ended(engine)


async def test_a_start_asks_a_lane_that_was_refused_by_one_call() -> None:
    rig, engine = await slow_rig(Reply(401))
    await rig.clock.sleep(10.0)
    rig.supervisor.stop()
    await rig.ended(engine)
    before = asked(rig, "list")
    engine = await rig.begin(Until.STOPPED)
    await rig.clock.sleep(10.0)
    assert asked(rig, "list") == before + 1
    rig.supervisor.stop()
    await rig.ended(engine)


async def test_a_throttled_gate_is_probed_by_one_call_of_all_its_lanes_and_opens_wide_when_that_goes_well() -> (
    None
):
    rig, engine = await slow_rig(Reply(429))
    await rig.clock.sleep(10.0)
    for _ in range(3):
        before = len(rig.http.requests)
        await rig.clock.sleep(30.5)
        assert len(rig.http.requests) == before + 1
    rig.http._respond = lambda _: Reply(200, b"{}")
    before = len(rig.http.requests)
    await rig.clock.sleep(60.0)
    assert len(rig.http.requests) == before + 80
    rig.supervisor.stop()
    await rig.ended(engine)


async def test_many_calls_go_out_together_again_when_the_one_on_trial_went_well() -> None:
    rig, engine = await slow_rig(Reply(200))
    await rig.lanes[LISTS].heed(Throttled("crowded", 5.0), FIRST)
    await rig.clock.sleep(5.2)
    assert rig.http.open_now == 1
    await rig.clock.sleep(1.0)
    assert rig.http.open_now == 8
    rig.supervisor.stop()
    await rig.ended(engine)


def quota_rig(*accounts: str) -> EngineRig:
    """Lists and texts behind one gate, each of the account that is named."""
    lanes = [
        replace(lane_spec(name, concurrency=4), gate=GATE, account=account)
        for name, account in zip((LISTS, TEXTS), accounts, strict=True)
    ]
    specs = [AccountSpec(name, "Europe/Amsterdam") for name in dict.fromkeys(accounts)]
    return EngineRig(FakeRegistry(lanes=lanes, gates=[GateSpec(GATE, 1000.0, 100, 4)], accounts=specs))


SPENT = Throttled("quota", None, is_quota=True)
TURN_AT = dt.datetime(2026, 12, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Amsterdam")).timestamp()


async def test_a_spent_quota_without_a_date_is_probed_once_a_day_until_the_month_turns() -> None:
    rig = quota_rig("lib/card", "lib/card")
    rig.clock = FakeClock(TURN_AT - 2.5 * DAY_S)
    rig.build()
    for wait_s in (DAY_S, DAY_S, DAY_S / 2 + TURN_MARGIN_S):
        await rig.lanes[LISTS].heed(SPENT, FIRST)
        assert rig.lanes[TEXTS].shut_for == ("quota", rig.clock.now() + wait_s)
        await rig.clock.sleep(wait_s)
        assert rig.lanes[TEXTS].shut_for is None


async def test_a_date_that_the_registry_gives_counts_and_not_our_month() -> None:
    rig = quota_rig("lib/card", "lib/card")
    await rig.lanes[LISTS].heed(Throttled("quota", 90.0, is_quota=True), FIRST)
    assert rig.lanes[TEXTS].shut_for == ("quota", rig.clock.now() + 90.0)


async def test_the_spent_quota_of_one_account_leaves_the_others_behind_the_gate_alone() -> None:
    rig = quota_rig("lib/card", "lib/other-card")
    await rig.lanes[LISTS].heed(SPENT, FIRST)
    assert rig.lanes[LISTS].is_blocked
    assert rig.lanes[TEXTS].shut_for is None
