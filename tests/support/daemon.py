"""The daemon as a real process, its store seen from outside, and the truth to hold it against.

Nothing here asks filingd about itself: rows are read with sqlite3, sums with `sha256sum`, zips with `zipfile`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from support import kvk
from support.sandbox import KVK_KEYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from support.sandbox import Admin, SandboxProcess

T = TypeVar("T")

DATASETS = ("references", "json", "xbrl", "pdf")
STATES = ("due", "active", "stored", "rechecking", "empty", "absent", "quarantined")
PRODUCTS = ("extract", "authentic-archive")
PATIENCE_S = 30.0
LOOK_EVERY_S = 0.01

# Keys that occur nowhere by chance, so that finding one is a leak.
SANDBOX_KEYS = {
    product: [
        hashlib.sha256(f"{product} {slot}".encode()).hexdigest()[:32] for slot in ("primary", "secondary")
    ]
    for product in ("authentic-query", "extract", "improved", "authentic-archive", "improved-archive")
}


def wait_until(look: Callable[[], T | None], what: str, timeout_s: float = PATIENCE_S) -> T:
    """What `look` returns as soon as it is true; AssertionError naming `what` if it never is."""
    deadline_s = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < deadline_s, f"within {timeout_s} s there was no {what}"
        time.sleep(LOOK_EVERY_S)
    return found


def days(first: str, last: str) -> list[str]:
    """Every calendar day from `first` to `last`, both included, as ISO texts."""
    start, end = dt.date.fromisoformat(first).toordinal(), dt.date.fromisoformat(last).toordinal()
    return [dt.date.fromordinal(ordinal).isoformat() for ordinal in range(start, end + 1)]


# ------------------------------------------------------------------------------------------ configuration


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def _tables(table: Mapping[str, Any], name: str = "") -> Iterator[str]:
    if name:
        yield f"\n[{name}]"
    yield from (f"{key} = {_toml(value)}" for key, value in table.items() if not isinstance(value, dict))
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _tables(value, f"{name}.{key}" if name else key)


def _laid_over(
    base: Mapping[str, Any], over: Mapping[str, Any], *, keeps_none: bool = False
) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        known = merged.get(key)
        merged[key] = (
            _laid_over(known, value, keeps_none=keeps_none)
            if isinstance(known, dict) and isinstance(value, dict)
            else value
        )
    return {key: value for key, value in merged.items() if keeps_none or value is not None}


@dataclass
class DaemonConfig:
    """A configuration for one sandbox: impatient, with generous rates, keys in the environment.

    `change` lays tables over it, such as `{"run": {"concurrency": 1}}`; None takes a field away.
    """

    folder: Path  # filingd.toml and what the process prints go here
    base_url: str
    since: str
    keys: Mapping[str, list[str]] = field(default_factory=lambda: SANDBOX_KEYS)
    products: tuple[str, ...] = PRODUCTS
    store: Path | None = None
    changes: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def for_sandbox(cls, sandbox: SandboxProcess, folder: Path, since: str, **fields: Any) -> Self:
        """The configuration for a running sandbox; its keys are taken from it."""
        return cls(folder, sandbox.base_url, since, sandbox.keys, **fields)

    def change(self, tables: Mapping[str, Any]) -> Self:
        """Lay tables over the configuration."""
        self.changes = _laid_over(self.changes, tables, keeps_none=True)
        return self

    @property
    def store_path(self) -> Path:
        """The folder of the store."""
        return self.store or self.folder / "store"

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / "filingd.toml"

    @property
    def log_path(self) -> Path:
        """The status log."""
        chosen = self.changes.get("log", {}).get("path")
        return Path(chosen) if chosen else self.store_path / "log" / "filingd.jsonl"

    def environment(self) -> dict[str, str]:
        """What the process needs in its environment, keys included."""
        of_nbb = {
            self._variable(name, slot): key
            for name in self.products
            for slot, key in enumerate(self.keys[name])
        }
        return of_nbb | (kvk.environment() if "kvk" in self.changes else {})

    def secrets(self) -> list[str]:
        """Every key that must never be seen anywhere."""
        of_kvk = KVK_KEYS.values() if "kvk" in self.changes else ()
        return [*(key for name in self.products for key in self.keys[name]), *of_kvk]

    def text(self) -> str:
        """The configuration as TOML."""
        return "\n".join(_tables(_laid_over(self._base(), self.changes))) + "\n"

    def write(self) -> Path:
        """Write the file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.path.write_text(self.text())
        return self.path

    def _variable(self, product: str, slot: int) -> str:
        return f"FILINGD_TEST_{product.upper().replace('-', '_')}_{slot + 1}"

    def _base(self) -> dict[str, Any]:
        return {
            "store": {"path": str(self.store_path), "keep_free": "1 MiB"},
            "log": {"level": "debug", "heartbeat_interval": "500 ms"},
            "http": {
                "contact": "mailto:ops@example.invalid",
                "connect_timeout": "5 s",
                "idle_timeout": "10 s",
            },
            "run": {
                "concurrency": 8,
                "grace_period": "3 s",
                "plan_interval": "500 ms",
                "retry_base": "20 ms",
                "retry_cap": "200 ms",
                "give_up_pause": "10 s",
                "room_check_interval": "100 ms",
            },
            "nbb": {
                "base_url": self.base_url,
                "since": dt.date.fromisoformat(self.since),
                "first_try_from": "05:00",
                "first_try_until": "05:00",
                "empty_interval": "300 ms",
                "not_yet_interval": "200 ms",
                "ask_again_cap": "400 ms",
                "mismatch_retry": ["200 ms", "400 ms", "1 s"],
                "products": {name: self._product(name) for name in self.products},
            },
        }

    def _product(self, name: str) -> dict[str, Any]:
        keys = [f"env:{self._variable(name, slot)}" for slot in range(len(self.keys[name]))]
        return {"keys": keys, "calls_per_second": 200.0, "concurrency": 4}


