"""The manifest: durable transitions a second, bytes a row, and what ten million rows cost to open and to ask.

    PYTHONPATH=tests python -m bench.manifest [--rounds 7] [--rows 10000000]

Transitions: 32 workers, each waits until one transition is synced before it records its next one; a fresh folder
a round. The yardstick beside them appends and syncs as often as full batches of 32 would, and does nothing else.
Every other figure comes from a process of its own; "cold" means after the page cache was dropped (root only).
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import gc
import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from msgspec.structs import replace

from bench import peers
from filingd.adapters.manifest import SqliteManifest
from filingd.adapters.manifest_commands import ManifestBuilder
from filingd.core.model import Change, Group, Item, State, Version
from support.daemon import DaemonConfig
from support.sandbox import SandboxProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WORKERS = 32
ITEMS_A_ROUND = 25_000  # each makes two transitions
TRANSITIONS_A_ROUND = 2 * ITEMS_A_ROUND
ROWS_A_BATCH = 10_000
DUE_ROWS = 100_000
FEW_ITEMS, MANY_ITEMS = 10_000, 1_000_000
NOW = 1_795_000_000.0
LANE = "authentic-query"
DAYS = 1_000
YESTERDAY = dt.datetime.fromtimestamp(NOW, dt.UTC).date() - dt.timedelta(days=1)
DATASETS = ("references", "json", "xbrl", "pdf")
DROP_CACHES = Path("/proc/sys/vm/drop_caches")


def main(arguments: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Run it; returns one row a figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, default=10_000_000)
    options = parser.parse_args(list(arguments))
    with peers.scratch_directory() as scratch:
        rows = transitions(options.rounds, scratch)
        rows += many_rows(options.rows, scratch)
        rows += memory(scratch)
    print(peers.markdown("Manifest", rows))
    return rows


def figure(name: str, value: float | str, target: str, detail: str = "") -> dict[str, Any]:
    """One row of the table."""
    return {"figure": name, "measured": value, "target": target, "how": detail}


# ---------------------------------------------------------------- durable transitions


def transitions(rounds: int, scratch: Path) -> list[dict[str, Any]]:
    """Durable transitions a second, by the order in which items finish."""
    in_order = [document_key(n) for n in range(ITEMS_A_ROUND)]
    at_random = [document_key(n) for n in random.Random(1).sample(range(10**8), ITEMS_A_ROUND)]
    timings = peers.interleaved(
        {
            "append and sync, no manifest": bare_syncs,
            "keys in order": lambda place: timed_transitions(place, in_order, with_versions=False),
            "keys at random": lambda place: timed_transitions(place, at_random, with_versions=False),
            "keys in order, with versions": lambda place: timed_transitions(
                place, in_order, with_versions=True
            ),
        },
        rounds,
        scratch,
    )
    bare = timings.pop("append and sync, no manifest")
    ceiling = round(TRANSITIONS_A_ROUND / bare.median_s)
    rows = [figure("yardstick: rows a second if only syncing cost time", f"{ceiling:,}", "-", spread(bare))]
    for name, timing in timings.items():
        rate = round(TRANSITIONS_A_ROUND / timing.median_s)
        rows.append(
            figure(f"durable transitions/s, {WORKERS} workers, {name}", f"{rate:,}", "20,000", spread(timing))
        )
    return rows


def spread(timing: peers.Timing) -> str:
    """The runs behind a median."""
    rates = sorted(round(TRANSITIONS_A_ROUND / wall_s) for wall_s in timing.walls_s)
    return f"median of {len(rates)} [{rates[0]:,} to {rates[-1]:,}]"


def bare_syncs(place: Path) -> float:
    """Append 8 KiB (a few pages of log) and sync, as often as there are full batches."""
    block = os.urandom(8192)
    descriptor = os.open(place / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    began = time.perf_counter()
    for _ in range(TRANSITIONS_A_ROUND // WORKERS):
        os.write(descriptor, block)
        os.fdatasync(descriptor)
    wall_s = time.perf_counter() - began
    os.close(descriptor)
    return wall_s


def timed_transitions(place: Path, keys: Sequence[str], with_versions: bool) -> float:
    """Seconds for all transitions, the making of the items left out."""
    gc.collect()
    return uvloop.run(_timed_transitions(place, keys, with_versions))


async def _timed_transitions(place: Path, keys: Sequence[str], with_versions: bool) -> float:
    manifest = await SqliteManifest.open(place / "manifest.db", clock_now=time.time)
    due = [Item(key, LANE, due_at=NOW) for key in keys]
    for begin in range(0, len(due), ROWS_A_BATCH):
        await manifest.record([Change(None, item) for item in due[begin : begin + ROWS_A_BATCH]])
    histories = [_history(key, with_versions) for key in keys]
    gc.freeze()  # what was prepared is the benchmark's, not the manifest's, to look through again and again
    queue = iter(histories)
    began = time.perf_counter()
    await asyncio.gather(*(_worker(manifest, queue) for _ in range(WORKERS)))
    wall_s = time.perf_counter() - began
    gc.unfreeze()
    assert (await manifest.counts())[State.STORED] == len(keys)
    await manifest.close()
    return wall_s


async def _worker(manifest: SqliteManifest, histories: Any) -> None:
    for leased, stored in histories:
        await manifest.record((leased,))
        await manifest.record((stored,))


def _history(key: str, with_versions: bool) -> tuple[Change, Change]:
    finished = finished_item(key)
    return (
        Change(State.DUE, Item(key, LANE, State.ACTIVE, due_at=None)),
        Change(State.ACTIVE, finished, version_of(finished) if with_versions else None),
    )


def document_key(n: int) -> str:
    """The key of a document of the query product."""
    return f"nbb/document/2026-{n:08}"


def finished_item(key: str) -> Item:
    """An item at rest, with all that is kept of it."""
    sha256 = hashlib.sha256(key.encode()).digest()
    return Item(
        key,
        LANE,
        State.STORED,
        due_at=None,
        size_bytes=4_000 + sha256[0] * 64,
        sha256=sha256,
        stored_at=NOW + sha256[1],
        version=1,
    )


def version_of(item: Item) -> Version:
    """The evidence of a stored document."""
    assert item.sha256 is not None
    digits = item.sha256.hex()
    return Version(
        key=item.key,
        number=1,
        path=f"{item.key}.json",
        size_bytes=item.size_bytes or 0,
        sha256=item.sha256,
        stored_at=item.stored_at or 0.0,
        route=LANE,
        request_id=f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}",
    )


# ---------------------------------------------------------------- ten million rows


def many_rows(count: int, scratch: Path) -> list[dict[str, Any]]:
    """Room at rest and the cost of the first questions; the file is removed again."""
    place = peers.fresh_directory(scratch, "many")
    path = place / "manifest.db"
    built = child("build", path, count)
    bytes_a_row = path.stat().st_size / count
    rows = [
        figure(
            f"bytes a row at rest, {count:,} rows",
            round(bytes_a_row, 1),
            "120",
            f"file / rows, {DUE_ROWS:,} of them scheduled; built at {built['rows_per_s']:,} rows/s",
        ),
        figure(
            "bytes a finished row and its version", round(with_versions(place), 1), "-", "200,000 documents"
        ),
    ]
    first = several(lambda: child("first", path, count))
    status = several(lambda: asked(path, count))
    drop_caches()
    new_process = statistics.median(asked(path, count)["since_start_ms"] for _ in range(5))
    temperature = "page cache dropped before each of 5" if drop_caches() else "page cache warm: not root"
    rows += [
        figure("open, first lease, counts (ms)", first["wall_ms"], "1000", temperature),
        figure("all questions of a status, from the import on (ms)", status["wall_ms"], "-", temperature),
        figure(
            "the same with the start of the process (ms)",
            round(new_process, 1),
            "200",
            "median of 5 new processes",
        ),
    ]
    rows += real_programs(place, temperature)
    shutil.rmtree(place)
    return rows


def real_programs(store: Path, temperature: str) -> list[dict[str, Any]]:
    """`filingd run` until its first request arrives, and `filingd status`, on the manifest with many rows."""
    first_day = (YESTERDAY - dt.timedelta(DAYS - 1)).isoformat()
    with SandboxProcess(clock=NOW, scale=0.002) as sandbox:
        config = DaemonConfig.for_sandbox(sandbox, store.parent, first_day, store=store)
        looks, starts = [], []
        for _ in range(5):
            drop_caches()
            looks.append(one_look(config))
            drop_caches()
            starts.append(one_start(config, sandbox))
    return [
        in_ms("filingd run, from its start to its first request (ms)", starts, "1000", temperature),
        in_ms("filingd status (ms)", looks, "500", temperature),
    ]


def in_ms(name: str, walls_s: Sequence[float], target: str, temperature: str) -> dict[str, Any]:
    """The median of some runs as a figure."""
    walls_ms = sorted(round(wall_s * 1000) for wall_s in walls_s)
    return figure(
        name, statistics.median(walls_ms), target, f"[{walls_ms[0]} to {walls_ms[-1]}], {temperature}"
    )


def one_look(config: DaemonConfig) -> float:
    """Seconds of a `filingd status`."""
    began = time.perf_counter()
    subprocess.run(filingd("status", config), check=True, stdout=subprocess.DEVNULL, env=environment(config))
    return time.perf_counter() - began


def one_start(config: DaemonConfig, sandbox: SandboxProcess) -> float:
    """Seconds from the start of a daemon to the arrival of its first request; what it changed is undone."""
    manifest, kept = config.store_path / "manifest.db", config.folder / "kept.db"
    shutil.copy(manifest, kept)
    drop_caches()
    sandbox.admin.clear_journal()
    began_at = sandbox.admin.clock()
    command = filingd("run", config, "--rehearse-at", dt.datetime.fromtimestamp(began_at, dt.UTC).isoformat())
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment(config))
    while not (asked := sandbox.admin.journal()):
        time.sleep(0.02)
    process.kill()
    process.wait()
    for left in config.store_path.glob("manifest.db-*"):
        left.unlink()
    kept.replace(manifest)
    return float(asked[0]["started_at"]) - began_at


def filingd(command: str, config: DaemonConfig, *arguments: str) -> list[str]:
    """A command of filingd on a configuration."""
    return [sys.executable, "-m", "filingd", command, "--config", str(config.write()), *arguments]


def environment(config: DaemonConfig) -> dict[str, str]:
    """Of the process: with keys, and with bytecode, which an installation has."""
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **config.environment()}


def with_versions(place: Path) -> float:
    """Bytes of a finished row together with the row of its version."""
    path, count = place / "versions.db", 200_000
    child("build_with_versions", path, count)
    return path.stat().st_size / count


def several(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Medians over five cold processes."""
    runs = []
    for _ in range(5):
        drop_caches()
        runs.append(measure())
    return {name: round(statistics.median(run[name] for run in runs), 1) for name in runs[0]}


