"""Keys that are refused: the other key takes over, and where there is none, one product waits and the other goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from e2e.rig import quarantined_of
from support.daemon import days, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.rig import Rig

pytestmark = pytest.mark.slow

EXTRACT_DAYS = days("2026-11-16", "2026-11-19")
ARCHIVE_DAYS = days("2026-10-12", "2026-10-14")
BETWEEN = days("2026-10-15", "2026-11-15")


def test_the_second_key_takes_over_when_the_first_is_revoked_in_the_middle(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(since="2026-11-09", latency_ms=30)
    with rig.daemon(until="sealed") as daemon:
        daemon.wait_for("item.stored", count=6)
        assert rig.admin.revoke_key("extract", "primary") == 1
        assert daemon.wait(60).code == 0
        (switched,) = daemon.lines("lane.key_switched")
        assert switched["key_index"] == 1
        assert daemon.lines("alarm.raised", kind="lane_blocked") == []
    rig.check_sealed(days("2026-11-09", "2026-11-19"))
    refused = rig.journal(status=401)
    assert 1 <= len(refused) <= 4  # those that were under way
    later = [entry for entry in rig.journal() if entry["sequence"] > refused[-1]["sequence"]]
    assert later
    assert {entry["slot"] for entry in later} == {"secondary"}


def test_a_switch_of_keys_outlives_a_restart(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since="2026-11-18")
    rig.admin.revoke_key("extract", "primary")
    rig.run()
    rig.admin.clear_journal()
    rig.config.change({"nbb": {"since": "2026-11-17"}})
    rig.config.since = "2026-11-17"
    rig.config.changes["nbb"].pop("since")
    rig.run()
    assert {entry["slot"] for entry in rig.journal()} == {"secondary"}
    rig.check_sealed(days("2026-11-17", "2026-11-19"))


def test_without_any_key_one_product_waits_and_the_other_goes_on(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since="2026-10-12")
    rig.admin.revoke_key("extract")
    with rig.daemon() as daemon:
        parked = daemon.wait_for("lane.parked", lane="nbb/extract")
        assert parked["reason"] == "key_refused"
        daemon.wait_for("alarm.raised", kind="lane_blocked", lane="nbb/extract")
        for day in ARCHIVE_DAYS:
            daemon.wait_for("day.sealed", group=f"nbb/authentic/{day}")
        wait_until(lambda: not _due_on_the_archive(rig), "end of the archive's work")
        assert daemon.stop().code == 0
        assert daemon.lines("daemon.failed") == []
    # The extract was asked at most once for each key and worker, and nobody took the refusal for an answer.
    assert 2 <= len(rig.journal(product="extract")) <= 8
    items = rig.store.items().values()
    waiting = [row for row in items if row.lane == "nbb/extract"]
    assert waiting
    assert {(row.state, row.attempts, row.nothing_count) for row in waiting} == {("due", 0, 0)}


def _due_on_the_archive(rig: Rig) -> list[str]:
    rows = rig.store.items().values()
    return [
        row.key
        for row in rows
        if row.lane == "nbb/authentic-archive" and row.day in ARCHIVE_DAYS and row.state in ("due", "active")
    ]


def test_a_daemon_that_is_started_again_with_a_good_key_goes_on_at_once(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since="2026-11-17")
    rig.admin.revoke_key("extract")
    with rig.daemon() as daemon:
        daemon.wait_for("alarm.raised", kind="lane_blocked")
        assert daemon.stop().code == 0
    rig.admin.add_key("extract", rig.sandbox.keys["extract"][0], "primary")
    rig.run()
    rig.check_sealed(days("2026-11-17", "2026-11-19"))


@pytest.mark.parametrize("place", ["env:FILINGD_TEST_NOT_THERE", "file:/nowhere/key"])
def test_a_key_that_cannot_be_read_parks_its_lane_before_anything_is_asked(
    make_rig: Callable[..., Rig], place: str
) -> None:
    rig = make_rig(since="2026-11-18")
    rig.config.change({"nbb": {"products": {"extract": {"keys": [place]}}}})
    with rig.daemon() as daemon:
        alarm = daemon.wait_for("alarm.raised", lane="nbb/extract")
        assert place.partition(":")[2] in alarm["detail"]
        assert daemon.stop().code == 0
    assert rig.journal() == []
    rig.config.change({"nbb": {"products": {"extract": {"keys": None}}}})
    assert {(row.state, row.attempts) for row in rig.store.items().values()} == {("due", 0)}


def test_a_parked_lane_is_no_reason_to_run_for_ever_until_idle(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since="2026-11-18")
    rig.admin.revoke_key("extract")
    daemon = rig.run("idle")
    assert daemon.lines("lane.parked", lane="nbb/extract")
    assert rig.store.sealed_days() == []


# ------------------------------------------------------------------------------------------ a registry that echoes it

ECHOED_DAYS = days("2026-11-16", "2026-11-19")
ECHO = {"kind": "echo_key", "headers": {"X-Sent": "you sent {key}", "ETag": '"{key}"'}}


def test_a_key_that_is_echoed_in_headers_and_errors_is_nowhere_below_the_store(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(since=ECHOED_DAYS[0], framing="length")
    rig.admin.add_fault(ECHO)
    rig.admin.add_fault({"kind": "damage", "damage": "crc"}, date=ECHOED_DAYS[0], dataset="json", times=1)
    rig.admin.add_fault({"kind": "cut"}, date=ECHOED_DAYS[1], dataset="pdf", times=1)
    for family in (1, 2, 3):
        rig.admin.add_fault(
            {"kind": "status", "status": 500, "family": family}, date=ECHOED_DAYS[2], dataset="pdf", times=1
        )
    rig.admin.add_fault({"kind": "unauthorized"}, slot="primary", times=1)
    daemon = rig.run()
    rig.check_sealed(ECHOED_DAYS)
    assert all(fault["applied"] for fault in rig.admin.faults())
    headers = quarantined_of(rig, ECHOED_DAYS[0], "json").record["headers"]
    assert (headers["x-sent"], headers["etag"]) == ("you sent [redacted]", '"[redacted]"')
    assert {version["etag"] for day in ECHOED_DAYS for version in rig.store.versions(day, "json")} == {
        '"[redacted]"'
    }
    failed = daemon.lines("item.failed", reason="server_error_500")
    assert len(failed) == 3
    assert all("[redacted]" in line["detail"] for line in failed)
    assert rig.store.files_with(rig.config.secrets()) == []


def test_an_error_under_a_200_that_quotes_the_key_lies_as_it_was_served_and_nothing_says_more_of_it(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(since=ECHOED_DAYS[0])
    rig.admin.add_fault(ECHO)
    rig.admin.add_fault(
        {"kind": "replace", "body": "json_error"}, date=ECHOED_DAYS[0], dataset="json", times=1
    )
    daemon = rig.run()
    rig.check_sealed(ECHOED_DAYS)
    found = quarantined_of(rig, ECHOED_DAYS[0], "json")
    assert '"subscriptionKey":"[redacted]"' in found.record["detail"]
    (line,) = daemon.lines("item.quarantined")
    assert '"subscriptionKey":"[redacted]"' in line["detail"]
    assert rig.store.files_with(rig.config.secrets()) == [found.path]
    found.path.unlink()  # a body is evidence and stays verbatim; everything else is looked through once more