# ------------------------------------------------------------------------------------------ the process


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    stdout: str
    stderr: str


class DaemonProcess:
    """`filingd run` as a real process. Use it as a context: whatever is still alive at its end is killed."""

    _count = 0

    def __init__(
        self,
        config: DaemonConfig,
        *,
        rehearse_at: str | float | None = None,
        until: str | None = None,
        environment: Mapping[str, str] | None = None,
        arguments: Iterable[str] = (),
    ) -> None:
        self.config = config
        self._arguments = [
            *arguments,
            *([] if rehearse_at is None else ["--rehearse-at", _instant(rehearse_at)]),
        ]
        self._arguments += [f"--until-{until}"] if until else []
        self._environment = dict(environment or {})
        DaemonProcess._count += 1
        self._stem = config.folder / f"run-{DaemonProcess._count}"
        self._process: subprocess.Popen[bytes] | None = None
        self._log_begins_at = 0

    # --- life ---

    def start(self) -> Self:
        """Start it; returns at once."""
        self.config.write()
        with contextlib.suppress(FileNotFoundError):
            self._log_begins_at = self.config.log_path.stat().st_size
        command = [
            sys.executable,
            "-m",
            "filingd",
            "run",
            "--config",
            str(self.config.path),
            *self._arguments,
        ]
        environment = {**os.environ, **self.config.environment(), **self._environment}
        with self._output("out").open("wb") as out, self._output("err").open("wb") as err:
            self._process = subprocess.Popen(
                command, stdout=out, stderr=err, env=environment, cwd=self.config.folder
            )
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process."""
        assert self._process is not None, "the daemon was not started"
        return self._process

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal; returns at once."""
        self.process.send_signal(number)

    def said(self) -> str:
        """What it wrote to standard error so far."""
        return self._output("err").read_text()

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = PATIENCE_S) -> Ended:
        """Tell it to stop and wait for its end."""
        if self.is_alive:
            self.send(number)
        return self.wait(timeout_s)

    def kill(self) -> Ended:
        """SIGKILL, and wait for its end."""
        self.process.kill()
        return self.wait()

    def wait(self, timeout_s: float = PATIENCE_S) -> Ended:
        """Wait for its end; AssertionError if it does not come."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the daemon did not end within {timeout_s} s\n{self._story()}") from error
        return Ended(code, self._output("out").read_text(), self._output("err").read_text())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self.is_alive:
            self._process.kill()
            self._process.wait()

    # --- log ---

    def lines(self, event: str = "*", **facts: Any) -> list[dict[str, Any]]:
        """The log lines of this run, oldest first: of one event, and with these facts."""
        return [line for line in self._all_lines() if _fits(line, event, facts)]

    def wait_for(
        self, event: str, *, count: int = 1, timeout_s: float = PATIENCE_S, **facts: Any
    ) -> dict[str, Any]:
        """The `count`th log line of this run that fits, as soon as it is there.

        Raises:
            AssertionError: it did not come in time, or the process ended without it. The text tells the run.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            ended = not self.is_alive
            found = self.lines(event, **facts)
            if len(found) >= count:
                return found[count - 1]
            if ended or time.monotonic() > deadline_s:
                why = f"it ended with {self.process.returncode}" if ended else f"not within {timeout_s} s"
                raise AssertionError(
                    f"{event} {facts}, {count} times: {why}, saw {len(found)}\n{self._story()}"
                )
            time.sleep(LOOK_EVERY_S)

    def _all_lines(self) -> Iterator[dict[str, Any]]:
        try:
            with self.config.log_path.open("rb") as log:
                log.seek(self._log_begins_at)
                data = log.read()
        except FileNotFoundError:
            return
        for text in data[: data.rfind(b"\n") + 1].splitlines():
            if text:
                yield json.loads(text)

    def _story(self) -> str:
        told = [json.dumps(line) for line in self._all_lines() if line["event"] != "heartbeat"]
        return "\n".join([*told[-60:], "stderr:", self._output("err").read_text()[-3000:]])

    def _output(self, suffix: str) -> Path:
        return self._stem.with_suffix(f".{suffix}")


