"""Keys at work: what a new one opens, what was said of the former one, and what is told of the reading."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from fakes.clock import FakeClock
from fakes.log import FakeLog
from fakes.manifest import FakeManifest
from filingd.adapters.secrets import KeyFiles, Keyring
from filingd.adapters.steps import SilentSteps
from filingd.core import events, limits
from filingd.core.limits import LaneState
from filingd.core.model import Blocked, Item, LaneSpec, Stored
from filingd.engine.key_watch import KeyWatch
from filingd.engine.lane import KeyUse, Lane
from filingd.engine.pacer import LanePacer

if TYPE_CHECKING:
    from pathlib import Path

    from filingd.core.keys import KeyReading

REFUSED = Blocked("key_refused", "", key_at_fault=True)
MISSING = Blocked("key_missing", "file:/etc/key does not exist. Put the key there.", key_at_fault=True)


class HeldFiles(KeyFiles):
    """The real thing, read in threads while the fake clock stands still."""

    def __init__(self, ring: Keyring, clock: FakeClock) -> None:
        super().__init__(ring)
        self._clock = clock

    async def are_outdated(self) -> bool:
        with self._clock.held():
            return await super().are_outdated()

    async def read(self) -> KeyReading:
        with self._clock.held():
            return await super().read()


class Desk:
    """A lane with one due item, two key files, and a watch over them."""

    def __init__(self, folder: Path) -> None:
        self.paths = [folder / "first", folder / "second"]
        for digit, path in enumerate(self.paths):
            self.put(path, str(digit) * 32)
        self.names = tuple(f"file:{path}" for path in self.paths)
        self.ring = Keyring(self.names)
        self.clock, self.log, self.manifest = FakeClock(), FakeLog(), FakeManifest()
        spec = LaneSpec("lib/desk", 1000.0, key_names=self.names)
        self.manifest.rows["lib/a/b"] = Item("lib/a/b", spec.name)
        pacer = LanePacer(spec, LaneState(spec.name), self.clock, self.manifest.save_lane)
        self.lane = Lane(spec, pacer, self.manifest, self.clock, self.log, SilentSteps())
        self.watch = KeyWatch(HeldFiles(self.ring, self.clock), {spec.name: self.lane}, self.clock, self.log)

    @staticmethod
    def put(path: Path, key: str) -> None:
        """Put a key there as an operator should: another file takes the name."""
        new = path.with_suffix(".new")
        new.write_text(key)
        new.chmod(0o600)
        new.replace(path)

    async def refuse_all(self, verdict: Blocked = REFUSED) -> None:
        """Both keys are refused, one after the other."""
        for _ in self.names:
            await self.lane.heed(verdict, self.lane.key_in_use)

    async def watched(self, seconds: float) -> None:
        """Let the watch work for a while."""
        watching = asyncio.create_task(self.watch.run())
        await self.clock.sleep(seconds)
        watching.cancel()
        await asyncio.wait({watching})


async def test_a_missing_key_is_not_told_as_a_refusal_by_the_registry(tmp_path: Path) -> None:
    desk = await asyncio.to_thread(Desk, tmp_path)
    await desk.refuse_all(MISSING)
    assert desk.lane.state.park_reason == limits.KEY_MISSING
    assert "not asked" in limits.PARK_REASONS[limits.KEY_MISSING]
    assert desk.lane.is_blocked
    (parked,) = desk.log.of(events.LANE_PARKED)
    assert "Put the key there" in parked["detail"]
    assert "Put the key there" in desk.lane.refusal
    assert limits.restarted(desk.lane.state).parked_until_at is None
    await desk.lane.close()


@pytest.mark.parametrize("verdict", [REFUSED, MISSING], ids=lambda verdict: verdict.reason)
@pytest.mark.parametrize("slot", [0, 1])
async def test_a_parked_lane_goes_on_with_a_new_key_within_seconds(
    tmp_path: Path, verdict: Blocked, slot: int
) -> None:
    desk = await asyncio.to_thread(Desk, tmp_path)
    await desk.refuse_all(verdict)
    parked_at = desk.clock.now()
    desk.put(desk.paths[slot], "a" * 32)
    working = asyncio.create_task(desk.lane.next_item())
    await desk.watched(5.0)
    assert working.done(), "the item was handed out"
    assert desk.clock.now() < parked_at + 6.0
    assert desk.lane.key_name == desk.names[slot]
    assert desk.log.of(events.KEYS_READ, changed=[desk.names[slot]], problems=[])
    await desk.lane.close()


async def test_what_was_said_of_a_key_that_was_exchanged_meanwhile_does_not_count(tmp_path: Path) -> None:
    desk = await asyncio.to_thread(Desk, tmp_path)
    used = desk.lane.key_in_use
    desk.put(desk.paths[0], "a" * 32)
    await desk.watched(3.0)
    await desk.lane.heed(REFUSED, used)
    assert desk.lane.key_in_use == KeyUse(0, 1)
    await desk.lane.heed(REFUSED, desk.lane.key_in_use)
    assert desk.lane.key_name == desk.names[1], "a refusal of the new one does"
    await desk.lane.close()


async def test_a_lane_that_works_is_not_disturbed_by_a_key_it_does_not_use(tmp_path: Path) -> None:
    desk = await asyncio.to_thread(Desk, tmp_path)
    await desk.lane.heed(REFUSED, KeyUse(0, 0))
    await desk.lane.heed(Stored(), desk.lane.key_in_use)
    desk.put(desk.paths[0], "a" * 32)
    await desk.watched(3.0)
    assert desk.lane.key_in_use == KeyUse(1, 0)
    await desk.lane.close()


async def test_a_spoilt_key_file_is_told_once_and_the_key_stays_in_use(tmp_path: Path) -> None:
    desk = await asyncio.to_thread(Desk, tmp_path)
    desk.paths[0].write_text("")
    await desk.watched(20.0)
    (told,) = desk.log.of(events.KEYS_READ)
    assert told["changed"] == []
    (problem,) = told["problems"]
    assert "the key is empty. Put the key there." in problem
    assert "stays in use" in problem
    assert desk.ring.value(desk.names[0]) == "0" * 32
    desk.put(desk.paths[0], "0" * 32)
    await desk.watched(20.0)
    assert desk.log.of(events.KEYS_READ)[1:] == [{"changed": [], "problems": []}], "and that it is over"
    await desk.lane.close()


async def test_nothing_is_read_and_nothing_said_while_the_files_stay_as_they_are(tmp_path: Path) -> None:
    desk = await asyncio.to_thread(Desk, tmp_path)
    await desk.watched(600.0)
    assert desk.log.lines == []
    await desk.lane.close()


async def test_a_reload_reads_all_tries_closed_lanes_at_once_and_calls_every_hook(tmp_path: Path) -> None:
    desk = await asyncio.to_thread(Desk, tmp_path)
    await desk.refuse_all()
    looked: list[str] = []

    async def look(name: str) -> None:
        looked.append(name)

    desk.watch.hooks += [lambda: look("first"), lambda: look("second")]
    watching = asyncio.create_task(desk.watch.run())
    await desk.clock.sleep(0.1)
    desk.watch.reload()
    asked_at = desk.clock.now()
    await desk.lane.next_item()
    assert desk.clock.now() == asked_at
    assert looked == ["first", "second"]
    assert desk.log.of(events.DAEMON_RELOADED)
    assert desk.log.of(events.KEYS_READ, changed=[], problems=[])
    watching.cancel()
    await asyncio.wait({watching})
    await desk.lane.close()


async def test_a_key_that_was_exchanged_just_before_it_was_refused_costs_no_waiting(tmp_path: Path) -> None:
    desk = await asyncio.to_thread(Desk, tmp_path)
    watching = asyncio.create_task(desk.watch.run())
    await desk.clock.sleep(0.1)
    desk.put(desk.paths[0], "a" * 32)
    refused_at = desk.clock.now()
    await desk.refuse_all()
    await desk.lane.next_item()
    assert desk.clock.now() == refused_at
    watching.cancel()
    await asyncio.wait({watching})
    await desk.lane.close()
