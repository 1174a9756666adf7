"""Sandboxes for every suite: as a real process, or inside the test's own event loop, and their
administration.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from filingd.sandbox.clock import SandboxClock, parse_instant
from filingd.sandbox.server import Sandbox
from filingd.sandbox.settings import settings_from

if TYPE_CHECKING:
    from types import TracebackType

KEYS = {
    "authentic-query": ("5" * 32, "6" * 32),
    "extract": ("1" * 32, "2" * 32),
    "improved": ("7" * 32, "8" * 32),
    "authentic-archive": ("3" * 32, "4" * 32),
    "improved-archive": ("9" * 32, "a" * 32),
}
KVK_KEYS = {"main": "l7xx" + "1" * 32, "second": "l7xx" + "2" * 32}
KVK_PUBLIC_TEST_KEY = "l7xx1f2691f2520d487b902f4e0b57a0b197"  # KVK prints it for everybody
START_TIMEOUT_S = 20.0


class AdminError(Exception):
    """The administration refused; the text is its own."""


class Admin:
    """The administration of a running sandbox, synchronously."""

    def __init__(self, url: str) -> None:
        self.url = url

    def request(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """One exchange; raises `AdminError` for a refusal."""
        target = self.url + path + ("?" + urllib.parse.urlencode(query, doseq=True) if query else "")
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(target, data=data, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise AdminError(f"{error.code}: {error.read().decode()}") from error

    def clock(self) -> float:
        """The sandbox's present instant, unix seconds."""
        return float(self.request("GET", "/clock")["at"])

    def clock_set(self, at: str | float) -> float:
        """Continue from an instant (ISO 8601 or unix seconds)."""
        return float(self.request("POST", "/clock", {"at": at})["at"])

    def clock_advance(self, seconds: float) -> float:
        """Jump forward."""
        return float(self.request("POST", "/clock", {"advance_s": seconds})["at"])

    def clock_rate(self, rate: float) -> None:
        """Sandbox seconds per second."""
        self.request("POST", "/clock", {"rate": rate})

    def add_fault(self, effect: dict[str, Any], **match: Any) -> str:
        """Put a rule in force, for example `add_fault({"kind": "cut"}, product="extract", times=2)`; its
        id.
        """
        return str(self.request("POST", "/faults", {"effect": effect, "match": match})["ids"][0])

    def faults(self) -> list[dict[str, Any]]:
        """The rules with their counters `matched` and `applied`."""
        return list(self.request("GET", "/faults")["faults"])

    def remove_fault(self, rule_id: str) -> None:
        """Forget one rule."""
        self.request("DELETE", f"/faults/{rule_id}")

    def clear_faults(self) -> None:
        """Forget all rules."""
        self.request("DELETE", "/faults")

    def journal(self, **filters: Any) -> list[dict[str, Any]]:
        """Entries, oldest first; filters as in `journal.matches`."""
        return list(self.request("GET", "/journal", **filters)["entries"])

    def clear_journal(self) -> None:
        """Forget finished entries."""
        self.request("DELETE", "/journal")

    def summary(self, **filters: Any) -> dict[str, Any]:
        """Exact answers about the filtered entries."""
        return dict(self.request("GET", "/journal/summary", **filters))

    def keys(self) -> dict[str, dict[str, str]]:
        """Valid keys by product and slot."""
        return dict(self.request("GET", "/keys")["keys"])

    def add_key(self, product: str, key: str, slot: str = "extra") -> None:
        """Make a key valid."""
        self.request("POST", "/keys", {"product": product, "key": key, "slot": slot})

    def revoke_key(self, product: str, slot: str = "*") -> int:
        """Make the key in a slot invalid, or all of a product; how many there were."""
        return int(self.request("DELETE", "/keys", {"product": product, "slot": slot})["revoked"])

    def settings(self, **fields: Any) -> dict[str, Any]:
        """The knobs, after laying `fields` over them."""
        return dict(self.request("PUT", "/settings", fields) if fields else self.request("GET", "/settings"))

    def remove_filing(self, reference: str, from_at: str | float | None = None) -> None:
        """Take a filing down, now or from an instant on."""
        self.request("POST", "/removals", {"reference": reference, "from_at": from_at})

    def restore_filing(self, reference: str) -> None:
        """Put a filing back that was taken down."""
        self.request("DELETE", f"/removals/{reference}")

    def removals(self) -> list[dict[str, Any]]:
        """The filings that are taken down, with `reference` and `from_at`."""
        return list(self.request("GET", "/removals")["removals"])

    def companies(self, limit: int = 100) -> list[str]:
        """Enterprise numbers that the registry knows."""
        return list(self.request("GET", "/companies", limit=limit)["companies"])

    def company(self, number: str) -> list[dict[str, Any]]:
        """What is known of a company now: its filings with `formats` and `improvements`."""
        return list(self.request("GET", f"/companies/{number}")["filings"])

    def calls_by_path(self, **filters: Any) -> dict[str, int]:
        """How often each path was asked for."""
        return dict(self.request("GET", "/journal/paths", **filters)["paths"])

    def kvk(self, **knobs: Any) -> dict[str, Any]:
        """KVK's knobs, after laying these over them; the rest stay as they are."""
        return dict(self.settings(kvk=knobs)["kvk"] if knobs else self.settings()["kvk"])

    def kvk_companies(self, limit: int = 100, *, base: str = "api") -> list[str]:
        """KVK numbers that a base knows."""
        return list(self.request("GET", "/kvk/companies", limit=limit, base=base)["companies"])

    def kvk_company(self, number: str, *, base: str = "api", **query: Any) -> dict[str, Any]:
        """The truth about a KVK number: facts, and `answers` with status, body and SHA-256 by operation."""
        return dict(self.request("GET", f"/kvk/companies/{number}", base=base, **query))

    def kvk_branch(self, number: str, *, base: str = "api", **query: Any) -> dict[str, Any]:
        """The same of a branch number."""
        return dict(self.request("GET", f"/kvk/branches/{number}", base=base, **query))

    def kvk_change(self, number: str, *, base: str = "api", **change: Any) -> dict[str, Any]:
        """Make something happen to a company (see `register.Change`); the truth afterwards."""
        return dict(self.request("POST", f"/kvk/companies/{number}", change, base=base))

    def kvk_search(self, *, base: str = "api", **parameters: Any) -> dict[str, Any]:
        """`totaal` and every row of a search, beyond the visible ones too."""
        return dict(self.request("GET", "/kvk/search", base=base, **parameters))

    def kvk_reset(self) -> None:
        """Put all companies back and count the month's calls anew."""
        self.request("DELETE", "/kvk/changes")
        self.request("DELETE", "/kvk/quota")

    def kvk_granted(self) -> dict[str, dict[str, int]]:
        """Calls granted under the month's quota, by key and calendar month."""
        return dict(self.request("GET", "/kvk/quota")["granted"])

    def listening(self, *, open_door: bool) -> None:
        """Close the registry's port (connections are refused) or open it again."""
        self.request("POST", "/listener", {"open": open_door})

    def day(self, date: str, *, product: str = "extract", members: bool = False) -> dict[str, Any]:
        """What a day holds now: filings (or improvements), and count, size and SHA-256 of each dataset's zip."""
        return dict(self.request("GET", f"/days/{date}", product=product, members=int(members)))


