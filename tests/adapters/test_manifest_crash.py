"""A process that writes the manifest is killed at any moment: what was acknowledged is there, and the counters hold."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from filingd.adapters.manifest_reader import ManifestReader
from filingd.adapters.manifest_schema import open_writable
from filingd.core.model import LEASED_STATES, State

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path

ROUNDS = int(os.environ.get("FILINGD_MANIFEST_KILLS", "30"))
SEED = int(os.environ.get("FILINGD_MANIFEST_SEED", "20261120"))

# Plans, leases and stores as fast as it can; writes one line an acknowledged store, unbuffered.
WRITER = """
import asyncio, os, sys
from msgspec.structs import replace
from pathlib import Path
from filingd.adapters.manifest import SqliteManifest
from filingd.core.model import Change, Item, State, Version

async def worker(manifest, acknowledge):
    while True:
        for item in await manifest.lease("extract", 1e9, 3):
            number = item.version + 1
            stored = replace(item, state=State.STORED, version=number, due_at=5.0 if number < 3 else None)
            version = Version(item.key, number, "p", 1, bytes(32), 1.0, "extract", "r")
            await manifest.record([Change(item.state, stored, version)])
            acknowledge(f"{item.key} {number}")

async def main(path, round_number):
    manifest = await SqliteManifest.open(Path(path), clock_now=lambda: 0.0)
    put_back = {State.ACTIVE: State.DUE, State.RECHECKING: State.STORED}
    cut = await manifest.leased_items()
    await manifest.record(
        [Change(item.state, replace(item, state=put_back[item.state], due_at=1.0)) for item in cut]
    )
    keys = [f"g/{round_number:03}/{n:05}" for n in range(3000)]
    await manifest.record([Change(None, Item(key, "extract", due_at=2.0)) for key in keys])
    acknowledge = lambda line: os.write(1, line.encode() + b"\\n")
    acknowledge("ready 0")
    await asyncio.gather(*(worker(manifest, acknowledge) for _ in range(8)))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.slow
def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "manifest.db"
    chance = random.Random(SEED)
    acknowledged: Counter[str] = Counter()
    for round_number in range(ROUNDS):
        for line in lines_of_a_killed_writer(path, round_number, chance.uniform(0.0, 0.12)):
            key, number = line.split()
            acknowledged[key] = max(acknowledged[key], int(number))
        assert_sound(path, acknowledged, f"seed {SEED}, round {round_number}")
    assert len(acknowledged) > ROUNDS, "the writers were killed before they did anything"


def lines_of_a_killed_writer(path: Path, round_number: int, delay_s: float) -> list[str]:
    """Run the writer, kill it `delay_s` after it began, and give the lines it wrote whole."""
    command = [sys.executable, "-c", WRITER, str(path), str(round_number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
    assert first == b"ready 0\n"
    whole, _, _ = rest.rpartition(b"\n")
    return whole.decode().splitlines()


def assert_sound(path: Path, acknowledged: Counter[str], where: str) -> None:
    with closing(open_writable(path, lambda: 0.0)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], where
        counted = dict(connection.execute("SELECT state, count(*) FROM items GROUP BY state").fetchall())
        scheduled = connection.execute("SELECT count(*) FROM items WHERE due_ms IS NOT NULL").fetchone()[0]
        assert_acknowledged(connection, acknowledged, where)
    with ManifestReader(path) as reader:
        assert reader.counts() == {state: counted.get(state, 0) for state in State}, where
        assert reader.scheduled_counts().get("extract", 0) == scheduled, where
        assert len(reader.leased_items()) == sum(counted.get(state, 0) for state in LEASED_STATES), where


def assert_acknowledged(connection: sqlite3.Connection, acknowledged: Counter[str], where: str) -> None:
    rows = connection.execute(
        "SELECT items.key, items.version, count(versions.number) FROM items "
        "LEFT JOIN versions ON versions.key = items.key GROUP BY items.key"
    )
    kept = {key: (version, bodies) for key, version, bodies in rows.fetchall()}
    for key, number in acknowledged.items():
        version, bodies = kept[key]
        assert version >= number, where
        assert bodies == version, where
