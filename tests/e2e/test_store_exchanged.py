"""The store is moved, unmounted or exchanged while the daemon runs: it ends with 4 and has told nobody a lie."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from e2e.rig import YESTERDAY
from support.daemon import StoreView, days, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.rig import Rig

pytestmark = pytest.mark.slow

FIRST = "2026-11-12"
SAID = "moved, removed, replaced or unmounted"


def busy_rig(make_rig: Callable[..., Rig]) -> Rig:
    """A rig that is in the middle of one long body, with other days still to come."""
    rig = make_rig(since=FIRST, ranges="correct")
    rig.config.change({"log": {"path": str(rig.config.folder / "status.jsonl")}})
    rig.config.change({"run": {"grace_period": "500 ms"}})
    rig.admin.add_fault({"kind": "huge", "total_bytes": 50_000_000}, dataset="pdf", date=YESTERDAY)
    rig.admin.add_fault({"kind": "drip", "bytes_per_s": 1_000_000}, dataset="pdf", date=YESTERDAY)
    return rig


def in_the_middle(rig: Rig) -> None:
    partial = rig.store.partial(YESTERDAY, "pdf")
    wait_until(lambda: partial.exists() and partial.stat().st_size > 0, "part of the body")


def check_rows_have_files(store: StoreView) -> None:
    """Whatever the manifest calls stored lies beside it."""
    for item in store.items().values():
        if item.state in ("stored", "rechecking"):
            assert store.zip_path(item.day, item.dataset).exists(), item


def move_away(rig: Rig) -> None:
    rig.store.root.rename(rig.config.folder / "elsewhere")


def move_away_and_leave_an_empty_folder(rig: Rig) -> None:
    move_away(rig)
    rig.store.root.mkdir()


def exchange_the_folder_of_the_registry(rig: Rig) -> None:
    (rig.store.root / "nbb").rename(rig.config.folder / "nbb")
    (rig.store.root / "nbb").mkdir()


def remove_the_lock(rig: Rig) -> None:
    (rig.store.root / "lock").unlink()


def restore_an_older_manifest(rig: Rig) -> None:
    manifest = rig.store.root / "manifest.db"
    shutil.copy(manifest, rig.config.folder / "copy.db")
    (rig.config.folder / "copy.db").rename(manifest)


def test_a_folder_of_the_store_that_is_exchanged_ends_it_too(make_rig: Callable[..., Rig]) -> None:
    rig = busy_rig(make_rig)
    with rig.daemon() as daemon:
        in_the_middle(rig)
        exchange_the_folder_of_the_registry(rig)
        ended = daemon.wait()
    assert (ended.code, SAID in ended.stderr) == (4, True), ended.stderr
    assert list((rig.store.root / "nbb").iterdir()) == []
    (rig.store.root / "nbb").rmdir()
    (rig.config.folder / "nbb").rename(rig.store.root / "nbb")
    check_rows_have_files(rig.store)
    rig.admin.clear_faults()
    rig.run()
    rig.check_sealed(days(FIRST, YESTERDAY))


@pytest.mark.parametrize(
    "happens",
    [move_away, move_away_and_leave_an_empty_folder, remove_the_lock, restore_an_older_manifest],
)
def test_a_daemon_whose_store_is_exchanged_ends_with_4_and_goes_on_when_it_is_put_back(
    make_rig: Callable[..., Rig], happens: Callable[[Rig], None]
) -> None:
    rig = busy_rig(make_rig)
    with rig.daemon() as daemon:
        in_the_middle(rig)
        happens(rig)
        ended = daemon.wait()
        assert daemon.lines("daemon.failed"), "the status log says it"
    assert ended.code == 4, ended.stderr
    assert SAID in ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout
    elsewhere = rig.config.folder / "elsewhere"
    if elsewhere.exists():
        assert not rig.store.root.exists() or list(rig.store.root.iterdir()) == []
        check_rows_have_files(StoreView(elsewhere))
        shutil.rmtree(rig.store.root, ignore_errors=True)
        elsewhere.rename(rig.store.root)
    rig.admin.clear_faults()
    rig.run()
    rig.check_sealed(days(FIRST, YESTERDAY))


def test_a_daemon_with_nothing_to_do_notices_it_too(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since=YESTERDAY)
    with rig.daemon() as daemon:
        daemon.wait_for("day.sealed")
        move_away(rig)
        ended = daemon.wait()
    assert (ended.code, SAID in ended.stderr) == (4, True)
    assert not rig.store.root.exists(), "nobody made a new store"


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A volume of its own."""
    place = tmp_path / "volume"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=128m,mode=0755", "filingd-test", str(place)]
    if os.geteuid() != 0 or subprocess.run(mounting, capture_output=True, check=False).returncode != 0:
        pytest.skip("a volume of its own needs the right to mount a tmpfs")
    return place


def test_nothing_is_written_below_the_mount_point_of_a_volume_that_is_gone(
    make_rig: Callable[..., Rig], volume: Path
) -> None:
    rig = busy_rig(make_rig)
    rig.config.store = volume
    rig.store = StoreView(volume)
    with rig.daemon() as daemon:
        in_the_middle(rig)
        subprocess.run(["umount", "--lazy", str(volume)], check=True)
        ended = daemon.wait()
    assert (ended.code, SAID in ended.stderr) == (4, True), ended.stderr
    assert list(volume.iterdir()) == []
