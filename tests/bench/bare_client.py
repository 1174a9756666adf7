"""The yardstick for small documents: a bare aiohttp client that throws every body away.

python bare_client.py BASE_URL COUNT CONCURRENCY        prints the seconds it took, as JSON
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import aiohttp


async def discard(base_url: str, count: int, concurrency: int) -> float:
    """Get `count` documents with so many workers; returns seconds."""
    numbers = iter(range(count))

    async def worker(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            async with session.get(f"{base_url}/{number:05d}.json") as response:
                response.raise_for_status()
                await response.read()

    async with aiohttp.ClientSession() as session:
        began_s = time.perf_counter()
        await asyncio.gather(*(worker(session) for _ in range(concurrency)))
        return time.perf_counter() - began_s


if __name__ == "__main__":
    print(json.dumps({"seconds": asyncio.run(discard(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))}))
