"""The manifest for commands: reading beside a daemon, what an operator may change, and a rebuilt one."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from filingd.adapters.manifest_commands import ManifestBuilder, ManifestWriter
from filingd.adapters.manifest_reader import ManifestReader
from filingd.adapters.manifest_schema import Migration, open_writable
from filingd.core.errors import DiskFaultError, ManifestBusyError, StoreError
from filingd.core.limits import LaneState
from filingd.core.model import Change, Group, Item, State, Version

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_795_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "manifest.db"


@pytest.fixture
def writer(path: Path) -> Iterator[ManifestWriter]:
    with ManifestWriter(path, clock_now=lambda: NOW, busy_timeout_s=0.05) as made:
        yield made


def one_in_every_state(writer: ManifestWriter) -> None:
    writer.record(
        [
            Change(
                None, Item(f"g/{state.name}", "extract", state, due_at=NOW + 999, attempts=7, reason="old")
            )
            for state in State
        ]
    )


def assert_exact(reader: ManifestReader) -> None:
    items = reader.page("", 100_000)
    scheduled = [item.lane for item in items if item.due_at is not None]
    assert reader.counts() == {state: sum(item.state is state for item in items) for state in State}
    assert reader.scheduled_counts() == {lane: scheduled.count(lane) for lane in set(scheduled)}


# ---------------------------------------------------------------- retry


def test_a_retry_makes_everything_due_but_what_is_under_way(writer: ManifestWriter) -> None:
    one_in_every_state(writer)
    keys = [f"g/{state.name}" for state in State]
    changed = writer.retry([*keys, "g/unknown"], NOW)
    assert changed == ["g/ABSENT", "g/DUE", "g/EMPTY", "g/QUARANTINED", "g/STORED"]
    items = writer.items(keys)
    assert {key: (item.state, item.due_at, item.attempts) for key, item in items.items()} == {
        "g/DUE": (State.DUE, NOW, 0),
        "g/ACTIVE": (State.ACTIVE, None, 7),
        "g/STORED": (State.STORED, NOW, 0),
        "g/RECHECKING": (State.RECHECKING, None, 7),
        "g/EMPTY": (State.DUE, NOW, 0),
        "g/ABSENT": (State.DUE, NOW, 0),
        "g/QUARANTINED": (State.DUE, NOW, 0),
        "g/REASKING": (State.REASKING, None, 7),
    }
    assert_exact(writer)


def test_a_retry_by_prefix_takes_what_begins_so_and_the_named_states_only(writer: ManifestWriter) -> None:
    keys = ["nbb/a/1", "nbb/a/2", "nbb/b/1", "nbb/a", "nbb/a%/1"]
    writer.record(
        [
            Change(
                None,
                Item(key, "extract", State.EMPTY if key == "nbb/a/2" else State.QUARANTINED, due_at=None),
            )
            for key in keys
        ]
    )
    assert writer.retry_prefix("nbb/a/", NOW, frozenset({State.QUARANTINED})) == ["nbb/a/1"]
    assert writer.retry_prefix("nbb/a/", NOW) == ["nbb/a/1", "nbb/a/2"]
    assert writer.retry_prefix("nbb/x", NOW) == []
    assert_exact(writer)


def test_a_retry_of_very_many_items_is_done_in_bounded_transactions(
    writer: ManifestWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filingd.adapters.manifest_commands.ROWS_A_TRANSACTION", 10)
    keys = [f"g/{n:03}" for n in range(55)]
    writer.record([Change(None, Item(key, "extract", State.ABSENT, due_at=None)) for key in keys])
    assert writer.retry_prefix("", NOW) == keys
    assert writer.retry(reversed(keys), NOW) == keys
    assert_exact(writer)


def test_a_retry_while_another_process_writes_is_refused_clearly(writer: ManifestWriter, path: Path) -> None:
    one_in_every_state(writer)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ManifestBusyError, match="being written by another process"):
            writer.retry(["g/EMPTY"], NOW)
    assert writer.retry(["g/EMPTY"], NOW) == ["g/EMPTY"]


def test_a_refused_change_leaves_the_manifest_as_it_was(writer: ManifestWriter) -> None:
    one_in_every_state(writer)
    with pytest.raises(StoreError, match="g/DUE was expected to be ABSENT but is DUE"):
        writer.record(
            [Change(None, Item("g/new", "new-lane")), Change(State.ABSENT, Item("g/DUE", "extract"))]
        )
    assert writer.items(["g/new"]) == {}
    writer.record([Change(None, Item("g/new", "new-lane"))])
    assert writer.scheduled_counts()["new-lane"] == 1


# ---------------------------------------------------------------- looking


def test_a_reader_sees_each_commit_of_a_running_writer(writer: ManifestWriter, path: Path) -> None:
    with ManifestReader(path) as reader:
        assert reader.counts()[State.DUE] == 0
        writer.record([Change(None, Item("g/a", "extract", due_at=NOW))])
        assert reader.counts()[State.DUE] == 1
        assert reader.next_due_at("extract") == NOW


def test_a_reader_answers_while_a_writer_is_in_the_middle(writer: ManifestWriter, path: Path) -> None:
    one_in_every_state(writer)
    with closing(sqlite3.connect(path, isolation_level=None)) as other, ManifestReader(path) as reader:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM items")
        assert len(reader.page("", 99)) == len(State)


def test_a_reader_cannot_change_anything(writer: ManifestWriter, path: Path) -> None:
    one_in_every_state(writer)
    with ManifestReader(path) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._connection.execute("DELETE FROM items")


def test_a_store_without_a_manifest_says_what_to_do(path: Path) -> None:
    with pytest.raises(StoreError, match=r"no manifest at .*filingd run"):
        ManifestReader(path)
    assert not path.exists()


def test_an_older_manifest_is_not_read_before_it_is_brought_forward(
    writer: ManifestWriter, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_in_every_state(writer)
    from filingd.adapters import manifest_schema

    known = len(manifest_schema.MIGRATIONS)
    newer = (*manifest_schema.MIGRATIONS, Migration(known + 1, ("CREATE TABLE extra (x)",)))
    monkeypatch.setattr(manifest_schema, "MIGRATIONS", newer)
    with pytest.raises(StoreError, match=f"format {known}; this filingd reads format {known + 1}"):
        ManifestReader(path)


def test_everything_that_was_written_can_be_read(writer: ManifestWriter, path: Path) -> None:
    version = Version("g/a", 1, "a.zip", 5, bytes(32), NOW, "extract", "r-1")
    item = Item("g/a", "extract", State.STORED, due_at=None, version=1)
    writer.record([Change(None, item, version)])
    writer.save_groups([Group("g", NOW)])
    writer.save_lane(LaneState("extract", "b-1"))
    writer.note_verified("g/a", NOW + 1)
    with ManifestReader(path) as reader:
        assert reader.group_items("g") == [item]
        assert reader.leased_items() == []
        assert reader.versions("g/a") == [replace(version, verified_at=NOW + 1)]
        assert reader.current_versions(["g/a"]) == {"g/a": replace(version, verified_at=NOW + 1)}
        assert reader.groups("g") == [Group("g", NOW)]
        assert reader.lane_states() == {"extract": LaneState("extract", "b-1")}


READ_AS_NOBODY = """
import os, sys
from pathlib import Path
from filingd.adapters.manifest_commands import ManifestReader
os.setgid(65534)
os.setuid(65534)
with ManifestReader(Path(sys.argv[1])) as reader:
    print(len(reader.page("", 99)))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("beside_a_daemon", [True, False])
