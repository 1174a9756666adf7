"""A registry that asks for patience gets it, to the second it named, and it costs nobody a try."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from support.daemon import days

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.rig import Rig

pytestmark = pytest.mark.slow

WAIT_S = 2
# An HTTP date has whole seconds: up to one of them is lost in it.
FORMS = {"seconds": WAIT_S, "date": WAIT_S - 1, "garbage": WAIT_S, "none": WAIT_S}


def throttled_rig(make_rig: Callable[..., Rig], **settings: Any) -> Rig:
    """One call at a time and not a single failure allowed, so that a counted attempt would leave a day open."""
    rig = make_rig(since="2026-11-17", **settings)
    rig.config.change({"run": {"max_attempts": 1, "give_up_pause": "1 h"}})
    rig.config.change({"nbb": {"products": {"extract": {"concurrency": 1}}}})
    return rig


def waits_after_refusals(entries: list[dict[str, Any]]) -> list[float]:
    """Sandbox seconds from the end of each refused request to the start of the next one."""
    return [
        later["started_at"] - earlier["ended_at"]
        for earlier, later in itertools.pairwise(entries)
        if earlier["status"] in (429, 403, 503)
    ]


@pytest.mark.parametrize("status", [429, 403])
@pytest.mark.parametrize("form", list(FORMS))
def test_a_storm_of_refusals_is_sat_out_as_long_as_it_says(
    make_rig: Callable[..., Rig], form: str, status: int
) -> None:
    rig = throttled_rig(make_rig)
    effect = {"kind": "throttle", "status": status, "seconds": WAIT_S, "retry_after": form}
    rig.admin.add_fault(effect, skip=2, times=2)
    daemon = rig.run()
    waits = waits_after_refusals(rig.journal())
    assert len(waits) == 2
    assert min(waits) >= FORMS[form]
    assert max(waits) < WAIT_S + 5
    assert daemon.lines("item.failed") == []
    assert len(daemon.lines("lane.throttled", lane="nbb/extract")) == 2
    rig.check_sealed(days("2026-11-17", "2026-11-19"))


def test_a_busy_server_that_names_a_time_is_given_it(make_rig: Callable[..., Rig]) -> None:
    rig = throttled_rig(make_rig)
    rig.admin.add_fault(
        {"kind": "status", "status": 503, "family": 1, "retry_after": str(WAIT_S)}, skip=1, times=1
    )
    rig.run()
    (wait_s,) = waits_after_refusals(rig.journal())
    assert wait_s >= WAIT_S
    rig.check_sealed(days("2026-11-17", "2026-11-19"))


def test_without_any_advice_the_lane_waits_longer_each_time_and_a_restart_is_no_way_round(
    make_rig: Callable[..., Rig],
) -> None:
    rig = throttled_rig(make_rig)
    rig.admin.add_fault({"kind": "status", "status": 429, "family": 3}, times=2)
    parked_for_s = []
    for _ in range(2):
        with rig.daemon() as daemon:
            line = daemon.wait_for("lane.throttled", lane="nbb/extract")
            assert line.get("retry_after_s") is None
            assert daemon.stop().code == 0
        parked_for_s.append(line["until_at"] - rig.admin.clock())
        asked = len(rig.journal())
        with rig.daemon() as daemon:
            daemon.wait_for("heartbeat", count=2)
            assert daemon.stop().code == 0
        assert len(rig.journal()) == asked
        rig.admin.clock_set(line["until_at"] + 1)
    assert parked_for_s[1] > parked_for_s[0] + 10
    rig.run()
    rig.check_sealed(days("2026-11-17", "2026-11-19"))


def test_a_published_limit_of_the_registry_is_met_after_the_first_refusals(
    make_rig: Callable[..., Rig],
) -> None:
    limit = {"extract": {"calls": 8, "window_s": 1.0}}
    rig = throttled_rig(make_rig, limits=limit)
    daemon = rig.run()
    rig.check_sealed(days("2026-11-17", "2026-11-19"))
    refused = rig.journal(status=429)
    assert len(refused) == len(daemon.lines("lane.throttled"))
    assert len(refused) <= 6  # each one halves the rate, from 200 a second
