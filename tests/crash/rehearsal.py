"""A store whose daemon is killed, again and again, and what must hold at every moment of it.

Two kinds of moment: right after a death, when the manifest may lag behind the disk but never lead (`Rehearsal.after_death`),
and after a run that came to its own end, when everything agrees (`Rehearsal.check_end`). Nothing here asks filingd
about itself but for the rows of its manifest, which are read with sqlite3.
"""

from __future__ import annotations

import dataclasses
import hashlib
import signal
import time
import zipfile
from collections import Counter
from typing import TYPE_CHECKING, Any

from filingd.adapters.manifest_commands import ManifestWriter
from filingd.app import KILL_VARIABLE
from support.daemon import STATES, ItemRow

if TYPE_CHECKING:
    from e2e.rig import Rig
    from support.daemon import DaemonProcess, StoreView

KILLED = -signal.SIGKILL
CALLS_AT_ONCE = 4
SOON_S = 3600.0  # what is due within it may be asked for within a test
END_WITHIN_S = 60.0
LONGEST_START_S = 20.0


@dataclasses.dataclass(frozen=True)
class Committed:
    """What was settled when a daemon died, and how far the journal was."""

    keys: frozenset[str]
    journal_at: int


class Rehearsal:
    """One store, and what is known of its deaths so far."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.deaths = 0
        self._committed = Committed(frozenset(), 0)
        rig.config.change(
            {
                # A day whose datasets were exchanged one by one disagrees in between: looking again at once would
                # be a re-check that nobody planned here.
                "nbb": {"mismatch_retry": ["1 d"], "products": {"extract": {"concurrency": CALLS_AT_ONCE}}},
                "run": {"concurrency": CALLS_AT_ONCE},
            }
        )

    @property
    def store(self) -> StoreView:
        """The store from outside."""
        return self.rig.store

    # ------------------------------------------------------------------ runs and deaths

    def run(self, until: str, kill_at: str | None = None) -> bool:
        """Run to the end, or to the step `kill_at`; whether it was killed there. Checks what has to hold then."""
        environment = {KILL_VARIABLE: kill_at} if kill_at else {}
        with self._next_daemon(until, environment) as daemon:
            return self._ended(daemon)

    def run_and_kill(self, until: str, after_s: float) -> bool:
        """Run, and kill from outside this long after the first line of the log; whether it was still alive then."""
        with self._next_daemon(until, {}) as daemon:
            daemon.wait_for("daemon.started")
            time.sleep(after_s)  # a moment that means nothing: whatever it hits has to hold
            daemon.process.kill()
            return self._ended(daemon)

    def _next_daemon(self, until: str, environment: dict[str, str]) -> DaemonProcess:
        # A daemon's clock begins when it has started, which takes a while: the next one's must not be behind it.
        self.rig.admin.clock_advance(LONGEST_START_S)
        return self.rig.daemon(until=until, environment=environment)

    def _ended(self, daemon: DaemonProcess) -> bool:
        ended = daemon.wait(END_WITHIN_S)
        assert ended.code in (0, KILLED), ended.stderr
        assert "Traceback" not in ended.stderr, ended.stderr
        self._check_nothing_was_asked_twice()
        self._committed = self._settled_now()
        if ended.code == KILLED:
            self.deaths += 1
            self.check_after_death()
        return ended.code == KILLED

    # ------------------------------------------------------------------ what holds right after a death

    def check_after_death(self) -> None:
        """No final name shows half a file, no row leads the disk, no seal lies."""
        rows = self._rows_or_none()
        for path in self.store.published():
            with zipfile.ZipFile(path) as opened:
                assert opened.testzip() is None, f"{path} is damaged under its final name"
        for row in rows.values():
            path = self.store.zip_path(row.day, row.dataset)
            if row.state == "stored":
                assert digest_of(path) == row.sha256, f"the row of {row.key} leads its file"
            assert row.state != "rechecking" or path.exists(), f"{row.key} lost its body to a second look"
        self.check_sums_that_exist()
        if rows:
            self._check_counters(rows)

    def check_sums_that_exist(self) -> None:
        """A `SHA256SUMS` never disagrees with what lies beside it, whatever the manifest says."""
        for sums in sorted((self.store.root / "nbb").rglob("SHA256SUMS")):
            self.store.check_sums([sums.parent.name])

    def _rows_or_none(self) -> dict[str, ItemRow]:
        """The items; none if the daemon died before there was a manifest, or before its format was made."""
        path = self.store.root / "manifest.db"
        if not path.exists() or path.stat().st_size == 0:
            return {}
        with self.store.manifest() as manifest:
            (version,) = manifest.execute("PRAGMA user_version").fetchone()
        return self.store.items() if version else {}

    def _check_counters(self, rows: dict[str, ItemRow]) -> None:
        with self.store.manifest() as manifest:
            kept = {STATES[state]: items for state, items in manifest.execute("SELECT * FROM state_counts")}
            waiting = dict(
                manifest.execute("SELECT name, items FROM scheduled_counts JOIN lanes ON id = lane_id")
            )
        assert +Counter(kept) == Counter(row.state for row in rows.values()), "counters of states are wrong"
        scheduled = Counter(row.lane for row in rows.values() if row.due_at is not None)
        assert +Counter(waiting) == scheduled, "counters of what is scheduled are wrong"

    # ------------------------------------------------------------------ what holds over all

    def asked(self) -> list[tuple[int, str]]:
        """What was asked so far, and when in the order of all."""
        return [(entry["sequence"], key_of(entry)) for entry in self.rig.journal()]

    def _settled_now(self) -> Committed:
        soon = self.rig.admin.clock() + SOON_S
        keys = {
            row.key
            for row in self._rows_or_none().values()
            if row.state in ("stored", "empty") and (row.due_at is None or row.due_at > soon)
        }
        return Committed(frozenset(keys), max((entry["sequence"] for entry in self.rig.journal()), default=0))

    def _check_nothing_was_asked_twice(self) -> None:
        """What was committed when the last run ended was not asked for by this one."""
        again = [
            entry
            for entry in self.rig.journal()
            if entry["sequence"] > self._committed.journal_at and key_of(entry) in self._committed.keys
        ]
        assert not again, f"asked for again after it was committed: {[key_of(entry) for entry in again]}"

    def check_repeats(self, deaths: int) -> None:
        """Of what is stored, no more was asked for twice than can have been in flight at these deaths."""
        stored = {row.key for row in self.store.items().values() if row.state == "stored"}
        asked = Counter(key for entry in self.rig.journal() if (key := key_of(entry)) in stored)
        repeats = asked - Counter(stored)
        assert repeats.total() <= deaths * CALLS_AT_ONCE, f"{deaths} deaths, repeated: {dict(repeats)}"

    def check_end(self, days: list[str]) -> None:
        """After a run that ended by itself everything agrees, and nothing is left lying about."""
        self.rig.check_sealed(days)
        rows = self.store.items()
        self._check_counters(rows)
        for row in rows.values():
            self._check_versions(row)

    def _check_versions(self, row: ItemRow) -> None:
        versions = self.store.versions(row.day, row.dataset)
        assert [version["number"] for version in versions] == list(range(1, row.version + 1)), row.key
        for version in versions[:-1]:
            kept = self.store.root / "versions" / self.store.folder(row.day).relative_to(self.store.root)
            path = kept / f"{row.dataset}.v{version['number']}.zip"
            assert digest_of(path) == version["sha256"].hex(), f"{path} is not the body that was replaced"
        if versions:
            assert versions[-1]["sha256"].hex() == row.sha256

    # ------------------------------------------------------------------ second looks

    def a_day_later(self, clock: str) -> None:
        """The next day is open, and second looks that were planned are due."""
        self.rig.admin.clear_journal()
        self.rig.admin.clock_set(clock)
        self._committed = self._settled_now()

    def want_everything_again(self) -> None:
        """Every stored item is due for a second look, as an operator asks for it."""
        self.rig.admin.clear_journal()
        now = self.rig.admin.clock()
        with ManifestWriter(self.store.root / "manifest.db", clock_now=lambda: now) as manifest:
            assert manifest.retry_prefix("nbb/", now)
        self._committed = self._settled_now()


def key_of(entry: dict[str, Any]) -> str:
    """The item a request was for."""
    return f"nbb/authentic/{entry['date']}/{entry['dataset']}"


def digest_of(path: Any) -> str:
    """SHA-256 of a file, hexadecimal; empty if there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
