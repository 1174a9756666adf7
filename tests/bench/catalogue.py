"""The catalogue: what reading a peak day into it costs, what 1.5 million filings cost to make anew and to ask, and one
document out of a 5 GB zip.

    PYTHONPATH=tests python -m bench.catalogue [--rounds 5] [--filings 1500000] [--zip-bytes 5368709120]

The peak day is measured beside a bare script that reads the same members with zipfile and json and keeps nothing. "Cold"
means that the pages of the file were given back to the kernel before each question.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import gc
import json
import os
import random
import statistics
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from bench import peers
from filingd.adapters.catalogue import SqliteCatalogue
from filingd.adapters.catalogue_reader import CatalogueReader
from filingd.adapters.disk import Disk, Syscalls
from filingd.adapters.layout import Layout
from filingd.adapters.members import MemberReader
from filingd.adapters.zipdirectory import read_members
from filingd.core.catalogue import Contribution, Source
from filingd.core.model import Member
from filingd.registries.nbb.enterprises import check_digits
from filingd.registries.nbb.filings import filings_in, places_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

PEAK_DAY_FILINGS = 20_000
FILINGS_A_DAY = 1_364
FAMILY = "nbb/authentic"
FIRST_DAY = dt.date(2023, 11, 20)
DOCUMENT_KINDS = {
    "json": (2_200, 21_000),
    "xbrl": (14_000, 180_000),
    "pdf": (250_000, 250_000),
}  # packed, inflated
MODELS = ("m87-f", "m81-f", "m01-f", "m07-f", "m02-f", "m82-f", "m02-f-p", "m120-f-p")
SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "é", "an", "er", "ost")]
TRADES = ("IMMO", "BAKKERIJ", "TRANSPORT", "GARAGE", "CONSULT", "MENUISERIE", "CAFÉ", "HOLDING", "SOLUTIONS")
ASKED = 300
DOCUMENT_BYTES = 256 * 1024


def main(arguments: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Run it; returns one row a figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--filings", type=int, default=1_500_000)
    parser.add_argument("--zip-bytes", type=int, default=5 * 1024**3)
    options = parser.parse_args(list(arguments))
    with peers.scratch_directory() as scratch:
        rows = one_document(options.zip_bytes, scratch)
        rows += peak_day(options.rounds, scratch)
        rows += many_filings(options.filings, options.rounds, scratch)
    print(peers.markdown("Catalogue", rows))
    return rows


def figure(name: str, value: float | str, target: str, detail: str = "") -> dict[str, Any]:
    """One row of the table."""
    return {"figure": name, "measured": value, "target": target, "how": detail}


# ---------------------------------------------------------------- synthetic days


def enterprise(number: int) -> str:
    """An enterprise number with right check digits."""
    return f"{number:08d}{check_digits(f'{number:08d}'):02d}"


def name_of(number: int) -> str:
    """The name of an enterprise: a trade and a made-up word or two."""
    rng = random.Random(number)
    words = ["".join(rng.choices(SYLLABLES, k=rng.choice((2, 3, 4)))) for _ in range(rng.choice((1, 2)))]
    return f"{rng.choice(TRADES)} {' '.join(words).upper()}"


def record(number: int, published_on: dt.date, enterprises: int) -> dict[str, Any]:
    """A record as references zips hold it; 2 in 100,000 lack the enterprise number."""
    rng = random.Random(-number - 1)
    owner = rng.randrange(enterprises)
    reference = f"{published_on.year}-{number:08d}"
    return {
        "referenceNumber": reference, "depositDate": str(published_on - dt.timedelta(days=rng.randrange(1, 9))),
        "exerciseDates": {"startDate": f"{published_on.year - 1}-01-01", "endDate": f"{published_on.year - 1}-12-31"},
        "modelType": rng.choice(MODELS), "depositType": "Initial", "language": rng.choice(("NL", "FR", "DE")),
        "currency": "EUR", "enterpriseNumber": None if rng.random() < 0.00002 else enterprise(owner),
        "enterpriseName": name_of(owner),
        "address": {"box": None, "city": "Gent", "countryCode": "BE", "number": str(owner % 200), "postalCode": "9000",
                    "street": "Fictiestraat"},
        "legalForm": rng.choice(("610", "014", "015", "017")), "legalSituation": "000",
        "fullFillLegalValidation": True, "activityCode": "62010", "generalAssemblyDate": f"{published_on.year}-06-10",
        "accountingDataURL": f"https://ws.example.invalid/authentic/deposit/{reference}/accountingData",
        "dataVersion": "Authentic", "improvementDate": None, "correctedData": None,
    }  # fmt: skip


def references_zip(path: Path, numbers: Iterable[int], published_on: dt.date, enterprises: int) -> None:
    """A references zip of one day."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in numbers:
            row = record(number, published_on, enterprises)
            archive.writestr(f"{row['referenceNumber']}.json", json.dumps(row))


