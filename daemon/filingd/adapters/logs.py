"""The status log: JSON lines for files and journald, colours for people, no key in either.

Writing a line costs the event loop a queue entry; one thread of its own renders it and waits for the disk. It opens
the file anew when logrotate has moved it. When the disk of the log is too slow, debug lines are left out and
counted (`log.dropped`); no other line ever is. When the file cannot be written, its lines are on standard output, or
else on standard error, where journald finds them, and the file says so later (`log.diverted`).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import logging
import os
import queue
import sys
import threading
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec
import structlog

from filingd.core import events
from filingd.core.redaction import is_clean, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, MutableMapping, Sequence
    from pathlib import Path

_QUEUE_LINES = 10_000  # from here on debug lines are left out; some 5 MB of text
_BATCH_LINES = 500
_FILE_MODE = 0o640
_SYSLOG_PRIORITY: Mapping[str, int] = {"debug": 7, "info": 6, "warning": 4, "error": 3}
_STOP = None
_NOT_FOR_EYES = ("sha256", "request_id", "facts")  # too long for a screen; the file has them

_GATHER_S = 0.02  # lines that follow at once are written with the first: one awakening, one write


class Line(NamedTuple):
    """One finished line: level, facts in their order, and their JSON."""

    level: str
    facts: Mapping[str, Any]
    encoded: bytes


class Output(Protocol):
    """Where rendered lines go. Called by the writer thread only; may block."""

    def write(self, lines: Sequence[Line]) -> None:
        """Write all of the lines. Raises OSError when that cannot be done."""
        ...

    def close(self) -> None:
        """Release what is held."""
        ...


# ------------------------------------------------------------------------------------------ outputs


def as_json(line: Line) -> bytes:
    """One line of JSON with its line feed; keys in the order of the line."""
    return line.encoded + b"\n"


class JsonFile:
    """A file of JSON lines that may be moved away at any time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._identity = (0, 0)
        self._is_torn = False
        self._home: tuple[int, int] | None = None  # the folder of the log's folder, as it was at first

    def write(self, lines: Sequence[Line]) -> None:
        """Append the lines to whatever file has the name now."""
        if not self._is_current():
            self._open()
        # A line that a full disk cut in two must not swallow the next one.
        data = (b"\n" if self._is_torn else b"") + b"".join(map(as_json, lines))
        written = 0
        while written < len(data):
            written += os.write(self._descriptor, memoryview(data)[written:])
            self._is_torn = data[written - 1 : written] != b"\n"

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _is_current(self) -> bool:
        if self._descriptor < 0:
            return False
        try:
            found = os.stat(self._path)  # noqa: PTH116 - beside os.fstat, os.open and os.write
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._identity

    def _open(self) -> None:
        self.close()
        self._make_folder()
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, _FILE_MODE)
        found = os.fstat(self._descriptor)
        self._identity = (found.st_dev, found.st_ino)
        self._is_torn = found.st_size > 0 and os.pread(self._descriptor, 1, found.st_size - 1) != b"\n"

    def _make_folder(self) -> None:
        """Later on no more than the log's own folder, and only where it was: a store that was moved away, or whose volume
        is gone, must not be begun anew by its log."""
        if self._home is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._home = _identity(self._path.parent.parent)
        elif _identity(self._path.parent.parent) != self._home:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(self._path))
        self._path.parent.mkdir(exist_ok=True)


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


class JsonStream:
    """JSON lines on standard output; with their priority in front when journald reads them."""

    def __init__(self, stream: IO[str], *, for_journald: bool = False) -> None:
        self._stream = stream
        self._for_journald = for_journald

    def write(self, lines: Sequence[Line]) -> None:
        """Write and flush."""
        for line in lines:
            priority = f"<{_SYSLOG_PRIORITY[line.level]}>" if self._for_journald else ""
            self._stream.write(priority + as_json(line).decode())
        self._stream.flush()

    def close(self) -> None:
        """The stream belongs to the process."""


