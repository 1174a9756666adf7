"""`filingd changes`: processes on real manifests, written to while they follow; the line by itself."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, get_args

import jsonschema
import pytest

from filingd.adapters import manifest_schema
from filingd.adapters.feed_follower import MOST_FAILED_LOOKS, FeedFollower
from filingd.adapters.manifest_commands import ManifestBuilder, ManifestWriter
from filingd.adapters.manifest_schema import SIDE_FILES
from filingd.cli import changes
from filingd.cli.stream import _parts
from filingd.core import change_line
from filingd.core.change_line import change_of, line_of
from filingd.core.errors import ExitCode, StoreError
from filingd.core.feed import FeedEvent, FeedKind
from filingd.core.model import Change, Group, Item, State, Version
from filingd.core.tombstones import Tombstone
from support.daemon import wait_until
from support.mirror import Said, filingd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_795_000_000.0
DAY = "nbb/authentic/2026-11-20"
PATIENCE_S = 30.0
CONFIG = """
[store]
path = "store"
[nbb]
since = 2026-11-01
[nbb.products.extract]
keys = ["env:FILINGD_TEST_EXTRACT"]
"""


class Stage:
    """A store with a manifest that tests write to."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "filingd.toml"
        self.config.write_text(CONFIG)
        (folder / "store").mkdir()
        self.manifest = folder / "store" / "manifest.db"
        self.writer = self.opened()
        self.items = 0

    def opened(self) -> ManifestWriter:
        return ManifestWriter(self.manifest, clock_now=lambda: NOW)

    def store(self, key: str | None = None) -> str:
        """Record a stored item; its key."""
        self.items += 1
        key = key or f"{DAY}/item-{self.items:05}"
        self.writer.record([stored(key)])
        return key

    def seal(self, group: str = DAY) -> None:
        self.writer.save_groups([Group(group, NOW, NOW, NOW)])

    def changes(self, *options: str) -> Said:
        return filingd("changes", "--config", str(self.config), *options)

    def follow(self, *options: str) -> Follower:
        return Follower(self.config, *options)


def stored(key: str) -> Change:
    item = Item(key, "nbb/extract", State.STORED, 0, None, size_bytes=5, sha256=bytes(32), version=1)
    return Change(None, item, Version(key, 1, f"{key}.zip", 5, bytes(31) + b"\x01", NOW, "route", "id"))


class Follower:
    """`filingd changes --follow`, and whoever reads it."""

    def __init__(self, config: Path, *options: str) -> None:
        command = [sys.executable, "-m", "filingd", "changes", "--config", str(config), "--follow", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._left = b""

    def line(self, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """The next line."""
        deadline_s = time.monotonic() + timeout_s
        while b"\n" not in self._left:
            data = self._data(deadline_s - time.monotonic())
            assert data, f"no line came within {timeout_s} s; the process ended with {self.process.poll()}"
            self._left += data
        line, _, self._left = self._left.partition(b"\n")
        return dict(json.loads(line))

    def lines(self, count: int) -> list[dict[str, Any]]:
        return [self.line() for _ in range(count)]

    def rest(self) -> bytes:
        """All that is still to be read."""
        assert self.process.stdout is not None
        assert self.process.wait(PATIENCE_S) is not None
        return self._left + self.process.stdout.read()

    def close_pipe(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()

    def ended(self) -> tuple[int, bytes]:
        """Its exit code and what it said on standard error, when it has ended."""
        assert self.process.stderr is not None
        code = self.process.wait(PATIENCE_S)
        return code, self.process.stderr.read()

    def _data(self, timeout_s: float) -> bytes:
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], max(timeout_s, 0))
        return os.read(self.process.stdout.fileno(), 65536) if readable else b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError, AttributeError):
                stream.close()  # type: ignore[union-attr]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.writer.close()


