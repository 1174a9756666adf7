"""The heartbeat and a run until sealed count what is wanted now, not what was ever planned."""

from __future__ import annotations

from engine.rig import EngineRig
from fakes.registry import FakeRegistry
from filingd.core import events
from filingd.engine.heartbeat import Heartbeat
from filingd.engine.supervisor import Until


async def test_the_heartbeat_counts_only_days_that_are_wanted() -> None:
    rig = EngineRig(FakeRegistry(shelves=3))
    await rig.planner.plan()
    rig.registry.shelves = 1
    await Heartbeat(
        rig.manifest,
        rig.lanes,
        rig.worker,
        rig.room,
        rig.clock,
        rig.log,
        60.0,
        False,
        rig.planner.wanted_groups,
    ).beat()
    (beat,) = rig.log.of(events.HEARTBEAT)
    assert (beat["coverage"]["days"], beat["coverage"]["oldest_open"]) == (1, ["lib/shelf-1"])


async def test_a_run_until_sealed_does_not_wait_for_a_day_that_is_no_longer_wanted() -> None:
    rig = EngineRig(FakeRegistry(shelves=2))
    rig.registry.open_reasons["lib/shelf-2"] = "it does not agree"
    await rig.planner.plan()
    rig.registry.shelves = 1
    await rig.run(Until.SEALED)
    groups = {group.key: group.sealed_at for group in await rig.manifest.groups()}
    assert groups["lib/shelf-1"] is not None
    assert groups["lib/shelf-2"] is None