def drop_caches() -> bool:
    """Forget what the kernel has read; says whether it could."""
    if os.geteuid() != 0:
        return False
    os.sync()
    DROP_CACHES.write_text("3")
    return True


def build(path: Path, count: int) -> dict[str, Any]:
    """A manifest of finished rows, with some that are due in another place of the key order."""
    began = time.perf_counter()
    with ManifestBuilder(path, clock_now=time.time) as builder:
        documents = count - DUE_ROWS - DAYS * len(DATASETS)
        for begin in range(0, documents, ROWS_A_BATCH):
            end = min(begin + ROWS_A_BATCH, documents)
            builder.add([Change(None, finished_item(document_key(n))) for n in range(begin, end)])
        for begin in range(0, DUE_ROWS, ROWS_A_BATCH):
            builder.add([Change(None, due_item(n)) for n in range(begin, begin + ROWS_A_BATCH)])
        builder.add([Change(None, item) for day in range(DAYS) for item in day_items(day)])
        builder.add_groups([day_group(day) for day in range(DAYS)])
    return {"rows_per_s": round(count / (time.perf_counter() - began))}


def day_key(day: int) -> str:
    """The group of a day, counted back from yesterday."""
    return f"nbb/authentic/{YESTERDAY - dt.timedelta(days=day)}"