def run_daemon(
    config: DaemonConfig,
    *,
    rehearse_at: str | float | None = None,
    until: str = "sealed",
    timeout_s: float = 60.0,
    environment: Mapping[str, str] | None = None,
) -> tuple[Ended, DaemonProcess]:
    """Run a daemon to its own end; how it ended, and the process for its log lines."""
    with DaemonProcess(config, rehearse_at=rehearse_at, until=until, environment=environment) as daemon:
        return daemon.wait(timeout_s), daemon


def _instant(instant: str | float) -> str:
    if isinstance(instant, str):
        return instant
    return dt.datetime.fromtimestamp(instant, dt.UTC).isoformat()


def _fits(line: Mapping[str, Any], event: str, facts: Mapping[str, Any]) -> bool:
    if event not in ("*", line["event"]):
        return False
    return all(line.get(name) == value for name, value in facts.items())


# ------------------------------------------------------------------------------------------ the store


@dataclass(frozen=True)
class ItemRow:
    """One row of the manifest's table of items; instants are unix seconds."""

    key: str
    lane: str
    state: str
    due_at: float | None
    attempts: int
    reason: str | None
    nothing_count: int
    size_bytes: int | None
    sha256: str | None
    version: int

    @property
    def day(self) -> str:
        """The publication day."""
        return self.key.split("/")[2]

    @property
    def dataset(self) -> str:
        """The dataset."""
        return self.key.rpartition("/")[2]


@dataclass(frozen=True)
class DayRow:
    """One row of the manifest's table of groups."""

    day: str
    is_sealed: bool
    reasons: tuple[str, ...]
    facts: dict[str, Any]


def _is_day(name: str) -> bool:
    return len(name) == len("2026-11-20") and name[:4].isdigit()


@dataclass(frozen=True)
class Quarantined:
    """A refused body and what is written beside it."""

    path: Path
    record: dict[str, Any]


