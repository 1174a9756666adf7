"""A key that cannot be read is told as that, and read again before the lane tries again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fakes.clock import FakeClock
from fakes.log import FakeLog
from fakes.manifest import FakeManifest
from filingd.adapters.secrets import Keyring
from filingd.adapters.steps import SilentSteps
from filingd.core import events, limits
from filingd.core.limits import LaneState
from filingd.core.model import Blocked, Item, LaneSpec
from filingd.engine.lane import Lane
from filingd.engine.pacer import LanePacer

if TYPE_CHECKING:
    from pathlib import Path

REFUSED = Blocked("key_refused", "", key_at_fault=True)
MISSING = Blocked("key_missing", "file:/etc/key does not exist. Put the key there.", key_at_fault=True)


async def parked_lane(verdict: Blocked, keyring: Keyring) -> tuple[Lane, FakeLog, FakeClock]:
    """A lane with one due item that was refused as the verdict says."""
    clock, log, manifest = FakeClock(), FakeLog(), FakeManifest()
    spec = LaneSpec("lib/desk", 1000.0, key_names=("key",))
    manifest.rows["lib/a/b"] = Item("lib/a/b", spec.name)
    pacer = LanePacer(spec, LaneState(spec.name), clock, manifest.save_lane)

    async def read_keys() -> None:
        with clock.held():
            await asyncio.to_thread(keyring.refresh)

    lane = Lane(spec, pacer, manifest, clock, log, SilentSteps(), read_keys)
    await lane.heed(verdict, 0)
    return lane, log, clock


async def test_a_missing_key_is_not_told_as_a_refusal_by_the_registry(tmp_path: Path) -> None:
    lane, log, _ = await parked_lane(MISSING, Keyring([f"file:{tmp_path / 'key'}"]))
    assert lane.state.park_reason == limits.KEY_MISSING
    assert "not asked" in limits.PARK_REASONS[limits.KEY_MISSING]
    assert lane.is_blocked
    (alarm,) = log.of(events.ALARM_RAISED, kind="lane_blocked")
    assert "Put the key there" in alarm["detail"]
    assert limits.restarted(lane.state).parked_until_at is None
    await lane.close()


async def test_putting_the_key_there_is_enough_for_the_next_try(tmp_path: Path) -> None:
    path = tmp_path / "key"
    keyring = Keyring([f"file:{path}"])
    lane, _, _ = await parked_lane(MISSING, keyring)
    path.write_text("0" * 32)
    path.chmod(0o600)
    await lane.next_item()
    assert keyring.value(f"file:{path}") == "0" * 32
    await lane.close()


async def test_a_key_that_was_exchanged_after_a_refusal_is_read_before_the_next_try(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("0" * 32)
    path.chmod(0o600)
    keyring = await asyncio.to_thread(Keyring, [f"file:{path}"])
    lane, _, clock = await parked_lane(REFUSED, keyring)
    parked_at = clock.now()
    path.write_text("1" * 32)
    await lane.next_item()
    assert clock.now() > parked_at + 60.0
    assert keyring.value(f"file:{path}") == "1" * 32
    await lane.close()
