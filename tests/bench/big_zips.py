"""Big zips, one pass: received, written, hashed, walked, made durable and published; against a careful shell script.

    PYTHONPATH=tests python -m bench.big_zips [--rounds 5] [--memory-gib 5]

The script is what an operator would write: curl, sync, openssl sha256, unzip -t. filingd runs its own path
(`mirror_bodies.py`: AioHttpClient into DiskStore, uvloop) in a process of its own, started anew for each round. What
a daemon does once, starting and ending, is left out of its figure and stands in a column of its own. All contenders
fetch from one nginx on loopback, in interleaved rounds, each into a fresh directory.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from bench import peers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    Packed = tuple[bytes, int, int, int]  # data as it lies in the zip, inflated size, CRC, method

HERE = Path(__file__).parent
JSON_MEMBERS = 20_000
PDF_MEMBERS = 4_096
PDF_BYTES = 256 * 1024
DISTINCT = 400  # members repeat after so many: making the zips must not take longer than measuring

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_EXTRA64 = struct.Struct("<HHQ")


def main(arguments: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Run it; returns one row a contender."""
    options = _options(arguments)
    served_bytes = (3 + options.memory_gib) << 30
    with peers.scratch_directory() as scratch, peers.served_directory(served_bytes) as root:
        _make_zips(root, options.memory_gib)
        with peers.served(root) as server:
            whole_s: dict[str, list[float]] = {}
            timings = peers.interleaved(_contenders(server.base_url, whole_s), options.rounds, scratch)
            for name, walls_s in whole_s.items():
                timings[name].facts["with start and end s"] = round(statistics.median(walls_s), 3)
            memory = _memory_row(server.base_url, scratch, options.memory_gib)
    rows = [*_rows(timings), memory]
    print(peers.markdown("Big zips, one pass", rows))
    return rows


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory-gib", type=int, default=5)
    return parser.parse_args(list(arguments))


def _rows(timings: dict[str, peers.Timing]) -> Iterator[dict[str, Any]]:
    """Ratios are within one run: to the script and, for the stored zips, to curl that only fetches and syncs."""
    medians = {name: timing.median_s for name, timing in timings.items()}
    for name, timing in timings.items():
        kind = name.partition(":")[0]
        row = {**timing.row(), "x script": round(medians[name] / medians[f"{kind}: careful script"], 2)}
        bare_s = medians.get(f"{kind}: curl -Z and sync")
        yield {**row, "x bare curl": round(medians[name] / bare_s, 2) if bare_s else ""}


def _contenders(base_url: str, whole_s: dict[str, list[float]]) -> dict[str, peers.Contender]:
    deflated, stored = ["deflated.zip"], ["stored-1.zip", "stored-2.zip"]
    return {
        "deflated: filingd": _filingd(base_url, deflated, whole_s.setdefault("deflated: filingd", [])),
        "deflated: careful script": _shell(f"{_curl(base_url, deflated)}; sync; {_checks(deflated)}"),
        "stored: filingd": _filingd(base_url, stored, whole_s.setdefault("stored: filingd", [])),
        "stored: careful script": _shell(f"{_curl(base_url, stored)}; sync; {_checks(stored)}"),
        "stored: curl -Z and sync": _shell(f"{_curl(base_url, stored)}; sync"),
    }


def _curl(base_url: str, names: list[str]) -> str:
    asked = " ".join(f"-o {name} {base_url}/{name}" for name in names)
    return f"curl --fail --silent --show-error --no-progress-meter --parallel --parallel-max 2 {asked} 2>curl.log"


def _checks(names: list[str]) -> str:
    return f"openssl sha256 {' '.join(names)}; " + "; ".join(f"unzip -tq {name}" for name in names)


def _shell(script: str) -> peers.Contender:
    return lambda place: peers.run_quietly(["bash", "-ec", script], place)


def _filingd(base_url: str, names: list[str], whole_s: list[float]) -> peers.Contender:
    """Seconds of the work alone; the seconds of the whole process are added to `whole_s`."""

    def run(place: Path) -> float:
        began = time.perf_counter()
        command = _mirror(place, base_url, names)
        ended = subprocess.run(command, cwd=place, check=True, stdout=subprocess.PIPE, text=True)
        whole_s.append(time.perf_counter() - began)
        return float(json.loads(ended.stdout.splitlines()[-1])["seconds"])

    return run


