"""The limiter, judged where it counts: at the server. 100 calls a second, 64 workers, answers after 0 and 500 ms.

    python limiter.py [--rounds 5] [--seconds 20]

Each case is two processes on loopback: a server that stamps each arrival on the system's monotonic clock,
and a client that runs the real `LanePacer` (reserving in a real manifest) and the real HTTP client, the same with every call
booked in a real ledger before it is sent ("booked": two lanes that share a gate and an account), or
the peer: a leaky bucket as the common libraries have it. Rounds are interleaved; figures are medians over
the rounds, "most" the worst of all. A window is every half-open second that begins at an event.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo

import uvloop

from filingd.adapters.clock import SystemClock
from filingd.adapters.http import AioHttpClient
from filingd.adapters.ledger import SqliteLedger
from filingd.adapters.manifest import SqliteManifest
from filingd.adapters.steps import SilentSteps
from filingd.core.limits import LaneState
from filingd.core.model import AccountSpec, FlowLimits, GateSpec, LaneSpec, Request
from filingd.engine.account import Account
from filingd.engine.gate import Gate, lane_spec_of
from filingd.engine.lane import Lane
from filingd.engine.pacer import LanePacer

if TYPE_CHECKING:
    from collections.abc import Sequence

CALLS_PER_S = 100
WORKERS = 64
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
CASES = [
    (limiter, loop, latency_ms)
    for latency_ms in (0, 500)
    for limiter, loop in (
        ("filingd", "asyncio"), ("filingd", "uvloop"), ("booked", "uvloop"), ("leaky bucket", "asyncio"),
    )
]  # fmt: skip
PRICE_MICROEUR = 20_000
BUDGET_MICROEUR = 10**12


class Released(Protocol):
    """A call that may be made."""

    async def begin(self) -> None: ...
    def end(self) -> None: ...


class Limiter(Protocol):
    """What a worker asks before each call."""

    async def acquire(self) -> Released | None: ...


class LeakyBucket:
    """The peer: a bucket for one second's calls, which leaks at the rate; the clock is read again after each sleep."""

    def __init__(self) -> None:
        self._level, self._read_s = 0.0, time.monotonic()

    def _has_room(self) -> bool:
        now_s = time.monotonic()
        self._level = max(0.0, self._level - (now_s - self._read_s) * CALLS_PER_S)
        self._read_s = now_s
        return self._level + 1 <= CALLS_PER_S

    async def acquire(self) -> None:
        while not self._has_room():
            await asyncio.sleep(1 / CALLS_PER_S)
        self._level += 1


class NoLog:
    """Nothing is said."""

    def debug(self, event: str, **facts: Any) -> None: ...
    def info(self, event: str, **facts: Any) -> None: ...
    def warning(self, event: str, **facts: Any) -> None: ...
    def error(self, event: str, **facts: Any) -> None: ...


class Paced:
    """One lane's pacer."""

    def __init__(self, manifest: SqliteManifest) -> None:
        spec = LaneSpec("bench", float(CALLS_PER_S), concurrency=WORKERS)
        self.pacer = LanePacer(spec, LaneState("bench"), SystemClock(), manifest.save_lane)

    async def acquire(self) -> Released:
        await self.pacer.acquire()
        return self.pacer.sending()


class Booked:
    """Two lanes in turn, which share a gate and an account."""

    def __init__(self, manifest: SqliteManifest, ledger: SqliteLedger) -> None:
        clock, log = SystemClock(), NoLog()
        spec = AccountSpec("bench", "Europe/Amsterdam", 10**9, BUDGET_MICROEUR)
        self.account = Account(spec, ZoneInfo(spec.zone), [], ledger, clock, log, SilentSteps())
        gate_spec = GateSpec("bench", float(CALLS_PER_S), concurrency=WORKERS)
        self.pacer = LanePacer(lane_spec_of(gate_spec), LaneState("bench"), clock, manifest.save_lane)
        gate = Gate(gate_spec, self.pacer, clock, log)
        self._lanes = itertools.cycle([
            Lane(lane, LanePacer(lane, LaneState(lane.name), clock, manifest.save_lane), manifest, clock, log,
                 SilentSteps(), gate, self.account)
            for name in ("one", "two")
            for lane in [LaneSpec(name, float(CALLS_PER_S), 1, WORKERS, (), "bench", "bench", PRICE_MICROEUR)]
        ])  # fmt: skip

    async def acquire(self) -> Released:
        permit = await next(self._lanes).turn()
        assert permit is not None, "nothing closes a lane here"
        return permit


