"""A sandbox, a daemon's configuration, its store and the truth, together; and what must hold after every run."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from support import logcheck
from support.daemon import SANDBOX_KEYS, DaemonConfig, DaemonProcess, Ended, StoreView, Truth, run_daemon
from support.sandbox import SandboxProcess

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from support.sandbox import Admin

NOON = "2026-11-20T12:30"  # a Friday; the day before is open since 05:00, its late additions since 12:00
YESTERDAY = "2026-11-19"


class Rig:
    """One sandbox and one store. The daemon runs on the sandbox's clock.

    Few, small filings, none of them late, none without its documents, unless a test says otherwise.
    """

    def __init__(self, folder: Path, *, since: str, clock: str = NOON, **settings: Any) -> None:
        knobs: dict[str, Any] = {"scale": 0.002, "late_share": 0.0, "keys": SANDBOX_KEYS, **settings}
        self.sandbox = SandboxProcess(clock=clock, directory=_made(folder / "sandbox"), **knobs).start()
        self.config = DaemonConfig.for_sandbox(self.sandbox, folder / "daemon", since)
        self.store = StoreView(self.config.store_path)
        self.truth = Truth(self.admin)

    @property
    def admin(self) -> Admin:
        """The sandbox's administration."""
        return self.sandbox.admin

    def daemon(
        self, *, until: str | None = None, environment: Mapping[str, str] | None = None
    ) -> DaemonProcess:
        """A daemon at the sandbox's present instant; use it as a context."""
        return DaemonProcess(
            self.config, rehearse_at=self.admin.clock(), until=until, environment=environment
        )

    def run(self, until: str = "sealed", timeout_s: float = 60.0) -> DaemonProcess:
        """Run a daemon to its own end and expect exit 0; the process, for its log lines."""
        ended, daemon = self.run_to_any_end(until, timeout_s)
        assert ended.code == 0, ended.stderr
        return daemon

    def run_to_any_end(self, until: str = "sealed", timeout_s: float = 60.0) -> tuple[Ended, DaemonProcess]:
        """Run a daemon to its own end, whatever that is."""
        return run_daemon(self.config, rehearse_at=self.admin.clock(), until=until, timeout_s=timeout_s)

    def journal(self, **filters: Any) -> list[dict[str, Any]]:
        """What the sandbox was asked."""
        return self.admin.journal(**filters)

    def check_sealed(self, which: list[str]) -> None:
        """Assert that exactly these days are known, that all are sealed, and that each holds what it should."""
        assert self.store.sealed_days() == which, {
            day.day: day.reasons for day in self.store.days().values() if not day.is_sealed
        }
        self.truth.check(self.store, which)
        self.store.check_sums(which)
        self.store.check_agreement()
        assert self.store.staging() == []

    def check_manners(self) -> None:
        """Assert what no run may ever break: conforming log lines, keys nowhere, polite requests."""
        if self.config.log_path.exists():
            logcheck.check_file(self.config.log_path)
        secrets = self.config.secrets()
        assert self.store.files_with(secrets) == []
        assert StoreView(self.config.folder).files_with(secrets) == []
        summary = self.admin.summary()
        assert not summary["key_in_url"]
        assert summary["request_ids_unique"] or not summary["count"]

    def close(self) -> None:
        """Stop the sandbox."""
        self.sandbox.stop()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def record_of(rig: Rig, day: str, dataset: str) -> dict[str, Any]:
    """The one quarantine record of an item."""
    key = f"nbb/authentic/{day}/{dataset}"
    (record,) = (found.record for found in rig.store.quarantined() if found.record["key"] == key)
    return record


def seconds_between(entries: list[dict[str, Any]]) -> list[float]:
    """Sandbox seconds between the starts of consecutive requests."""
    starts = [entry["started_at"] for entry in entries]
    return [later - earlier for earlier, later in itertools.pairwise(starts)]


def told(lines: list[dict[str, Any]]) -> str:
    """Log lines as text, for a failing assertion."""
    return "\n".join(json.dumps(line) for line in lines)
