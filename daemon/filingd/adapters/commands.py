"""Runs an operator's commands on a side thread: bounded in time and in what is kept of their output.

A command is the leader of a process group of its own, so that nothing it began outlives it. It sees a plain environment: keys
that the daemon was given in its own are not for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import signal
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_KEPT_BYTES = 2048
_READ_BYTES = 65_536
_TERM_PAUSE_S = 2.0  # what a command may take to end when it was told to
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME")


class CommandRunner:
    """The `Commands` port."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        """`environment` is what a command's is taken from; by default that of this process."""
        known = os.environ if environment is None else environment
        self._environment = {name: known[name] for name in _PASSED_ON if name in known}

    async def run(self, command: Sequence[str], text: bytes, timeout_s: float) -> str | None:
        """See `ports.Commands`."""
        try:
            cancelled, not_cancelled = os.pipe()  # closing its other end makes the first readable
        except OSError as error:
            return f"it cannot be run: {error.strerror}"
        running = asyncio.ensure_future(asyncio.to_thread(self._run, command, text, timeout_s, cancelled))
        try:
            return await asyncio.shield(running)
        finally:
            os.close(not_cancelled)
            await asyncio.wait({running})
            os.close(cancelled)

    def _run(self, command: Sequence[str], text: bytes, timeout_s: float, cancelled: int) -> str | None:
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator's own words, and no shell
                list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                env=self._environment, cwd="/", start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            return (
                f"{command[0]} cannot be run: {error.strerror}. Check that it is there and may be executed."
            )
        with process:
            try:
                return _Watch(process, cancelled).to_its_end(text, timeout_s)
            except OSError as error:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                return f"it could not be watched and was ended: {error.strerror}"


class _Watch:
    """One running command."""

    def __init__(self, process: subprocess.Popen[bytes], cancelled: int) -> None:
        self._process = process
        self._cancelled = cancelled
        self._said = b""

    def to_its_end(self, text: bytes, timeout_s: float) -> str | None:
        """Give it its text and wait; what is left of its group ends with it."""
        with contextlib.suppress(BrokenPipeError):  # it does not have to read it
            assert self._process.stdin is not None
            self._process.stdin.write(text)  # smaller than a pipe: never waits
            self._process.stdin.close()
        has_ended = self._waited(timeout_s)
        if not has_ended:
            self._signal(signal.SIGTERM)
            self._waited(_TERM_PAUSE_S, heeds_cancel=False)
        self._signal(signal.SIGKILL)
        code = self._process.wait()
        return self._told(code, timeout_s, has_ended=has_ended)

    def _waited(self, timeout_s: float, *, heeds_cancel: bool = True) -> bool:
        """Whether it ended in time. What it says is read meanwhile, and mostly let go."""
        assert self._process.stdout is not None
        deadline_s = time.monotonic() + timeout_s
        ended = os.pidfd_open(self._process.pid)
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(ended, selectors.EVENT_READ)
                selector.register(self._process.stdout, selectors.EVENT_READ)
                if heeds_cancel:
                    selector.register(self._cancelled, selectors.EVENT_READ)
                return self._select(selector, ended, deadline_s)
        finally:
            os.close(ended)

    def _select(self, selector: selectors.BaseSelector, ended: int, deadline_s: float) -> bool:
        while (left_s := deadline_s - time.monotonic()) > 0.0:
            ready = {key.fd for key, _ in selector.select(left_s)}
            if self._cancelled in ready:
                return False
            self._read(selector, ready)
            if ended in ready:
                return True
        return False

    def _read(self, selector: selectors.BaseSelector, ready: set[int]) -> None:
        output = self._process.stdout
        if output is None or output.fileno() not in ready:
            return
        said = os.read(output.fileno(), _READ_BYTES)
        if not said:
            selector.unregister(output)
        self._said = (self._said + said)[:_KEPT_BYTES]

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _told(self, code: int, timeout_s: float, *, has_ended: bool) -> str | None:
        if has_ended and code == 0:
            return None
        said = self._said.decode(errors="replace").strip()
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        what = f"it ended with {how}" if has_ended else f"it did not end within {timeout_s:g} s and was ended"
        return f"{what}; it said: {said}" if said else what
