"""Small documents: 20,000 of about 8 KB, durable and in the manifest, against a bare aiohttp client and the usual mirrors.

    PYTHONPATH=tests python -m bench.small_documents [--rounds 5]

All contenders fetch the same documents from one nginx on loopback, in interleaved rounds, each into a fresh directory.
filingd is the real engine (`document_mirror.py`); it hashes, syncs, records and logs each document, which nobody else here does.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import peers

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).parent
COUNT = 20_000
CONCURRENCY = 32
BODY_BYTES = (4_000, 12_500)


def main(arguments: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Run it; returns one row a contender."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args(list(arguments)).rounds
    with peers.scratch_directory() as scratch, peers.served_directory(COUNT * BODY_BYTES[1]) as root:
        _make_documents(root)
        with peers.served(root) as server:
            timings = peers.interleaved(_contenders(server.base_url), rounds, scratch)
    bare_s = timings["bare aiohttp, discards"].median_s
    rows = [{**timing.row(), "x bare aiohttp": round(timing.median_s / bare_s, 2),
             "documents/s": round(COUNT / timing.median_s)} for timing in timings.values()]  # fmt: skip
    print(peers.markdown(f"Small documents: {COUNT:,} of about 8 KB", rows))
    return rows


def _make_documents(root: Path) -> None:
    seeded = random.Random(20_000)
    for number in range(COUNT):
        text = "".join(seeded.choices("0123456789abcdef ", k=seeded.randint(*BODY_BYTES)))
        (root / f"{number:05d}.json").write_text(json.dumps({"text": text}))


def _contenders(base_url: str) -> dict[str, peers.Contender]:
    return {
        "bare aiohttp, discards": lambda place: _child("bare_client.py", place, base_url, COUNT, CONCURRENCY),
        "filingd": lambda place: _child(
            "document_mirror.py", place, base_url, place / "store", COUNT, CONCURRENCY
        ),
        "aria2c -j16": lambda place: _aria2(base_url, place),
        "rclone 32": lambda place: _rclone(base_url, place),
        "curl -Z 50": lambda place: _curl(base_url, place),
    }


def _child(script: str, place: Path, *arguments: object) -> float:
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    output, _ = peers.peak_rss_bytes_of(command, place)
    result = json.loads(output)
    if result.get("stored", COUNT) != COUNT:
        sys.exit(f"{script} stored {result['stored']} of {COUNT}")
    return float(result["seconds"])


def _aria2(base_url: str, place: Path) -> None:
    urls = place / "urls"
    urls.write_text("\n".join(f"{base_url}/{number:05d}.json" for number in range(COUNT)))
    peers.run_quietly(
        ["aria2c", "-q", "-j16", "-x1", "--file-allocation=none", "-d", "out", "-i", str(urls)], place
    )


def _rclone(base_url: str, place: Path) -> None:
    names = place / "names"
    names.write_text("\n".join(f"{number:05d}.json" for number in range(COUNT)))
    command = ["rclone", "copy", ":http:", "out", "--http-url", base_url, "--files-from-raw", str(names)]
    options = ["--transfers", "32", "--checkers", "32", "--no-traverse", "--no-check-dest", "--http-no-head"]
    peers.run_quietly([*command, *options, "--config", "", "--quiet"], place)


def _curl(base_url: str, place: Path) -> None:
    configuration = place / "curl.txt"
    lines = (f'url = "{base_url}/{number:05d}.json"\noutput = "{number:05d}.json"' for number in range(COUNT))
    configuration.write_text("\n".join(lines))
    subprocess.run(
        ["curl", "-s", "--no-progress-meter", "-Z", "--parallel-max", "50", "-K", str(configuration)],
        cwd=place,
        check=True,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
