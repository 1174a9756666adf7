"""Planning: expected items exist, their shelves are known, and nothing that moved on meanwhile is overwritten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from engine.rig import GROUP, KEY, EngineRig, Refusing
from fakes.registry import DESK, FakeRegistry
from filingd.core import events
from filingd.core.errors import DiskFullError, ManifestDamagedError
from filingd.core.model import Change, Item, State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOW = 1_795_000_000.0


async def test_every_expected_item_exists_after_planning_and_its_shelf_is_known_to_be_open() -> None:
    rig = EngineRig(FakeRegistry(shelves=3))
    assert await rig.planner.plan() == 6
    assert sorted(rig.manifest.rows) == sorted(rig.registry.expected(NOW))
    assert {group.key: group.sealed_at for group in await rig.manifest.groups()} == {
        f"lib/shelf-{number}": None for number in (1, 2, 3)
    }
    assert rig.log.of(events.PLAN_MADE, expected=6, changed=6)
    assert not rig.reconciler.is_idle


async def test_planning_twice_changes_nothing_and_says_nothing() -> None:
    rig = EngineRig()
    await rig.planner.plan()
    lines, writes = len(rig.log.lines), len(rig.manifest.recorded)
    assert await rig.planner.plan() == 0
    assert (len(rig.log.lines), len(rig.manifest.recorded)) == (lines, writes)


async def test_a_lane_learns_at_once_of_work_that_a_new_plan_brings() -> None:
    rig = EngineRig(FakeRegistry(shelves=0))
    engine = await rig.begin()
    await rig.clock.sleep(200.0)
    rig.registry.shelves = 1
    await rig.until(lambda: rig.http.requests)
    assert rig.clock.now() == pytest.approx(NOW + 300.0, abs=0.1), "at the next plan, without a pause"
    rig.supervisor.stop()
    await rig.ended(engine)


class MovesMeanwhile(FakeRegistry):
    """Wants everything at another priority; one item is leased between being read and being written."""

    def __init__(self, rig: EngineRig) -> None:
        super().__init__(shelves=2)
        self._rig = rig

    def plan(self, now: float, known: Mapping[str, Item]) -> Sequence[Change]:
        changes = [Change(item.state, replace(item, priority=7)) for item in known.values()]
        self._rig.manifest.rows[KEY] = replace(known[KEY], state=State.ACTIVE, due_at=None)
        return changes


async def test_an_item_that_moved_on_while_it_was_planned_is_left_as_it_is_and_the_others_are_changed() -> (
    None
):
    rig = EngineRig(FakeRegistry(shelves=2))
    await rig.planner.plan()
    rig.registry_port = MovesMeanwhile(rig)
    rig.build()
    await rig.planner.plan()
    assert (rig.row().state, rig.row().priority) == (State.ACTIVE, 0)
    assert {row.priority for key, row in rig.manifest.rows.items() if key != KEY} == {7}
    assert rig.log.of(events.PLAN_SKIPPED, key=KEY)


async def test_a_damaged_manifest_is_no_conflict() -> None:
    rig = EngineRig()
    rig.manifest.fail_next_write = ManifestDamagedError("It is damaged.")
    rig.manifest.kept_groups = {}
    with pytest.raises(ManifestDamagedError):
        await rig.planner.plan()


async def test_items_that_nobody_serves_raise_one_alarm_together() -> None:
    rig = EngineRig(FakeRegistry(shelves=2))

    def plan(now: float, known: Mapping[str, Item]) -> Sequence[Change]:
        keys = (key for key in rig.registry.expected(now) if key not in known)
        return [Change(None, Item(key, DESK, State.ABSENT, due_at=None)) for key in keys]

    rig.registry.plan = plan  # type: ignore[method-assign]
    await rig.planner.plan()
    (alarm,) = rig.log.of(events.ALARM_RAISED, kind="not_obtainable")
    assert (alarm["count"], alarm["first"], alarm["last"]) == (4, KEY, "lib/shelf-2/text")


async def test_a_plan_that_the_disk_refuses_is_made_again_at_the_next_interval() -> None:
    rig = EngineRig(FakeRegistry(shelves=0))
    rig.manifest_port = Refusing(rig.manifest, "record", DiskFullError("full"))
    engine = await rig.begin()
    await rig.clock.sleep(1.0)
    rig.registry.shelves = 1
    await rig.until(lambda: rig.log.of(events.ALARM_RAISED, kind="plan_failed"))
    assert rig.manifest.rows == {}
    await rig.until(lambda: KEY in rig.manifest.rows)
    assert rig.clock.now() == pytest.approx(NOW + 600.0, abs=1.0)
    rig.supervisor.stop()
    await rig.ended(engine)
    assert GROUP in rig.manifest.kept_groups
