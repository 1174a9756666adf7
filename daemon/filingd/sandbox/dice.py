"""Seeded dice that cost a microsecond: a share of 1 from a name and a few whole numbers, the same every time.

`random.Random` serves where many draws belong together; it takes ten times as long to set up, which is too much
where one fact of each of twenty thousand filings is asked for. The mixing function is splitmix64's.
"""

from __future__ import annotations

import functools
import hashlib

_WORD = 0xFFFFFFFFFFFFFFFF


@functools.lru_cache(maxsize=1024)
def die(seed: int, name: str) -> int:
    """A die for one question under one seed; give it to `roll` and `share`."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8])


def roll(which: int, first: int, second: int = 0) -> int:
    """64 bits for a pair of numbers."""
    return _mixed(
        _mixed(which ^ (first * 0x9E3779B97F4A7C15 & _WORD)) ^ (second * 0xC2B2AE3D27D4EB4F & _WORD)
    )


def share(which: int, first: int, second: int = 0) -> float:
    """A number in [0, 1) for a pair of numbers."""
    return roll(which, first, second) / 2**64


def shares(which: int, first: int, count: int) -> list[float]:
    """`share(which, first, n)` for each n below `count`, at half the price."""
    begun = _mixed(which ^ (first * 0x9E3779B97F4A7C15 & _WORD))
    return [_mixed(begun ^ (n * 0xC2B2AE3D27D4EB4F & _WORD)) / 2**64 for n in range(count)]


def coarse_shares(which: int, first: int, count: int) -> list[float]:
    """So many numbers in [0, 1) in steps of 2 to the -16th, at a quarter of the price of `shares`."""
    begun = _mixed(which ^ (first * 0x9E3779B97F4A7C15 & _WORD))
    rolls = [_mixed(begun ^ (n * 0xC2B2AE3D27D4EB4F & _WORD)) for n in range((count + 3) // 4)]
    return [(word >> shift & 0xFFFF) / 65536 for word in rolls for shift in (0, 16, 32, 48)][:count]


def _mixed(word: int) -> int:
    word = (word + 0x9E3779B97F4A7C15) & _WORD
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & _WORD
    return word ^ (word >> 31)
