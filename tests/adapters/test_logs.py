"""The status log: every line whole, in order, redacted; the loop never waits; logrotate may come at any time."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.adapters import logs
from filingd.adapters.logs import JsonFile, JsonStream, Line, PrettyStream, StatusLog, capture_libraries
from filingd.core import events
from support.logcheck import check_file, check_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filingd import ports

NOON = 1_795_172_400.123  # 2026-11-20T11:00:00.123Z
KEY = "0123456789abcdef" * 2


class Memory:
    """An output that keeps its lines; can be held up or broken."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.is_free = threading.Event()
        self.is_free.set()
        self.is_reached = threading.Event()
        self.error: Exception | None = None
        self.is_closed = False

    def write(self, lines: Sequence[Line]) -> None:
        self.is_reached.set()
        assert self.is_free.wait(10)
        if self.error is not None:
            raise self.error
        self.lines.extend(dict(line.facts) for line in lines)

    def close(self) -> None:
        self.is_closed = True


def _file_log(path: Path, level: str = "info") -> StatusLog:
    return StatusLog([JsonFile(path)], lambda: NOON, level=level)


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _retried(log: ports.Log, number: int) -> None:
    log.error(events.ITEM_LOST, key=f"nbb/authentic/2026-11-20/{number}")


# ------------------------------------------------------------------------------------------ lines


def test_a_line_has_time_level_and_event_first_then_its_facts_in_order(tmp_path: Path) -> None:
    log = _file_log(tmp_path / "log.jsonl")
    log.error(events.ROOM_LOW, keep_free_bytes=2, free_bytes=1)
    log.close()
    assert (tmp_path / "log.jsonl").read_text() == (
        '{"ts":"2026-11-20T11:00:00.123Z","level":"error","event":"room.low","keep_free_bytes":2,"free_bytes":1}\n'
    )
    check_file(tmp_path / "log.jsonl")


def test_the_clock_is_injected_so_that_a_rehearsal_writes_its_own_time() -> None:
    instants = iter([NOON, 0.0])
    memory = Memory()
    log = StatusLog([memory], lambda: next(instants))
    _retried(log, 1)
    _retried(log, 2)
    log.close()
    assert [line["ts"] for line in memory.lines] == ["2026-11-20T11:00:00.123Z", "1970-01-01T00:00:00.000Z"]