# ---------------------------------------------------------------- the server process


class StampingServer(asyncio.Protocol):
    """Answers every request head after the latency, and notes when it arrived."""

    def __init__(self, latency_s: float, arrived_s: list[float]) -> None:
        self._latency_s = latency_s
        self._arrived_s = arrived_s
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._head += data
        while b"\r\n\r\n" in self._head:
            self._arrived_s.append(time.monotonic())
            self._head = self._head.partition(b"\r\n\r\n")[2]
            if self._latency_s:
                asyncio.get_running_loop().call_later(self._latency_s, self._transport.write, ANSWER)
            else:
                self._transport.write(ANSWER)


async def serve(latency_ms: int) -> None:
    """Print the port, serve until standard input ends, print the stamps."""
    arrived_s: list[float] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: StampingServer(latency_ms / 1000, arrived_s), "127.0.0.1", 0, backlog=WORKERS * 2
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    print(json.dumps(arrived_s), flush=True)


# ---------------------------------------------------------------- the client process


def limiter_of(name: str, manifest: SqliteManifest, ledger: SqliteLedger) -> Paced | Booked | LeakyBucket:
    """The limiter of a case."""
    match name:
        case "filingd":
            return Paced(manifest)
        case "booked":
            return Booked(manifest, ledger)
        case _:
            return LeakyBucket()


async def run_client(limiter_name: str, port: int, seconds: float, folder: Path) -> None:
    """Call as fast as the limiter allows, print what was released and what it cost."""
    http = AioHttpClient(lambda name: name, "filingd-bench/1")
    manifest = await SqliteManifest.open(folder / "manifest.sqlite", clock_now=time.time)
    ledger = await SqliteLedger.open(folder / "ledger.sqlite")
    limiter = limiter_of(limiter_name, manifest, ledger)
    request = Request(f"http://127.0.0.1:{port}/", (), "bench")
    released_s: list[float] = []
    ends_s = time.monotonic() + seconds

    async def worker() -> None:
        while True:
            released = await limiter.acquire()
            now_s = time.monotonic()
            if now_s >= ends_s:
                if released is not None:
                    released.end()
                return
            released_s.append(now_s)
            async with http.exchange(request, FlowLimits(), released.begin if released else None) as exchange:
                await exchange.read_capped(1024)
            if released is not None:
                released.end()

    before = resource.getrusage(resource.RUSAGE_SELF)
    async with asyncio.TaskGroup() as workers:
        for _ in range(WORKERS):
            workers.create_task(worker())
    after = resource.getrusage(resource.RUSAGE_SELF)
    await http.close()
    if not isinstance(limiter, LeakyBucket):
        await limiter.pacer.close()
    if isinstance(limiter, Booked):
        await check_booked(limiter, ledger, len(released_s))
    await ledger.close()
    await manifest.close()
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"released_s": released_s, "cpu_s": cpu_s, "rss_mb": after.ru_maxrss / 1024}))


async def check_booked(limiter: Booked, ledger: SqliteLedger, calls: int) -> None:
    """The ledger says what was made, to the call."""
    await limiter.account.close()
    (booked,) = await ledger.spendings()
    assert (booked.spent_calls, booked.spent_microeur) == (calls, calls * PRICE_MICROEUR), booked


# ---------------------------------------------------------------- the judgement


def calls_in_windows(at_s: Sequence[float]) -> list[int]:
    """For each event, how many lie in the second that begins with it."""
    ordered = sorted(at_s)
    return [bisect_left(ordered, first_s + 1.0) - number for number, first_s in enumerate(ordered)]


