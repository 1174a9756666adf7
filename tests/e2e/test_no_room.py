"""A disk without room, for real: downloads pause, the daemon lives, and goes on by itself when there is room."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from e2e.rig import YESTERDAY
from support.daemon import StoreView, days, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from e2e.rig import Rig

pytestmark = pytest.mark.slow

DISK_BYTES = 24 * 1024 * 1024
BIG_BYTES = 8_000_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB of its own."""
    place = tmp_path / "small-disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0755", "filingd-test", str(place)]
    if os.geteuid() != 0 or subprocess.run(mounting, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk of its own needs the right to mount a tmpfs")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def on_small_disk(make_rig: Callable[..., Rig], disk: Path, *, since: str, keep_free: str) -> Rig:
    """A rig whose store lies on the small disk; what the process prints does not."""
    rig = make_rig(since=since)
    rig.config.store = disk / "store"
    rig.store = StoreView(rig.config.store_path)
    rig.config.change({"store": {"keep_free": keep_free}, "run": {"room_check_interval": "300 ms"}})
    rig.config.change({"log": {"path": str(rig.config.folder / "status.jsonl")}})
    return rig


def fill(disk: Path, leave_bytes: int) -> Path:
    """Fill the disk with a file but for so many bytes; somebody else may write at the same time."""
    filler, about = disk / "somebody-else", os.statvfs(disk)
    remaining = about.f_bavail * about.f_frsize - leave_bytes
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while remaining > 0 or not leave_bytes:
            remaining -= file.write(bytes(65536 if remaining > 65536 else 4096))
    return filler


def test_downloads_pause_below_keep_free_and_go_on_by_themselves(
    make_rig: Callable[..., Rig], small_disk: Path
) -> None:
    rig = on_small_disk(make_rig, small_disk, since="2026-11-12", keep_free="10 MiB")
    filler = fill(small_disk, 6 * 1024 * 1024)
    with rig.daemon(until="sealed") as daemon:
        low = daemon.wait_for("room.low")
        assert low["free_bytes"] < low["keep_free_bytes"] == 10 * 1024 * 1024
        daemon.wait_for("heartbeat", count=3)
        assert rig.journal() == [], "nothing is asked for that could not be kept"
        filler.unlink()
        daemon.wait_for("room.regained")
        assert daemon.wait(60).code == 0
    rig.check_sealed(days("2026-11-12", YESTERDAY))


def test_a_body_that_does_not_fit_pauses_downloads_and_is_stored_when_there_is_room(
    make_rig: Callable[..., Rig], small_disk: Path
) -> None:
    rig = on_small_disk(make_rig, small_disk, since="2026-11-17", keep_free="64 KiB")
    rig.admin.add_fault({"kind": "huge", "total_bytes": BIG_BYTES}, dataset="pdf", date=YESTERDAY)
    filler = fill(small_disk, 5_000_000)
    with rig.daemon(until="sealed") as daemon:
        daemon.wait_for("room.low")
        daemon.wait_for("item.postponed", key=f"nbb/authentic/{YESTERDAY}/pdf", reason="disk_full")
        for day in ("2026-11-17", "2026-11-18"):  # what fits goes on
            daemon.wait_for("day.sealed", group=f"nbb/authentic/{day}")
        assert not rig.store.zip_path(YESTERDAY, "pdf").exists()
        filler.unlink()
        assert daemon.wait(60).code == 0
        assert daemon.lines("item.failed") == []
    assert rig.store.sealed_days() == days("2026-11-17", YESTERDAY)
    rig.store.check_sums(days("2026-11-17", YESTERDAY))
    rig.store.check_agreement()
    assert rig.store.staging() == []


def test_a_disk_that_somebody_else_fills_to_the_last_byte_does_not_end_the_daemon(
    make_rig: Callable[..., Rig], small_disk: Path
) -> None:
    rig = on_small_disk(make_rig, small_disk, since="2026-10-25", keep_free="64 KiB")
    rig.admin.settings(latency_ms=20)
    with rig.daemon(until="sealed") as daemon:
        daemon.wait_for("item.stored", count=4)
        filler = fill(small_disk, 0)
        daemon.wait_for("room.low")
        beats = len(daemon.lines("heartbeat"))
        daemon.wait_for("heartbeat", count=beats + 3)
        assert daemon.is_alive
        filler.unlink()
        wait_until(lambda: daemon.lines("room.regained"), "room")
        assert daemon.wait(60).code == 0
    rig.check_sealed(days("2026-10-25", YESTERDAY))


def test_without_room_even_for_its_memory_a_daemon_says_so_and_begins_when_there_is(
    make_rig: Callable[..., Rig], small_disk: Path
) -> None:
    rig = on_small_disk(make_rig, small_disk, since="2026-11-18", keep_free="4 MiB")
    rig.run()
    rig.admin.clock_set("2026-11-21T12:30")
    filler = fill(small_disk, 0)
    ended, _ = rig.run_to_any_end()
    assert ended.code == 1  # systemd starts it again
    assert "no room" in ended.stderr
    assert "Free some space" in ended.stderr
    assert "Traceback" not in ended.stderr
    filler.unlink()
    rig.run("idle")
    rig.check_sealed(days("2026-11-18", "2026-11-20"))


def test_a_daemon_that_waits_for_room_can_be_stopped_and_loses_nothing(
    make_rig: Callable[..., Rig], small_disk: Path
) -> None:
    rig = on_small_disk(make_rig, small_disk, since="2026-11-05", keep_free="64 KiB")
    rig.admin.settings(latency_ms=20)
    rig.config.change({"run": {"grace_period": "1 s"}})
    with rig.daemon() as daemon:
        daemon.wait_for("item.stored", count=4)
        filler = fill(small_disk, 0)
        daemon.wait_for("room.low")
        daemon.wait_for("heartbeat", count=2)
        began_s = time.monotonic()
        ended = daemon.stop()
        assert time.monotonic() - began_s <= 1.0 + 2.0
        assert ended.code == 0, ended.stderr
        assert ended.stderr == ""
    filler.unlink()
    rig.run()
    rig.check_sealed(days("2026-11-05", YESTERDAY))