def every_kind(stage: Stage) -> str:
    """One event of each kind but `begun`, which is there already; the item."""
    key = stage.store()
    item = next(iter(stage.writer.items([key]).values()))
    second = Version(key, 2, f"{key}.zip", 7, bytes([7]) * 32, NOW, "route", "id")
    stage.seal()
    stage.writer.save_groups([Group(DAY, NOW, None, NOW, ("changed",))])
    replaced = Item(key, item.lane, State.STORED, 0, None, size_bytes=7, sha256=bytes([7]) * 32, version=2)
    stage.writer.record([Change(State.STORED, replaced, second)])
    stage.writer.record([Change(State.STORED, Item(key, item.lane, State.DUE, 0, NOW, version=2))])
    stage.writer.bury([Tombstone("2026-00999001", False, NOW, "an order")])
    stage.writer.note_erased(["2026-00999001"], NOW, {})
    return key


# ------------------------------------------------------------------------------------------ once


def test_every_kind_of_event_is_told_in_order_with_what_is_known_of_its_body(stage: Stage) -> None:
    key = every_kind(stage)
    said = stage.changes()
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert (said.code, said.err) == (ExitCode.OK, "")
    assert [line["kind"] for line in lines] == [
        "begun", "stored", "sealed", "reopened", "replaced", "lost", "forgotten"
    ]  # fmt: skip
    assert [line["seq"] for line in lines] == list(range(1, 8))
    first = {"key": key, "version": 1, "path": f"{key}.zip", "size_bytes": 5, "sha256": "00" * 31 + "01"}
    assert lines[1] == {"seq": 2, "at": "2026-11-18T11:06:40.000Z", "kind": "stored", **first}
    assert lines[2] == {"seq": 3, "at": "2026-11-18T11:06:40.000Z", "kind": "sealed", "group": DAY}
    assert (lines[4]["version"], lines[4]["size_bytes"], lines[4]["sha256"]) == (2, 7, "07" * 32)
    assert lines[6]["subject"] == "2026-00999001"


def test_every_line_fits_the_schema(stage: Stage) -> None:
    every_kind(stage)
    schema = stage.changes("--schema").json
    assert schema == changes.schema()
    for line in stage.changes().out.splitlines():
        jsonschema.validate(json.loads(line), schema)


def test_who_says_what_was_dealt_with_gets_what_came_after_it(stage: Stage) -> None:
    every_kind(stage)
    everything = stage.changes().out.splitlines()
    for since in range(len(everything) + 1):
        assert stage.changes("--since", str(since)).out.splitlines() == everything[since:]


def test_a_limit_ends_it(stage: Stage) -> None:
    every_kind(stage)
    everything = stage.changes().out.splitlines()
    assert stage.changes("--limit", "3").out.splitlines() == everything[:3]
    assert stage.changes("--since", "3", "--limit", "100").out.splitlines() == everything[3:]


def test_a_place_the_feed_never_reached_is_refused_with_the_remedy(stage: Stage) -> None:
    said = stage.changes("--since", "2")
    assert (said.code, said.out) == (ExitCode.FAILED, "")
    assert "ends with event 1: it has told no event 2" in said.err
    assert "`--since 0`" in said.err
    with stage.follow("--since", "2") as follower:
        assert follower.ended()[0] == ExitCode.FAILED


@pytest.mark.parametrize("option", [[], ["--follow"]])
def test_without_a_manifest_there_is_nothing_to_wait_for(stage: Stage, option: list[str]) -> None:
    stage.manifest.unlink()
    said = stage.changes(*option)
    assert said.code == ExitCode.STORE
    assert "There is no manifest" in said.err


def test_what_is_known_no_more_of_a_body_is_left_out(stage: Stage) -> None:
    stage.store()
    stage.writer._connection.execute("DELETE FROM versions")
    line = json.loads(stage.changes("--since", "1").out)
    assert line.keys() == {"seq", "at", "kind", "key", "version"}


def test_a_long_feed_is_told_whole(stage: Stage) -> None:
    stage.writer.record([stored(f"{DAY}/many-{number:05}") for number in range(3_000)])
    told = [json.loads(line)["seq"] for line in stage.changes().out.splitlines()]
    assert told == list(range(1, 3_002))


# ------------------------------------------------------------------------------------------ following


