"""Standard output, guarded: what it refuses becomes an error of its own, which no fault of the store is mistaken for."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from filingd.core.errors import ExitCode, FilingdError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


STANDARD_OUTPUT = 1  # its descriptor, whatever Python made of it


class OutputError(FilingdError, OSError):
    """Standard output cannot be written. Also an OSError: the status log knows how to outlast those."""


class OutputClosedError(OutputError):
    """Whoever read standard output has gone, as `head` does when it has seen enough."""

    exit_code = ExitCode.PIPE_CLOSED


class _StandardOutput(io.FileIO):
    """Descriptor 1. An error carries no errno: click would take a closed pipe into its own hands."""

    is_abandoned = False

    def write(self, data: ReadableBuffer, /) -> int:
        if self.is_abandoned:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except BrokenPipeError as error:
            raise OutputClosedError("standard output was closed by its reader.") from error
        except OSError as error:
            raise OutputError(
                f"standard output cannot be written: {error.strerror}. Send it elsewhere, or make room there."
            ) from error


def raw_standard_output() -> io.RawIOBase:
    """Standard output without any buffer, guarded alike: each write is one call, and may take only a part."""
    return _StandardOutput(STANDARD_OUTPUT, "w", closefd=False)


def guard_standard_output() -> None:
    """Put the guard in place, for the whole process. Nothing happens if there is no standard output."""
    plain = sys.stdout
    if not isinstance(plain, io.TextIOWrapper):  # None, if it was closed when the process began
        return
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_StandardOutput(plain.fileno(), "w", closefd=False)),
        encoding=plain.encoding,
        errors="backslashreplace" if plain.errors == "strict" else plain.errors,
        line_buffering=plain.line_buffering,
        write_through=plain.write_through,
    )


def end_standard_output() -> None:
    """Write what is left; drop it if that is refused, so that the interpreter does not try again at its end."""
    guarded = sys.stdout
    if not isinstance(guarded, io.TextIOWrapper):
        return
    try:
        guarded.flush()
    except OSError:
        raw = getattr(guarded.buffer, "raw", None)
        if isinstance(raw, _StandardOutput):
            raw.is_abandoned = True