def test_a_user_who_may_only_read_can_look(tmp_path: Path, beside_a_daemon: bool) -> None:
    folder = tmp_path / "store"
    folder.mkdir(mode=0o755)
    for parent in (tmp_path, *list(tmp_path.parents)[:-2]):
        parent.chmod(parent.stat().st_mode | 0o055)
    writer = ManifestWriter(folder / "manifest.db", clock_now=lambda: NOW)
    one_in_every_state(writer)
    if not beside_a_daemon:
        writer.close()
    command = [sys.executable, "-c", READ_AS_NOBODY, str(folder / "manifest.db")]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    writer.close()
    assert answer.stdout == f"{len(State)}\n"


def test_looking_imports_no_event_loop_and_nothing_that_writes() -> None:
    heavy = ["asyncio", "aiohttp", "filingd.adapters.manifest_statements"]
    program = f"import sys, filingd.adapters.manifest_reader; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert answer.stdout == "[]\n"


# ---------------------------------------------------------------- rebuilding


def test_a_rebuilt_manifest_takes_the_place_of_the_old_one_whole(writer: ManifestWriter, path: Path) -> None:
    one_in_every_state(writer)
    writer.close()
    with ManifestBuilder(path, clock_now=lambda: NOW) as builder:
        builder.add([Change(None, Item(f"g/{n:04}", "extract", due_at=NOW)) for n in range(3000)])
        builder.add_groups([Group("g", NOW)])
    with ManifestWriter(path, clock_now=lambda: NOW) as again:
        assert len(again.page("", 9999)) == 3000
        assert again.groups() == [Group("g", NOW)]
        assert_exact(again)
        assert again.retry(["g/0001"], NOW) == ["g/0001"]
    assert [file.name for file in path.parent.iterdir()] == ["manifest.db"]


def test_a_rebuild_replaces_a_damaged_manifest_and_its_log(path: Path) -> None:
    path.write_bytes(b"rubbish" * 5000)
    path.with_name("manifest.db-wal").write_bytes(b"rubbish" * 5000)
    with ManifestBuilder(path, clock_now=lambda: NOW) as builder:
        builder.add([Change(None, Item("g/a", "extract"))])
    with ManifestReader(path) as reader:
        assert reader.counts()[State.DUE] == 1


def test_a_rebuild_that_fails_leaves_the_old_manifest(writer: ManifestWriter, path: Path) -> None:
    one_in_every_state(writer)
    with pytest.raises(StoreError, match="expected to be ACTIVE"):
        build_wrongly(path)
    assert len(writer.page("", 99)) == len(State)
    assert not path.with_name("manifest.db.new").exists()


def build_wrongly(path: Path) -> None:
    with ManifestBuilder(path, clock_now=lambda: NOW) as builder:
        builder.add([Change(None, Item("g/a", "extract"))])
        builder.add([Change(State.ACTIVE, Item("g/b", "extract"))])


def test_a_rebuild_starts_anew_over_what_a_killed_one_left(path: Path) -> None:
    open_writable(path.with_name("manifest.db.new"), lambda: NOW).close()
    with closing(sqlite3.connect(path.with_name("manifest.db.new"))) as left:
        left.execute("CREATE TABLE rubbish (x)")
    with ManifestBuilder(path, clock_now=lambda: NOW) as builder:
        builder.add([Change(None, Item("g/a", "extract"))])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'rubbish'").fetchone() is None


def test_a_rebuild_without_a_store_says_so(tmp_path: Path) -> None:
    with (
        pytest.raises(DiskFaultError, match="folder exists"),
        ManifestBuilder(tmp_path / "none" / "manifest.db", clock_now=lambda: NOW),
    ):
        pass
