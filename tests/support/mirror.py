"""A small store that a real daemon mirrored from a real sandbox, to be copied and damaged by tests; and a command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.daemon import SANDBOX_KEYS, DaemonConfig, DaemonProcess, StoreView, run_daemon
from support.sandbox import SandboxProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

INSTANT = "2026-11-20T12:30+01:00"
SINCE = "2026-11-12"  # eight days: a week-end with nothing, the rest with filings


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Its standard output as JSON."""
        return dict(json.loads(self.out))


def filingd(*arguments: str, environment: Mapping[str, str] | None = None, timeout_s: float = 60.0) -> Said:
    """Run `filingd` as a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "filingd", *arguments],
        capture_output=True, text=True, check=False, timeout=timeout_s, env={**os.environ, **(environment or {})},
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Said(done.returncode, done.stdout, done.stderr)


class Mirror:
    """One store with its configuration and the sandbox it came from."""

    def __init__(self, folder: Path, sandbox: SandboxProcess) -> None:
        self.sandbox = sandbox
        self.config = DaemonConfig(folder, sandbox.base_url, SINCE).change(
            {"nbb": {"extract_last_try_age_days": 30, "edge_give_up_age_days": 30}}
        )
        self.store = StoreView(self.config.store_path)

    def fill(self) -> None:
        """Mirror everything, until every day is sealed."""
        ended, _ = run_daemon(self.config, rehearse_at=INSTANT)
        assert ended.code == 0, ended.stderr

    def copy(self, folder: Path) -> Mirror:
        """The same store again, for one test to spoil."""
        copied = Mirror(folder, self.sandbox)
        shutil.copytree(self.config.store_path, copied.config.store_path)
        copied.config.write()
        return copied

    def run(self, *command: str, at: str = INSTANT, timeout_s: float = 60.0) -> Said:
        """Run a command of filingd on this store, in the rehearsal, with its keys."""
        given = [*command, "--config", str(self.config.path), "--rehearse-at", at]
        return filingd(*given, environment=self.config.environment(), timeout_s=timeout_s)

    def daemon(self, until: str | None = None) -> DaemonProcess:
        """A daemon on this store; use it as a context."""
        return DaemonProcess(self.config, rehearse_at=INSTANT, until=until)

    def requests(self) -> int:
        """How many requests the sandbox has counted so far."""
        return int(self.sandbox.admin.summary()["count"])


def mirrors(folder: Path) -> Iterator[Mirror]:
    """A filled mirror and its running sandbox, for a fixture to yield."""
    with SandboxProcess(clock=INSTANT, scale=0.004, late_share=0.0, keys=SANDBOX_KEYS) as sandbox:
        mirror = Mirror(folder, sandbox)
        mirror.fill()
        yield mirror


def damage(path: Path) -> None:
    """Change one byte in the middle of a file, and nothing else about it."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
