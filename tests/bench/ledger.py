"""What booking costs: a call is reserved durably, sent, and settled; 64 workers, as fast as it goes.

    python -m bench.ledger

Each case does this many times in a process of its own: filingd's account on its ledger, and a ledger that commits each
reservation and each settlement by itself (SQLite as well, WAL, synchronous=FULL, on a thread). Times are amortised over the
calls; CPU is that of the whole process, its threads included. After every round the file is read by another connection and must
say, to the call and the millionth of a euro, what was made.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import uvloop

from bench.limiter import NoLog
from filingd.adapters.clock import SystemClock
from filingd.adapters.ledger import SqliteLedger
from filingd.adapters.ledger_reader import LedgerReader
from filingd.adapters.steps import SilentSteps
from filingd.core.model import AccountSpec
from filingd.engine.account import Account

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

WORKERS, ROUNDS = 64, 5
PRICE_MICROEUR = 20_000
CASES = {"filingd": 20_000, "a commit each": 2_000}  # calls


async def shared(calls: int, call: Callable[[], Awaitable[None]]) -> None:
    """So many calls, by all workers."""
    left = calls

    async def worker() -> None:
        nonlocal left
        while left:
            left -= 1
            await call()

    async with asyncio.TaskGroup() as workers:
        for _ in range(WORKERS):
            workers.create_task(worker())


async def book(path: Path) -> None:
    """With filingd's account."""
    ledger = await SqliteLedger.open(path)
    spec = AccountSpec("bench", "Europe/Amsterdam", 10**9, 10**15)
    account = Account(spec, ZoneInfo(spec.zone), [], ledger, SystemClock(), NoLog(), SilentSteps())

    async def call() -> None:
        reservation = await account.reserve(PRICE_MICROEUR)
        assert reservation is not None
        await reservation.prepare()
        reservation.begun()
        await asyncio.sleep(0)  # the exchange
        reservation.end()

    await shared(CASES["filingd"], call)
    await account.close()
    await ledger.close()


async def commit_each(path: Path) -> None:
    """With a transaction for each step of each call."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for statement in (
        "PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL",
        "CREATE TABLE spendings (calls INTEGER, reserved INTEGER, microeur INTEGER)",
        "INSERT INTO spendings VALUES (0, 0, 0)",
    ):  # fmt: skip
        connection.execute(statement).fetchone()
    turn = asyncio.Lock()

    async def change(statement: str) -> None:
        async with turn:
            await asyncio.to_thread(connection.execute, statement)

    async def call() -> None:
        await change("UPDATE spendings SET reserved = reserved + 1")
        await asyncio.sleep(0)  # the exchange
        await change(
            f"UPDATE spendings SET reserved = reserved - 1, calls = calls + 1, microeur = microeur + {PRICE_MICROEUR}"
        )

    await shared(CASES["a commit each"], call)
    connection.close()


def booked_in(case: str, path: Path) -> tuple[int, int]:
    """Calls and money, as they lie on the disk."""
    if case == "filingd":
        with LedgerReader(path) as reader:
            (spending,) = reader.spendings()
        return spending.spent_calls, spending.spent_microeur
    with closing(sqlite3.connect(path)) as connection:
        calls, _, microeur = connection.execute("SELECT * FROM spendings").fetchone()
    return calls, microeur


def run_child(case: str) -> None:
    """One round of one case; prints what it took."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.db")
        before, began_s = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(book(path) if case == "filingd" else commit_each(path))
        took_s, after = time.perf_counter() - began_s, resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        booked = booked_in(case, path)
    print(json.dumps({"took_s": took_s, "cpu_s": cpu_s, "booked": booked, "rss_mb": after.ru_maxrss / 1024}))


def run_case(case: str) -> dict[str, Any]:
    """The same in a process of its own."""
    child = subprocess.run(
        [sys.executable, "-m", "bench.ledger", case], stdout=subprocess.PIPE, text=True, check=True
    )
    report: dict[str, Any] = json.loads(child.stdout)
    calls = CASES[case]
    assert report["booked"] == [calls, calls * PRICE_MICROEUR], f"{case} is not exact: {report['booked']}"
    return report


def main(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """A line a case: medians, and the worst time."""
    by_case: dict[str, list[dict[str, Any]]] = {case: [] for case in CASES}
    for _ in range(rounds):
        for case, reports in by_case.items():
            reports.append(run_case(case))
    return [
        {
            "ledger": case,
            "calls": CASES[case],
            "reserve_and_settle_us": round(1e6 * median(each["took_s"] for each in reports) / CASES[case], 1),
            "worst_us": round(1e6 * max(each["took_s"] for each in reports) / CASES[case], 1),
            "cpu_us": round(1e6 * median(each["cpu_s"] for each in reports) / CASES[case], 1),
            "rss_mb": round(median(each["rss_mb"] for each in reports), 1),
            "exact": True,  # `run_case` would have raised
            "rounds": rounds,
        }
        for case, reports in by_case.items()
    ]


if __name__ == "__main__":
    if sys.argv[1:]:
        run_child(sys.argv[1])
    else:
        print(json.dumps(main(), indent=2))
