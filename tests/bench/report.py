"""Runs the benchmarks one after another and writes RESULTS.md: figures, versions, commands.

python report.py [NAME…]        only these; the tables of the others stay as they are
"""

from __future__ import annotations

import datetime as dt
import importlib
import os
import platform
import re
import sys
from pathlib import Path
from typing import Any

from bench import peers
from filingd import __version__

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
BENCHMARKS = {
    "big_zips": "Big zips, one pass",
    "small_documents": "Small documents",
    "manifest": "Manifest",
    "limiter": "Limiter",
    "ledger": "Ledger",
    "command_line": "Command line",
    "catalogue": "Catalogue",
    "use": "Use",
    "watchlists": "Watchlists",
    "million_numbers": "A million numbers",
}
PEERS = (("nginx", "-v"), ("curl", "--version"), ("aria2c", "--version"),
         ("rclone", "version"), ("unzip", "-v"), ("openssl", "version"))  # fmt: skip


def main(names: list[str]) -> None:
    """Run what is named, or everything."""
    unknown = set(names) - BENCHMARKS.keys()
    if unknown:
        sys.exit(f"No such benchmark: {', '.join(sorted(unknown))}. There are: {', '.join(BENCHMARKS)}.")
    sections = _sections()
    for name in names or BENCHMARKS:
        print(f"== {name}", file=sys.stderr, flush=True)
        rows = importlib.import_module(f"bench.{name}").main()
        sections[name] = _section(name, rows)
        RESULTS.write_text(_page(sections))


def _section(name: str, rows: list[dict[str, Any]]) -> str:
    day = dt.datetime.now(dt.UTC).date().isoformat()
    load = f"{os.getloadavg()[1]:.1f}"
    head = f"## {BENCHMARKS[name]}\n\n`make bench` ran `python -m bench.{name}` on {day} (load average {load}).\n"
    return f"{head}\n{peers.markdown('', rows).removeprefix('### ').lstrip()}"


def _sections() -> dict[str, str]:
    """The tables that stand in RESULTS.md now, by benchmark."""
    if not RESULTS.exists():
        return {}
    parts = re.split(r"(?m)^(?=## )", RESULTS.read_text())
    titles = {title: name for name, title in BENCHMARKS.items()}
    found = {part.partition("\n")[0].removeprefix("## ").strip(): part for part in parts[1:]}
    return {titles[title]: part for title, part in found.items() if title in titles}


def _page(sections: dict[str, str]) -> str:
    kernel = platform.release().partition("-")[0]
    head = [
        "# Figures",
        "",
        "Written by `make bench`, on a shared and noisy machine: trust the ratios, which were measured in one run, rounds",
        "interleaved, medians of at least five unless a row says otherwise.",
        "",
        f"filingd {__version__}, Python {platform.python_version()}, Linux {kernel}, {os.cpu_count()} cores. "
        + ". ".join(f"{command[0]}: {peers.version_of(*command)}" for command in PEERS)
        + ".",
        "",
        "",
    ]
    return "\n".join(head) + "\n".join(
        sections[name].rstrip() + "\n" for name in BENCHMARKS if name in sections
    )


if __name__ == "__main__":
    main(sys.argv[1:])
