"""Planning looks at what is expected and at all else that was ever planned: what the operator dropped is not fetched."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from fakes.clock import FakeClock
from fakes.log import FakeLog
from fakes.manifest import FakeManifest
from filingd.core import events
from filingd.core.model import Change, Item, State, group_of, leaf_of
from filingd.engine.planner import Planner
from filingd.registries.nbb.registry import NbbRegistry
from registries.nbb_cases import EXTRACT, FRIDAY, at, rules

if TYPE_CHECKING:
    from typing import Any

NOW = at("2026-11-24 12:00")


class Plans:
    """Daemons with one configuration after the other, on one manifest."""

    def __init__(self) -> None:
        self.clock = FakeClock(NOW)
        self.log = FakeLog()
        self.manifest = FakeManifest()
        self.changed: set[str] = set()

    async def plan(self, **configured: Any) -> int:
        """What a daemon with these rules plans at its start."""
        registry = NbbRegistry([rules(EXTRACT, **configured)])
        return await Planner(registry, self.manifest, self.clock, self.log, 300.0, self.changed.update).plan()

    def scheduled(self) -> list[Item]:
        return [item for item in self.manifest.rows.values() if item.due_at is not None]


async def test_nothing_of_a_dataset_that_was_taken_out_of_the_configuration_is_leased() -> None:
    plans = Plans()
    await plans.plan(since=FRIDAY)
    await plans.plan(since=FRIDAY, datasets=("references", "json"))
    assert {leaf_of(item.key) for item in plans.scheduled()} == {"references", "json"}
    leased = await plans.manifest.lease("nbb/extract", NOW, 100)
    assert {leaf_of(item.key) for item in leased} == {"references", "json"}


async def test_nothing_of_a_day_before_a_later_since_is_leased_and_nobody_is_alarmed() -> None:
    plans = Plans()
    await plans.plan(since=FRIDAY - dt.timedelta(days=3))
    plans.changed.clear()
    await plans.plan(since=FRIDAY)
    leased = await plans.manifest.lease("nbb/extract", NOW, 100)
    assert min(group_of(item.key) for item in leased) == f"nbb/authentic/{FRIDAY}"
    assert len(plans.changed) == 3
    assert not plans.log.of(events.ALARM_RAISED)


async def test_a_stored_body_of_a_dropped_day_stays_and_is_not_compared_again() -> None:
    plans = Plans()
    await plans.plan(since=FRIDAY)
    key = f"nbb/authentic/{FRIDAY}/pdf"
    stored = Item(key, "nbb/extract", State.STORED, due_at=NOW + 1, version=1, size_bytes=5, sha256=b"5" * 32)
    plans.manifest.rows[key] = stored
    await plans.plan(since=FRIDAY, datasets=("references",))
    assert (plans.manifest.rows[key].state, plans.manifest.rows[key].due_at) == (State.STORED, None)


async def test_what_was_dropped_is_fetched_when_it_is_wanted_again() -> None:
    plans = Plans()
    await plans.plan(since=FRIDAY)
    before = {item.key: item.due_at for item in plans.scheduled()}
    await plans.plan(since=FRIDAY, datasets=("references",))
    await plans.plan(since=FRIDAY)
    assert {item.key: item.due_at for item in plans.scheduled()} == before
    assert await plans.plan(since=FRIDAY) == 0


async def test_an_item_that_was_leased_when_it_was_dropped_is_unscheduled_by_the_next_plan() -> None:
    plans = Plans()
    await plans.plan(since=FRIDAY)
    (leased,) = await plans.manifest.lease("nbb/extract", NOW, 1)
    later = FRIDAY + dt.timedelta(days=30)
    await plans.plan(since=later)
    returned = Change(State.ACTIVE, Item(leased.key, leased.lane, State.DUE, due_at=NOW))
    await plans.manifest.record([returned])
    await plans.plan(since=later)
    assert plans.manifest.rows[leased.key].due_at is None