class SandboxProcess:
    """`filingd sandbox` as a real process on free ports; a second `start` uses the same ports again.

    Settings are keyword arguments; `clock` is an instant, `clock_rate` sandbox seconds per second.
    """

    def __init__(
        self,
        *,
        clock: str | float | None = None,
        clock_rate: float = 1.0,
        rules: list[dict[str, Any]] | None = None,
        directory: Path | None = None,
        **settings: Any,
    ) -> None:
        self._clock, self._clock_rate = clock, clock_rate
        self._rules, self._settings = rules or [], settings
        self._owned = None if directory else tempfile.TemporaryDirectory(prefix="sandbox-")
        self.directory = directory or Path(self._owned.name if self._owned else ".")
        self.journal_path = self.directory / "journal.jsonl"
        self._ports = ("0", "0")
        self._process: subprocess.Popen[bytes] | None = None
        self.base_url = self.admin_url = self.kvk_base_url = self.kvk_test_base_url = ""
        self.keys: dict[str, list[str]] = {}

    @property
    def admin(self) -> Admin:
        """Its administration."""
        return Admin(self.admin_url)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        assert self._process is not None, "the sandbox is not running"
        return self._process

    def start(self, clock: str | float | None = None) -> Self:
        """Start and wait until it listens."""
        ready = self.directory / "ready.json"
        ready.unlink(missing_ok=True)
        (self.directory / "settings.json").write_text(json.dumps(self._settings))
        (self.directory / "faults.json").write_text(json.dumps(self._rules))
        with (self.directory / "sandbox.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(ready, clock if clock is not None else self._clock), stdout=log, stderr=log
            )
        self._await_ready(ready)
        return self

    def _command(self, ready: Path, clock: str | float | None) -> list[str]:
        command = [sys.executable, "-m", "filingd", "sandbox", "--port", self._ports[0]]
        command += ["--admin-port", self._ports[1], "--clock-rate", str(self._clock_rate)]
        command += ["--settings", str(self.directory / "settings.json")]
        command += ["--faults", str(self.directory / "faults.json")]
        command += ["--journal", str(self.journal_path), "--ready-file", str(ready)]
        return command if clock is None else [*command, "--clock", _instant_text(clock)]

    def _await_ready(self, ready: Path) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                self.stop()
                raise AssertionError("the sandbox did not start:\n" + self.log())
            time.sleep(0.01)
        facts = json.loads(ready.read_text())
        self.base_url, self.admin_url, self.keys = facts["base_url"], facts["admin_url"], facts["keys"]
        self.kvk_base_url, self.kvk_test_base_url = facts["kvk_base_url"], facts["kvk_test_base_url"]
        self._ports = (self.base_url.rpartition(":")[2], self.admin_url.rpartition(":")[2])

    def log(self) -> str:
        """What it printed."""
        return (self.directory / "sandbox.log").read_text()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._wait()

    def kill(self) -> int:
        """SIGKILL; its exit code."""
        self.process.kill()
        return self._wait()

    def _wait(self) -> int:
        assert self._process is not None
        code = self._process.wait(timeout=20)
        self._process = None
        return code

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._owned:
            self._owned.cleanup()


def _instant_text(clock: str | float) -> str:
    from filingd.sandbox.clock import utc_text

    return clock if isinstance(clock, str) else utc_text(clock)


class InProcessSandbox:
    """A sandbox in the running event loop; `sandbox.world` gives its parts directly. Settings are keyword
    arguments.

    The clock stands still unless `clock_rate` says otherwise.
    """

    def __init__(
        self,
        *,
        clock: str | float = "2026-11-20T12:30",
        clock_rate: float = 0.0,
        journal_path: Path | None = None,
        **settings: Any,
    ) -> None:
        self._clock = SandboxClock(parse_instant(clock), clock_rate)
        self._settings, self._journal_path = settings, journal_path

    async def __aenter__(self) -> Sandbox:
        self._sandbox = Sandbox(
            settings_from(self._settings), clock=self._clock, journal_path=self._journal_path
        )
        await self._sandbox.start()
        return self._sandbox

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._sandbox.stop()


def samples_folder() -> Path:
    """Where recorded answers of the real registries lie, if there are any (`FILINGD_SAMPLES`)."""
    repository = Path(__file__).resolve().parents[2]
    return Path(os.environ.get("FILINGD_SAMPLES", repository.parent / "shared" / "samples"))