def document_members(kind: str, references: Iterable[str]) -> list[Member]:
    """The member index of a day's zip of documents."""
    packed, size = DOCUMENT_KINDS[kind]
    at, members = 0, []
    for number, reference in enumerate(references):
        packed_bytes = packed + hash((reference, kind)) % (packed // 2)
        method = 0 if kind == "pdf" else 8
        inflated = packed_bytes if kind == "pdf" else size + packed_bytes
        members.append(
            Member(
                f"{reference}.{kind}", at + 60, packed_bytes, inflated, number * 2654435761 % 2**32, method
            )
        )
        at += 60 + packed_bytes
    return members


def source(day: dt.date, dataset: str, version: int = 1) -> Source:
    """The item of one dataset of a day."""
    key = f"{FAMILY}/{day}/{dataset}"
    return Source(key, version, f"{FAMILY}/{day:%Y/%m}/{day}/{dataset}.zip", FAMILY, day.isoformat())


def listed(root: Path, target: str, day: dt.date, version: int = 1) -> Contribution:
    """What a references zip says: its member index, then every member by its recorded place."""
    members = Layout(root, Disk(Syscalls())).read_members(target) or ()
    with MemberReader(root / target) as reader:
        found = [filings_in(reader.read(m), name=m.name, member=m.name) for m in members]
    return Contribution(source(day, "references", version), tuple(one for group in found for one in group))


# ---------------------------------------------------------------- a peak day


def peak_day(rounds: int, scratch: Path) -> list[dict[str, Any]]:
    """A day of 20,000 filings from its zip into a catalogue, beside zipfile and json."""
    root = peers.fresh_directory(scratch, "peak")
    references_zip(root / "references.zip", range(PEAK_DAY_FILINGS), FIRST_DAY, 400_000)
    Layout(root, Disk(Syscalls())).read_members("references.zip")
    timings = peers.interleaved(
        {"bare": lambda place: bare_reading(root), "filingd": lambda place: timed_day(root, place)},
        rounds,
        scratch,
    )
    ratio = timings["filingd"].median_s / timings["bare"].median_s
    detail = (
        f"{PEAK_DAY_FILINGS:,} members into a new catalogue: {timings['filingd'].median_s:.2f} s; bare zipfile and json of "
        f"the same: {timings['bare'].median_s:.2f} s; medians of {rounds}"
    )
    return [figure("peak day into the catalogue, in times of zipfile and json", round(ratio, 2), "3", detail)]


def bare_reading(root: Path) -> float:
    """What any script would do, without keeping anything."""
    gc.collect()
    began = time.perf_counter()
    with zipfile.ZipFile(root / "references.zip") as archive:
        for name in archive.namelist():
            json.loads(archive.read(name))
    return time.perf_counter() - began


def timed_day(root: Path, place: Path) -> float:
    """Seconds from the zip on the disk until questions see the day."""
    gc.collect()
    return uvloop.run(_timed_day(root, place / "catalogue.db"))


async def _timed_day(root: Path, path: Path) -> float:
    catalogue = await SqliteCatalogue.open(path)
    began = time.perf_counter()
    done = await catalogue.contribute(await asyncio.to_thread(listed, root, "references.zip", FIRST_DAY))
    wall_s = time.perf_counter() - began
    assert done.filings == PEAK_DAY_FILINGS
    await catalogue.close()
    return wall_s


# ---------------------------------------------------------------- three years


def many_filings(count: int, rounds: int, scratch: Path) -> list[dict[str, Any]]:
    """Making the catalogue anew, its size, and questions on it."""
    path = scratch / "catalogue.db"
    enterprises = max(count // 3, 1)
    build_s, zips_s = uvloop.run(_build(path, count, enterprises, scratch))
    size_bytes = path.stat().st_size
    rows = [
        figure(
            f"catalogue of {count:,} filings and {3 * count:,} documents made anew (s)", round(build_s), "-",
            f"every references member read from its zip and parsed; {count / build_s:,.0f} filings/s; once",
        ),
        figure(
            "size of that catalogue (MB)", round(size_bytes / 1e6), "-",
            f"{size_bytes / count:.0f} bytes a filing with its documents",
        ),
    ]  # fmt: skip
    rows += questions(path, enterprises)
    rows += uvloop.run(_late_day(path, count, rounds, scratch))
    print(f"  (zips made in {zips_s:.0f} s)", flush=True)
    return rows


async def _build(path: Path, count: int, enterprises: int, scratch: Path) -> tuple[float, float]:
    root = peers.fresh_directory(scratch, "days")
    catalogue = await SqliteCatalogue.open(path)
    build_s = zips_s = 0.0
    for number, first in enumerate(range(0, count, FILINGS_A_DAY)):
        day = FIRST_DAY + dt.timedelta(days=number)
        numbers = range(first, min(first + FILINGS_A_DAY, count))
        began = time.perf_counter()
        references_zip(root / "references.zip", numbers, day, enterprises)
        documents = {
            kind: document_members(kind, (f"{day.year}-{n:08d}" for n in numbers)) for kind in DOCUMENT_KINDS
        }
        Layout(root, Disk(Syscalls())).read_members("references.zip")
        zips_s += time.perf_counter() - began
        began = time.perf_counter()
        await catalogue.contribute(listed(root, "references.zip", day))
        for kind, members in documents.items():
            await catalogue.contribute(Contribution(source(day, kind), places=places_in(kind, members)))
        build_s += time.perf_counter() - began
    totals = await catalogue.totals()
    assert (totals.filings, totals.places) == (count, 3 * count)
    await catalogue.close()
    return build_s, zips_s


async def _late_day(path: Path, count: int, rounds: int, scratch: Path) -> list[dict[str, Any]]:
    """Another peak day, into the catalogue that has three years already."""
    root = peers.fresh_directory(scratch, "late")
    catalogue = await SqliteCatalogue.open(path)
    walls_s = []
    for number in range(rounds):
        day = FIRST_DAY + dt.timedelta(days=5_000 + number)
        first = count + number * PEAK_DAY_FILINGS
        references_zip(
            root / "references.zip", range(first, first + PEAK_DAY_FILINGS), day, max(count // 3, 1)
        )
        Layout(root, Disk(Syscalls())).read_members("references.zip")
        began = time.perf_counter()
        await catalogue.contribute(listed(root, "references.zip", day))
        walls_s.append(time.perf_counter() - began)
    began = time.perf_counter()
    missing = await catalogue.undocumented(FAMILY, day.isoformat(), "json")
    asked_s = time.perf_counter() - began
    assert len(missing) == PEAK_DAY_FILINGS
    await catalogue.close()
    return [
        figure(f"peak day into a catalogue of {count:,} (s)", round(statistics.median(walls_s), 2), "-",
               f"median of {rounds}; slowest {max(walls_s):.2f}"),
        figure("references of that day without a document (s)", round(asked_s, 2), "-", "20,000 of 20,000; once"),
    ]  # fmt: skip


def questions(path: Path, enterprises: int) -> list[dict[str, Any]]:
    """What `find` asks, in one process."""
    rng = random.Random(7)
    numbers = [enterprise(rng.randrange(enterprises)) for _ in range(ASKED)]
    words = [name_of(rng.randrange(enterprises)).split()[-1].lower() for _ in range(ASKED)]
    fragments = [word[1:6] if len(word) > 5 else word for word in words]
    rows = []
    with CatalogueReader(path) as reader:
        for title, target, asked, ask in (
            ("by enterprise", "10 ms", numbers, reader.filings_of),
            ("by part of a name", "-", fragments, lambda fragment: reader.names_like(fragment, 50)),
            (
                "by the commonest part of a name",
                "-",
                [t.lower() for t in TRADES] * 10,
                lambda f: reader.names_like(f, 50),
            ),
        ):
            rows.append(figure(f"find {title} (ms)", *_spread(asked, ask, target, lambda: None)))
            if title == "by enterprise":
                rows.append(
                    figure(
                        "find by enterprise, cold (ms)",
                        *_spread(asked[:60], ask, "10 ms", lambda: forget(path)),
                    )
                )
    return rows


def _spread(
    asked: Sequence[str], ask: Callable[[str], Any], target: str, before: Callable[[], None]
) -> tuple[float, str, str]:
    walls_ms, found = [], 0
    for one in asked:
        before()
        began = time.perf_counter()
        found += len(ask(one))
        walls_ms.append((time.perf_counter() - began) * 1000)
    assert found
    walls_ms.sort()
    worst = walls_ms[int(0.99 * len(walls_ms))]
    detail = (
        f"median of {len(walls_ms)}; 99th percentile {worst:.2f}, slowest {walls_ms[-1]:.2f}; "
        f"{found / len(asked):.1f} found each"
    )
    return round(statistics.median(walls_ms), 2), target, detail


def forget(path: Path) -> None:
    """Give the pages of a file back to the kernel."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# ---------------------------------------------------------------- one document


def one_document(zip_bytes: int, scratch: Path) -> list[dict[str, Any]]:
    """One document out of a big zip by its recorded place, beside zipfile."""
    path = scratch / "pdf.zip"
    noise = os.urandom(DOCUMENT_BYTES)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number in range(zip_bytes // DOCUMENT_BYTES):
            archive.writestr(f"2026-{number:08d}.pdf", noise)
    descriptor = os.open(path, os.O_RDONLY)
    members = read_members(lambda at, count: os.pread(descriptor, count, at), path.stat().st_size)
    os.close(descriptor)
    chosen = random.Random(3).sample(members, 50)
    ours = [_timed_ms(path, member, _by_place) for member in chosen]
    theirs = [_timed_ms(path, member, _by_directory) for member in chosen[:5]]
    detail = (
        f"{path.stat().st_size / 1e9:.1f} GB, {len(members):,} members, {DOCUMENT_BYTES // 1024} KiB each; page cache given back "
        f"each time; median of {len(ours)}, slowest {max(ours):.1f}; zipfile takes {statistics.median(theirs):.0f}"
    )
    path.unlink()
    return [
        figure(
            "one document out of a 5 GB zip, cold (ms)", round(statistics.median(ours), 2), "20 ms", detail
        )
    ]


def _timed_ms(path: Path, member: Member, read: Callable[[Path, Member], int]) -> float:
    forget(path)
    began = time.perf_counter()
    assert read(path, member) == DOCUMENT_BYTES
    return (time.perf_counter() - began) * 1000


def _by_place(path: Path, member: Member) -> int:
    with MemberReader(path) as reader, Path(os.devnull).open("wb") as output:
        return reader.copy(member, output)


def _by_directory(path: Path, member: Member) -> int:
    with zipfile.ZipFile(path) as archive:
        return len(archive.read(member.name))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