def test_a_follower_tells_what_is_there_and_then_each_event_as_it_comes(stage: Stage) -> None:
    with stage.follow() as follower:
        assert follower.line()["kind"] == "begun"
        for _ in range(5):
            key = stage.store()
            assert follower.line()["key"] == key
        stage.seal()
        assert follower.line()["group"] == DAY


def test_a_follower_that_is_written_past_misses_nothing_and_repeats_nothing(stage: Stage) -> None:
    with stage.follow("--limit", "402") as follower:
        keys = [stage.store() for _ in range(400)]
        stage.seal()
        lines = follower.lines(402)
        assert [line["seq"] for line in lines] == list(range(1, 403))
        assert [line["key"] for line in lines[1:-1]] == keys
        assert follower.rest() == b""
        assert follower.ended() == (ExitCode.OK, b"")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_follower_in_order(stage: Stage, number: signal.Signals) -> None:
    with stage.follow() as follower:
        follower.line()
        follower.process.send_signal(number)
        assert follower.ended() == (ExitCode.OK, b"")
        assert follower.rest() == b""


def test_a_signal_ends_a_follower_whose_reader_does_not_read_after_a_whole_line(stage: Stage) -> None:
    stage.writer.record([stored(f"{DAY}/many-{number:05}") for number in range(5_000)])
    with stage.follow() as follower:
        wait_until(lambda: pipe_is_full(follower), "full pipe")
        follower.process.send_signal(signal.SIGTERM)
        assert follower.ended() == (ExitCode.OK, b"")
        told = follower.rest()
    assert told.endswith(b"\n")
    assert [json.loads(line)["seq"] for line in told.splitlines()] == list(range(1, told.count(b"\n") + 1))
    assert told.count(b"\n") < 5_000


def pipe_is_full(follower: Follower) -> bool:
    """Whether the process waits for room: nothing was written since the last look, and there is something to read."""
    assert follower.process.stdout is not None
    counts: list[int] = []
    for _ in range(2):
        answer = fcntl.ioctl(follower.process.stdout, termios.FIONREAD, b"\0" * 4)
        counts.append(struct.unpack("i", answer)[0])
        time.sleep(0.05)
    return counts[0] == counts[1] > 50_000


def test_a_reader_that_goes_away_ends_a_follower_although_nothing_happens(stage: Stage) -> None:
    with stage.follow() as follower:
        follower.line()
        follower.close_pipe()
        assert follower.ended() == (ExitCode.PIPE_CLOSED, b"")


def test_a_manifest_that_a_daemon_opens_later_is_followed(stage: Stage) -> None:
    stage.writer.close()
    with stage.follow() as follower:
        follower.line()
        for _ in range(2):
            stage.writer = stage.opened()
            key = stage.store()
            assert follower.line()["key"] == key
            stage.writer.close()


def rebuild(stage: Stage, keys: list[str]) -> None:
    """What `filingd manifest rebuild` does."""
    head = stage.writer.feed_head()
    stage.writer.close()
    with ManifestBuilder(stage.manifest, clock_now=lambda: NOW) as builder:
        builder.begin_feed(head)
        builder.add([stored(key) for key in keys])
    stage.writer = stage.opened()


def test_a_follower_outlives_a_rebuilt_manifest_and_is_told_everything_anew(stage: Stage) -> None:
    keys = [stage.store() for _ in range(3)]
    with stage.follow() as follower:
        assert [line["seq"] for line in follower.lines(4)] == [1, 2, 3, 4]
        rebuild(stage, keys)
        lines = follower.lines(4)
        assert [(line["seq"], line["kind"]) for line in lines] == [
            (5, "begun"), (6, "stored"), (7, "stored"), (8, "stored")
        ]  # fmt: skip
        key = stage.store()
        assert follower.line()["key"] == key


def test_a_manifest_that_goes_away_is_waited_for(stage: Stage) -> None:
    with stage.follow() as follower:
        follower.line()
        stage.writer.close()
        away = stage.manifest.with_name("away.db")
        stage.manifest.rename(away)
        with pytest.raises(subprocess.TimeoutExpired):
            follower.process.wait(1.0)
        away.rename(stage.manifest)
        stage.writer = stage.opened()
        key = stage.store()
        assert follower.line()["key"] == key


