"""Fetches bodies as filingd does, in a process of its own: AioHttpClient into DiskStore, under uvloop.

    python tests/bench/mirror_bodies.py STORE URL...

All URLs at once; each body is received, examined and published. Prints one JSON object a line: one for each body,
then the seconds from the first request to the last published body, which leaves out what a daemon does once.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop

from filingd.adapters.http import AioHttpClient
from filingd.adapters.store import DiskStore
from filingd.core.model import BodyPlan, FlowLimits, Request

_PLAN = BodyPlan(max_bytes=64 << 30)


class _NoSteps:
    def reached(self, step: str) -> None:
        """Nothing waits for it."""


async def _mirror(client: AioHttpClient, store: DiskStore, url: str) -> None:
    target = f"nbb/{url.rpartition('/')[2]}"
    request = Request(url, (), "bench")
    async with client.exchange(request, FlowLimits()) as exchange:
        staged = await store.stage(target, _PLAN, None, None)
        await exchange.pour_into(staged, _PLAN.max_bytes)
        report = await staged.finish(exchange.head.content_length)
        if report.problem is not None:
            sys.exit(f"{url}: {report.problem} {report.problem_detail}")
        await staged.publish(None)
    print(
        json.dumps({"sha256": report.sha256.hex(), "size": report.size_bytes, "members": report.member_count})
    )


async def _main(root: str, urls: list[str]) -> None:
    client, store = AioHttpClient(lambda name: name, "filingd-bench"), DiskStore(Path(root), _NoSteps())
    began = time.perf_counter()
    try:
        await asyncio.gather(*(_mirror(client, store, url) for url in urls))
        print(json.dumps({"seconds": time.perf_counter() - began}))
    finally:
        await client.close()
        await store.close()


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], sys.argv[2:]))
