"""`filingd status` and `filingd plan` on accounts: what was spent, what is left, when it runs out, what a plan costs."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from msgspec.structs import replace

from filingd.adapters.ledger_schema import open_writable, write
from filingd.adapters.manifest_commands import ManifestWriter
from filingd.cli import status_report
from filingd.cli.money import cost_lines, cost_reports, costs_of
from filingd.cli.root import run
from filingd.core.errors import ExitCode
from filingd.core.ledger import Spending
from filingd.core.limits import LaneState
from filingd.settings import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AT = "2026-11-20T12:00+01:00"
NOW = dt.datetime.fromisoformat(AT).timestamp()
CONFIG = """
[store]
path = "store"
[kvk]
calls_per_second = 20
[kvk.keys.main]
key = "env:FILINGD_TEST_KVK"
calls_per_month = 1_000
budget_per_month_eur = 10.0
[kvk.keys.other]
key = "env:FILINGD_TEST_KVK_OTHER"
budget_per_month_eur = 1.0
spread = true
"""
SPENT = Spending("kvk/main", "2026-11", 300, 5_000_000, 2, 40_000, first_at=NOW - 86_400.0, last_at=NOW - 1.0)


class Desk:
    """A configuration for KVK, an empty manifest and a ledger."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "filingd.toml"
        self.config.write_text(CONFIG)
        self.store = folder / "store"
        self.store.mkdir()
        self.writer = ManifestWriter(self.store / "manifest.db", clock_now=lambda: NOW)

    def spend(self, *spendings: Spending) -> None:
        with contextlib.closing(open_writable(self.store / "ledger.db").connection) as connection:
            write(connection, spendings)

    def run(self, command: str, *options: str) -> int:
        return run([command, "--config", str(self.config), "--rehearse-at", AT, *options])


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.writer.close()


def told(desk: Desk, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The JSON of `status`, held against its schema."""
    assert desk.run("status", "--json") == ExitCode.OK
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    jsonschema.validate(report, status_report.schema())
    return report


def line_of(text: str, name: str) -> str:
    (line,) = [line for line in text.splitlines() if line.startswith(f"  {name} ")]
    return line


def test_an_account_is_told_with_what_is_spent_reserved_and_left(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.spend(SPENT)
    main, other = told(desk, capsys)["accounts"]
    assert (main["name"], main["month"]) == ("kvk/main", "2026-11")
    assert (main["spent_calls"], main["reserved_calls"], main["left_calls"]) == (300, 2, 698)
    assert (main["spent_microeur"], main["reserved_microeur"], main["left_microeur"]) == (
        5_000_000, 40_000, 4_960_000,
    )  # fmt: skip
    assert main["used_percent"] == pytest.approx(50.4)
    assert (main["is_spent"], main["runs_out_at"]) == (False, None)
    assert (other["spent_calls"], other["left_microeur"], other["is_spread"]) == (0, 1_000_000, True)
    assert desk.run("status") == ExitCode.OK
    text = capsys.readouterr().out
    assert line_of(text, "kvk/main").split("2026-11: ")[1] == (
        "spent 300 of 1,000 calls and 5.00 of 10.00 EUR; reserved 2 and 0.04 EUR; left 698 calls and 4.96 EUR; "
        "lasts the month at today's pace"
    )
    assert line_of(text, "kvk/other").endswith("spread over the month")


def test_at_todays_pace_it_is_told_when_an_account_runs_out(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.spend(
        replace(SPENT, day_calls=240, day_microeur=4_800_000)
    )  # 20 an hour since midnight, 248 paid ones left
    (main, _) = told(desk, capsys)["accounts"]
    assert main["runs_out_at"] == pytest.approx(NOW + 12.4 * 3600, abs=1.0)
    desk.run("status")
    assert line_of(capsys.readouterr().out, "kvk/main").endswith(
        "runs out 2026-11-20 23:24 UTC at today's pace"
    )


def test_an_account_that_is_used_up_parks_its_paid_lanes_and_alarms(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.spend(replace(SPENT, spent_microeur=9_950_000))
    report = told(desk, capsys)
    parked = {lane["name"]: lane["parked"] for lane in report["lanes"]}
    assert parked["kvk/main/zoeken"] is None
    assert parked["kvk/other/basisprofiel"] is None
    assert parked["kvk/main/basisprofiel"]["reason"] == "budget_spent"
    assert report["accounts"][0]["is_spent"]
    (alarm,) = report["alarms"]
    assert (alarm["kind"], alarm["subject"]) == ("allowance_spent", "kvk/main 2026-11")
    desk.run("status")
    text = capsys.readouterr().out
    assert line_of(text, "kvk/main").endswith("USED UP until 2026-11-30 23:00 UTC")
    assert "PARKED until 2026-11-30 23:00 UTC: the month's budget" in line_of(text, "kvk/main/naamgeving")


@pytest.mark.parametrize(
    ("calls", "kind"), [(790, None), (798, "allowance_low"), (948, "allowance_almost_spent")]
)
def test_an_account_alarms_from_its_thresholds_on(
    desk: Desk, capsys: pytest.CaptureFixture[str], calls: int, kind: str | None
) -> None:
    desk.spend(replace(SPENT, spent_calls=calls))
    assert [alarm["kind"] for alarm in told(desk, capsys)["alarms"]] == ([kind] if kind else [])


def test_a_gate_is_told_by_itself_and_is_no_lane(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.writer.save_lane(
        LaneState("kvk", parked_until_at=NOW + 60, parked_for_s=60.0, park_reason="throttled", slowdown=2.0)
    )
    report = told(desk, capsys)
    (gate,) = report["gates"]
    assert (gate["name"], gate["calls_per_s"], gate["slowdown"]) == ("kvk", 20.0, 2.0)
    assert gate["parked"]["reason"] == "throttled"
    assert "kvk" not in {lane["name"] for lane in report["lanes"]}
    assert {lane["gate"] for lane in report["lanes"]} == {"kvk"}
    desk.run("status")
    line = line_of(capsys.readouterr().out, "kvk")
    assert "20 calls/s and 8 at once over all its lanes, slowed down 2 times, PARKED until" in line


def test_the_months_before_do_not_count(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.spend(replace(SPENT, month="2026-10", spent_calls=1_000))
    (main, _) = told(desk, capsys)["accounts"]
    assert (main["month"], main["spent_calls"]) == ("2026-11", 0)


def test_a_damaged_ledger_is_told_and_not_taken_for_nothing(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    (desk.store / "ledger.db").write_bytes(b"")
    assert desk.run("status") == ExitCode.STORE
    assert "Put a copy of it back" in capsys.readouterr().err


def test_what_planned_calls_cost_is_told_of_each_account(desk: Desk) -> None:
    from filingd import app

    desk.spend(SPENT)
    settings = load(desk.config)
    calls = {"kvk/main/zoeken": 10, "kvk/main/basisprofiel": 240, "kvk/other/basisprofiel": 120}
    costs = costs_of(settings, app.registry_of(settings), calls, NOW)
    assert [" ".join(line.split()) for line in cost_lines(cost_reports(costs))] == [
        "kvk/main 250 calls, 240 of them paid: 4.80 EUR; 698 calls and 4.96 EUR left this month",
        "kvk/other 120 calls: 2.40 EUR; 300,000 calls and 1.00 EUR left this month: they take 3 calendar months",
    ]