def _mirror(place: Path, base_url: str, names: list[str]) -> list[str]:
    return [
        sys.executable,
        str(HERE / "mirror_bodies.py"),
        str(place),
        *(f"{base_url}/{name}" for name in names),
    ]


def _memory_row(base_url: str, scratch: Path, gib: int) -> dict[str, Any]:
    place = peers.fresh_directory(scratch, "memory")
    output, peak_bytes = peers.peak_rss_bytes_of(_mirror(place, base_url, ["huge.zip"]), place)
    size_bytes = json.loads(output.splitlines()[0])["size"]
    name = f"memory: filingd, a zip of {size_bytes / (1 << 30):.1f} GiB ({gib * PDF_MEMBERS:,} members)"
    return {"name": name, "runs": 1, "peak RSS MiB": round(peak_bytes / (1 << 20), 1)}


# ---------------------------------------------------------------- the zips


def _make_zips(root: Path, memory_gib: int) -> None:
    seeded = random.Random(2026)
    texts = [_packed(_json_document(seeded, number)) for number in range(DISTINCT)]
    scans = [(data, len(data), zlib.crc32(data), 0) for data in (_scan(seeded) for _ in range(DISTINCT))]
    _write_zip(root / "deflated.zip", "json", (texts[n % DISTINCT] for n in range(JSON_MEMBERS)))
    for name in ("stored-1.zip", "stored-2.zip"):
        _write_zip(root / name, "pdf", (scans[n % DISTINCT] for n in range(PDF_MEMBERS)))
    _write_zip(root / "huge.zip", "pdf", (scans[n % DISTINCT] for n in range(memory_gib * PDF_MEMBERS)))
    subprocess.run(["unzip", "-tq", str(root / "deflated.zip")], check=True, stdout=subprocess.DEVNULL)


def _json_document(seeded: random.Random, number: int) -> bytes:
    """About 60 kB that deflates to a third: codes, amounts and hashes, as in an annual account."""
    rubrics = [
        {
            "Code": str(seeded.randint(10, 9999)),
            "Period": "N",
            "Value": f"{seeded.randint(-(10**9), 10**9) / 100:.2f}",
            "Hash": seeded.randbytes(16).hex(),
        }
        for _ in range(640)
    ]
    return json.dumps({"EnterpriseName": f"Onderneming {number}", "Rubrics": rubrics}).encode()


def _scan(seeded: random.Random) -> bytes:
    return b"%PDF-1.7\n" + seeded.randbytes(PDF_BYTES - 9)


def _packed(data: bytes) -> Packed:
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
    return deflater.compress(data) + deflater.flush(), len(data), zlib.crc32(data), 8


def _write_zip(path: Path, ending: str, members: Iterable[Packed]) -> None:
    """A zip of ready-packed members, ZIP64 where it has to be."""
    directory = bytearray()
    count = 0
    with path.open("wb", buffering=1 << 20) as out:
        for count, (data, size, crc, method) in enumerate(members, start=1):
            name = f"2026-{count:08d}.{ending}".encode()
            directory += _directory_line(name, out.tell(), data, size, crc, method)
            out.write(_LOCAL.pack(b"PK\x03\x04", 45, 0, method, 0, 0x21, crc, len(data), size, len(name), 0))
            out.write(name)
            out.write(data)
        _write_end(out, directory, count)


def _directory_line(name: bytes, at: int, data: bytes, size: int, crc: int, method: int) -> bytes:
    is_far = at > 0xFFFFFFFE
    extra = _EXTRA64.pack(1, 8, at) if is_far else b""
    shown = 0xFFFFFFFF if is_far else at
    fixed = _CENTRAL.pack(
        b"PK\x01\x02",
        45,
        45,
        0,
        method,
        0,
        0x21,
        crc,
        len(data),
        size,
        len(name),
        len(extra),
        0,
        0,
        0,
        0,
        shown,
    )
    return fixed + name + extra


def _write_end(out: BinaryIO, directory: bytearray, count: int) -> None:
    at, size = out.tell(), len(directory)
    out.write(directory)
    if at + size > 0xFFFFFFFE:
        out.write(struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, at))
        out.write(struct.pack("<4sLQL", b"PK\x06\x07", 0, at + size, 1))
        out.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, size, 0xFFFFFFFF, 0))
    else:
        out.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, size, at, 0))


if __name__ == "__main__":
    main(sys.argv[1:])
