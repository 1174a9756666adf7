"""What a day may do: come late, grow, change, be empty, hold only PDF, have 23 or 25 hours, change its format."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from e2e.rig import NOON, YESTERDAY
from support.daemon import DATASETS, days, member_digests, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.rig import Rig

pytestmark = pytest.mark.slow

BRUSSELS = ZoneInfo("Europe/Brussels")
EMPTY_VARIANTS = {
    "2026-11-15": "404",
    "2026-11-14": "200-empty",
    "2026-11-08": "empty-zip",
    "2026-11-07": "204",
    "2026-11-01": "dirs-only",
}  # Saturdays and Sundays


def group_of(day: str) -> str:
    return f"nbb/authentic/{day}"


# ------------------------------------------------------------------------------------------ when a day comes


def test_yesterday_is_not_asked_for_before_it_settles(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since="2026-11-18", clock="2026-11-20T04:59:50")
    with rig.daemon() as daemon:
        daemon.wait_for("day.sealed", group=group_of("2026-11-18"))
        assert rig.journal(date=YESTERDAY) == []
        rig.admin.clock_advance(60)  # the daemon's own clock follows with its restart
        assert daemon.stop().code == 0
    rig.run()
    rig.check_sealed(["2026-11-18", YESTERDAY])
    assert len(rig.journal(date=YESTERDAY)) == len(DATASETS)


def test_a_day_that_is_published_late_is_asked_for_until_it_is_there(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since="2026-11-18", published_at={YESTERDAY: "2026-12-01T05:00"})
    with rig.daemon(until="sealed") as daemon:
        daemon.wait_for("day.sealed", group=group_of("2026-11-18"))
        daemon.wait_for("item.nothing_found", key=f"{group_of(YESTERDAY)}/references", count=3)
        daemon.wait_for(
            "alarm.raised", key=f"{group_of(YESTERDAY)}/references", kind="nothing_on_a_working_day"
        )
        rig.admin.settings(published_at={})
        assert daemon.wait(30).code == 0
    rig.check_sealed(["2026-11-18", YESTERDAY])
    assert rig.store.item(YESTERDAY, "references").nothing_count == 0


def test_late_additions_become_a_new_version_at_the_next_check(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since=YESTERDAY, clock="2026-11-20T06:00", filings_on={YESTERDAY: 12}, late_share=0.4)
    rig.run()
    rig.check_sealed([YESTERDAY])
    first = {dataset: rig.store.item(YESTERDAY, dataset) for dataset in DATASETS}
    filings = len(rig.admin.day(YESTERDAY)["datasets"]["references"])
    rig.admin.clock_set("2026-11-21T05:00:10")
    daemon = rig.run("idle")
    rig.check_sealed([YESTERDAY, "2026-11-20"])
    assert daemon.lines("day.reopened", group=group_of(YESTERDAY))
    for dataset in DATASETS:
        numbers = [version["number"] for version in rig.store.versions(YESTERDAY, dataset)]
        assert numbers == [1, 2], dataset
        kept = rig.store.root / "versions" / rig.store.folder(YESTERDAY).relative_to(rig.store.root)
        assert (kept / f"{dataset}.v1.zip").stat().st_size == first[dataset].size_bytes
        old, new = member_digests(kept / f"{dataset}.v1.zip"), rig.store.member_digests(YESTERDAY, dataset)
        assert old.items() < new.items(), "nothing was lost and something came"
    assert rig.store.seal(YESTERDAY)["filings"] == 12
    assert filings <= 12


def test_a_check_that_finds_the_same_content_changes_nothing(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since=YESTERDAY)
    rig.run()
    before = {path: path.stat().st_mtime_ns for path in rig.store.folder(YESTERDAY).iterdir()}
    rig.admin.settings(zip_method="stored")  # the same members, packed otherwise
    rig.admin.clock_set("2026-11-21T12:30")
    daemon = rig.run("idle")
    unchanged = {line["key"] for line in daemon.lines("item.unchanged")}
    assert unchanged == {f"{group_of(YESTERDAY)}/{dataset}" for dataset in DATASETS}
    assert {path: path.stat().st_mtime_ns for path in rig.store.folder(YESTERDAY).iterdir()} == before
    rig.check_sealed([YESTERDAY, "2026-11-20"])


def test_a_changed_figure_in_a_past_day_is_a_new_version_of_what_changed_alone(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(since=YESTERDAY, filings_on={YESTERDAY: 3})
    rig.run()
    rig.admin.add_fault({"kind": "mutate", "change": "figures"}, date=YESTERDAY, dataset="json")
    rig.admin.clock_set("2026-11-21T12:30")
    rig.run("idle")
    assert [len(rig.store.versions(YESTERDAY, dataset)) for dataset in DATASETS] == [1, 2, 1, 1]
    assert [path.name for path in rig.store.kept_versions(YESTERDAY)] == ["json.v1.zip"]
    rig.check_sealed([YESTERDAY, "2026-11-20"])


def test_a_day_that_is_no_longer_served_stays_stored_and_sealed(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since=YESTERDAY)
    rig.run()
    rig.admin.add_fault({"kind": "empty", "variant": "404"}, date=YESTERDAY)
    rig.admin.clock_set("2026-11-21T12:30")
    with rig.daemon() as daemon:
        daemon.wait_for("alarm.raised", kind="no_longer_served", key=f"{group_of(YESTERDAY)}/json")
        daemon.wait_for("day.sealed", group=group_of("2026-11-20"))
        assert daemon.stop().code == 0
    rig.admin.clear_faults()
    rig.check_sealed([YESTERDAY, "2026-11-20"])


# ------------------------------------------------------------------------------------------ days with nothing


def test_an_empty_weekend_is_sealed_after_two_asks_however_the_registry_says_that_it_is_empty(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(since="2026-11-01", saturday_share=0.0)
    for day, variant in EMPTY_VARIANTS.items():
        rig.admin.add_fault({"kind": "empty", "variant": variant}, date=day)
    rig.config.change({"nbb": {"empty_interval": "1 s"}})
    rig.run()
    rig.check_sealed(days("2026-11-01", YESTERDAY))
    for day, variant in EMPTY_VARIANTS.items():
        seal = rig.store.seal(day)
        assert seal["filings"] == 0, variant
        assert [path.name for path in sorted(rig.store.folder(day).iterdir())] == [
            "SHA256SUMS",
            "day.json",
        ], variant
        assert {entry["state"] for entry in seal["items"].values()} == {"empty"}, variant
        assert {entry["reason"] for entry in seal["items"].values()} == {"nothing_published"}, variant
        first, second = rig.journal(date=day, dataset="references")
        assert second["started_at"] - first["started_at"] >= 1.0, variant
        assert seal["items"]["references"]["asked"] == 2, variant
    assert rig.store.quarantined() == []


def test_one_answer_is_not_enough_to_call_a_sunday_empty(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since="2026-11-15")
    # One call at a time, as the default is: the documents are asked for when it is known what their list says.
    patient = {"empty_interval": "6 h", "ask_again_cap": "24 h", "products": {"extract": {"concurrency": 1}}}
    rig.config.change({"nbb": patient})
    daemon = rig.run("idle")
    assert daemon.lines("item.confirmed_empty") == []
    assert "2026-11-15" not in rig.store.sealed_days()
    assert {row.nothing_count for row in rig.store.items().values() if row.day == "2026-11-15"} == {1}
    rig.admin.clock_advance(6 * 3600 + 60)
    rig.run("idle")
    rig.check_sealed(days("2026-11-15", YESTERDAY))


def test_an_empty_working_day_stays_open_with_an_alarm_until_an_operator_says_that_it_is_known(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(since="2026-11-17", filings_on={"2026-11-18": 0})
    key = f"{group_of('2026-11-18')}/references"
    with rig.daemon() as daemon:
        for day in ("2026-11-17", YESTERDAY):
            daemon.wait_for("day.sealed", group=group_of(day))
        daemon.wait_for("alarm.raised", kind="nothing_on_a_working_day", key=key)
        daemon.wait_for("item.nothing_found", key=key, count=4)
        assert daemon.stop().code == 0
        assert daemon.lines("item.confirmed_empty") == []
    assert rig.store.sealed_days() == ["2026-11-17", YESTERDAY]
    assert "references: due (nothing_on_a_working_day)" in rig.store.days()["2026-11-18"].reasons
    rig.config.change({"nbb": {"known_empty_days": [dt.date(2026, 11, 18)]}})
    rig.run()
    rig.check_sealed(days("2026-11-17", YESTERDAY))


def test_a_day_with_pdf_filings_only_is_complete_without_json_and_xbrl(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since="2026-11-18", filings_on={"2026-11-18": 3, YESTERDAY: 3}, pdf_only_share=1.0)
    rig.run()
    rig.check_sealed(["2026-11-18", YESTERDAY])
    for day in ("2026-11-18", YESTERDAY):
        items = rig.store.seal(day)["items"]
        assert [items[dataset]["state"] for dataset in DATASETS] == ["stored", "empty", "empty", "stored"]
        assert items["json"]["reason"] == "only_pdf_filings"


def test_a_missing_document_that_nothing_explains_keeps_its_day_open(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since="2026-11-18")
    rule = rig.admin.add_fault({"kind": "mutate", "change": "removed"}, date="2026-11-18", dataset="json")
    rig.admin.settings(filings_on={"2026-11-18": 4})
    with rig.daemon(until="sealed") as daemon:
        daemon.wait_for("day.open", group=group_of("2026-11-18"), level="info")
        (reason,) = wait_until(
            lambda: [
                why for why in rig.store.days()["2026-11-18"].reasons if "listed but not in the zip" in why
            ],
            "reason why the day is open",
        )
        assert reason.startswith("json: 1 listed but not in the zip: 20")
        assert not rig.store.is_sealed_on_disk("2026-11-18")
        rig.admin.remove_fault(rule)
        assert daemon.wait(30).code == 0
    rig.check_sealed(["2026-11-18", YESTERDAY])


# ------------------------------------------------------------------------------------------ the seam


SMALL_WINDOWS = {
    "extract_max_age_days": 5,
    "extract_last_try_age_days": 7,
    "archive_min_age_days": 4,
    "edge_give_up_age_days": 8,
}


def test_an_empty_sunday_at_the_edge_of_the_windows_stays_open_until_it_is_past_them(
    make_rig: Callable[..., Rig],
) -> None:
    sunday = "2026-11-15"
    rig = make_rig(since=sunday, extract_max_age_days=5, archive_min_age_days=4)
    rig.config.change({"nbb": SMALL_WINDOWS})
    with rig.daemon() as daemon:
        daemon.wait_for(
            "item.nothing_found", key=f"{group_of(sunday)}/references", reason="at_window_edge", count=3
        )
        for day in days("2026-11-16", YESTERDAY):
            daemon.wait_for("day.sealed", group=group_of(day))
        assert daemon.stop().code == 0
    assert sunday not in rig.store.sealed_days()
    assert {entry["product"] for entry in rig.journal(date=sunday)} == {"extract", "authentic-archive"}
    rig.admin.clock_set("2026-11-24T12:30")  # its age is 9 now
    rig.run()
    assert rig.store.seal(sunday)["items"]["references"]["state"] == "empty"


def test_a_day_that_neither_product_has_is_stored_once_the_archive_has_it(
    make_rig: Callable[..., Rig],
) -> None:
    day = "2026-11-13"  # age 7
    rig = make_rig(since=day, extract_max_age_days=5, archive_min_age_days=8)
    rig.config.change({"nbb": SMALL_WINDOWS})
    with rig.daemon() as daemon:
        daemon.wait_for("item.nothing_found", key=f"{group_of(day)}/references", count=4)
        assert daemon.stop().code == 0
    assert day not in rig.store.sealed_days()
    rig.admin.clock_set("2026-11-21T12:30")
    rig.run("idle")
    rig.truth.check(rig.store, [day])
    assert rig.store.versions(day, "json")[0]["route"] == "authentic-archive/json"


# ------------------------------------------------------------------------------------------ summer and winter time


@pytest.mark.parametrize(
    ("long_or_short_day", "next_day"),
    [("2026-03-29", "2026-03-30"), ("2026-10-25", "2026-10-26")],
    ids=["23 hours", "25 hours"],
)
def test_a_day_of_23_or_25_hours_is_planned_at_midnight_and_asked_for_once_at_its_own_settling_hour(
    make_rig: Callable[..., Rig], long_or_short_day: str, next_day: str
) -> None:
    midnight = dt.datetime.combine(dt.date.fromisoformat(next_day), dt.time(), BRUSSELS).timestamp()
    settles_at = dt.datetime.combine(dt.date.fromisoformat(next_day), dt.time(5), BRUSSELS).timestamp()
    rig = make_rig(since=long_or_short_day, clock=midnight - 2.5, filings_on={long_or_short_day: 2})
    with rig.daemon() as daemon:
        daemon.wait_for("rescue.finished")
        assert rig.store.days() == {}
        wait_until(lambda: len(rig.store.items()) == len(DATASETS), "plan for the day that has just ended")
        assert daemon.stop().code == 0
    assert list(rig.store.days()) == [long_or_short_day]
    assert {row.due_at for row in rig.store.items().values()} == {settles_at}
    rig.admin.clock_set(settles_at - 2.5)
    with rig.daemon() as daemon:
        daemon.wait_for("day.sealed", group=group_of(long_or_short_day))
        assert daemon.stop().code == 0
    asked = rig.journal()
    assert sorted(entry["dataset"] for entry in asked) == sorted(DATASETS)
    assert {entry["date"] for entry in asked} == {long_or_short_day}
    assert min(entry["started_at"] for entry in asked) >= settles_at
    rig.check_sealed([long_or_short_day])


# ------------------------------------------------------------------------------------------ formats


def test_a_change_of_casing_is_noticed_and_every_day_is_stored(make_rig: Callable[..., Rig]) -> None:
    flips = {"2026-11-16": "mixed", "2026-11-17": "pascal"}
    rig = make_rig(
        since="2026-11-15", casing_flips=flips, filings_on=dict.fromkeys(days("2026-11-15", YESTERDAY), 4)
    )
    rig.run()
    rig.check_sealed(days("2026-11-15", YESTERDAY))
    noticed = {
        day: rig.store.versions(day, "references")[0]["facts"]["casing"]
        for day in days("2026-11-15", YESTERDAY)
    }
    assert noticed == {
        "2026-11-15": "camel",
        "2026-11-16": "camel+pascal",
        "2026-11-17": "pascal",
        "2026-11-18": "pascal",
        "2026-11-19": "pascal",
    }


def test_every_way_to_pack_a_zip_is_understood(make_rig: Callable[..., Rig]) -> None:
    shapes: tuple[dict[str, Any], ...] = (
        {"method": "stored"},
        {"zip64": "forced"},
        {"descriptors": False},
        {"folder": "accounts/2026/"},
        {"reference_names": "suffixed"},
        {"method": "stored", "zip64": "forced", "descriptors": False},
    )
    covered = days("2026-11-14", YESTERDAY)
    rig = make_rig(since=covered[0], filings_on=dict.fromkeys(covered, 3), big_xbrl_every_days=1, clock=NOON)
    for day, shape in zip(covered, shapes, strict=True):
        rig.admin.add_fault({"kind": "shape", **shape}, date=day)
        rig.admin.add_fault({"kind": "head", "framing": "length"}, date=day, share=0.5)
    rig.run()
    assert rig.store.sealed_days() == covered
    rig.store.check_sums(covered)
    rig.store.check_agreement()
    for day in covered:  # names differ by folder and suffix, contents do not
        for dataset in DATASETS:
            wanted = sorted(rig.truth.members(day, dataset).values())
            assert sorted(rig.store.member_digests(day, dataset).values()) == wanted, (day, dataset)
