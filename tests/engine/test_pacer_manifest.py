"""The pacer on the real manifest: what a lane has to remember is remembered, all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import fields

from filingd.adapters.clock import SystemClock
from filingd.adapters.manifest import SqliteManifest
from filingd.core.limits import LaneState, throttled
from filingd.core.model import LaneSpec
from filingd.engine.pacer import LanePacer

if TYPE_CHECKING:
    from pathlib import Path

CLOCK = SystemClock()  # reads the boot id from a file, so not on the event loop
WORN = LaneState("lane", "boot", 1.25, 2.5, 3.75, "throttled", 4.0, 5, 1, 6, 7)


async def test_every_field_of_a_lane_survives_the_manifest(tmp_path: Path) -> None:
    usual = LaneState("another")
    assert all(getattr(WORN, field.name) != getattr(usual, field.name) for field in fields(LaneState))
    manifest = await SqliteManifest.open(tmp_path / "manifest.db", clock_now=CLOCK.now)
    await manifest.save_lane(WORN)
    await manifest.close()
    manifest = await SqliteManifest.open(tmp_path / "manifest.db", clock_now=CLOCK.now)
    assert await manifest.lane_states() == {"lane": WORN}
    await manifest.close()


async def test_a_pacer_on_system_clock_and_sqlite_leaves_its_state_to_the_next_run(tmp_path: Path) -> None:
    manifest = await SqliteManifest.open(tmp_path / "manifest.db", clock_now=CLOCK.now)
    spec = LaneSpec("lane", 2000.0)
    pacer = LanePacer(spec, LaneState("lane"), CLOCK, manifest.save_lane)
    began_s = CLOCK.monotonic()
    for _ in range(50):
        await pacer.acquire()
    assert (await manifest.lane_states())["lane"].reserved_until_s >= CLOCK.monotonic()
    await pacer.change(lambda state: throttled(state, CLOCK.now(), 600.0))
    await pacer.close()
    left = (await manifest.lane_states())["lane"]
    assert left == pacer.state
    assert left.boot_id == CLOCK.boot_id()
    assert began_s < left.reserved_until_s <= CLOCK.monotonic()
    again = LanePacer(spec, left, CLOCK, manifest.save_lane)
    assert 590.0 < again.opens_in_s() <= 600.0
    assert again.calls_per_s == 1000.0
    await manifest.close()
