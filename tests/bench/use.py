"""The mirror in use: from a commit to the line of `changes --follow`, what a follower costs while nothing happens, and `find` and
`cat` as processes.

    PYTHONPATH=tests python -m bench.use [--commits 400] [--filings 100000] [--zip-bytes 536870912] [--rounds 15] [--idle-s 30]

Latency: one process commits to a real manifest (synced, as the daemon does) at moments that have nothing to do with those of
the follower, which is another; the clock is the same. It begins when the commit is durable and ends when the line is read from
the pipe.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import functools
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from bench import peers
from bench.catalogue import (
    DOCUMENT_BYTES,
    DOCUMENT_KINDS,
    FILINGS_A_DAY,
    FIRST_DAY,
    document_members,
    figure,
    record,
    source,
)
from filingd.adapters.catalogue import SqliteCatalogue
from filingd.adapters.manifest_commands import ManifestWriter
from filingd.adapters.zipdirectory import read_members
from filingd.core.catalogue import Contribution
from filingd.core.layout import CATALOGUE_NAME, MANIFEST_NAME
from filingd.core.model import Change, Item, State, Version
from filingd.registries.nbb.filings import filings_in, places_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CONFIG = """
[store]
path = "{store}"
[nbb]
since = 2023-11-20
[nbb.products.extract]
keys = ["env:FILINGD_BENCH_KEY"]
"""
LONGEST_PAUSE_S = 0.3
LONG_FEED_EVENTS = 100_000
BURST_COMMITS = 2_000


def main(arguments: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Run it; returns one row a figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--commits", type=int, default=400)
    parser.add_argument("--filings", type=int, default=100_000)
    parser.add_argument("--zip-bytes", type=int, default=512 * 1024**2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--idle-s", type=float, default=30.0)
    options = parser.parse_args(list(arguments))
    with peers.scratch_directory() as scratch:
        rows = follower_figures(options.commits, options.idle_s, scratch)
        rows += long_feed(scratch)
        rows += commands(options.filings, options.zip_bytes, options.rounds, scratch)
    print(peers.markdown("Use", rows))
    return rows


# ---------------------------------------------------------------- following


class Follower:
    """`filingd changes --follow`, and a thread that notes when each line was there."""

    def __init__(self, config: Path) -> None:
        self.read_at: dict[int, float] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "filingd", "changes", "--config", str(config), "--follow"],
            stdout=subprocess.PIPE, env=environment(),
        )  # fmt: skip
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            now = time.perf_counter()
            self.read_at[json.loads(line)["seq"]] = now

    def wait_for(self, seq: int) -> float:
        """When the line of an event was read."""
        while seq not in self.read_at:
            if self._process.poll() is not None:
                sys.exit(f"the follower ended with {self._process.returncode}")
            time.sleep(0.001)
        return self.read_at[seq]

    def cpu_s(self) -> float:
        """Processor time so far, of user and system."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """SIGTERM; it has to end in order."""
        self._process.terminate()
        if self._process.wait(10) != 0:
            sys.exit(f"the follower ended with {self._process.returncode}")
        self._thread.join()


def environment() -> dict[str, str]:
    """With bytecode, which an installation has, whatever the shell says of it."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@contextlib.contextmanager
def small_store(scratch: Path, name: str) -> Iterator[tuple[Path, ManifestWriter]]:
    """A configuration and the manifest of its store."""
    store = peers.fresh_directory(scratch, name)
    config = scratch / f"{name}.toml"
    config.write_text(CONFIG.format(store=store))
    with ManifestWriter(store / MANIFEST_NAME, clock_now=time.time) as writer:
        yield config, writer


def stored(number: int) -> Change:
    """A document that came."""
    key = f"nbb/documents/2026-{number:08d}/json"
    path = f"nbb/documents/2026/{number // 1000:05d}/2026-{number:08d}.json"
    item = Item(key, "nbb/extract", State.STORED, 0, None, size_bytes=8000, sha256=bytes(32), version=1)
    version = Version(key, 1, path, 8000, os.urandom(32), time.time(), "authentic-query/json", "r")
    return Change(None, item, version)


def follower_figures(commits: int, idle_s: float, scratch: Path) -> list[dict[str, Any]]:
    """Commit to line, one at a time and in a burst; and the processor time of a follower to whom nothing happens."""
    rng = random.Random(11)
    with small_store(scratch, "followed") as (config, writer):
        follower = Follower(config)
        follower.wait_for(1)
        waits_ms = []
        for number in range(commits):
            time.sleep(rng.uniform(0.0, LONGEST_PAUSE_S))
            writer.record([stored(number)])
            committed_at = time.perf_counter()
            waits_ms.append((follower.wait_for(writer.feed_head()) - committed_at) * 1000)
        burst_ms = _burst(follower, writer, commits)
        idle_percent = _idle_percent(follower, idle_s)
        follower.end()
    waits_ms.sort()
    detail = (
        f"median of {commits} commits at random moments; 99th percentile {waits_ms[int(0.99 * commits)]:.0f}, "
        f"slowest {waits_ms[-1]:.0f}"
    )
    burst_ms.sort()
    return [
        figure("from the commit to the line of changes --follow (ms)", round(statistics.median(waits_ms)), "1000", detail),
        figure(
            "the same, commits without a pause (ms)", round(statistics.median(burst_ms)), "1000",
            f"median of {len(burst_ms):,}; 99th percentile {burst_ms[int(0.99 * len(burst_ms))]:.0f}, slowest {burst_ms[-1]:.0f}",
        ),
        figure("processor time of an idle follower (% of one core)", round(idle_percent, 2), "-", f"over {idle_s:.0f} s"),
    ]  # fmt: skip


