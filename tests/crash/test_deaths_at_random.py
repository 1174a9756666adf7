"""SIGKILL at random moments: first stores, then a day later new ones and second looks at changed days, until all agree.

`FILINGD_SOAK_KILLS` says how many deaths (default 48; `make soak` wants thousands); the seeds are named by the tests,
and one of them alone is run again with `-k`.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from support.daemon import days

if TYPE_CHECKING:
    from collections.abc import Callable

    from crash.rehearsal import Rehearsal

pytestmark = pytest.mark.slow

DEATHS = int(os.environ.get("FILINGD_SOAK_KILLS", "48"))
DEATHS_A_SEED = 10
SEEDS = range(1, -(-DEATHS // DEATHS_A_SEED) + 1)

# A Saturday with a few filings, a Sunday with none, two working days.
SINCE, LAST, NEXT = "2026-11-14", "2026-11-17", "2026-11-18"
NOON, NOON_AFTER = "2026-11-18T12:30", "2026-11-19T12:30"
FILINGS = {"2026-11-14": 2, "2026-11-16": 5, "2026-11-17": 9, "2026-11-18": 3}
MOST_STEPS = 40  # of some 250 that a first day takes
LATEST_S = 0.5  # after the first line of the log; by then a run is well under way, and often at its end


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_moment_it_dies_at_nothing_is_lost_and_nothing_done_twice(
    make_rehearsal: Callable[..., Rehearsal], seed: int
) -> None:
    chance = random.Random(seed)
    deaths = 0
    while deaths < DEATHS_A_SEED:
        deaths += die_until_all_agree(make_rehearsal, chance, DEATHS_A_SEED - deaths)


def die_until_all_agree(
    make_rehearsal: Callable[..., Rehearsal], chance: random.Random, most_deaths: int
) -> int:
    """One store, from empty to two days' work; returns how often its daemon was killed."""
    rehearsal = make_rehearsal(since=SINCE, clock=NOON, filings_on=FILINGS, saturday_share=0.0)
    try:
        die_until(rehearsal, "sealed", chance, most_deaths)
        rehearsal.check_repeats(rehearsal.deaths)
        rehearsal.check_end(days(SINCE, LAST))

        first_deaths = rehearsal.deaths
        change_some(rehearsal, chance)
        rehearsal.a_day_later(NOON_AFTER)
        die_until(rehearsal, "idle", chance, most_deaths - first_deaths)
        rehearsal.check_repeats(rehearsal.deaths - first_deaths)
        check_at_rest(rehearsal, days(SINCE, NEXT))
    finally:
        rehearsal.rig.close()
    return rehearsal.deaths


def die_until(rehearsal: Rehearsal, until: str, chance: random.Random, most_deaths: int) -> None:
    """Start it and kill it, until a run comes to its own end or the deaths are used up; then let it end."""
    allowed = rehearsal.deaths + most_deaths
    while rehearsal.deaths < allowed and die(rehearsal, until, chance):
        pass
    assert rehearsal.deaths < allowed or not rehearsal.run(until)


def die(rehearsal: Rehearsal, until: str, chance: random.Random) -> bool:
    """One run with a death in it, unless it ends before; whether it was killed."""
    if chance.random() < 0.75:
        return rehearsal.run(until, kill_at=f"*:{chance.randint(1, MOST_STEPS)}")
    return rehearsal.run_and_kill(until, after_s=chance.uniform(0.0, LATEST_S))


def change_some(rehearsal: Rehearsal, chance: random.Random) -> None:
    """The registry corrects the day that is looked at for the second time, or adds to it."""
    change = chance.choice(["added", "figures", "removed"])
    dataset = {"dataset": "json"} if change == "figures" else {}
    rehearsal.rig.admin.add_fault({"kind": "mutate", "change": change}, date=LAST, **dataset)


def check_at_rest(rehearsal: Rehearsal, sealed: list[str]) -> None:
    """A run with nothing to do asks nothing, and all agrees after it."""
    before = rehearsal.asked()
    assert not rehearsal.run("idle")
    assert rehearsal.asked() == before
    rehearsal.check_end(sealed)
