"""A hundred thousand companies in the watchlists: what they add to planning, to memory and to the event loop.

    PYTHONPATH=tests python -m bench.watchlists [--companies 100000] [--rounds 7]

A new process for each measurement: a real folder of lists, a real manifest with three years of days, the planner and the
watcher as the daemon has them. Memory is the high-water mark of the whole process, with the companies less without them. Plans
are made in pairs, upon the manifest with the companies and upon one without, while the lists are held; the difference counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import uvloop

from bench import peers
from bench.catalogue import figure
from filingd.adapters.clock import RehearsalClock
from filingd.adapters.manifest import SqliteManifest
from filingd.adapters.watchlists import WatchlistFiles, WatchlistFolder
from filingd.core import calendar
from filingd.core.model import LaneSpec
from filingd.engine.planner import Planner
from filingd.engine.watcher import Watcher
from filingd.registries.nbb.enterprises import check_digits
from filingd.registries.nbb.registry import NbbRegistry
from filingd.registries.nbb.rules import NbbRules
from filingd.registries.nbb.terms import NbbTerms

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

NOW = 1_795_172_400.0  # 2026-11-20 12:00 in Brussels
DAYS = 1096
LOOKS = 200
PAIRS = 30
_TICK_S = 0.001
_LANES = {name: LaneSpec(f"nbb/{name}", 1.0) for name in ("extract", "authentic-archive", "authentic-query")}


def main(arguments: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Run it; returns one row a figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--companies", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--child", type=Path, help="measure one start upon this folder, and print it as JSON")
    parser.add_argument(
        "--beside", type=Path, help="the folder without companies that plans are compared with"
    )
    given = parser.parse_args(list(arguments))
    if given.child:
        print(json.dumps(uvloop.run(_start(given.child, given.beside))))
        return []
    rows = _measure(given.companies, given.rounds)
    print(peers.markdown("Watchlists", rows))
    return rows


def _measure(companies: int, rounds: int) -> list[dict[str, Any]]:
    with peers.scratch_directory() as scratch:
        without, with_all = _folder(scratch, "without", 0), _folder(scratch, "with", companies)
        _child(without)  # makes its manifest
        first = _child(with_all)
        runs = [(_child(without), _child(with_all)) for _ in range(rounds)]
        plans = [_child(with_all, without) for _ in range(rounds)]
    return _rows(companies, first, runs, plans)


def _rows(
    companies: int,
    first: dict[str, float],
    runs: Sequence[tuple[dict[str, float], dict[str, float]]],
    plans: Sequence[dict[str, float]],
) -> list[dict[str, Any]]:
    def median(name: str) -> float:
        return statistics.median(run[1][name] for run in runs)

    added_ms, plan_ms = (statistics.median(run[name] for run in plans) for name in ("added_ms", "plan_ms"))
    rss_mb = [statistics.median(run[which]["rss_mb"] for run in runs) for which in (0, 1)]
    many, how = f"{companies:,} companies", f"medians of {len(runs)} processes"
    return [
        figure(f"{many} add to a plan (ms)", round(added_ms, 2), "10",
               f"median difference of {PAIRS} pairs of plans, each in {plan_ms:.0f} ms of the processor's time; {how}"),
        figure(f"{many} add to memory (MB)", round(rss_mb[1] - rss_mb[0], 1), "50",
               f"{rss_mb[0]:.1f} without, {rss_mb[1]:.1f} with, lists read and compared with the manifest; {how}"),
        figure("the same when all of them are new (MB)", round(first["rss_mb"] - rss_mb[0], 1), "50", "one process"),
        figure("a look at a folder that did not change (ms)", round(median("look_ms"), 3), "-",
               f"median of {LOOKS} in each of {len(runs)} processes"),
        figure("lists read and compared, at a start (ms)", round(median("start_ms")), "-",
               f"beside the daily work; the event loop was never held for more than {median('held_ms'):.0f} ms; {how}"),
        figure("the same when all of them are new (ms)", round(first["start_ms"]), "-",
               f"never held for more than {first['held_ms']:.0f} ms; one process"),
    ]  # fmt: skip


def _folder(scratch: Path, name: str, companies: int) -> Path:
    folder = peers.fresh_directory(scratch, name)
    (folder / "watchlists").mkdir()
    if companies:
        lines = [f"{_number(place)},a note on company {place}\n" for place in range(companies)]
        (folder / "watchlists" / "all.csv").write_text("".join(lines))
    return folder


def _number(place: int) -> str:
    first = f"{9_000_000 + place:08d}"
    return f"{first}{check_digits(first):02d}"


def _child(folder: Path, beside: Path | None = None) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.watchlists", "--child", str(folder)]
    command += ["--beside", str(beside)] if beside else []
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return dict(json.loads(said))


# ------------------------------------------------------------------------------------------------- one start


class _Silent:
    """A log that nobody reads."""

    def debug(self, event: str, **facts: Any) -> None: ...
    def info(self, event: str, **facts: Any) -> None: ...
    def warning(self, event: str, **facts: Any) -> None: ...
    def error(self, event: str, **facts: Any) -> None: ...


async def _start(folder: Path, beside: Path | None) -> dict[str, float]:
    """One start of planner and watcher upon a folder; with another, plans upon both instead of everything else."""
    clock, log = RehearsalClock(NOW), _Silent()
    registry = _registry()
    (companies,) = registry.companies
    lists = WatchlistFiles(WatchlistFolder(folder / "watchlists", {}, companies.plain_number, NbbTerms()))
    manifest = await SqliteManifest.open(folder / "manifest.db", clock_now=clock.now)
    try:
        planner = Planner(registry, manifest, clock, log, 900.0, lambda _: None)
        watcher = Watcher(companies, lists, manifest, clock, log)
        await planner.plan()
        held = asyncio.create_task(_longest_hold_s())
        start_ms = await _ms(watcher.look)
        held.cancel()
        if beside is not None:
            return await _plans_in_pairs(planner, registry, beside, clock, log)
        look_ms = statistics.median([await _ms(watcher.look) for _ in range(LOOKS)])
    finally:
        await manifest.close()
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return {"start_ms": start_ms, "held_ms": _held_s[0] * 1000, "look_ms": look_ms, "rss_mb": rss_mb}


def _registry() -> NbbRegistry:
    zone = ZoneInfo("Europe/Brussels")
    since = calendar.later_by(calendar.day_at(NOW, zone), -DAYS)
    days = {name: _LANES[name] for name in ("extract", "authentic-archive")}
    rules = NbbRules("https://ws.example.invalid", since, zone, days)
    return NbbRegistry([rules], _LANES["authentic-query"])


async def _plans_in_pairs(
    planner: Planner, registry: NbbRegistry, beside: Path, clock: RehearsalClock, log: _Silent
) -> dict[str, float]:
    manifest = await SqliteManifest.open(beside / "manifest.db", clock_now=clock.now)
    try:
        other = Planner(registry, manifest, clock, log, 900.0, lambda _: None)
        found = []
        for place in range(PAIRS):
            if place % 2:
                with_them_ms, without_ms = await _cpu_ms(planner.plan), await _cpu_ms(other.plan)
            else:
                without_ms, with_them_ms = await _cpu_ms(other.plan), await _cpu_ms(planner.plan)
            found.append((with_them_ms - without_ms, without_ms))
    finally:
        await manifest.close()
    added_ms, plan_ms = (statistics.median(column) for column in zip(*found, strict=True))
    return {"added_ms": added_ms, "plan_ms": plan_ms}


_held_s = [0.0]


async def _longest_hold_s() -> None:
    """Note by how much the event loop was late at worst."""
    while True:
        begun_s = time.perf_counter()
        await asyncio.sleep(_TICK_S)
        _held_s[0] = max(_held_s[0], time.perf_counter() - begun_s - _TICK_S)


async def _cpu_ms(work: Callable[[], Awaitable[Any]]) -> float:
    """Of the processor's time of all threads: what others do on this machine takes part of every wall clock."""
    begun_s = time.process_time()
    await work()
    return (time.process_time() - begun_s) * 1000


async def _ms(work: Callable[[], Awaitable[Any]]) -> float:
    begun_s = time.perf_counter()
    await work()
    return (time.perf_counter() - begun_s) * 1000


if __name__ == "__main__":
    main(sys.argv[1:])
