"""`filingd items`: list, show and retry, on real manifests, beside a writer and without one."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from filingd.adapters import manifest_queries
from filingd.adapters.lock import StoreLock
from filingd.adapters.manifest_commands import ManifestReader, ManifestWriter
from filingd.cli import items
from filingd.cli.instants import iso_minute
from filingd.cli.root import run
from filingd.core.errors import ExitCode
from filingd.core.model import LEASED_STATES, Change, Group, Item, State, Version
from support.mirror import mirrors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AT = "2026-11-20T12:00+01:00"
NOW = dt.datetime.fromisoformat(AT).timestamp()
KEY = "nbb/authentic/2026-11-18/json"
TARGET = "nbb/authentic/2026/11/2026-11-18/json.zip"
DIGEST = bytes(range(32))


class Bench:
    """A configuration and a manifest with an item in every state."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "filingd.toml"
        self.config.write_text(
            '[store]\npath = "store"\n[nbb]\nsince = 2026-11-01\n[nbb.products.extract]\nkeys = ["env:E"]\n'
        )
        self.store = folder / "store"
        self.store.mkdir()
        self.manifest = self.store / "manifest.db"
        self.writer = ManifestWriter(self.manifest, clock_now=lambda: NOW)
        rows = [_item(f"nbb/authentic/2026-11-1{number}/pdf", state) for number, state in enumerate(State)]
        rows += [
            _item("nbb/authentic/2026-11-2/odd", State.DUE),
            _item("nbb/authentic/2026-11-19/json", State.DUE, lane="nbb/authentic-archive"),
        ]
        self.writer.record([Change(None, row) for row in rows])
        self._store_one()

    def _store_one(self) -> None:
        item = Item(KEY, "nbb/extract", State.STORED, 5, NOW + 60, size_bytes=1234, sha256=DIGEST, stored_at=NOW - 60,
                    version=1)  # fmt: skip
        version = Version(KEY, 1, TARGET, 1234, DIGEST, NOW - 60, "extract/json", "f81d4fae-7dec-41d0-a765-00a0c91e6bf6",
                          '"e"', DIGEST, 7, NOW - 30, {"filings": 7})  # fmt: skip
        self.writer.record([Change(None, item, version)])
        self.writer.save_groups(
            [Group("nbb/authentic/2026-11-18", NOW, None, NOW, ("pdf: due",), {"filings": 7})]
        )

    def run(self, *arguments: str) -> int:
        return run(["items", *arguments, "--config", str(self.config)])

    def item(self, key: str) -> Item:
        with ManifestReader(self.manifest) as reader:
            return reader.items([key])[key]


def _item(key: str, state: State, lane: str = "nbb/extract") -> Item:
    finished = state in {State.ABSENT, State.STORED, State.RECHECKING, State.ACTIVE}
    return Item(key, lane, state, 1, None if finished else NOW + 3600, attempts=2 if state is State.DUE else 0,
                reason="zip_bad_crc" if state is State.QUARANTINED else None)  # fmt: skip


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.writer.close()


def listed(bench: Bench, capsys: pytest.CaptureFixture[str], *options: str) -> list[str]:
    assert bench.run("list", "--json", *options) == ExitCode.OK
    return [item["key"] for item in json.loads(capsys.readouterr().out)["items"]]


