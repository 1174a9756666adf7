"""Standard output as an endless stream of lines, ended in order by SIGINT, by SIGTERM, or by its reader.

Signals are heeded between writes of whole lines, and while there is nothing to do; a reader that does
not read, or goes away while nothing is told, does not keep the process.
"""

from __future__ import annotations

import os
import select
import signal
from typing import TYPE_CHECKING

from filingd.cli.output import STANDARD_OUTPUT, OutputClosedError, raw_standard_output

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType
    from typing import Self

_ENDS = (signal.SIGINT, signal.SIGTERM)
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


class ToldToEnd(Exception):  # noqa: N818 - an order, not an error
    """SIGINT or SIGTERM came; no line is left half written."""


class LineStream:
    """Lines to standard output, as a context in which SIGINT and SIGTERM are orders to end."""

    def __init__(self) -> None:
        self._output = raw_standard_output()
        self._orders, self._ordering = os.pipe()
        os.set_blocking(self._ordering, False)
        self._poll = select.poll()
        self._poll.register(self._orders, select.POLLIN)
        self._poll.register(STANDARD_OUTPUT, 0)

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, lambda *_: None) for number in _ENDS}
        self._wakeup_before = signal.set_wakeup_fd(self._ordering, warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._wakeup_before)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        for descriptor in (self._orders, self._ordering):
            os.close(descriptor)

    def wait(self, seconds: float) -> None:
        """Do nothing for so long.

        Raises:
            ToldToEnd: a signal came.
            OutputClosedError: nobody reads any more.
        """
        self._ask(0, seconds)

    def write(self, lines: Iterable[bytes]) -> None:
        """Write whole lines, as many at once as a pipe takes without waiting; all are out when this returns.

        Raises:
            ToldToEnd: a signal came before all were written.
            OutputClosedError: nobody reads any more.
            OutputError: standard output refuses.
        """
        for part in _parts(lines, select.PIPE_BUF):
            self._write(memoryview(part))

    def _write(self, part: memoryview) -> None:
        while part:
            self._ask(select.POLLOUT, None)
            part = part[self._output.write(part) or 0 :]

    def _ask(self, wanted: int, seconds: float | None) -> None:
        self._poll.modify(STANDARD_OUTPUT, wanted)
        found = dict(self._poll.poll(None if seconds is None else seconds * 1000))
        if self._orders in found:
            raise ToldToEnd
        if found.get(STANDARD_OUTPUT, 0) & _GONE:
            raise OutputClosedError("standard output was closed by its reader.")


def _parts(lines: Iterable[bytes], most_bytes: int) -> Iterator[bytes]:
    """Lines put together, none cut; a line that is longer than `most_bytes` by itself."""
    part = b""
    for line in lines:
        if part and len(part) + len(line) > most_bytes:
            yield part
            part = b""
        part += line
    if part:
        yield part