class PrettyStream:
    """Lines for people, in colour where the stream is a terminal."""

    def __init__(self, stream: IO[str], *, colors: bool) -> None:
        self._stream = stream
        self._renderer = structlog.dev.ConsoleRenderer(
            colors=colors, pad_event_to=22, sort_keys=False, timestamp_key="ts"
        )

    def write(self, lines: Sequence[Line]) -> None:
        """Write and flush."""
        for line in lines:
            facts, hidden = line.facts, _NOT_FOR_EYES if line.level == events.INFO else ()
            shown = {name: value for name, value in facts.items() if value is not None and name not in hidden}
            shown["ts"] = facts["ts"][11:19]
            self._stream.write(self._renderer(None, line.level, shown) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """The stream belongs to the process."""


# ------------------------------------------------------------------------------------------ the writer thread


class _Outlet:
    """One output, which owns up to what it refused as soon as it works again."""

    def __init__(self, output: Output, make_line: Callable[..., Line]) -> None:
        self._output = output
        self._make_line = make_line
        self._missing = 0
        self._because = ""

    def write(self, lines: Sequence[Line]) -> bool:
        """Whether the lines are written here."""
        try:
            self._output.write([*self._confession(), *lines])
        except (OSError, ValueError) as error:  # ValueError: the stream was closed
            self._missing += len(lines)
            self._because = str(error)
            return False
        self._missing = 0
        return True

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self._missing:
                self._output.write(self._confession())
            self._output.close()

    def _confession(self) -> list[Line]:
        if not self._missing:
            return []
        return [self._make_line(events.LOG_DIVERTED, events.ERROR, lines=self._missing, detail=self._because)]


class LineWriter:
    """Takes lines on any thread without waiting; one thread of its own writes them, in order."""

    def __init__(
        self,
        outputs: Sequence[Output],
        make_line: Callable[..., Line],
        queue_lines: int = _QUEUE_LINES,
    ) -> None:
        self._outlets = [_Outlet(output, make_line) for output in outputs]
        self._make_line = make_line
        self._queue_lines = queue_lines
        self._queue: queue.SimpleQueue[Line | threading.Event | None] = queue.SimpleQueue()
        self._hurry = threading.Event()  # somebody waits for what is queued
        self._dropped_lines = 0
        self._reported_lines = 0
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="filingd-log", daemon=True)
        self._thread.start()

    @property
    def dropped_lines(self) -> int:
        """Debug lines that were left out so far."""
        return self._dropped_lines

    def put(self, line: Line) -> None:
        """Take a line; never blocks."""
        if self._is_closed:
            return
        if line.level == events.DEBUG and self._queue.qsize() >= self._queue_lines:
            self._dropped_lines += 1
            return
        self._queue.put(line)

    debug = info = warning = error = put  # what structlog calls, by level

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until all that was taken is written; False if that took too long."""
        if self._is_closed:
            return True
        written = threading.Event()
        self._queue.put(written)
        self._hurry.set()
        return written.wait(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what was taken, and end. A disk that hangs is not waited for any longer than `timeout_s`."""
        if not self._is_closed:
            self._is_closed = True
            self._queue.put(_STOP)
            self._hurry.set()
            self._thread.join(timeout_s)

    def _run(self) -> None:
        is_open = True
        while is_open:
            lines, waiting, is_open = self._take()
            lines += self._drop_report()
            if lines:
                self._write(lines)
            for event in waiting:
                event.set()
        for outlet in self._outlets:
            outlet.close()

    def _write(self, lines: list[Line]) -> None:
        taken = [outlet.write(lines) for outlet in self._outlets]
        if taken and not any(taken):
            _write_to_stderr(lines)

    def _take(self) -> tuple[list[Line], list[threading.Event], bool]:
        """What is there, at least one entry: lines, those who wait for them, and whether more can come."""
        lines: list[Line] = []
        waiting: list[threading.Event] = []
        entry = self._queue.get()
        if self._queue.qsize() < _BATCH_LINES:
            self._hurry.wait(_GATHER_S)
        while entry is not _STOP:
            if isinstance(entry, threading.Event):
                self._hurry.clear()
                waiting.append(entry)
            else:
                lines.append(entry)
            if len(lines) >= _BATCH_LINES or self._queue.empty():
                return lines, waiting, True
            entry = self._queue.get()
        return lines, waiting, False

    def _drop_report(self) -> list[Line]:
        dropped = self._dropped_lines - self._reported_lines
        if not dropped:
            return []
        self._reported_lines += dropped
        return [self._make_line(events.LOG_DROPPED, events.WARNING, lines=dropped)]


