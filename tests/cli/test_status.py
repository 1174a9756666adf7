"""`filingd status` on manifests of every kind: the calendar, the reasons, the lanes, the JSON and its schema."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from filingd import app
from filingd.adapters.lock import StoreLock
from filingd.adapters.manifest_commands import ManifestWriter
from filingd.cli import coverage, status_report
from filingd.cli.coverage import DayState, Proof
from filingd.cli.root import run
from filingd.cli.status import expected_days, status_lines
from filingd.core import alarms
from filingd.core.errors import ExitCode
from filingd.core.limits import LaneState
from filingd.core.model import Change, Group, Holding, Item, State, group_of, leaf_of
from filingd.registries.nbb import emptiness, sealing
from filingd.settings import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from filingd.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
AT = "2026-11-20T12:00+01:00"
NOW = dt.datetime.fromisoformat(AT).timestamp()
HOUR_S = 3600.0
CONFIG = """
[store]
path = "store"
[nbb]
since = {since}
[nbb.products.extract]
keys = ["env:FILINGD_TEST_EXTRACT"]
[nbb.products.authentic-archive]
keys = ["env:FILINGD_TEST_ARCHIVE"]
calls_per_second = 0.5
"""


class Stage:
    """A configuration and a manifest, set up as a test wants them."""

    def __init__(self, folder: Path, since: str) -> None:
        self.config = folder / "filingd.toml"
        self.config.write_text(CONFIG.format(since=since))
        self.store = folder / "store"
        self.store.mkdir()
        self.writer = ManifestWriter(self.store / "manifest.db", clock_now=lambda: NOW)

    @property
    def settings(self) -> Settings:
        return load(self.config)

    def sealed(self, day: str, *, filings: int = 10) -> None:
        counts = dict.fromkeys(("references", "json", "xbrl", "pdf"), filings)
        self.writer.save_groups([Group(f"nbb/authentic/{day}", NOW, NOW - 60, NOW, (), {"counts": counts})])

    def open(self, day: str, items: Sequence[Item], *reasons: str) -> None:
        self.writer.save_groups([Group(f"nbb/authentic/{day}", NOW, None, NOW, reasons)])
        self.writer.record([Change(None, item) for item in items])

    def run(self, *options: str) -> int:
        return run(["status", "--config", str(self.config), "--rehearse-at", AT, *options])


def item(day: str, dataset: str = "json", state: State = State.DUE, **fields: Any) -> Item:
    made: dict[str, Any] = {"due_at": NOW - 1, **fields}
    return Item(f"nbb/authentic/{day}/{dataset}", "nbb/extract", state, **made)


@pytest.fixture
def make_stage(tmp_path: Path) -> Iterator[Callable[[str], Stage]]:
    stages: list[Stage] = []

    def make(since: str) -> Stage:
        stages.append(Stage(tmp_path, since))
        return stages[-1]

    yield make
    for stage in stages:
        stage.writer.close()


@pytest.fixture
def stage(make_stage: Callable[[str], Stage]) -> Stage:
    return make_stage("2026-10-30")


def every_state(stage: Stage) -> None:
    for number in range(30, 32):
        stage.sealed(f"2026-10-{number}")
    stage.sealed("2026-11-01", filings=0)
    stage.open("2026-11-02", [item("2026-11-02")], "json: due")
    stage.open(
        "2026-11-03",
        [item("2026-11-03", state=State.QUARANTINED, reason="zip_bad_crc")],
        "json: quarantined (zip_bad_crc)",
    )
    stage.open(
        "2026-11-04",
        [item("2026-11-04", state=State.ABSENT, due_at=None, reason="no_route")],
        "json: absent (no_route)",
    )
    stage.open("2026-11-05", [item("2026-11-05", due_at=NOW + HOUR_S, reason="not_published_yet")], "planned")
    for number in range(6, 19):
        stage.sealed(f"2026-11-{number:02}")


GOLDEN = """\
nbb/authentic   2026-10-30 to 2026-11-19, 21 days

         1       5         10        15        20        25        30
2026-10                                                            S S
2026-11  E o ! x . S S S S S S S S S S S S S ?

  S    15  sealed: complete and verified
  E     1  sealed as empty: nothing was published
  o     1  open
  !     1  open, and somebody should look
  x     1  not obtainable
  .     1  not due yet
  ?     1  expected, but not planned yet