def day_items(day: int) -> list[Item]:
    """The datasets of a day: stored, but for yesterday's, which are due."""
    keys = [f"{day_key(day)}/{dataset}" for dataset in DATASETS]
    if day == 0:
        return [Item(key, "nbb/extract", due_at=NOW - 3600.0) for key in keys]
    lane = "nbb/extract" if day < 28 else "nbb/authentic-archive"
    return [replace(finished_item(key), lane=lane) for key in keys]


def day_group(day: int) -> Group:
    """Sealed, but for yesterday."""
    if day == 0:
        return Group(day_key(day), NOW - 3600.0, reasons=("planned",))
    counts = {"references": 100, "json": 90, "xbrl": 90, "pdf": 100}
    return Group(day_key(day), NOW, sealed_at=NOW, facts={"filings": 100, "pdf_only": 10, "counts": counts})


def due_item(n: int) -> Item:
    """An item that waits: one in a hundred is due, the others are for later, with other priorities."""
    return Item(f"nbb/waiting/2026-{n:08}", LANE, priority=n % 100, due_at=NOW if n % 100 == 99 else NOW + n)


def build_with_versions(path: Path, count: int) -> dict[str, Any]:
    """As `build`, each row with its version and none that is due."""
    with ManifestBuilder(path, clock_now=time.time) as builder:
        for begin in range(0, count, ROWS_A_BATCH):
            items = [finished_item(document_key(n)) for n in range(begin, begin + ROWS_A_BATCH)]
            builder.add([Change(None, item, version_of(item)) for item in items])
    return {}


