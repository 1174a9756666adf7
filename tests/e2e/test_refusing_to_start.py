"""A daemon that cannot begin says why in whole sentences, with a stable exit code and no traceback."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from e2e.rig import YESTERDAY
from filingd.adapters.lock import StoreLock
from support.daemon import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.rig import Rig

pytestmark = pytest.mark.slow


def filingd(rig: Rig, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run another command of filingd on the rig's configuration."""
    command = [sys.executable, "-m", "filingd", *arguments, "--config", str(rig.config.write())]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def refused(rig: Rig, code: int) -> str:
    """What a daemon says that ends with this code and asks nobody anything."""
    ended, _ = rig.run_to_any_end()
    assert ended.code == code, ended.stderr
    assert "Traceback" not in ended.stderr + ended.stdout
    return ended.stderr


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"nbb": {"sinze": 1}}, ("nbb.sinze", "since")),
        ({"run": {"concurrency": 0}}, ("run.concurrency", "0")),
        ({"run": {"grace_period": "soon"}}, ("run.grace_period", "soon", "30 s")),
        ({"nbb": {"base_url": "http://ws.cbso.nbb.be"}}, ("nbb.base_url", "https")),
        ({"nbb": {"products": {"extract": {"keys": ["0123456789abcdef0123456789abcdef"]}}}}, ("keys", "env:")),
    ],
    ids=["unknown key", "too small", "no duration", "plain http", "literal key"],
)  # fmt: skip
def test_a_wrong_configuration_ends_with_3_and_names_what_is_wrong(
    make_rig: Callable[..., Rig], tables: dict[str, Any], words: tuple[str, ...]
) -> None:
    rig = make_rig(since=YESTERDAY)
    rig.config.change(tables)
    said = refused(rig, 3)
    for word in words:
        assert word in said
    assert "0123456789abcdef" not in said
    assert rig.journal() == []


def test_a_file_that_is_no_toml_ends_with_3(
    make_rig: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(since=YESTERDAY)
    monkeypatch.setattr(type(rig.config), "text", lambda _: "[store\npath = ")
    assert "filingd.toml" in refused(rig, 3)


def test_the_manifest_of_a_newer_program_ends_with_4_and_is_left_alone(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since=YESTERDAY)
    rig.run()
    manifest = rig.store.root / "manifest.db"
    connection = sqlite3.connect(manifest)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    before = manifest.read_bytes()
    said = refused(rig, 4)
    assert "newer" in said
    assert str(manifest) in said
    assert manifest.read_bytes() == before


def _overwrite(manifest: Path) -> None:
    manifest.write_bytes(b"this was a manifest " * 500)


def _tear_pages(manifest: Path) -> None:
    size = manifest.stat().st_size
    with manifest.open("r+b") as file:
        for offset in range(4096, size, 4096):
            file.seek(offset)
            file.write(b"\xa5" * 64)


def _replace_by_another_database(manifest: Path) -> None:
    manifest.unlink()
    connection = sqlite3.connect(manifest)
    connection.execute("CREATE TABLE cats (name TEXT)")
    connection.close()


@pytest.mark.parametrize("damage", [_overwrite, _tear_pages, _replace_by_another_database])
def test_a_damaged_manifest_ends_with_4_and_names_the_way_out_which_works(
    make_rig: Callable[..., Rig], damage: Callable[[Path], None]
) -> None:
    rig = make_rig(since="2026-11-18")
    rig.run()
    asked = len(rig.journal())
    manifest = rig.store.root / "manifest.db"
    for side in ("-wal", "-shm"):
        manifest.with_name(manifest.name + side).unlink(missing_ok=True)
    damage(manifest)
    assert "filingd manifest rebuild" in refused(rig, 4)
    rebuilt = filingd(rig, "manifest", "rebuild")
    assert rebuilt.returncode == 0, rebuilt.stderr
    rig.run()
    rig.check_sealed(["2026-11-18", YESTERDAY])
    assert len(rig.journal()) == asked, "nothing was fetched again"


def test_a_second_daemon_is_refused_and_writes_nothing_into_the_log_of_the_first(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(since=YESTERDAY)
    with rig.daemon() as daemon:
        daemon.wait_for("day.sealed")
        second = filingd(rig, "run")
        assert second.returncode == 4
        assert str(daemon.process.pid) in second.stderr
        assert "Traceback" not in second.stderr
        assert daemon.stop().code == 0
        assert [line["pid"] for line in daemon.lines("daemon.started")] == [daemon.process.pid]
        assert daemon.lines("daemon.failed") == []


def test_a_daemon_waits_for_a_command_that_has_the_store_and_then_begins(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(since=YESTERDAY)
    rig.store.root.mkdir(parents=True, exist_ok=True)
    lock = StoreLock(rig.store.root, started_at=0.0, purpose="filingd doctor")
    lock.acquire()
    with rig.daemon(until="sealed") as daemon:
        wait_until(lambda: "waiting for filingd doctor" in daemon.said(), "word about the command")
        assert daemon.is_alive
        lock.release()
        assert daemon.wait().code == 0
    assert rig.store.sealed_days() == [YESTERDAY]