class StoreView:
    """A store as somebody without filingd sees it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    # --- manifest ---

    @contextlib.contextmanager
    def manifest(self) -> Iterator[sqlite3.Connection]:
        """The manifest, to be read."""
        connection = sqlite3.connect(f"file:{self.root / 'manifest.db'}?mode=ro", uri=True, timeout=10)
        connection.row_factory = sqlite3.Row
        try:
            yield connection
        finally:
            connection.close()

    def items(self) -> dict[str, ItemRow]:
        """All items by key."""
        with self.manifest() as manifest:
            rows = manifest.execute(
                "SELECT items.*, lanes.name AS lane FROM items JOIN lanes ON id = lane_id"
            ).fetchall()
        return {row["key"]: _item(row) for row in rows}

    def item(self, day: str, dataset: str) -> ItemRow:
        """One item."""
        return self.items()[f"nbb/authentic/{day}/{dataset}"]

    def days(self) -> dict[str, DayRow]:
        """All days, oldest first."""
        return {name: row for name, row in self._groups().items() if _is_day(name)}

    def cells(self) -> dict[str, DayRow]:
        """All other groups, by the last part of their key: the cells of searches."""
        return {name: row for name, row in self._groups().items() if not _is_day(name)}

    def _groups(self) -> dict[str, DayRow]:
        with self.manifest() as manifest:
            rows = manifest.execute("SELECT * FROM groups ORDER BY key").fetchall()
        return {row["key"].rpartition("/")[2]: _day(row) for row in rows}

    def sealed_days(self) -> list[str]:
        """The days whose row says that they are sealed."""
        return [day.day for day in self.days().values() if day.is_sealed]

    def versions(self, day: str, dataset: str) -> list[dict[str, Any]]:
        """The stored bodies of an item, oldest first, with their routes."""
        with self.manifest() as manifest:
            rows = manifest.execute(
                "SELECT versions.*, routes.name AS route FROM versions JOIN routes ON id = route_id"
                " WHERE key = ? ORDER BY number", (f"nbb/authentic/{day}/{dataset}",)
            ).fetchall()  # fmt: skip
        return [{**row, "facts": json.loads(row["facts"] or "{}")} for row in map(dict, rows)]

    # --- disk ---

    def folder(self, day: str) -> Path:
        """The folder of a publication day."""
        return self.root / "nbb" / "authentic" / day[:4] / day[5:7] / day

    def zip_path(self, day: str, dataset: str) -> Path:
        """The final name of a dataset."""
        return self.folder(day) / f"{dataset}.zip"

    def seal(self, day: str) -> dict[str, Any]:
        """`day.json` of a day."""
        return dict(json.loads((self.folder(day) / "day.json").read_text()))

    def is_sealed_on_disk(self, day: str) -> bool:
        """Whether both files of the seal are there."""
        return (self.folder(day) / "day.json").exists() and (self.folder(day) / "SHA256SUMS").exists()

    def sums_of(self, day: str) -> subprocess.CompletedProcess[str]:
        """`sha256sum -c` in the folder of a day."""
        return subprocess.run(
            ["sha256sum", "--check", "--strict", "SHA256SUMS"],
            cwd=self.folder(day), capture_output=True, text=True, check=False,
        )  # fmt: skip

    def check_sums(self, which: Iterable[str]) -> None:
        """Assert that `sha256sum -c` passes and covers every zip of these days."""
        for day in which:
            answer = self.sums_of(day)
            assert answer.returncode == 0, f"{day}: {answer.stdout}{answer.stderr}"
            zips = {path.name for path in self.folder(day).glob("*.zip")}
            named = {line.rpartition(":")[0] for line in answer.stdout.splitlines()}
            assert named == zips | {"day.json"}, f"{day}: the sums name {named}, there are {zips}"

    def published(self) -> list[Path]:
        """Every zip under a final name."""
        return sorted(path for path in (self.root / "nbb").rglob("*.zip") if not path.name.startswith("."))

    def staging(self) -> list[Path]:
        """Everything hidden, below whatever folder: bodies and seals on their way."""
        return sorted(path for path in self.root.rglob(".*") if path.is_file())

    def partial(self, day: str, dataset: str) -> Path:
        """Where the unfinished body of an item lies."""
        return self.folder(day) / f".{dataset}.zip.part"

    def kept_versions(self, day: str) -> list[Path]:
        """Earlier bodies of a day."""
        folder = self.root / "versions" / self.folder(day).relative_to(self.root)
        return sorted(folder.glob("*.zip")) if folder.exists() else []

    def quarantined(self) -> list[Quarantined]:
        """Refused bodies with their records."""
        records = (
            sorted((self.root / "quarantine").rglob("*.json")) if (self.root / "quarantine").exists() else []
        )
        return [Quarantined(path.with_suffix(""), json.loads(path.read_text())) for path in records]

    def files_with(self, secrets: Iterable[str]) -> list[Path]:
        """Files of the store that hold one of these texts."""
        needles = [secret.encode() for secret in secrets]
        return [
            path
            for path in self.root.rglob("*")
            if path.is_file() and any(needle in path.read_bytes() for needle in needles)
        ]

    def check_agreement(self, *, at_rest: bool = True) -> None:
        """Assert that rows and files agree: every stored row has its file, with size and digest; no final name
        lacks a row; nothing is leased; a day whose row says that it is sealed has the files of a seal. A daemon
        that was stopped in the middle (not `at_rest`) may have written a seal and not its row, never the reverse.
        """
        rows = self.items()
        known = {self.zip_path(row.day, row.dataset): row for row in rows.values() if row.state == "stored"}
        assert set(self.published()) == set(known), "final names and stored rows differ"
        for path, row in known.items():
            assert path.stat().st_size == row.size_bytes, f"{path} has another size than its row"
            assert hashlib.sha256(path.read_bytes()).hexdigest() == row.sha256, (
                f"{path} is not what its row says"
            )
        assert not [row.key for row in rows.values() if row.state in ("active", "rechecking")], (
            "leased items are left"
        )
        for day in self.days().values():
            on_disk = self.is_sealed_on_disk(day.day)
            assert on_disk if day.is_sealed else not (at_rest and on_disk), (
                f"row ({day.is_sealed}) and files ({on_disk}) of the seal of {day.day} differ"
            )

    def member_digests(self, day: str, dataset: str) -> dict[str, str]:
        """SHA-256 of every member of a stored zip, by name; every CRC is checked on the way."""
        return member_digests(self.zip_path(day, dataset))


def member_digests(path: Path) -> dict[str, str]:
    """SHA-256 of every member of a zip, by name."""
    with zipfile.ZipFile(path) as opened:
        return {
            name: hashlib.sha256(opened.read(name)).hexdigest()
            for name in opened.namelist()
            if not name.endswith("/")
        }


def _item(row: sqlite3.Row) -> ItemRow:
    return ItemRow(
        key=row["key"],
        lane=row["lane"],
        state=STATES[row["state"] or 0],
        due_at=None if row["due_ms"] is None else row["due_ms"] / 1000,
        attempts=row["attempts"] or 0,
        reason=row["reason"],
        nothing_count=row["nothing_count"] or 0,
        size_bytes=row["size_bytes"],
        sha256=row["sha256"].hex() if row["sha256"] else None,
        version=row["version"] or 0,
    )


def _day(row: sqlite3.Row) -> DayRow:
    return DayRow(
        day=row["key"].rpartition("/")[2],
        is_sealed=row["sealed_ms"] is not None,
        reasons=tuple(json.loads(row["reasons"] or "[]")),
        facts=json.loads(row["facts"] or "{}"),
    )


# ------------------------------------------------------------------------------------------ the truth


class Truth:
    """What the sandbox says that its days hold now."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    def members(self, day: str, dataset: str) -> dict[str, str]:
        """SHA-256 by member name; empty if the day has nothing for this dataset."""
        told = self._admin.day(day, members=True)["datasets"][dataset]
        return dict(told.get("members", {}))

    def check(self, store: StoreView, which: Iterable[str]) -> int:
        """Assert that the store has exactly the members of these days; returns how many zips were compared."""
        compared = 0
        for day in which:
            datasets = self._admin.day(day, members=True)["datasets"]
            for dataset in DATASETS:
                wanted = datasets[dataset].get("members", {})
                has_file = store.zip_path(day, dataset).exists()
                assert has_file == bool(wanted), f"{day} {dataset}: file {has_file}, {len(wanted)} members"
                if wanted:
                    assert store.member_digests(day, dataset) == wanted, f"{day} {dataset}: other members"
                    compared += 1
        return compared
