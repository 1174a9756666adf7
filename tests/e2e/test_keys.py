"""Keys that are refused: the other key takes over, and where there is none, one product waits and the other goes on."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from e2e.rig import quarantined_of
from support.daemon import days, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
ECHO = {"kind": "echo_key", "headers": {"Via": "you sent {key}", "X-Sent": "{key}", "ETag": '"{key}"'}}


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
    assert "x-sent" not in headers, "what is kept is decided by name"
    assert (headers["via"], headers["etag"]) == ("you sent [redacted]", '"[redacted]"')
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


# ------------------------------------------------------------------------------------------ rotation

MONTH = days("2026-10-26", "2026-11-19")
FRESH_KEYS = [digit * 32 for digit in "bcde"]


class KeyFiles:
    """The two keys of the extract as files, exchanged as an operator does it: another file takes the name."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._folder = rig.config.folder / "keys"
        self._folder.mkdir(parents=True)
        self.paths = [self._folder / "first", self._folder / "second"]
        for path, key in zip(self.paths, rig.config.keys["extract"], strict=True):
            self.put(path, key)
        keys = [f"file:{path}" for path in self.paths]
        rig.config.change({"nbb": {"products": {"extract": {"keys": keys, "concurrency": 2}}}})

    @staticmethod
    def put(path: Path, key: str) -> None:
        new = path.with_suffix(".new")
        new.write_text(key)
        new.chmod(0o600)
        new.replace(path)

    def renew(self, slot: int, key: str) -> None:
        """The portal makes a new key in this slot; the former one is refused from now on."""
        product, name = "extract", ("primary", "secondary")[slot]
        self._rig.admin.revoke_key(product, name)
        self._rig.admin.add_key(product, key, name)

    def remove(self) -> None:
        """Leave no key below the configuration's folder, where none may be found in the end."""
        for path in self.paths:
            path.unlink(missing_ok=True)


def test_keys_that_are_rotated_again_and_again_under_load_cost_no_day(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since=MONTH[0], latency_ms=150)
    files = KeyFiles(rig)
    with rig.daemon() as daemon:
        for turn, key in enumerate(FRESH_KEYS):
            daemon.wait_for("item.stored", count=10 * (turn + 1))
            files.renew(turn % 2, key)
            files.put(files.paths[turn % 2], key)
            daemon.wait_for("keys.read", count=turn + 1)
        for day in MONTH:
            daemon.wait_for("day.sealed", group=f"nbb/authentic/{day}", timeout_s=60)
        assert daemon.stop().code == 0
        assert not daemon.lines("lane.parked"), "one of the two keys was good at any time"
        assert not daemon.lines("item.failed")
    rig.check_sealed(MONTH)
    secrets = [*FRESH_KEYS, *rig.config.secrets()]
    assert rig.store.files_with(secrets) == []
    assert {row.attempts for row in rig.store.items().values()} == {0}, "a refused key is no item's fault"
    files.remove()


@pytest.mark.parametrize("is_told", [False, True], ids=["noticed", "on SIGHUP"])
def test_a_lane_that_is_parked_for_its_keys_goes_on_with_the_first_new_one_and_loses_no_day(
    make_rig: Callable[..., Rig], is_told: bool
) -> None:
    rig = make_rig(since="2026-11-09")
    files = KeyFiles(rig)
    rig.admin.revoke_key("extract")
    with rig.daemon(until=None) as daemon:
        daemon.wait_for("lane.parked", lane="nbb/extract")
        daemon.wait_for("alarm.raised", kind="lane_blocked", lane="nbb/extract")
        asked = len(rig.journal(product="extract"))
        rig.admin.add_key("extract", FRESH_KEYS[0], "secondary")
        files.put(files.paths[1], FRESH_KEYS[0])
        if is_told:
            daemon.send(signal.SIGHUP)
            daemon.wait_for("daemon.reloaded")
        daemon.wait_for("lane.opened", lane="nbb/extract", timeout_s=10)
        for day in days("2026-11-09", "2026-11-19"):
            daemon.wait_for("day.sealed", group=f"nbb/authentic/{day}")
        assert daemon.stop().code == 0
    rig.check_sealed(days("2026-11-09", "2026-11-19"))
    after = rig.journal(product="extract")[asked:]
    assert {entry["status"] for entry in after} <= {200, 404}, "the new key was the first to be tried"
    assert rig.store.files_with(FRESH_KEYS) == []
    files.remove()


def test_a_hangup_stops_nobody_and_a_spoilt_key_file_is_told_while_the_key_stays_in_use(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(since="2026-11-18")
    files = KeyFiles(rig)
    with rig.daemon() as daemon:
        for day in days("2026-11-18", "2026-11-19"):
            daemon.wait_for("day.sealed", group=f"nbb/authentic/{day}")
        files.paths[0].unlink()
        os.mkfifo(files.paths[0], 0o600)
        daemon.send(signal.SIGHUP)
        told = daemon.wait_for("keys.read")
        assert told["level"] == "warning"
        assert any("is no file" in problem and "stays in use" in problem for problem in told["problems"])
        assert daemon.is_alive
        assert daemon.stop().code == 0
        assert daemon.lines("lane.parked") == []
    files.remove()
