"""A watchlist of a million numbers: imported by the command, followed by the watcher, handed out by the manifest.

    PYTHONPATH=tests python -m bench.million_numbers [--numbers 1000000] [--rounds 3]

Each import is `filingd watch import` as a process of its own, into an empty folder. Then the watcher of one process reads the
list and has the manifest follow, once from nothing and once when all is there; the numbers are due at once, and are picked one
by one, as a lane with few workers does.
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

import uvloop

from bench import peers
from bench.catalogue import figure
from filingd.adapters.clock import RehearsalClock
from filingd.adapters.manifest import SqliteManifest
from filingd.adapters.watchlists import WatchlistFiles, WatchlistFolder
from filingd.engine.watcher import Watcher
from filingd.registries.kvk.registry import KvkRegistry
from filingd.registries.kvk.rules import KvkAccount, KvkRules
from filingd.registries.kvk.terms import KvkTerms

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = 1_795_172_400.0
LANE = "kvk/main/basisprofiel"
PICKS = 2000
_CONFIG = """\
[store]
path = "store"
[kvk.keys.main]
key = "env:NOBODY_HAS_THIS"
budget_per_month_eur = 1
"""
_DAY_S = 86_400.0


def main(arguments: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Run it; returns one row a figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--numbers", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--child", type=Path, help="follow the list of this folder, and print what it took as JSON"
    )
    given = parser.parse_args(list(arguments))
    if given.child:
        print(json.dumps(uvloop.run(_follow(given.child))))
        return []
    rows = _measure(given.numbers, given.rounds)
    print(peers.markdown("A million numbers", rows))
    return rows


def _measure(numbers: int, rounds: int) -> list[dict[str, Any]]:
    with peers.scratch_directory() as scratch:
        source = scratch / "export.csv"
        source.write_text(
            "".join(f"{10_000_000 + place},a note on number {place}\n" for place in range(numbers))
        )
        folders = [_folder(scratch, f"import-{place}") for place in range(rounds)]
        imports_s = [_import(folder, source) for folder in folders]
        first, again = _child(folders[0]), _child(folders[0])
    many = f"{numbers:,} numbers"
    return [
        figure(f"{many} imported (s)", round(statistics.median(imports_s), 2), "10",
               f"the whole command, medians of {rounds}; each line read, checked, compared and written"),
        figure("the next due item among them (ms)", round(first["pick_median_ms"], 3), "1",
               f"median of {PICKS} leases of one item, each durable; 99 % within {first['pick_p99_ms']:.3f} ms"),
        figure("all of them new: read and in the manifest (s)", round(first["take_s"], 1), "-",
               f"beside the daily work; {first['rss_mb']:.0f} MB in the end"),
        figure("at a start with all of them there (s)", round(again["take_s"], 1), "-",
               f"beside the daily work; the lists themselves are read in {again['read_s']:.1f} s before the first call"),
    ]  # fmt: skip


def _folder(scratch: Path, name: str) -> Path:
    folder = peers.fresh_directory(scratch, name)
    (folder / "filingd.toml").write_text(_CONFIG)
    return folder


def _import(folder: Path, source: Path) -> float:
    command = [sys.executable, "-m", "filingd", "watch", "import", str(source), "--list", "all"]
    began_s = time.perf_counter()
    subprocess.run([*command, "--config", str(folder / "filingd.toml")], check=True, capture_output=True)
    return time.perf_counter() - began_s


def _child(folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.million_numbers", "--child", str(folder)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


# ------------------------------------------------------------------------------------------------- one process


class _Silent:
    """A log that nobody reads."""

    def debug(self, event: str, **facts: Any) -> None: ...
    def info(self, event: str, **facts: Any) -> None: ...
    def warning(self, event: str, **facts: Any) -> None: ...
    def error(self, event: str, **facts: Any) -> None: ...


async def _follow(folder: Path) -> dict[str, float]:
    clock = RehearsalClock(NOW)
    account = KvkAccount("main", "env:NOBODY_HAS_THIS")
    (companies,) = KvkRegistry(KvkRules("https://api.invalid/api", (account,))).companies
    terms = KvkTerms.of(["basisprofiel"], 30 * _DAY_S, "main")
    lists = WatchlistFiles(WatchlistFolder(folder / "kvk-watchlists", {}, companies.plain_number, terms))
    manifest = await SqliteManifest.open(folder / "manifest.db", clock_now=clock.now)
    try:
        watcher = Watcher(companies, lists, manifest, clock, _Silent())
        read_s = await _took_s(watcher.read)
        take_s = await _took_s(watcher.look)
        picks_ms = sorted([await _pick_ms(manifest, clock) for _ in range(PICKS)])
    finally:
        await manifest.close()
    return {
        "read_s": read_s,
        "take_s": take_s,
        "pick_median_ms": statistics.median(picks_ms),
        "pick_p99_ms": picks_ms[int(PICKS * 0.99)],
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }


async def _took_s(work: Any) -> float:
    began_s = time.perf_counter()
    await work()
    return time.perf_counter() - began_s


async def _pick_ms(manifest: SqliteManifest, clock: RehearsalClock) -> float:
    began_s = time.perf_counter()
    items = await manifest.lease(LANE, clock.now(), 1)
    took_ms = (time.perf_counter() - began_s) * 1000
    assert len(items) == 1, "all of them are due"
    await asyncio.sleep(0)
    return took_ms


if __name__ == "__main__":
    main(sys.argv[1:])
