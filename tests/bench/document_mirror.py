"""A mirror of many small documents, run as a child process: the real engine, disk, manifest and log, on a registry of its own.

    PYTHONPATH=tests python -m bench.document_mirror BASE_URL STORE COUNT CONCURRENCY

Prints one JSON object: seconds from the first lease to the last durable row, and what is in the manifest then.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import uvloop

from filingd import app
from filingd.adapters.clock import SystemClock
from filingd.adapters.logs import open_status_log
from filingd.adapters.steps import SilentSteps
from filingd.core.model import (
    Answer,
    Attempt,
    BodyPlan,
    Change,
    Failed,
    Holding,
    Item,
    LaneSpec,
    State,
    Stored,
    Verdict,
)
from filingd.engine.supervisor import Supervisor, Until
from filingd.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filingd.core.catalogue import Forgotten
    from filingd.core.forgetting import Scrub
    from filingd.core.model import AccountSpec, GateSpec, Judgement, StoredBody, Version
    from filingd.ports import Companies

PLAN = BodyPlan(max_bytes=1024 * 1024, accept=frozenset({"json"}))
HEADERS = (("Accept", "application/json"),)
CALLS_PER_S = 50_000.0  # far above what one core can do: the limiter is in the path and never in the way
BURST = 100


class DocumentRegistry:
    """Documents `bench/doc/NNNNN`, each at `BASE_URL/NNNNN.json`."""

    roots: Sequence[str] = ("bench",)
    companies: Sequence[Companies] = ()

    def __init__(self, base_url: str, count: int, concurrency: int) -> None:
        self._base_url = base_url
        self._count = count
        self._lane = LaneSpec("bench/doc", CALLS_PER_S, BURST, concurrency)

    def lanes(self) -> Sequence[LaneSpec]:
        return [self._lane]

    def gates(self) -> Sequence[GateSpec]:
        return ()

    def accounts(self) -> Sequence[AccountSpec]:
        return ()

    def expected(self, now: float) -> Sequence[str]:
        return [f"bench/doc/{number:05d}" for number in range(self._count)]

    def plan(self, now: float, known: Mapping[str, Item]) -> Sequence[Change]:
        missing = (key for key in self.expected(now) if key not in known)
        return [Change(None, Item(key, "bench/doc", due_at=now)) for key in missing]

    def request(self, item: Item, now: float) -> Attempt:
        url = f"{self._base_url}/{item.key[10:]}.json"
        return Attempt(
            "bench/doc", "bench/doc", url, HEADERS, None, PLAN, is_document=True, shares_seal=False
        )

    def interpret(
        self, item: Item, attempt: Attempt, answer: Answer, siblings: Mapping[str, Holding], now: float
    ) -> Verdict:
        sound = answer.head is not None and answer.head.status == 200 and answer.body is not None
        if sound and answer.body is not None and answer.body.problem is None:
            return Stored()
        return Failed(answer.transfer_reason or "refused", now + 1.0)

    def judge(
        self,
        group: str,
        holdings: Mapping[str, Holding],
        now: float,
        twin: str | None = None,
        supplements: Mapping[str, Holding] | None = None,
    ) -> Judgement | None:
        return None

    def resolving(self, reference: str, now: float) -> None:
        """Nor is it asked whose they are."""

    def contribution(self, version: Version, body: StoredBody) -> None:
        """These documents are nobody's filings."""

    def target(self, key: str) -> str:
        return f"{key[:12]}/{key[10:]}.json"

    def key_of(self, target: str) -> str | None:
        return f"bench/doc/{target[-10:-5]}"

    def subject_of(self, text: str) -> tuple[str, bool] | None:
        return None

    def is_forgotten(self, key: str, forgotten: Forgotten) -> bool:
        return False

    def scrub(self, key: str, forgotten: Forgotten) -> Scrub | None:
        return None

    def recheck_at(self, item: Item, after_at: float) -> float | None:
        return None

    def body_plan(self, key: str) -> BodyPlan:
        return PLAN


async def mirror(base_url: str, root: Path, count: int, concurrency: int) -> dict[str, object]:
    """Plan, then work off everything; the clock runs while the engine works."""
    settings = Settings().overridden(store_path=root)
    settings = msgspec.structs.replace(
        settings, run=msgspec.structs.replace(settings.run, concurrency=concurrency)
    )
    clock, steps = SystemClock(), SilentSteps()
    log = open_status_log(root / "log" / "filingd.jsonl", clock.now, console="off")
    registry = DocumentRegistry(base_url, count, concurrency)
    http = app.http_client(settings, app.keyring_of(registry))
    app.locked_store(settings, clock)
    async with app.opened_store(settings, registry, steps, clock) as (store, manifest):
        await manifest.record(registry.plan(clock.now(), {}))
        engine = await app.build_engine(registry, store, manifest, http, clock, log, steps, settings)
        started_s = time.perf_counter()
        await Supervisor(engine, 5.0).run(Until.IDLE)
        took_s = time.perf_counter() - started_s
        counts = await manifest.counts()
    await http.close()
    log.close()
    return {"seconds": took_s, "stored": counts.get(State.STORED, 0)}


if __name__ == "__main__":
    result = uvloop.run(mirror(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
    print(json.dumps(result))
