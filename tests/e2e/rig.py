"""A sandbox, a daemon's configuration, its store and the truth, together; and what must hold after every run."""

from __future__ import annotations

import itertools
import json
import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from filingd.sandbox.settings import SandboxSettings
from support import logcheck
from support.catalogue import check_catalogue
from support.daemon import (
    SANDBOX_KEYS,
    DaemonConfig,
    DaemonProcess,
    Ended,
    Quarantined,
    StoreView,
    Truth,
    run_daemon,
    wait_until,
)
from support.sandbox import SandboxProcess

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from support.sandbox import Admin

NOON = "2026-11-20T12:30"  # a Friday; the day before is open since 05:00, its late additions since 12:00
YESTERDAY = "2026-11-19"


class SandboxPool:
    """Sandboxes that are running already: one that was given back is made as new and taken again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: list[SandboxProcess] = []
        self._free: list[SandboxProcess] = []

    def take(self, clock: str | float, settings: Mapping[str, Any]) -> SandboxProcess:
        """A sandbox with these settings (the rest are defaults), an empty journal, all its keys and no faults."""
        sandbox = self._free.pop() if self._free else self._start()
        admin = sandbox.admin
        admin.listening(open_door=True)
        admin.clear_faults()
        defaults = msgspec.to_builtins(SandboxSettings())
        kvk = defaults["kvk"] | settings.get("kvk", {})
        admin.settings(**defaults | settings | {"kvk": kvk})
        admin.kvk_reset()
        admin.revoke_key("kvk")
        for slot, entry in kvk["keys"].items():
            admin.add_key("kvk", entry["key"], slot)
        for product, keys in SANDBOX_KEYS.items():
            admin.revoke_key(product)
            for slot, key in zip(("primary", "secondary"), keys, strict=True):
                admin.add_key(product, key, slot)
        admin.clock_rate(1.0)
        admin.clock_set(clock)
        wait_until(lambda: not admin.summary()["open"], "end of the last test's requests")
        admin.clear_journal()
        return sandbox

    def give_back(self, sandbox: SandboxProcess) -> None:
        """Let somebody else have it."""
        self._free.append(sandbox)

    def close(self) -> None:
        """Stop them all."""
        for sandbox in self._all:
            sandbox.stop()

    def _start(self) -> SandboxProcess:
        folder = self._folder / f"sandbox-{len(self._all)}"
        folder.mkdir(parents=True)
        self._all.append(SandboxProcess(directory=folder, keys=SANDBOX_KEYS).start())
        return self._all[-1]


class Rig:
    """One sandbox and one store. The daemon runs on the sandbox's clock.

    Few, small filings, none of them late, none without its documents, unless a test says otherwise.
    """

    def __init__(
        self, folder: Path, pool: SandboxPool, *, since: str, clock: str | float = NOON, **settings: Any
    ) -> None:
        knobs: dict[str, Any] = {"scale": 0.002, "late_share": 0.0, "keys": SANDBOX_KEYS, **settings}
        self._pool = pool
        self.sandbox = pool.take(clock, knobs)
        self.config = DaemonConfig(folder, self.sandbox.base_url, since)
        self.store = StoreView(self.config.store_path)
        self.truth = Truth(self.admin)

    @property
    def admin(self) -> Admin:
        """The sandbox's administration."""
        return self.sandbox.admin

    def daemon(
        self,
        *,
        until: str | None = None,
        environment: Mapping[str, str] | None = None,
        arguments: Iterable[str] = (),
    ) -> DaemonProcess:
        """A daemon at the sandbox's present instant; use it as a context."""
        at = self.admin.clock()
        return DaemonProcess(
            self.config, rehearse_at=at, until=until, environment=environment, arguments=arguments
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
        check_catalogue(self.store)
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
        assert summary["request_ids_repeated"] == []
        of_nbb = self.admin.summary(registry="nbb")  # KVK is given none
        assert of_nbb["request_ids_unique"] or not of_nbb["count"]

    def close(self) -> None:
        """Give the sandbox back."""
        self._pool.give_back(self.sandbox)


def quarantined_of(rig: Rig, day: str, dataset: str) -> Quarantined:
    """The one refused body of an item."""
    key = f"nbb/authentic/{day}/{dataset}"
    (found,) = (found for found in rig.store.quarantined() if found.record["key"] == key)
    return found


def request_id_text(stored: bytes | str) -> str:
    """A request id as the manifest keeps it (16 bytes, or a text that is no UUID)."""
    return stored if isinstance(stored, str) else str(uuid.UUID(bytes=stored))


def seconds_between(entries: list[dict[str, Any]]) -> list[float]:
    """Sandbox seconds between the starts of consecutive requests."""
    starts = [entry["started_at"] for entry in entries]
    return [later - earlier for earlier, later in itertools.pairwise(starts)]


def told(lines: list[dict[str, Any]]) -> str:
    """Log lines as text, for a failing assertion."""
    return "\n".join(json.dumps(line) for line in lines)