@pytest.mark.parametrize(("level", "expected"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_only_lines_of_the_level_or_above_are_written(level: str, expected: int) -> None:
    memory = Memory()
    log = StatusLog([memory], lambda: NOON, level=level)
    for write in (log.debug, log.info, log.warning, log.error):
        write("some.event", fact=1)
    log.close()
    assert [line["level"] for line in memory.lines] == ["debug", "info", "warning", "error"][-expected:]


def test_what_is_no_json_becomes_text_and_a_line_is_always_one_line(tmp_path: Path) -> None:
    log = _file_log(tmp_path / "log.jsonl")
    log.info(
        "x.y",
        path=Path("/a"),
        error=ValueError("no"),
        text="a\nb\u2028c\udcff",
        number=float("nan"),
        big=2**80,
    )
    log.close()
    raw = (tmp_path / "log.jsonl").read_bytes()
    assert raw.count(b"\n") == 1
    (line,) = map(json.loads, raw.splitlines())
    assert (line["path"], line["error"], line["number"], line["big"]) == ("/a", "no", None, 2**80)
    assert line["text"] == "a\nb\u2028c\\udcff"


_FACTS = st.dictionaries(
    st.sampled_from(["key", "reason", "detail", "facts"]),
    st.recursive(
        st.text(max_size=5) | st.integers() | st.floats() | st.builds("{}{}".format, st.text(max_size=4), st.just(f"<{KEY}>")),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.just(KEY), inner, max_size=3),
        max_leaves=5,
    ),
)  # fmt: skip


@given(_FACTS)
def test_no_key_reaches_any_output_whatever_the_facts(facts: dict[str, Any]) -> None:
    pretty, plain = io.StringIO(), io.StringIO()
    log = StatusLog(
        [JsonStream(plain), PrettyStream(pretty, colors=False)], lambda: NOON, lambda: {"other-key"}
    )
    log.info("x.y", **facts, more="an Other-Key too")
    log.close()
    for text in (plain.getvalue(), pretty.getvalue()):
        assert KEY not in text
        assert "other-key" not in text.lower()
    assert json.loads(plain.getvalue())["event"] == "x.y"


def test_a_key_is_redacted_from_the_moment_it_is_known() -> None:
    known: set[str] = set()
    memory = Memory()
    log = StatusLog([memory], lambda: NOON, lambda: known)
    log.info("x.y", detail="s3cret-word")
    known.add("s3cret-word")
    log.info("x.y", detail="s3cret-word")
    log.close()
    assert [line["detail"] for line in memory.lines] == ["s3cret-word", "[redacted]"]


# ------------------------------------------------------------------------------------------ the writer thread


def test_a_hanging_disk_never_holds_up_the_caller_and_costs_debug_lines_only() -> None:
    memory = Memory()
    memory.is_free.clear()
    log = StatusLog([memory], lambda: NOON, level="debug", queue_lines=10)
    _retried(log, 0)
    assert memory.is_reached.wait(10)  # the thread hangs in its first write from here on
    began = time.monotonic()
    for number in range(1, 101):
        log.debug(events.ITEM_LEASED, key=f"d{number}")
    for number in range(1, 101):
        _retried(log, number)
    assert time.monotonic() - began < 5
    assert log.dropped_lines == 90
    memory.is_free.set()
    log.close()
    assert len([line for line in memory.lines if line["event"] == events.ITEM_LOST]) == 101
    assert [line["key"] for line in memory.lines if line["level"] == "debug"] == [
        f"d{n}" for n in range(1, 11)
    ]
    (report,) = [line for line in memory.lines if line["event"] == events.LOG_DROPPED]
    assert report["lines"] == 90
    for line in memory.lines:
        check_line(line)


def test_lines_of_many_threads_are_whole_and_each_thread_s_are_in_order(tmp_path: Path) -> None:
    log = _file_log(tmp_path / "log.jsonl")

    def write(name: str) -> None:
        for number in range(300):
            log.info("x.y", thread=name, number=number)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    lines = _read(tmp_path / "log.jsonl")
    assert len(lines) == 1200
    for name in "abcd":
        assert [line["number"] for line in lines if line["thread"] == name] == list(range(300))


def test_closing_writes_everything_and_later_lines_are_let_go() -> None:
    memory = Memory()
    log = StatusLog([memory], lambda: NOON)
    for number in range(2000):
        _retried(log, number)
    log.close()
    assert len(memory.lines) == 2000
    assert memory.is_closed
    _retried(log, 1)
    log.close()
    assert log.flush()
    assert len(memory.lines) == 2000


def test_flushing_waits_for_what_was_written_so_far() -> None:
    memory = Memory()
    memory.is_free.clear()
    log = StatusLog([memory], lambda: NOON)
    _retried(log, 1)
    assert not log.flush(timeout_s=0.05)
    memory.is_free.set()
    assert log.flush()
    assert len(memory.lines) == 1
    log.close()


def test_closing_does_not_wait_for_ever_for_a_hanging_disk() -> None:
    memory = Memory()
    memory.is_free.clear()
    log = StatusLog([memory], lambda: NOON)
    _retried(log, 1)
    assert memory.is_reached.wait(10)
    log.close(timeout_s=0.05)
    memory.is_free.set()


async def test_writing_a_line_on_the_event_loop_blocks_on_nothing(tmp_path: Path) -> None:
    from blockbuster import blockbuster_ctx

    log = _file_log(tmp_path / "log.jsonl")
    with blockbuster_ctx("filingd"):
        for number in range(200):
            _retried(log, number)
    await asyncio.to_thread(log.close)
    assert len(await asyncio.to_thread(_read, tmp_path / "log.jsonl")) == 200


# ------------------------------------------------------------------------------------------ the file


def test_the_file_is_opened_anew_when_logrotate_moved_it(tmp_path: Path) -> None:
    path = tmp_path / "log" / "filingd.jsonl"
    log = _file_log(path)
    for number in range(3):
        _retried(log, number)
        assert log.flush()
        path.rename(path.with_suffix(f".{number}"))
    _retried(log, 3)
    log.close()
    keys = [[line["key"][-1] for line in _read(each)] for each in sorted(path.parent.iterdir())]
    assert keys == [["0"], ["1"], ["2"], ["3"]]


def test_the_file_is_opened_anew_when_another_took_its_name(tmp_path: Path) -> None:
    path = tmp_path / "filingd.jsonl"
    log = _file_log(path)
    _retried(log, 0)
    assert log.flush()
    fresh = tmp_path / "fresh"
    fresh.touch()
    fresh.replace(path)
    _retried(log, 1)
    log.close()
    assert [line["key"][-1] for line in _read(path)] == ["1"]


def test_a_store_that_was_moved_away_is_not_begun_anew_by_its_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    log = _file_log(store / "log" / "filingd.jsonl")
    _retried(log, 1)
    assert log.flush()
    store.rename(tmp_path / "gone")
    _retried(log, 2)
    assert log.flush()
    assert not store.exists()
    assert "2026-11-20/2" in capsys.readouterr().err
    (tmp_path / "gone").rename(store)
    _retried(log, 3)
    log.close()
    assert [line.get("key", "")[-1:] for line in _read(store / "log" / "filingd.jsonl")] == ["1", "", "3"]


def test_a_second_run_appends_and_only_owner_and_group_may_read(tmp_path: Path) -> None:
    path = tmp_path / "filingd.jsonl"
    for number in range(2):
        log = _file_log(path)
        _retried(log, number)
        log.close()
    assert [line["key"][-1] for line in _read(path)] == ["0", "1"]
    assert path.stat().st_mode & 0o007 == 0


def test_a_line_that_a_crash_cut_in_two_does_not_swallow_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "filingd.jsonl"
    path.write_text('{"ts":"2026-')
    log = _file_log(path)
    _retried(log, 1)
    log.close()
    torn, whole = path.read_text().splitlines()
    assert torn == '{"ts":"2026-'
    check_line(json.loads(whole))


def test_a_line_that_a_full_disk_cut_in_two_does_not_swallow_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real_write, room = tmp_path / "filingd.jsonl", os.write, [10]

    def write(descriptor: int, data: memoryview) -> int:
        if room and not room[0]:
            raise OSError(28, "No space left on device")
        count = real_write(descriptor, data[: room[0]] if room else data)
        if room:
            room[0] -= count
        return count

    monkeypatch.setattr(os, "write", write)
    log = _file_log(path)
    _retried(log, 1)
    assert log.flush()
    room.clear()
    _retried(log, 2)
    log.close()
    torn, diverted, whole = path.read_text().splitlines()
    assert len(torn) == 10
    assert json.loads(diverted) == {
        "ts": "2026-11-20T11:00:00.123Z", "level": "error", "event": events.LOG_DIVERTED, "lines": 1,
        "detail": "[Errno 28] No space left on device",
    }  # fmt: skip
    check_line(json.loads(diverted))
    assert json.loads(whole)["key"].endswith("/2")


def test_lines_that_no_output_takes_go_to_standard_error_and_the_output_says_so_later(
    capsys: pytest.CaptureFixture[str],
) -> None:
    memory = Memory()
    memory.error = OSError(5, "Input/output error")
    log = StatusLog([memory], lambda: NOON)
    _retried(log, 1)
    _retried(log, 2)
    assert log.flush()
    memory.error = None
    log.close()
    assert [json.loads(line)["key"][-1] for line in capsys.readouterr().err.splitlines()] == ["1", "2"]
    (confession,) = memory.lines
    assert (confession["event"], confession["lines"]) == (events.LOG_DIVERTED, 2)


def test_a_terminal_that_went_away_does_not_harm_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = io.StringIO()
    gone.close()
    log = StatusLog([JsonFile(tmp_path / "x"), PrettyStream(gone, colors=False)], lambda: NOON)
    _retried(log, 1)
    log.close()
    assert len(_read(tmp_path / "x")) == 1
    assert capsys.readouterr().err == ""


# ------------------------------------------------------------------------------------------ the console


def _pretty(*, colors: bool) -> str:
    stream = io.StringIO()
    log = StatusLog([PrettyStream(stream, colors=colors)], lambda: NOON)
    log.info(events.ITEM_UNCHANGED, key="nbb/x/d/json", route="extract/json", request_id="r-1", due_at=None)
    log.warning(events.LANE_PARKED, lane="nbb/extract", reason="blocked")
    log.close()
    return stream.getvalue()


def test_people_get_short_lines_in_colour_on_a_terminal() -> None:
    assert "\x1b[" in _pretty(colors=True)
    first, second = _pretty(colors=False).splitlines()
    assert first.split() == [
        "11:00:00",
        "[info",
        "]",
        "item.unchanged",
        "key=nbb/x/d/json",
        "route=extract/json",
    ]
    assert second.split() == [
        "11:00:00",
        "[warning",
        "]",
        "lane.parked",
        "lane=nbb/extract",
        "reason=blocked",
    ]


PROGRAM = """
import sys
from pathlib import Path
from filingd.adapters.logs import open_status_log
log = open_status_log(Path(sys.argv[2]) if sys.argv[2] else None, lambda: 0.0, console=sys.argv[1])
log.info("item.retried", key="k")
log.close()
"""


def _run(console: str, path: str = "", **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, console, path], capture_output=True, text=True, check=True,
        env={**os.environ, **environment}, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout


@pytest.mark.slow
def test_standard_output_gets_json_when_it_is_no_terminal_and_the_file_the_same(tmp_path: Path) -> None:
    expected = '{"ts":"1970-01-01T00:00:00.000Z","level":"info","event":"item.retried","key":"k"}\n'
    assert _run("auto", str(tmp_path / "x")) == expected
    assert (tmp_path / "x").read_text() == expected
    assert _run("json") == expected
    assert _run("off") == ""
    assert _run("pretty").split() == ["00:00:00", "[info", "]", "item.retried", "key=k"]


def test_journald_gets_the_priority_of_each_line() -> None:
    stream = io.StringIO()
    log = StatusLog([JsonStream(stream, for_journald=True)], lambda: NOON)
    log.info("a.b")
    log.error("c.d")
    log.close()
    assert [line[:4] for line in stream.getvalue().splitlines()] == ["<6>{", "<3>{"]


def test_journald_is_known_by_the_very_stream_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "journal").open("w") as stream:
        found = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        assert logs._is_journald(stream)
        monkeypatch.setenv("JOURNAL_STREAM", "1:1")
        assert not logs._is_journald(stream)
    assert not logs._is_journald(io.StringIO())