def test_a_manifest_that_is_put_back_from_an_older_copy_is_told(stage: Stage) -> None:
    copy = stage.manifest.with_name("copy.db")
    stage.writer._connection.execute(f"VACUUM INTO '{copy}'")
    stage.store()
    with stage.follow() as follower:
        follower.lines(2)
        stage.writer.close()
        for ending in SIDE_FILES:
            stage.manifest.with_name(stage.manifest.name + ending).unlink(missing_ok=True)
        copy.rename(stage.manifest)
        stage.writer = stage.opened()
        code, err = follower.ended()
    assert code == ExitCode.FAILED
    assert b"ends with event 1: it has told no event 2" in err


# ------------------------------------------------------------------------------------------ the follower by itself


def test_a_look_without_a_commit_brings_no_news(stage: Stage) -> None:
    with FeedFollower(stage.manifest) as follower:
        assert not follower.has_news()
        stage.store()
        assert follower.has_news()
        assert not follower.has_news()


def test_a_manifest_that_could_only_be_read_at_rest_is_opened_again_when_somebody_writes(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_side_files(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
        """As for a user who may not make them."""
        at_rest = "" if path.with_name(path.name + "-wal").exists() else "&immutable=1"
        return sqlite3.connect(f"file:{path}?mode=ro{at_rest}", uri=True, isolation_level=None)

    monkeypatch.setattr(manifest_schema, "connect_read_only", without_side_files)
    stage.writer.close()
    with FeedFollower(stage.manifest) as follower:
        assert not follower.has_news()
        stage.writer = stage.opened()
        key = stage.store()
        assert follower.has_news()
        assert [one.event.subject for one in follower.read(1, 10)] == [key]


def test_a_manifest_that_stays_unreadable_is_told_in_the_end(stage: Stage) -> None:
    stage.writer.close()
    with FeedFollower(stage.manifest) as follower:
        stage.manifest.unlink()
        assert not any(follower.has_news() for _ in range(2 * MOST_FAILED_LOOKS))
        stage.manifest.touch()  # as when one is just being begun
        assert not any(follower.has_news() for _ in range(MOST_FAILED_LOOKS))
        with pytest.raises(StoreError, match="format 0"):
            follower.has_news()


# ------------------------------------------------------------------------------------------ the line by itself


def test_each_kind_of_the_feed_has_its_word() -> None:
    assert {kind.name.lower() for kind in FeedKind} == set(get_args(change_line.Kind))


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (NOW, "2026-11-18T11:06:40.000Z"),
        (NOW + 0.999, "2026-11-18T11:06:40.999Z"),
    ],
)
def test_an_instant_is_told_in_utc_to_the_millisecond(at: float, text: str) -> None:
    assert change_of(FeedEvent(1, at, FeedKind.BEGUN, ""), None).at == text


def test_a_line_ends_and_is_one_line() -> None:
    line = line_of(FeedEvent(1, NOW, FeedKind.FORGOTTEN, "odd\nsubject"), None)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1


def test_lines_are_put_together_and_never_cut() -> None:
    lines = [b"a" * 3, b"b" * 3, b"c" * 9, b"d"]
    assert list(_parts(lines, 6)) == [b"aaabbb", b"c" * 9, b"d"]
    assert list(_parts([], 6)) == []


def test_the_page_about_the_feed_names_every_kind_and_field_and_its_examples_fit_the_schema() -> None:
    page = (ROOT / "docs" / "changes.md").read_text("utf-8")
    for kind in get_args(change_line.Kind):
        assert f"| `{kind}` |" in page
    examples = page.partition("```json\n")[2].partition("```")[0].splitlines()
    for example in examples:
        jsonschema.validate(json.loads(example), changes.schema())
    named = set().union(*(json.loads(example) for example in examples)) | {"subject"}
    assert named == set(changes.schema()["$defs"]["ChangeLine"]["properties"])
