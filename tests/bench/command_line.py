"""The command line, cold: `filingd --help` and `filingd status` on a small store.

    PYTHONPATH=tests python -m bench.command_line [--rounds 15]

Each run is a new process; the yardstick beside it is an interpreter that does nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from bench import peers
from filingd.adapters.manifest import SqliteManifest
from filingd.core.model import Change, Group, Item, State

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CONFIG = """
[store]
path = "{store}"
[nbb]
since = 2026-10-01
[nbb.products.extract]
keys = ["env:FILINGD_BENCH_KEY"]
"""
DATASETS = ("references", "json", "xbrl", "pdf")


def main(arguments: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Run it; returns one row a command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args(list(arguments)).rounds
    with peers.scratch_directory() as scratch:
        config = _small_store(scratch)
        timings = peers.interleaved(
            {
                "python -c pass": lambda place: _run(place, "-c", "pass"),
                "filingd --help": lambda place: _run(place, "-m", "filingd", "--help"),
                "filingd status": lambda place: _run(
                    place, "-m", "filingd", "status", "--config", str(config)
                ),
            },
            rounds,
            scratch,
        )
    rows = [timing.row() for timing in timings.values()]
    print(peers.markdown("Command line", rows))
    return rows


def _run(place: Path, *arguments: str) -> None:
    # With bytecode, which an installation has, whatever the shell says of it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, *arguments]
    subprocess.run(command, cwd=place, check=True, stdout=subprocess.DEVNULL, env=environment)


def _small_store(scratch: Path) -> Path:
    store = peers.fresh_directory(scratch, "store")
    asyncio.run(_fill(store / "manifest.db"))
    config = scratch / "filingd.toml"
    config.write_text(CONFIG.format(store=store))
    return config


async def _fill(path: Path) -> None:
    manifest = await SqliteManifest.open(path, clock_now=lambda: 0.0)
    days = [f"nbb/authentic/2026-10-{number:02d}" for number in range(1, 32)]
    items = [
        Item(
            f"{day}/{dataset}",
            "nbb/extract",
            State.STORED,
            0,
            None,
            sha256=bytes(32),
            size_bytes=1,
            version=1,
        )
        for day in days
        for dataset in DATASETS
    ]
    await manifest.record([Change(None, item) for item in items])
    await manifest.save_groups([Group(day, 0.0, sealed_at=1.0) for day in days])
    await manifest.close()


if __name__ == "__main__":
    main(sys.argv[1:])