# ------------------------------------------------------------------------------------------ libraries


def test_what_libraries_say_lands_in_the_log_redacted_and_without_a_traceback() -> None:
    memory = Memory()
    log = StatusLog([memory], lambda: NOON)
    end = capture_libraries(log)
    library = logging.getLogger("some.library")
    library.info("not this")
    library.warning("a key: %s", KEY)
    try:
        raise ValueError(f"with {KEY}")
    except ValueError:
        library.exception("it broke")
    end()
    library.warning("not this either")
    log.close()
    assert [(line["level"], line["detail"]) for line in memory.lines] == [
        ("warning", "a key: [redacted]"),
        ("error", "it broke (ValueError: with [redacted])"),
    ]
    for line in memory.lines:
        check_line(line)


def test_a_log_whose_volume_is_gone_does_not_begin_anew_in_whatever_lies_there_now(tmp_path: Path) -> None:
    root = tmp_path / "store"
    root.mkdir()
    log = StatusLog([JsonFile(root / "log" / "filingd.jsonl")], lambda: 0.0)
    log.info(events.ITEM_LOST, key="a", reason="file_missing", detail="")
    log.flush()
    root.rename(tmp_path / "elsewhere")
    root.mkdir()
    log.info(events.ITEM_LOST, key="b", reason="file_missing", detail="")
    log.flush()
    assert list(root.iterdir()) == []
    root.rmdir()
    (tmp_path / "elsewhere").rename(root)
    log.info(events.ITEM_LOST, key="c", reason="file_missing", detail="")
    log.close()
    lines = _read(root / "log" / "filingd.jsonl")
    assert [line.get("key") for line in lines if line["event"] == events.ITEM_LOST] == ["a", "c"]
    assert [line["lines"] for line in lines if line["event"] == events.LOG_DIVERTED] == [1], "and it owns up"
