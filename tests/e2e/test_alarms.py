"""Alarms of a running daemon: raised on the same day, once, over when it is over, shown by `filingd status`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from e2e.rig import YESTERDAY
from filingd.sandbox.clock import utc_text
from support.daemon import days

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.rig import Rig

pytestmark = pytest.mark.slow

WEEK = days("2026-11-13", YESTERDAY)
MANY = dict.fromkeys(WEEK, 5)


def status_of(rig: Rig, *options: str) -> tuple[int, dict[str, Any]]:
    """What `filingd status --json` tells at the sandbox's instant, and its exit code."""
    command = [
        sys.executable,
        "-m",
        "filingd",
        "status",
        "--config",
        str(rig.config.path),
        "--json",
        *options,
    ]
    ended = subprocess.run(
        [*command, "--rehearse-at", utc_text(rig.admin.clock())], capture_output=True, check=False
    )
    return ended.returncode, json.loads(ended.stdout)


def raised(rig: Rig, lines: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """The alarms a run raised, by kind and subject; each once."""
    found = [(line["kind"], line["subject"]) for line in lines]
    assert len(set(found)) == len(found), found
    return set(found)


def test_a_flip_of_casing_is_told_on_the_day_it_comes_and_every_day_is_stored(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(since=WEEK[0], filings_on=MANY, casing_flips={YESTERDAY: "pascal"})
    daemon = rig.run()
    rig.check_sealed(WEEK)
    (alarm,) = daemon.lines("alarm.raised")
    assert (alarm["kind"], alarm["group"]) == ("casing_changed", f"nbb/authentic/{YESTERDAY}")
    assert (alarm["detail"], alarm["level"]) == (f"{YESTERDAY}: pascal, 2026-11-18: camel", "error")
    code, told = status_of(rig, "--check")
    assert code == 1
    assert [(each["kind"], each["since_at"]) for each in told["alarms"]] == [
        ("casing_changed", alarm["since_at"])
    ]
    assert status_of(rig)[0] == 0, "without --check the exit code says whether it could be told"
    again = rig.run("idle")
    assert again.lines("alarm.raised") == [], "a restart is no news"
    rig.admin.clock_advance(20 * 86_400.0)
    later = rig.run("idle")
    assert later.lines("alarm.cleared", kind="casing_changed", subject=f"nbb/authentic/{YESTERDAY}")


def test_a_renamed_field_is_told_on_the_day_it_comes_by_its_old_and_its_new_name(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(since=WEEK[0], filings_on=MANY)
    shape = {"kind": "shape", "renames": [["enterpriseName", "companyTitle"]]}
    rig.admin.add_fault(shape, dataset="references", date=YESTERDAY)
    daemon = rig.run()
    rig.store.check_sums(WEEK)
    found = raised(rig, daemon.lines("alarm.raised"))
    assert found == {
        ("field_missing", "nbb/authentic enterprisename"),
        ("unknown_field", "nbb/authentic companytitle"),
    }
    rig.config.change({"nbb": {"known_fields": ["companyTitle"]}})
    looked_at = rig.run("idle")
    assert looked_at.lines("alarm.cleared", kind="unknown_field")
    assert not looked_at.lines("alarm.cleared", kind="field_missing")


def test_a_lane_that_is_closed_to_us_alarms_until_a_call_goes_well(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since="2026-11-18")
    rig.admin.revoke_key("extract")
    rig.run("idle")
    code, told = status_of(rig, "--check")
    assert code == 1
    assert [(each["kind"], each["subject"]) for each in told["alarms"]] == [("lane_blocked", "nbb/extract")]
    rig.admin.add_key("extract", rig.sandbox.keys["extract"][0], "primary")
    daemon = rig.run()
    assert daemon.lines("alarm.cleared", kind="lane_blocked", subject="nbb/extract")
    assert status_of(rig, "--check")[0] == 0


def test_a_day_that_stays_open_alarms_after_two_days_and_when_it_is_about_to_leave_its_window(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(since=YESTERDAY)
    rig.config.change(
        {"nbb": {"products": {"extract": {"calls_per_second": 200.0}}}, "run": {"max_attempts": 2}}
    )
    rig.admin.add_fault({"kind": "status", "status": 500, "family": 3}, date=YESTERDAY, dataset="pdf")
    assert not [line for line in rig.run("idle").lines("alarm.raised") if "subject" in line]
    seen = []
    for _ in range(4):
        rig.admin.clock_advance(7 * 86_400.0)
        rig.run("idle", timeout_s=120.0)
        alarms = status_of(rig)[1]["alarms"]
        seen.append([each["kind"] for each in alarms if each["subject"] == f"nbb/authentic/{YESTERDAY}"])
    assert seen == [["day_open"]] * 3 + [["day_uncommitted"]]
    assert status_of(rig, "--check")[0] == 1