open days, oldest first
  o 2026-11-02 Mon  json: due
  ! 2026-11-03 Tue  json: quarantined (zip_bad_crc)
  x 2026-11-04 Wed  json: absent (no_route)
  ? 2026-11-19 Thu  not planned yet: the daemon has not run since
"""


def test_the_calendar_shows_every_state_by_its_letter_with_counts_and_reasons(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    every_state(stage)
    assert stage.run() == ExitCode.OK
    said = capsys.readouterr().out
    assert GOLDEN in said
    assert said.startswith("filingd status at 2026-11-20 11:00 UTC: no daemon is running\n")
    assert "items      2 due, 1 absent, 1 quarantined" in said


def test_colours_are_there_when_wanted_and_the_letters_are_the_same_without(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    every_state(stage)
    stage.run("--colour", "always")
    coloured = capsys.readouterr().out
    stage.run("--colour", "never")
    plain = capsys.readouterr().out
    assert "\x1b[32mS\x1b[0m" in coloured
    assert "\x1b[91m\x1b[1m!\x1b[0m" in coloured
    assert "\x1b" not in plain
    stage.run()
    assert capsys.readouterr().out == plain  # a pipe is no terminal


def test_the_json_holds_what_the_schema_promises_and_the_same_states(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    every_state(stage)
    stage.writer.save_lane(LaneState("nbb/extract", "boot", 1.0, NOW + 60, 60.0, "throttled", 2.0))
    assert run(["status", "--schema"]) == ExitCode.OK
    schema = json.loads(capsys.readouterr().out)
    assert schema == status_report.schema()
    stage.run("--json")
    report = json.loads(capsys.readouterr().out)
    jsonschema.validate(report, schema)
    (family,) = report["coverage"]
    assert "".join(day["letter"] for day in family["days"]) == "SSEo!x.SSSSSSSSSSSSS?"
    assert family["counts"] == {
        "sealed": 15, "sealed_empty": 1, "open": 1, "alarming": 1, "not_obtainable": 1, "not_due": 1, "unplanned": 1,
    }  # fmt: skip
    assert report["items"]["due"] == 2
    extract = next(lane for lane in report["lanes"] if lane["name"] == "nbb/extract")
    assert extract["parked"] == {
        "reason": "throttled",
        "meaning": "the registry asked for patience",
        "until_at": NOW + 60,
    }
    assert (extract["scheduled"], extract["slowdown"]) == (3, 2.0)


def test_the_documented_report_is_the_one_the_program_makes() -> None:
    text = (ROOT / "docs" / "status-json.md").read_text("utf-8")
    assert text == status_report.as_markdown(), (
        "write it anew: python -m filingd.cli.status_report > docs/status-json.md"
    )


def test_lanes_tell_their_rate_their_slowdown_and_why_until_when_they_are_parked(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.writer.save_lane(
        LaneState("nbb/authentic-archive", "boot", 1.0, NOW + 3600, 3600.0, "keys_refused", 1.0, key_index=1)
    )
    stage.writer.save_lane(LaneState("nbb/extract", "boot", 1.0, None, 0.0, None, 4.0))
    stage.open("2026-11-19", [item("2026-11-19", due_at=NOW + 120)], "planned")
    stage.run()
    said = capsys.readouterr().out
    assert (
        "nbb/extract              1 calls/s, slowed down 4 times, 1 scheduled, next due 2026-11-20 11:02 UTC\n"
        in said
    )
    assert (
        "nbb/authentic-archive    0.5 calls/s, on key number 2, PARKED until 2026-11-20 12:00 UTC: " in said
    )


def test_many_open_days_are_bounded_and_the_rest_is_counted(
    make_stage: Callable[[str], Stage], capsys: pytest.CaptureFixture[str]
) -> None:
    make_stage("2026-01-01").run()
    said = capsys.readouterr().out
    assert said.count("not planned yet: the daemon has not run since") == 15
    assert "… and 308 more" in said


def test_since_leaves_out_earlier_days(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    every_state(stage)
    stage.run("--since", "2026-11-18")
    said = capsys.readouterr().out
    assert "2026-11-18 to 2026-11-19, 2 days" in said
    assert "2026-10" not in said


def test_it_answers_while_another_process_is_in_the_middle_of_writing(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    every_state(stage)
    stage.writer._connection.execute("BEGIN IMMEDIATE")
    stage.writer._connection.execute("DELETE FROM groups")
    assert stage.run() == ExitCode.OK
    stage.writer._connection.execute("ROLLBACK")
    assert GOLDEN in capsys.readouterr().out


def test_without_a_manifest_it_says_what_to_do_with_exit_code_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "filingd.toml"
    config.write_text(CONFIG.format(since="2026-11-01"))
    assert run(["status", "--config", str(config)]) == ExitCode.STORE
    said = capsys.readouterr().err
    assert "There is no manifest at" in said
    assert "filingd run" in said
    assert not (tmp_path / "store").exists()


def test_it_expects_the_days_that_the_registry_expects(stage: Stage) -> None:
    registry = app.registry_of(stage.settings)
    for now in (NOW, NOW + 13 * HOUR_S, dt.datetime(2026, 3, 28, 23, 30, tzinfo=dt.UTC).timestamp()):
        wanted = dict.fromkeys(group_of(key) for key in registry.expected(now))
        assert list(expected_days(stage.settings, now)) == list(wanted)


def test_what_alarms_the_registry_alarms_the_calendar() -> None:
    assert coverage.ALARMING_REASONS == emptiness._ALARMING


PROOF = Proof(2, 6 * HOUR_S)


@pytest.mark.parametrize(("asked", "hours", "state"), [
    (1, 0.0, DayState.OPEN),  # this morning's first answer: late, for all we know
    (3, 2.0, DayState.OPEN),
    (2, 6.0, DayState.ALARMING),
])  # fmt: skip
def test_nothing_on_a_working_day_alarms_once_it_is_proven(asked: int, hours: float, state: DayState) -> None:
    late = item("2026-11-19", "references", reason="nothing_on_a_working_day", nothing_count=asked,
                nothing_at=NOW - hours * HOUR_S)  # fmt: skip
    assert coverage.open_state([late], NOW, PROOF) is state


def test_a_day_that_is_all_there_and_does_not_agree_wants_to_be_looked_at() -> None:
    items = [item("2026-11-19", name, State.STORED, due_at=None) for name in ("references", "json")]
    assert coverage.open_state(items, NOW, PROOF) is DayState.ALARMING


def test_a_day_that_was_asked_for_is_open_even_if_it_is_due_later() -> None:
    failed = item("2026-11-19", due_at=NOW + 60, attempts=1, reason="connection_lost")
    assert coverage.open_state([failed], NOW, PROOF) is DayState.OPEN


def test_the_reasons_of_a_day_that_moves_on_are_those_of_its_items_now(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.open("2026-11-10", [
        item("2026-11-10", "references", State.STORED, due_at=None),
        item("2026-11-10", "json", reason="server_error_502", attempts=2),
        item("2026-11-10", "pdf", State.ACTIVE, due_at=None),
        item("2026-11-10", "xbrl", State.EMPTY, due_at=None),
    ], "references: due", "json: due", "pdf: due", "xbrl: due")  # fmt: skip
    stage.open("2026-11-11", [
        item("2026-11-11", "references", State.STORED, due_at=None),
        item("2026-11-11", "json", State.STORED, due_at=None),
    ], "json: 1 listed but not in the zip: 2026-00000001")  # fmt: skip
    assert stage.run("--json") == ExitCode.OK
    days = {day["day"]: day["reasons"] for day in json.loads(capsys.readouterr().out)["coverage"][0]["days"]}
    assert days["2026-11-10"] == ["json: due (server_error_502)", "pdf: active"]
    assert days["2026-11-11"] == ["json: 1 listed but not in the zip: 2026-00000001"]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("reason", [None, "server_error_502"])
def test_the_calendar_words_a_waiting_dataset_as_the_judgement_of_its_day_does(
    stage: Stage, state: State, reason: str | None
) -> None:
    nbb = stage.settings.nbb
    assert nbb is not None
    items = [item("2026-11-10", "references", State.DUE)]
    items += [item("2026-11-10", name, state, reason=reason) for name in ("json", "xbrl", "pdf")]
    holdings = {leaf_of(each.key): Holding(each) for each in items}
    judged = sealing.judge(app.nbb_rules(stage.settings, nbb)[0], "nbb/authentic/2026-11-10", holdings, NOW)
    assert coverage.live_reasons(items) == judged.reasons


def test_a_day_whose_files_are_all_there_and_that_nobody_judged_yet_says_so() -> None:
    there = [item("2026-11-10", "json", State.STORED, due_at=None)]
    assert coverage.reasons_of(Group("nbb/authentic/2026-11-10", NOW, reasons=coverage.PLANNED), there) == (
        "not judged yet",
    )


def test_days_and_datasets_that_are_no_longer_wanted_are_not_judged(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.config.write_text(stage.config.read_text().replace("[nbb]", '[nbb]\nauthentic = ["references"]', 1))
    stage.open("2026-10-20", [item("2026-10-20", state=State.QUARANTINED)], "json: quarantined")
    stage.open("2026-11-10", [
        item("2026-11-10", "references", due_at=NOW + HOUR_S, reason="not_published_yet"),
        item("2026-11-10", "pdf", State.ABSENT, due_at=None, reason="not_wanted"),
    ], "planned")  # fmt: skip
    assert stage.run("--json") == 0
    days = {day["day"]: day["state"] for day in json.loads(capsys.readouterr().out)["coverage"][0]["days"]}
    assert "2026-10-20" not in days
    assert days["2026-11-10"] == "not_due"


def test_nothing_heavy_is_imported(stage: Stage) -> None:
    every_state(stage)
    code = (
        "import sys; from filingd.cli.root import run; "
        f"code = run(['status', '--config', {str(stage.config)!r}]); "
        "heavy = {'asyncio', 'aiohttp', 'rich', 'structlog', 'holidays', 'hypothesis', 'logging', 'difflib', "
        "'filingd.app', 'filingd.adapters.manifest_commands', 'filingd.adapters.manifest_statements'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy or code else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("since", "when", "begins_on"), [
    ("2031-11-20", "lies in the future", "2031-11-21"),
    ("2026-11-20", "is today", "2026-11-21"),
])  # fmt: skip
def test_a_first_day_that_has_not_come_is_said_instead_of_an_empty_calendar(
    make_stage: Callable[[str], Stage],
    capsys: pytest.CaptureFixture[str],
    since: str,
    when: str,
    begins_on: str,
) -> None:
    stage = make_stage(since)
    sentence = f"nbb.since = {since} {when}: nothing is mirrored until {begins_on}, when that day is over."
    assert stage.run() == ExitCode.OK
    said = capsys.readouterr().out
    assert f"\n\n{sentence}\n\nlanes\n" in said
    assert "No publication day is known" not in said
    stage.run("--json")
    assert json.loads(capsys.readouterr().out)["remarks"] == [sentence]


def test_a_calendar_that_is_cut_to_nothing_says_that_it_was_cut(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    every_state(stage)
    stage.run("--since", "2026-12-01")
    assert "No wanted publication day is as late as --since." in capsys.readouterr().out
    stage.run("--json")
    assert json.loads(capsys.readouterr().out)["remarks"] == []


def test_the_name_of_the_manifest_stands_in_one_place() -> None:
    package = ROOT / "daemon" / "filingd"
    named = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if '"manifest.db"' in path.read_text("utf-8")
    ]
    assert named == ["core/layout.py"]


def test_three_years_of_days_make_one_row_a_month(make_stage: Callable[[str], Stage]) -> None:
    stage = make_stage("2023-11-20")
    first = dt.date(2023, 11, 20)
    for number in range(1096):
        stage.sealed((first + dt.timedelta(number)).isoformat())
    lines = status_lines(stage.settings, NOW, colour=False)
    rows = [line for line in lines if line[:2] == "20" and line[4] == "-"]
    assert len(rows) == 37
    assert max(map(len, rows)) <= 80
    assert "  S  1096  sealed: complete and verified" in lines


# ------------------------------------------------------------------------------------------ alarms


def _closed_lane(stage: Stage) -> None:
    stage.sealed("2026-11-19")
    state = LaneState(
        "nbb/extract", park_reason="keys_refused", blocks=2, parked_until_at=NOW + 240, parked_for_s=300.0
    )
    stage.writer.save_lane(state)


def test_standing_alarms_come_first_with_their_remedy_and_only_a_check_ends_with_one(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    _closed_lane(stage)
    assert (stage.run(), stage.run("--check")) == (ExitCode.OK, ExitCode.FAILED)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "alarms: 1"
    assert lines[3].startswith(
        "  ! lane_blocked, nbb/extract, since 2026-11-20 10:59 UTC: the registry refused every key"
    )
    assert "filingd doctor" in lines[4]
    assert stage.run("--check", "--json") == ExitCode.FAILED
    (alarm,) = json.loads(capsys.readouterr().out)["alarms"]
    assert (alarm["kind"], alarm["subject"], alarm["since_at"]) == ("lane_blocked", "nbb/extract", NOW - 60)


def test_a_lane_that_is_not_configured_any_more_is_no_alarm(stage: Stage) -> None:
    stage.sealed("2026-11-19")
    stage.writer.save_lane(
        LaneState("nbb/improved", park_reason="keys_refused", blocks=2, parked_until_at=NOW + 9)
    )
    assert stage.run("--check") == ExitCode.OK


def test_without_an_alarm_nothing_is_said_of_any(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.sealed("2026-11-19")
    assert stage.run("--check") == ExitCode.OK
    assert "alarms:" not in capsys.readouterr().out


@pytest.mark.parametrize("is_running", [True, False])
def test_what_only_a_daemon_knows_is_believed_while_one_runs(
    stage: Stage, capsys: pytest.CaptureFixture[str], is_running: bool
) -> None:
    stage.sealed("2026-11-19")
    skew = alarms.Alarm(
        "clock_skew", "clock", NOW - 60, "this machine's clock is 3600 s behind the registry's"
    )
    (stage.store / "alarms.json").write_text(alarms.told_text([alarms.Told(skew, NOW - 60)]))
    lock = StoreLock(stage.store, started_at=NOW) if is_running else contextlib.nullcontext()
    with lock:
        assert stage.run("--check", "--json") == (ExitCode.FAILED if is_running else ExitCode.OK)
    told = json.loads(capsys.readouterr().out)["alarms"]
    assert [each["kind"] for each in told] == (["clock_skew"] if is_running else [])


def test_since_when_an_alarm_stands_is_what_the_daemon_said_first(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    _closed_lane(stage)
    first = alarms.Alarm("lane_blocked", "nbb/extract", NOW - 9 * HOUR_S, "no")
    (stage.store / "alarms.json").write_text(alarms.told_text([alarms.Told(first, NOW - 60)]))
    stage.run("--json")
    (alarm,) = json.loads(capsys.readouterr().out)["alarms"]
    assert alarm["since_at"] == NOW - 9 * HOUR_S


def test_many_alarms_are_cut_in_the_text_and_whole_in_the_json(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, 19):
        day = f"2026-11-{number:02}"
        stage.writer.save_groups(
            [Group(f"nbb/authentic/{day}", NOW - 30 * 86_400.0, None, NOW, ("json: due",))]
        )
        stage.writer.record([Change(None, item(day, attempts=1))])
    stage.run()
    out = capsys.readouterr().out
    assert out.count("  ! day_open") == 10
    assert "… and 7 more (all of them: filingd status --json)" in out
    stage.run("--json")
    assert len(json.loads(capsys.readouterr().out)["alarms"]) == 17


def test_every_family_that_is_subscribed_has_all_of_its_days(tmp_path: Path) -> None:
    stage = Stage(tmp_path, "2026-11-10")
    stage.config.write_text(
        stage.config.read_text() + '[nbb.products.improved]\nkeys = ["env:FILINGD_TEST_IMPROVED"]\n'
    )
    expected = expected_days(load(stage.config), NOW)
    counts = {
        family: sum(key.startswith(f"nbb/{family}/") for key in expected)
        for family in ("authentic", "improved")
    }
    assert counts == {"authentic": 10, "improved": 10}
    stage.writer.close()
