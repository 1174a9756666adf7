"""Any history of calls leaves the fake and SQLite in the same place, with counters that a full count confirms."""

from __future__ import annotations

import asyncio
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from fakes.manifest import FakeManifest
from filingd.adapters.manifest import SqliteManifest
from filingd.core.errors import StoreError
from filingd.core.model import Change, Item, State, Version

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

    from filingd.ports import Manifest

LANES = ("extract", "archive")
INSTANTS = st.integers(0, 6).map(float)
KEYS = st.sampled_from([f"nbb/{day}/{leaf}" for day in "abc" for leaf in ("json", "pdf")])
ITEMS = st.builds(
    Item,
    key=KEYS,
    lane=st.sampled_from(LANES),
    state=st.sampled_from(State),
    priority=st.integers(-1, 2),
    due_at=st.none() | INSTANTS,
    attempts=st.integers(0, 3),
    reason=st.none() | st.text(max_size=5),
    version=st.integers(0, 2),
)
CHANGES = st.lists(
    st.tuples(st.none() | st.sampled_from(State), ITEMS, st.booleans(), st.booleans()), min_size=1, max_size=5
)


class SameHistory(RuleBasedStateMachine):
    """Does everything twice."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.runner = asyncio.Runner()
        self.fake: Manifest = FakeManifest()
        self.real: Manifest

    @initialize()
    def open(self) -> None:
        path = Path(self.folder.name) / "manifest.db"
        self.real = self.runner.run(SqliteManifest.open(path, clock_now=lambda: 0.0))

    def teardown(self) -> None:
        if hasattr(self, "real"):
            self.runner.run(self.real.close())
        self.runner.close()
        self.folder.cleanup()

    def both(self, call: Callable[[Manifest], Awaitable[Any]]) -> Any:
        """The common outcome: a result, or that the call was refused."""
        outcomes = [self.runner.run(_outcome(call, manifest)) for manifest in (self.fake, self.real)]
        assert outcomes[0] == outcomes[1]
        return outcomes[1]

    @rule(drawn=CHANGES)
    def record(self, drawn: list[tuple[State | None, Item, bool, bool]]) -> None:
        """Changes, most of which say truly what the item was."""
        known = self.runner.run(self.fake.items([item.key for _, item, _, _ in drawn]))
        changes = []
        for guess, item, truly, stores in drawn:
            found = known.get(item.key)
            before = (None if found is None else found.state) if truly else guess
            changes.append(Change(before, item, _version(item) if stores else None))
        self.both(lambda manifest: manifest.record(changes))

    @rule(lane=st.sampled_from(LANES), now=INSTANTS, limit=st.integers(0, 4))
    def lease(self, lane: str, now: float, limit: int) -> None:
        self.both(lambda manifest: manifest.lease(lane, now, limit))

    @rule(lane=st.sampled_from(LANES), now=INSTANTS)
    def lease_and_put_back(self, lane: str, now: float) -> None:
        leased: Sequence[Item] = self.both(lambda manifest: manifest.lease(lane, now, 2))
        ends = {State.ACTIVE: State.DUE, State.RECHECKING: State.STORED, State.REASKING: State.EMPTY}
        changes = [
            Change(item.state, replace(item, state=ends[item.state], due_at=now + 1, attempts=1))
            for item in leased
        ]
        self.both(lambda manifest: manifest.record(changes))

    @rule(key=KEYS, at=INSTANTS)
    def verify(self, key: str, at: float) -> None:
        self.both(lambda manifest: manifest.note_verified(key, at))

    @rule(after=KEYS, limit=st.integers(1, 4), states=st.none() | st.frozensets(st.sampled_from(State)))
    def page(self, after: str, limit: int, states: frozenset[State] | None) -> None:
        self.both(lambda manifest: manifest.page(after, limit, states))

    @rule(key=KEYS)
    def look(self, key: str) -> None:
        self.both(lambda manifest: manifest.versions(key))
        self.both(lambda manifest: manifest.current_versions([key]))
        self.both(lambda manifest: manifest.group_items(key.rpartition("/")[0]))

    @invariant()
    def counters_equal_a_full_count(self) -> None:
        if not hasattr(self, "real"):
            return
        items = self.both(lambda manifest: manifest.page("", 99))
        lanes = [item.lane for item in items if item.due_at is not None]
        assert self.both(lambda manifest: manifest.counts()) == {
            state: sum(item.state is state for item in items) for state in State
        }
        assert self.both(lambda manifest: manifest.scheduled_counts()) == {
            lane: lanes.count(lane) for lane in set(lanes)
        }
        for lane in LANES:
            self.both(partial(_next_due_at, lane))
        self.both(lambda manifest: manifest.leased_items())


async def _next_due_at(lane: str, manifest: Manifest) -> float | None:
    return await manifest.next_due_at(lane)


async def _outcome(call: Callable[[Manifest], Awaitable[Any]], manifest: Manifest) -> Any:
    try:
        return await call(manifest)
    except StoreError:
        return "refused"


def _version(item: Item) -> Version:
    return Version(
        item.key, item.version, "p", 1, b"\x00" * 32, 1.0, "extract", "r", facts={"n": item.priority}
    )


TestSameHistory = SameHistory.TestCase
TestSameHistory.settings = settings(
    max_examples=30,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
