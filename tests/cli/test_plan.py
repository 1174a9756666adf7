"""`filingd plan`: what would be fetched, from an empty store, from a filled one, and from what cannot be had."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pytest

from filingd import app
from filingd.adapters.manifest_commands import ManifestWriter
from filingd.cli.plan import human_bytes, human_duration
from filingd.cli.root import run
from filingd.core.errors import ExitCode
from filingd.core.model import Change, Item, State
from filingd.engine.forecast import forecast
from filingd.settings import load

if TYPE_CHECKING:
    from pathlib import Path

AT = "2026-11-20T12:00+01:00"
NOW = dt.datetime.fromisoformat(AT).timestamp()
EXTRACT = '[nbb.products.extract]\nkeys = ["env:E"]\ncalls_per_second = 2.0\n'
ARCHIVE = '[nbb.products.authentic-archive]\nkeys = ["env:A"]\ncalls_per_second = 0.5\n'


def write_config(folder: Path, *, since: str, products: str = EXTRACT + ARCHIVE, datasets: str = "") -> Path:
    config = folder / "filingd.toml"
    config.write_text(f'[store]\npath = "store"\n[nbb]\nsince = {since}\n{datasets}\n{products}')
    return config


def report_of(config: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert run(["plan", "--config", str(config), "--rehearse-at", AT, "--json"]) == ExitCode.OK
    return dict(json.loads(capsys.readouterr().out))


def test_an_empty_store_wants_every_dataset_of_every_day_by_the_route_of_its_age(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = report_of(write_config(tmp_path, since="2026-10-06"), capsys)
    assert report["expected"] == {
        "items": 180,
        "days": 45,
        "first_day": "2026-10-06",
        "last_day": "2026-11-19",
    }
    now = report["due_now"]
    assert (now["calls"], now["days"], now["rechecks"], report["later"]["calls"]) == (180, 45, 0, 0)
    assert set(now["by_lane"]) == {"nbb/extract", "nbb/authentic-archive"}
    assert sum(sum(routes.values()) for routes in now["by_lane"].values()) == 180
    assert set(now["by_lane"]["nbb/extract"]) == {
        f"extract/{name}" for name in ("references", "json", "xbrl", "pdf")
    }
    assert report["not_obtainable"] == []
    assert report["not_subscribed"] == ["improved", "improved-archive", "authentic-query"]


def test_planning_writes_nothing_and_needs_no_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report_of(write_config(tmp_path, since="2026-10-06"), capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["filingd.toml"]


def test_the_time_is_that_of_the_slowest_lane_or_of_the_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only_references = 'authentic = ["references"]'
    config = write_config(tmp_path, since="2024-01-01", datasets=only_references)
    now = report_of(config, capsys)["due_now"]
    archive_calls = now["by_lane"]["nbb/authentic-archive"]["authentic-archive/references"]
    assert now["at_least_s"] == archive_calls / 0.5
    everything = report_of(write_config(tmp_path, since="2024-01-01"), capsys)
    now = everything["due_now"]
    assert now["at_least_s"] == pytest.approx(now["bytes"] / everything["assumed"]["bytes_per_s"], abs=0.1)


def test_what_no_subscription_serves_is_named_with_its_days_and_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = report_of(write_config(tmp_path, since="2026-09-01", products=EXTRACT), capsys)
    (lost,) = report["not_obtainable"]
    assert (lost["reason"], lost["first_day"]) == ("no_route", "2026-09-01")
    assert lost["items"] + report["due_now"]["calls"] == report["expected"]["items"]
    assert report["not_subscribed"] == [
        "authentic-archive",
        "improved",
        "improved-archive",
        "authentic-query",
    ]


def test_days_older_than_the_archive_are_outside_its_window(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = report_of(write_config(tmp_path, since="2022-01-01"), capsys)
    (lost,) = report["not_obtainable"]
    assert (lost["reason"], lost["meaning"]) == ("outside_window", "older than the archive reaches")
    assert lost["first_day"] == "2022-01-01"


def test_what_is_stored_is_finished_and_its_recheck_comes_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, since="2026-11-18")
    (tmp_path / "store").mkdir()
    writer = ManifestWriter(tmp_path / "store" / "manifest.db", clock_now=lambda: NOW)
    stored = [
        Item(f"nbb/authentic/2026-11-18/{name}", "nbb/extract", State.STORED, 0, NOW + 3600, size_bytes=1000,
             sha256=b"1" * 32, stored_at=NOW - 60, version=1)
        for name in ("references", "json", "xbrl", "pdf")
    ]  # fmt: skip
    writer.record([Change(None, item) for item in stored])
    writer.close()
    report = report_of(config, capsys)
    assert report["finished_items"] == 4
    assert (report["due_now"]["calls"], report["later"]["calls"], report["later"]["rechecks"]) == (4, 4, 4)
    assert report["later"]["first_at"] == NOW + 3600


def test_the_text_tells_the_same_and_names_its_assumptions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, since="2026-09-01", products=EXTRACT)
    assert run(["plan", "--config", str(config), "--rehearse-at", AT]) == ExitCode.OK
    said = capsys.readouterr().out
    assert "nothing is fetched, nothing is written" in said
    assert "not subscribed  authentic-archive" in said
    assert "no subscribed product serves days of this age (no_route)" in said
    assert "assumed         10 MB/s" in said
    assert "An empty day is asked for again" in said


def test_the_forecast_asks_for_each_expected_item_exactly_once_or_says_why_not(tmp_path: Path) -> None:
    registry = app.registry_of(load(write_config(tmp_path, since="2021-06-01")))
    found = forecast(registry, {}, NOW)
    called = [call.key for call in found.calls]
    lost = [key for keys in found.not_obtainable.values() for key in keys]
    assert sorted(called + lost) == sorted(found.expected)
    assert len(called) == len(set(called))


def test_without_a_registry_it_says_so_with_exit_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "filingd.toml"
    config.write_text('[store]\npath = "store"\n')
    assert run(["plan", "--config", str(config)]) == ExitCode.CONFIG
    assert "names no registry" in capsys.readouterr().err


@pytest.mark.parametrize(("size", "text"), [
    (0, "0 B"), (999, "999 B"), (999.6, "1 kB"), (1500, "1.5 kB"), (99_600_000, "100 MB"), (2.5e12, "2.50 TB"),
])  # fmt: skip
def test_sizes_are_told_in_round_figures(size: float, text: str) -> None:
    assert human_bytes(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (59.4, "59 s"), (61, "1 min"), (7260, "2 h 1 min")]
)
def test_durations_are_told_in_round_figures(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_a_plan_for_a_first_day_that_has_not_come_says_when_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, since="2027-11-20")
    sentence = "nbb.since = 2027-11-20 lies in the future: nothing is mirrored until 2027-11-21, when that day is over."
    assert report_of(config, capsys)["remarks"] == [sentence]
    assert run(["plan", "--config", str(config), "--rehearse-at", AT]) == ExitCode.OK
    assert f"note            {sentence}\n" in capsys.readouterr().out
    assert report_of(write_config(tmp_path, since="2026-11-19"), capsys)["remarks"] == []


KVK = """
[store]
path = "store"
[kvk.keys.main]
key = "env:NOBODY_HAS_THIS"
budget_per_month_eur = 0.05
[kvk.keys.second]
key = "env:NOBODY_HAS_THIS_EITHER"
budget_per_month_eur = 1
price_per_call_eur = 0.5
[kvk.watch.clients]
parts = ["basisprofiel", "vestigingen", "vestigingsprofiel"]
[kvk.watch.others]
account = "second"
parts = ["naamgeving"]
"""


def test_what_numbers_will_cost_is_told_before_anything_is_spent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "filingd.toml"
    config.write_text(KVK)
    lists = tmp_path / "kvk-watchlists"
    lists.mkdir()
    (lists / "clients.csv").write_text("98000001\n98000002\n")
    (lists / "others.csv").write_text("98000002\n98000003\n")
    (lists / "molens.toml").write_text('naam = "molen"\n')
    assert run(["plan", "--json", "--config", str(config)]) == ExitCode.OK
    found = json.loads(capsys.readouterr().out)["companies"]
    assert (found["followed"], found["searches_not_asked_yet"]) == (3, ["molens"])
    assert found["due_now"]["by_lane"] == {"kvk/main/basisprofiel": 4, "kvk/second/naamgeving": 2}
    assert found["answers_that_will_name_more"] == 2
    costs = {cost["account"]: cost for cost in found["due_now"]["accounts"]}
    assert (costs["kvk/main"]["microeur"], costs["kvk/main"]["months"]) == (80_000, 2)
    assert (costs["kvk/second"]["microeur"], costs["kvk/second"]["months"]) == (1_000_000, 1)
    assert run(["plan", "--config", str(config)]) == ExitCode.OK
    text = capsys.readouterr().out
    assert (
        "4 calls: 0.08 EUR; 300,000 calls and 0.05 EUR left this month: they take 2 calendar months" in text
    )
    assert "not asked yet: molens" in text
    assert not (tmp_path / "store").exists()