def _burst(follower: Follower, writer: ManifestWriter, first: int) -> list[float]:
    head, committed_at = writer.feed_head(), {}
    for number in range(BURST_COMMITS):
        writer.record([stored(first + number)])
        committed_at[head + 1 + number] = time.perf_counter()
    # A line may be read before `record` returns: then it took no time.
    return [max(0.0, follower.wait_for(seq) - at) * 1000 for seq, at in committed_at.items()]


def _idle_percent(follower: Follower, idle_s: float) -> float:
    before_s, began = follower.cpu_s(), time.perf_counter()
    time.sleep(idle_s)
    return 100 * (follower.cpu_s() - before_s) / (time.perf_counter() - began)


def long_feed(scratch: Path) -> list[dict[str, Any]]:
    """All of a long feed, read once."""
    with small_store(scratch, "long") as (config, writer):
        for first in range(0, LONG_FEED_EVENTS, 10_000):
            writer.record([stored(number) for number in range(first, first + 10_000)])
        walls_s = []
        for _ in range(5):
            began = time.perf_counter()
            command = [sys.executable, "-m", "filingd", "changes", "--config", str(config)]
            told = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment()).stdout
            walls_s.append(time.perf_counter() - began)
            assert told.count(b"\n") == LONG_FEED_EVENTS + 1
    events_per_s = LONG_FEED_EVENTS / statistics.median(walls_s)
    return [
        figure(
            "events/s of changes, from the first on",
            round(events_per_s),
            "-",
            f"{LONG_FEED_EVENTS:,} events; median of 5",
        )
    ]


# ---------------------------------------------------------------- commands


def commands(filings: int, zip_bytes: int, rounds: int, scratch: Path) -> list[dict[str, Any]]:
    """`find` and `cat` as new processes, beside an interpreter that does nothing."""
    with small_store(scratch, "store") as (config, _):
        store = scratch / "store"
        reference, size_bytes = uvloop.run(_fill(store, filings, zip_bytes))
        options = ("--config", str(config))
        asked = {
            "python -c pass": ("-c", "pass"),
            "filingd find NUMBER": ("-m", "filingd", "find", owner_of(filings - 1, filings), *options),
            "filingd find PART-OF-A-NAME": ("-m", "filingd", "find", "bakkerij ba", *options),
            "filingd cat --format pdf": ("-m", "filingd", "cat", reference, "--format", "pdf", *options),
        }
        cpu_s: dict[str, list[float]] = {name: [] for name in asked}
        contenders = {name: functools.partial(_run, command, cpu_s[name]) for name, command in asked.items()}
        timings = peers.interleaved(contenders, rounds, scratch)
    detail = {
        "python -c pass": "yardstick",
        "filingd cat --format pdf": f"{DOCUMENT_BYTES // 1024} KiB out of a zip of {size_bytes / 1e9:.1f} GB",
    }
    return [
        figure(
            f"{name}, as a process (ms)", round(1000 * timing.median_s), "-" if name == "python -c pass" else "200",
            f"median of {rounds} [{1000 * min(timing.walls_s):.0f} to {1000 * max(timing.walls_s):.0f}], of it "
            f"{1000 * statistics.median(cpu_s[name]):.0f} of the processor's time; " + detail.get(name, f"{filings:,} filings"),
        )
        for name, timing in timings.items()
    ]  # fmt: skip


def _run(arguments: Sequence[str], cpu_s: list[float], place: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with (place / "out").open("wb") as output:
        subprocess.run([sys.executable, *arguments], cwd=place, check=True, stdout=output, env=environment())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def owner_of(number: int, filings: int) -> str:
    """The enterprise of a filing, as `record` draws it."""
    return str(record(number, FIRST_DAY, max(filings // 3, 10))["enterpriseNumber"])


async def _fill(store: Path, filings: int, zip_bytes: int) -> tuple[str, int]:
    """A catalogue of so many filings, the last day of which has a real zip of PDFs; a reference in it and its size."""
    catalogue = await SqliteCatalogue.open(store / CATALOGUE_NAME)
    for number, first in enumerate(range(0, filings, FILINGS_A_DAY)):
        day = FIRST_DAY + dt.timedelta(days=number)
        numbers = range(first, min(first + FILINGS_A_DAY, filings))
        rows = json.dumps([record(n, day, max(filings // 3, 10)) for n in numbers]).encode()
        await catalogue.contribute(Contribution(source(day, "references"), filings_in(rows, name="rows")))
        for kind in DOCUMENT_KINDS:
            members = document_members(kind, (f"{day.year}-{n:08d}" for n in numbers))
            await catalogue.contribute(Contribution(source(day, kind), places=places_in(kind, members)))
    held = source(day + dt.timedelta(days=1), "pdf")
    path = store / held.path
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number in range(zip_bytes // DOCUMENT_BYTES):
            archive.writestr(f"2030-{number:08d}.pdf", os.urandom(DOCUMENT_BYTES))
    with path.open("rb") as file:
        members = read_members(lambda at, count: os.pread(file.fileno(), count, at), path.stat().st_size)
    await catalogue.contribute(Contribution(held, places=places_in("pdf", members)))
    await catalogue.close()
    return f"2030-{len(members) // 2:08d}", path.stat().st_size


if __name__ == "__main__":
    main(sys.argv[1:])