def first(path: Path, count: int) -> dict[str, Any]:
    """What a daemon does before its first request, as far as the manifest is concerned."""
    return {"wall_ms": asyncio.run(_first(path, count)) * 1000}


async def _first(path: Path, count: int) -> float:
    began = time.perf_counter()
    manifest = await SqliteManifest.open(path, clock_now=time.time)
    cut = await manifest.leased_items()
    counts = await manifest.counts()
    leased = await manifest.lease(LANE, NOW, 1)
    wall_s = time.perf_counter() - began
    assert sum(counts.values()) == count
    assert len(leased) == 1
    put_back = [
        Change(State.ACTIVE, Item(item.key, LANE, priority=99, due_at=NOW)) for item in [*cut, *leased]
    ]
    await manifest.record(put_back)
    await manifest.close()
    return wall_s


# What `filingd status` asks, in a process that imports nothing else.
STATUS = """
import time; began = time.perf_counter()
import sys
from pathlib import Path
from filingd.adapters.manifest_reader import ManifestReader
from filingd.core.model import State
with ManifestReader(Path(sys.argv[1])) as reader:
    assert sum(reader.counts().values()) == int(sys.argv[2])
    for lane in reader.scheduled_counts():
        reader.next_due_at(lane)
    reader.lane_states()
    assert len(reader.groups()) == 1000
    reader.leased_items()
    reader.page("", 100, frozenset({State.QUARANTINED}))
print((time.perf_counter() - began) * 1000)
"""


def asked(path: Path, count: int) -> dict[str, Any]:
    """Milliseconds of a status, from the import on and from the start of the process on."""
    began = time.perf_counter()
    command = [sys.executable, "-c", STATUS, str(path), str(count)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {"wall_ms": float(output), "since_start_ms": (time.perf_counter() - began) * 1000}


# ---------------------------------------------------------------- memory


def memory(scratch: Path) -> list[dict[str, Any]]:
    """How much more a daemon holds in memory when it knows a hundred times as many items."""
    peaks = {count: child("work", scratch / f"{count}.db", count) for count in (FEW_ITEMS, MANY_ITEMS)}
    few, many = (peaks[count]["peak_rss_mb"] for count in (FEW_ITEMS, MANY_ITEMS))
    detail = f"{few:.1f} MB with {FEW_ITEMS:,}, {many:.1f} MB with {MANY_ITEMS:,}; peaks of the whole process"
    return [figure("more memory for more items (MB)", round(many - few, 1), "10", detail)]


def work(path: Path, count: int) -> dict[str, Any]:
    """Plan all items, then lease and finish some, sweep some, and ask what a daemon asks."""
    asyncio.run(_work(path, count))
    return {"peak_rss_mb": own_peak_rss_mb()}


def own_peak_rss_mb() -> float:
    """Peak resident memory of this process. `ru_maxrss` would not do: it begins with what the parent had."""
    peak = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    return int(peak.split()[1]) / 1024


async def _work(path: Path, count: int) -> None:
    manifest = await SqliteManifest.open(path, clock_now=time.time)
    for begin in range(0, count, 1000):
        keys = [document_key(n * 7919 % 10**8) for n in range(begin, begin + 1000)]
        await manifest.record([Change(None, Item(key, LANE, due_at=NOW)) for key in keys])
    for _ in range(300):
        leased = await manifest.lease(LANE, NOW, WORKERS)
        await manifest.record([Change(State.ACTIVE, finished_item(item.key)) for item in leased])
    after = ""
    while page := await manifest.page(after, 1000):
        after = page[-1].key
    await manifest.page("", 100, frozenset({State.EMPTY}))
    await manifest.next_due_at(LANE)
    await manifest.counts()
    await manifest.close()


# ---------------------------------------------------------------- processes of their own


CHILDREN = {function.__name__: function for function in (build, build_with_versions, first, work)}


def child(name: str, path: Path, count: int) -> dict[str, Any]:
    """Run one of `CHILDREN` in a new interpreter."""
    command = [sys.executable, "-m", "bench.manifest", "--child", name, str(path), str(count)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    answer: dict[str, Any] = json.loads(output)
    return answer


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(CHILDREN[sys.argv[2]](Path(sys.argv[3]), int(sys.argv[4]))))
    else:
        main(sys.argv[1:])
