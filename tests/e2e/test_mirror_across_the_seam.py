"""Forty-five days from an empty disk, across the seam between extract and archive, and a second look at them."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from filingd import __version__
from support.daemon import DATASETS, days

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.rig import Rig
    from support.daemon import DaemonProcess

SINCE, LAST = "2026-10-06", "2026-11-19"  # ages 45 to 1 on 20 November
# Nobody can say of a day near the edge that it is empty (NBB reference, section 6.2), so these Sundays have filings.
FILINGS_AT_THE_EDGE = {"2026-10-17": 2, "2026-10-18": 2}
CALLS_PER_S, CALLS_AT_ONCE, CALLS_OF_ALL_AT_ONCE = 30, 3, 4
# What is promised is the release. On a busy machine one call needs longer than another from there to its arrival,
# and so the windows of the server are shorter by as much.
ARRIVALS_WINDOW_S = 0.8

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mirrored(make_shared_rig: Callable[..., Rig]) -> tuple[Rig, DaemonProcess, dict[str, Any]]:
    """The rig after the first run, the run, and the journal's summary of it."""
    rig = make_shared_rig(since=SINCE, scale=0.004, filings_on=FILINGS_AT_THE_EDGE, latency_ms=20)
    product = {"calls_per_second": CALLS_PER_S, "concurrency": CALLS_AT_ONCE}
    rig.config.change({"run": {"concurrency": CALLS_OF_ALL_AT_ONCE}})
    rig.config.change({"nbb": {"products": {"extract": product, "authentic-archive": product}}})
    daemon = rig.run()
    return rig, daemon, rig.admin.summary(window_s=ARRIVALS_WINDOW_S)


Mirrored = tuple["Rig", "DaemonProcess", dict[str, Any]]


def age_of(day: str) -> int:
    return (dt.date(2026, 11, 20) - dt.date.fromisoformat(day)).days


def test_every_day_is_sealed_and_holds_exactly_the_members_of_the_registry(mirrored: Mirrored) -> None:
    rig, _, _ = mirrored
    rig.check_sealed(days(SINCE, LAST))
    assert rig.truth.check(rig.store, days(SINCE, LAST)) > 45


def test_a_day_is_fetched_by_the_route_that_serves_its_age(mirrored: Mirrored) -> None:
    rig, _, _ = mirrored
    routes = {
        (day, dataset): rig.store.versions(day, dataset)[-1]["route"]
        for day in days(SINCE, LAST)
        for dataset in DATASETS
        if rig.store.zip_path(day, dataset).exists()
    }
    for (day, dataset), route in routes.items():
        product = "extract" if age_of(day) <= 30 else "authentic-archive"
        assert route == f"{product}/{dataset}", day
    asked = {(entry["product"], age_of(entry["date"])) for entry in rig.journal()}
    assert {age for product, age in asked if product == "extract"} == set(range(1, 34))
    assert {age for product, age in asked if product == "authentic-archive"} >= set(range(31, 46))
    assert min(age for product, age in asked if product == "authentic-archive") >= 28


def test_weekends_are_asked_for_like_any_other_day(mirrored: Mirrored) -> None:
    rig, _, _ = mirrored
    assert {entry["date"] for entry in rig.journal()} == set(days(SINCE, LAST))
    for sunday in ("2026-11-15", "2026-11-08", "2026-10-11"):
        asked = rig.journal(date=sunday, dataset="references")
        assert len(asked) == 2
        assert rig.store.seal(sunday)["items"]["references"]["state"] == "empty"


def most_in_a_second(daemon: DaemonProcess, lane: str) -> int:
    """The most calls of a lane that were released in any second, wherever it begins."""
    released = [
        dt.datetime.fromisoformat(line["ts"]).timestamp() for line in daemon.lines("item.leased", lane=lane)
    ]
    return max(sum(begin <= at < begin + 0.999 for at in released) for begin in released)


def test_no_rate_and_no_concurrency_is_ever_above_the_setting(mirrored: Mirrored) -> None:
    _, daemon, summary = mirrored
    for lane in ("nbb/extract", "nbb/authentic-archive"):
        assert CALLS_PER_S / 2 < most_in_a_second(daemon, lane) <= CALLS_PER_S
    assert summary["count"] > 200
    assert max(summary["max_arrivals_by_product"].values()) <= CALLS_PER_S
    assert max(summary["max_concurrency_by_product"].values()) <= CALLS_AT_ONCE
    assert summary["max_concurrency"] <= CALLS_OF_ALL_AT_ONCE


def test_what_is_allowed_at_once_is_used(mirrored: Mirrored) -> None:
    _, _, summary = mirrored
    assert summary["max_concurrency"] >= 2


def test_every_request_says_who_asks_and_carries_its_own_id(mirrored: Mirrored) -> None:
    rig, daemon, _ = mirrored
    entries = rig.journal()
    assert {entry["user_agent"] for entry in entries} == {
        f"filingd/{__version__} (+mailto:ops@example.invalid)"
    }
    ids = [entry["request_id"] for entry in entries]
    assert len(set(ids)) == len(ids)
    assert all(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", one)
        for one in ids
    )
    assert {line["request_id"] for line in daemon.lines("item.stored")} <= set(ids)
    assert {entry["method"] for entry in entries} == {"GET"}
    assert {entry["headers"].get("Accept-Encoding") for entry in entries} == {"identity"}


def test_no_key_is_in_a_url_in_the_store_in_the_log_or_in_what_was_printed(mirrored: Mirrored) -> None:
    rig, _, summary = mirrored
    assert not summary["key_in_url"]
    rig.check_manners()
    assert (rig.config.folder / "filingd.toml").read_text().count("env:FILINGD_TEST_") == 4


def test_every_seal_tells_counts_digests_and_routes(mirrored: Mirrored) -> None:
    rig, _, _ = mirrored
    seal = rig.store.seal(LAST)
    filings = rig.admin.day(LAST)["filings"]
    assert seal["filings"] == len(filings)
    assert seal["pdf_only"] == sum(filing["model_type"].endswith("-p") for filing in filings)
    assert seal["unexplained"] == {}
    for dataset in DATASETS:
        entry, row = seal["items"][dataset], rig.store.item(LAST, dataset)
        assert (entry["sha256"], entry["size_bytes"]) == (row.sha256, row.size_bytes)
        assert entry["route"] == f"extract/{dataset}"
        assert entry["members"] == len(rig.truth.members(LAST, dataset))


def test_a_second_run_fetches_nothing(mirrored: Mirrored) -> None:
    rig, _, _ = mirrored
    before = len(rig.journal())
    files = {
        path: path.stat().st_mtime_ns for path in rig.store.root.joinpath("nbb").rglob("*") if path.is_file()
    }
    for until in ("sealed", "idle"):
        rig.run(until)
    assert len(rig.journal()) == before
    assert files == {
        path: path.stat().st_mtime_ns for path in rig.store.root.joinpath("nbb").rglob("*") if path.is_file()
    }


def test_the_heartbeat_says_that_this_is_a_rehearsal_and_how_far_it_is(mirrored: Mirrored) -> None:
    _, daemon, _ = mirrored
    beats = daemon.lines("heartbeat")
    assert beats
    assert all(beat["rehearsed"] for beat in beats)
    assert {"sealed", "open"} <= beats[-1]["coverage"].keys()
    assert "nbb/extract" in json.dumps(beats[-1]["lanes"])
