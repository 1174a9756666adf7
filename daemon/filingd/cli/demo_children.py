"""The processes of a demo: a sandbox registry and a daemon, started, watched and ended as an operator would."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filingd.core.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

START_PATIENCE_S = 30.0
END_PATIENCE_S = 10.0  # the grace period of config/demo.toml, and some more
_LOOK_S = 0.02
_TICK_S = 0.25
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _end_with_parent() -> None:
    """A demo that is killed leaves no registry behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _start(
    arguments: Sequence[str], said: Path, *, stdout: Any, environment: Mapping[str, str] | None = None
) -> Any:
    # A group of its own: Ctrl-C reaches the demo alone, which then ends its children in order.
    with said.open("ab") as stderr:
        return subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "filingd", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stderr if stdout is None else stdout,
            stderr=stderr,
            env=None if environment is None else {**os.environ, **environment},
            process_group=0,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - no thread runs yet when a child is started
        )


def _end(process: subprocess.Popen[bytes]) -> int:
    """SIGTERM, patience, then SIGKILL."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(END_PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


class SandboxChild:
    """`filingd sandbox` on free ports, from `with` to its end. `said` is where its complaints go."""

    def __init__(self, clock: str, scale: float, said: Path) -> None:
        self._clock = clock
        self._scale = scale
        self._said = said
        self._process: subprocess.Popen[bytes] | None = None
        self.base_url = ""
        self.admin_url = ""
        self.keys: dict[str, list[str]] = {}

    def __enter__(self) -> Self:
        with tempfile.TemporaryDirectory(prefix="filingd-demo-") as folder:
            ready = Path(folder) / "ready.json"
            self._process = _start(
                ["sandbox", "--port", "0", "--admin-port", "0", "--clock", self._clock, "--scale", str(self._scale),
                 "--ready-file", str(ready)],
                self._said, stdout=None,
            )  # fmt: skip
            try:
                facts = self._await(ready)
            except BaseException:
                _end(self._process)
                raise
        self.base_url, self.admin_url, self.keys = facts["base_url"], facts["admin_url"], facts["keys"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            _end(self._process)

    def _await(self, ready: Path) -> dict[str, Any]:
        assert self._process is not None
        deadline_s = time.monotonic() + START_PATIENCE_S
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise UnavailableError(
                    f"The sandbox registry did not start; what it said is in {self._said}."
                )
            time.sleep(_LOOK_S)
        facts: dict[str, Any] = json.loads(ready.read_bytes())
        return facts

    def wait(self) -> None:
        """Until it ends by itself, or the caller is interrupted."""
        assert self._process is not None
        self._process.wait()

    def dutch_companies(self, count: int) -> list[str]:
        """The numbers of some companies of KVK that are active."""
        found: list[str] = []
        for number in self._told(f"/kvk/companies?limit={10 * count}")["companies"]:
            if len(found) < count and self._told(f"/kvk/companies/{number}")["active"]:
                found.append(number)
        return found

    def companies(self, count: int) -> list[str]:
        """The numbers of some companies that have filed something."""
        return list(self._told(f"/companies?limit={count}")["companies"])

    def journal_summary(self) -> dict[str, Any]:
        """What it counted since it started."""
        return self._told("/journal/summary")

    def _told(self, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"{self.admin_url}{path}", timeout=10) as answer:  # noqa: S310 - loopback
                told: dict[str, Any] = json.load(answer)
                return told
        except (OSError, urllib.error.URLError) as error:
            raise UnavailableError(
                f"The sandbox registry does not answer any more ({error}); what it said is in {self._said}."
            ) from error


class DaemonChild:
    """`filingd run` until every day is sealed, or nothing is due; its status log arrives line by line."""

    def __init__(
        self, config: Path, instant: str, keys: Mapping[str, str], said: Path, until: str = "sealed"
    ) -> None:
        self._arguments = ["run", "--config", str(config), f"--until-{until}", "--rehearse-at", instant]
        self._keys = keys
        self._said = said
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = _start(
            [*self._arguments, "--console", "json"],
            self._said,
            stdout=subprocess.PIPE,
            environment=self._keys,
        )
        threading.Thread(target=self._read, name="filingd-demo", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            _end(self._process)

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                self._lines.put(line)
        self._lines.put(None)

    def lines(self) -> Iterator[dict[str, Any] | None]:
        """Each line of its status log, and None a few times a second in between; ends with the daemon."""
        while True:
            try:
                line = self._lines.get(timeout=_TICK_S)
            except queue.Empty:
                yield None
                continue
            if line is None:
                return
            with contextlib.suppress(ValueError):
                yield json.loads(line)

    def exit_code(self) -> int:
        """Once `lines` has ended."""
        assert self._process is not None
        return self._process.wait()


def said_by(arguments: Sequence[str]) -> str:
    """What one of our own commands prints.

    Raises:
        UnavailableError: it failed.
    """
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "filingd", *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise UnavailableError(
            f"filingd {arguments[0]} ended with exit code {done.returncode}: {done.stderr.strip()}"
        )
    return done.stdout