def run_case(limiter: str, loop: str, latency_ms: int, seconds: float) -> dict[str, Any]:
    """One case, once."""
    script = [sys.executable, __file__]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [*script, "serve", str(latency_ms)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as server,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        client = subprocess.run(
            [*script, "client", limiter, loop, port, str(seconds), folder],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        server.stdin.close()
        arrived = calls_in_windows(json.loads(server.stdout.readline()))
    report = json.loads(client.stdout)
    released = calls_in_windows(report["released_s"])
    return {
        "limiter": limiter,
        "loop": loop,
        "answer_after_ms": latency_ms,
        "released": len(released),
        "allowance_used": len(released) / (CALLS_PER_S * seconds),
        "most_released_in_1_s": max(released),
        "most_arrived_in_1_s": max(arrived),
        "windows_over_at_server": sum(count > CALLS_PER_S for count in arrived) / len(arrived),
        "cpu_percent": 100 * report["cpu_s"] / seconds,
        "rss_mb": report["rss_mb"],
    }


def summed_up(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The rounds of one case as one line: medians, but the worst where the promise is at stake."""
    summary = dict(runs[0])
    for name in ("released", "allowance_used", "windows_over_at_server", "cpu_percent", "rss_mb"):
        summary[name] = median(run[name] for run in runs)
    for name in ("most_released_in_1_s", "most_arrived_in_1_s"):
        summary[name] = max(run[name] for run in runs)
    summary["windows_over_at_server_worst"] = max(run["windows_over_at_server"] for run in runs)
    summary["allowance_used_worst"] = min(run["allowance_used"] for run in runs)
    summary["rounds"] = len(runs)
    return summary


def main(rounds: int = 5, seconds: float = 20.0) -> list[dict[str, Any]]:
    """Run every case in every round; one line a case, in the order of `CASES`."""
    by_case: dict[tuple[str, str, int], list[dict[str, Any]]] = {case: [] for case in CASES}
    for number in range(rounds):
        for case, runs in by_case.items():
            runs.append(run_case(*case, seconds))
            print(f"round {number + 1}: {json.dumps(runs[-1])}", file=sys.stderr, flush=True)
    return [summed_up(runs) for runs in by_case.values()]


def markdown(lines: Sequence[dict[str, Any]]) -> str:
    """The lines as a table."""
    columns = (
        "limiter",
        "loop",
        "answers after",
        "allowance used: median (worst)",
        "most released in any 1 s",
        "most arrived in any 1 s",
        "windows over 100 at the server: median (worst)",
        "CPU of a core",
        "peak RSS",
    )
    rows = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    rows += [
        f"| {line['limiter']} | {line['loop']} | {line['answer_after_ms']} ms "
        f"| {line['allowance_used']:.1%} ({line['allowance_used_worst']:.1%}) "
        f"| {line['most_released_in_1_s']} | {line['most_arrived_in_1_s']} "
        f"| {line['windows_over_at_server']:.2%} ({line['windows_over_at_server_worst']:.2%}) "
        f"| {line['cpu_percent']:.1f} % | {line['rss_mb']:.0f} MB |"
        for line in lines
    ]
    return "\n".join(rows)


def _run_as_child(arguments: list[str]) -> None:
    match arguments:
        case ["serve", latency_ms]:
            asyncio.run(serve(int(latency_ms)))
        case ["client", limiter, loop, port, seconds, folder]:
            with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
                runner.run(run_client(limiter, int(port), float(seconds), Path(folder)))


def _run_as_bench() -> None:
    parser = argparse.ArgumentParser(description="The limiter, judged at the server.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    load_before = os.getloadavg()[0]
    lines = main(options.rounds, options.seconds)
    load = f"load {load_before:.1f} before and {os.getloadavg()[0]:.1f} after, on {os.cpu_count()} cores"
    print(f"{options.rounds} rounds of {options.seconds:.0f} s, {load}\n")
    print(markdown(lines))


if __name__ == "__main__":
    if sys.argv[1:2] in (["serve"], ["client"]):
        _run_as_child(sys.argv[1:])
    else:
        _run_as_bench()