def test_items_are_listed_in_order_and_narrowed_by_state_lane_and_prefix(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    everything = listed(bench, capsys)
    assert everything == sorted(everything)
    assert len(everything) == len(State) + 3
    assert listed(bench, capsys, "--state", "quarantined") == ["nbb/authentic/2026-11-16/pdf"]
    assert len(listed(bench, capsys, "--state", "quarantined", "--state", "stored")) == 3
    assert listed(bench, capsys, "--lane", "nbb/authentic-archive") == ["nbb/authentic/2026-11-19/json"]
    assert listed(bench, capsys, "nbb/authentic/2026-11-18") == [KEY]
    assert listed(bench, capsys, "nothing") == []


@pytest.mark.parametrize(("given", "count"), [
    ("2026-11-18", 1), ("2026-11-2", 1), ("2026-11-1", len(State) + 2), ("2026-11", len(State) + 3),
    ("2026", len(State) + 3), ("2026-12", 0), ("2025", 0), (KEY, 1),
])  # fmt: skip
def test_a_list_is_restricted_to_a_day_a_month_or_a_prefix_of_keys(
    bench: Bench, capsys: pytest.CaptureFixture[str], given: str, count: int
) -> None:
    found = listed(bench, capsys, given)
    begin = given if given == KEY else f"nbb/authentic/{given}"
    assert found == [key for key in listed(bench, capsys) if key.startswith(begin)]
    assert len(found) == count


@pytest.mark.parametrize("state", State)
def test_a_day_and_a_state_restrict_together(
    bench: Bench, capsys: pytest.CaptureFixture[str], state: State
) -> None:
    day = f"2026-11-1{int(state)}"
    name = state.name.lower()
    assert f"nbb/authentic/{day}/pdf" in listed(bench, capsys, day, "--state", name)
    assert listed(bench, capsys, "2026-11-3", "--state", name) == []


def test_the_help_says_how_a_day_is_written(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run("list", "--help") == ExitCode.OK
    said = capsys.readouterr().out
    assert "[PREFIX|DAY]" in said
    assert "A DAY is written 2026-11-20, a month 2026-11, a year 2026." in said


@pytest.mark.parametrize("query", [
    manifest_queries.ITEMS_WITH_PREFIX, manifest_queries.NOTEWORTHY_WITH_PREFIX.replace("state = ?", "state = 6"),
])  # fmt: skip
def test_a_restricted_list_reads_a_range_of_an_index_and_sorts_nothing(bench: Bench, query: str) -> None:
    parameters = [""] * query.count("?")
    with contextlib.closing(sqlite3.connect(bench.manifest)) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", parameters)]
    (read,) = [step for step in plan if "items" in step]
    assert read.startswith("SEARCH items USING")
    assert "key>?" in read
    assert "key<?" in read
    assert not [step for step in plan if "TEMP B-TREE" in step]


def test_a_long_range_is_read_page_by_page_without_a_gap(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = listed(bench, capsys)
    monkeypatch.setattr(items, "_PAGE", 2)
    assert listed(bench, capsys, "nbb/authentic/") == whole
    everything = listed(bench, capsys, "2026", "--state", "due", "--state", "quarantined")
    assert everything == [key for key in whole if bench.item(key).state in {State.DUE, State.QUARANTINED}]


def test_a_long_list_is_cut_and_says_so(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.run("list", "--limit", "2")
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3
    assert said[2].startswith("… and more: raise --limit (now 2)")
    assert len(listed(bench, capsys, "--limit", "0")) == len(State) + 3


def test_show_tells_the_row_the_versions_the_day_and_the_files(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    body = bench.store / TARGET
    body.parent.mkdir(parents=True)
    body.write_bytes(b"x" * 1234)
    body.with_name(".json.zip.part").write_bytes(b"half")
    refused = bench.store / "quarantine" / f"{TARGET}.20261120T110000Z"
    refused.parent.mkdir(parents=True)
    refused.write_bytes(b"bad")
    refused.with_name(refused.name + ".json").write_text(
        '{"problem": "zip_bad_crc", "detail": "a.json", "refused_at": 1}'
    )
    assert bench.run("show", KEY, "--json") == ExitCode.OK
    facts = json.loads(capsys.readouterr().out)
    assert (facts["item"]["state"], facts["item"]["sha256"]) == ("stored", DIGEST.hex())
    assert facts["versions"][0]["request_id"] == "f81d4fae-7dec-41d0-a765-00a0c91e6bf6"
    assert facts["group"]["reasons"] == ["pdf: due"]
    assert [(file["kind"], file["size_bytes"], file.get("problem")) for file in facts["files"]] == [
        ("current", 1234, None), ("partial", 4, None), ("quarantined", 3, "zip_bad_crc"),
    ]  # fmt: skip
    assert bench.run("show", KEY) == ExitCode.OK
    said = capsys.readouterr().out
    assert (
        "1  1,234 bytes by extract/json at 2026-11-20 10:59:00 UTC, verified 2026-11-20 10:59:30 UTC" in said
    )
    assert "day    nbb/authentic/2026-11-18 is open: pdf: due" in said
    assert "quarantined  quarantine/nbb/authentic/2026/11/2026-11-18/json.zip.20261120T110000Z" in said


def test_an_unknown_key_is_a_plain_no_with_exit_code_1(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.run("show", "nbb/authentic/2026-11-18/jsn") == ExitCode.FAILED
    assert "No item has the key nbb/authentic/2026-11-18/jsn" in capsys.readouterr().err


def retried(bench: Bench, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    bench.run("retry", *arguments, "--rehearse-at", AT, "--json")
    return dict(json.loads(capsys.readouterr().out))


def test_a_failed_item_is_due_at_once_with_all_its_tries(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert retried(bench, capsys, "nbb/authentic/2026-11-16/pdf")["retried"] == [
        "nbb/authentic/2026-11-16/pdf"
    ]
    item = bench.item("nbb/authentic/2026-11-16/pdf")
    assert (item.state, item.due_at, item.attempts) == (State.DUE, NOW, 0)


def test_a_stored_item_stays_stored_and_is_looked_at_again(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.run("retry", KEY, "--rehearse-at", AT) == ExitCode.OK
    assert f"{KEY}  was stored; it is fetched again and compared" in capsys.readouterr().out
    item = bench.item(KEY)
    assert (item.state, item.due_at, item.sha256) == (State.STORED, NOW, DIGEST)


def test_items_under_way_are_left_alone_and_the_answer_says_why(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = retried(bench, capsys, "nbb/authentic/2026-11-11", "nbb/authentic/2026-11-13/pdf")
    assert answer["retried"] == []
    assert answer["left_alone"] == {
        "nbb/authentic/2026-11-11/pdf": "it is active: an attempt is under way",
        "nbb/authentic/2026-11-13/pdf": "it is rechecking: an attempt is under way",
    }
    assert bench.item("nbb/authentic/2026-11-11/pdf").state is State.ACTIVE


def test_a_prefix_ends_at_a_slash(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert retried(bench, capsys, "nbb/authentic/2026-11-2")["retried"] == ["nbb/authentic/2026-11-2/odd"]
    assert retried(bench, capsys, "nbb/authentic/2026-11-1")["retried"] == []
    assert len(retried(bench, capsys, "nbb/authentic/")["retried"]) == len(State) + 3 - len(LEASED_STATES)


def test_all_failed_means_those_that_used_up_their_tries(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert retried(bench, capsys, "--all-failed")["retried"] == ["nbb/authentic/2026-11-16/pdf"]
    assert retried(bench, capsys, "--all-failed")["retried"] == []


def test_retrying_nothing_is_a_usage_error_and_what_matches_nothing_a_no(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.run("retry") == ExitCode.USAGE
    assert "Name at least one KEY or PREFIX" in capsys.readouterr().err
    assert bench.run("retry", "nbb/none") == ExitCode.FAILED
    assert "Nothing matches" in capsys.readouterr().out


def test_counters_stay_exact_after_a_retry(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    retried(bench, capsys, "nbb/authentic/")
    with ManifestReader(bench.manifest) as reader:
        counts = reader.counts()
        rows = reader.page("", 1000)
    for state in State:
        assert counts[state] == sum(row.state is state for row in rows)


DAY_S = 24 * 3600.0


@pytest.mark.parametrize(("ahead_s", "begins"), [(-DAY_S, "no sooner"), (DAY_S, "at once")])
def test_a_retry_by_the_real_clock_beside_a_rehearsing_daemon_says_so(
    bench: Bench, capsys: pytest.CaptureFixture[str], ahead_s: float, begins: str
) -> None:
    real_now = time.time()
    with StoreLock(bench.store, started_at=real_now + ahead_s):
        assert bench.run("retry", KEY, "--json") == ExitCode.OK
        said = capsys.readouterr()
        assert json.loads(said.out)["retried"] == [KEY]
        around = (real_now + ahead_s, time.time() + ahead_s)
        assert any(f"its clock says {iso_minute(at)}." in said.err for at in around)
        assert f"it tries them {begins}. To mean another instant, say --rehearse-at." in said.err
        assert bench.run("retry", KEY, "--rehearse-at", AT) == ExitCode.OK
        assert capsys.readouterr().err == ""


def test_a_retry_by_the_real_clock_on_a_store_that_knows_later_instants_says_so(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    ahead_at = time.time() + DAY_S
    bench.writer.save_groups([Group("nbb/authentic/2026-11-18", ahead_at, None, ahead_at)])
    assert bench.run("retry", KEY) == ExitCode.OK
    said = capsys.readouterr()
    assert (
        f"This looks like the store of a rehearsal: its manifest knows of {iso_minute(ahead_at)}." in said.err
    )
    assert "say --rehearse-at" in said.err
    assert "it is fetched again and compared" in said.out


def test_a_retry_on_a_store_of_the_real_clock_says_nothing_of_clocks(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    real_now = time.time()
    bench.writer.save_groups([Group("nbb/authentic/2026-11-18", real_now - 60.0, None, real_now)])
    stored = bench.item(KEY)
    bench.writer.record([Change(stored.state, replace(stored, stored_at=real_now, due_at=real_now + DAY_S))])
    with StoreLock(bench.store, started_at=real_now):
        assert bench.run("retry", KEY) == ExitCode.OK
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", [("list",), ("show", KEY), ("retry", KEY)])
def test_without_a_manifest_every_command_says_so_with_exit_code_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    config = tmp_path / "filingd.toml"
    config.write_text(
        '[store]\npath = "store"\n[nbb]\nsince = 2026-11-01\n[nbb.products.extract]\nkeys = ["env:E"]\n'
    )
    assert run(["items", *command, "--config", str(config)]) == ExitCode.STORE
    assert "There is no manifest at" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_a_running_daemon_takes_up_a_retry_by_itself(tmp_path: Path) -> None:
    for mirror in mirrors(tmp_path / "filled"):
        with mirror.daemon() as daemon:
            daemon.wait_for("sweep.finished")
            said = mirror.run("items", "retry", KEY)
            assert (said.code, said.out.count("it is fetched again and compared")) == (0, 1)
            daemon.wait_for("item.unchanged", key=KEY)
            assert daemon.stop().code == 0