def _write_to_stderr(lines: Sequence[Line]) -> None:
    """The last resort: no output took the lines."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write("".join(as_json(line).decode() for line in lines))
        sys.stderr.flush()


# ------------------------------------------------------------------------------------------ the log


class StatusLog:
    """`ports.Log`: facts in, one redacted line out, within some 20 ms and in order.

    `now` gives the unix time of a line (a rehearsal gives another one). `secrets` gives every key that must
    never appear; it is asked for each line, so that a replaced key is redacted from the moment it is known.
    """

    def __init__(
        self,
        outputs: Sequence[Output],
        now: Callable[[], float],
        secrets: Callable[[], Collection[str]] = frozenset,
        level: str = events.INFO,
        queue_lines: int = _QUEUE_LINES,
    ) -> None:
        self._now = now
        self._secrets = secrets
        self._second = (-1, "")
        self._writer = LineWriter(outputs, self._line, queue_lines)
        logger: Any = structlog.wrap_logger(
            self._writer,
            processors=[self._finish],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            cache_logger_on_first_use=False,
        )
        self._logger = logger.bind()

    def debug(self, event: str, **facts: Any) -> None:
        """Write a line that only a developer wants."""
        self._logger.debug(event, **facts)

    def info(self, event: str, **facts: Any) -> None:
        """Write a line about the normal course of things."""
        self._logger.info(event, **facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Write a line about something that mends itself."""
        self._logger.warning(event, **facts)

    def error(self, event: str, **facts: Any) -> None:
        """Write a line that somebody should read."""
        self._logger.error(event, **facts)

    @property
    def dropped_lines(self) -> int:
        """Debug lines that were left out so far because the disk was too slow."""
        return self._writer.dropped_lines

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until every line so far is written. Blocks: not on the event loop."""
        return self._writer.flush(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what is left and end the thread. Blocks: after the event loop."""
        self._writer.close(timeout_s)

    def _finish(
        self, _: Any, level: str, facts: MutableMapping[str, Any]
    ) -> tuple[tuple[Line], dict[str, Any]]:
        """The last processor of structlog: what it returns is the call to the writer."""
        return (self._made(str(facts.pop("event")), level, facts),), {}

    def _line(self, event: str, level: str, **facts: Any) -> Line:
        return self._made(event, level, facts)

    def _made(self, event: str, level: str, facts: Mapping[str, Any]) -> Line:
        line = {"ts": self._stamp(), "level": level, "event": event}
        line.update(facts)
        return _redacted(level, line, self._secrets())

    def _stamp(self) -> str:
        """The instant to the millisecond. Many lines share a second, whose text is made once."""
        whole, rest_us = divmod(round(self._now() * 1_000_000), 1_000_000)
        second, text = self._second
        if second != whole:
            text = dt.datetime.fromtimestamp(whole, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._second = (whole, text)
        return f"{text}.{rest_us // 1000:03d}Z"


def _redacted(level: str, facts: Mapping[str, Any], secrets: Collection[str]) -> Line:
    try:
        encoded = msgspec.json.encode(facts)
        if is_clean(encoded, secrets):
            return Line(level, facts, encoded)
    except (TypeError, ValueError):
        pass  # a value that JSON does not know, or text that is no UTF-8: made plain below
    plain = redact(facts, secrets)
    return Line(level, plain, msgspec.json.encode(plain))


def open_status_log(
    path: Path | None,
    now: Callable[[], float],
    secrets: Callable[[], Collection[str]] = frozenset,
    level: str = events.INFO,
    *,
    console: str = "auto",
) -> StatusLog:
    """The status log of a process.

    `path` is the file of JSON lines (None: no file). `console` says what standard output gets besides: `auto`
    (pretty lines on a terminal, JSON lines otherwise), `pretty`, `json` or `off`.
    """
    outputs: list[Output] = [JsonFile(path)] if path is not None else []
    stdout = sys.stdout
    is_terminal = stdout.isatty()
    if console == "pretty" or (console == "auto" and is_terminal):
        outputs.append(PrettyStream(stdout, colors=is_terminal and not os.environ.get("NO_COLOR")))
    elif console in {"auto", "json"}:
        outputs.append(JsonStream(stdout, for_journald=_is_journald(stdout)))
    return StatusLog(outputs, now, secrets, level)


def _is_journald(stream: IO[str]) -> bool:
    """Whether this very stream is journald's (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


# ------------------------------------------------------------------------------------------ libraries


class _LibraryHandler(logging.Handler):
    """Hands what libraries log to the status log, so that it is redacted and has one place."""

    def __init__(self, log: StatusLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        detail = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            detail += f" ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
        write = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        write(events.LIBRARY_WARNED, logger=record.name, detail=detail)


def capture_libraries(log: StatusLog) -> Callable[[], None]:
    """Send warnings of libraries (asyncio, aiohttp…) to the status log; the returned call ends that."""
    handler = _LibraryHandler(log)
    root = logging.getLogger()
    root.addHandler(handler)
    return lambda: root.removeHandler(handler)
