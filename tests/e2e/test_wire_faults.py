"""Exchanges that break: stalled, dripping, reset, cut, refused, or answered by a server in trouble."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from support.daemon import days, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.rig import Rig
    from support.daemon import DaemonProcess

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Broken:
    """A fault, the dataset it hits once, and the reason with which the attempt fails."""

    name: str
    effect: dict[str, Any]
    dataset: str
    reason: str
    is_declared: bool = False  # the answer has a Content-Length


BREAKS = (
    Broken("silence instead of an answer", {"kind": "stall"}, "json", "head_timeout"),
    Broken("stalled in the middle", {"kind": "stall", "where": "body", "after_bytes": 500}, "pdf", "stalled"),
    Broken("stalled in a declared body", {"kind": "stall", "where": "body", "after_bytes": 500}, "pdf", "stalled", True),
    Broken("slower than the least throughput", {"kind": "drip", "bytes_per_s": 3000}, "pdf", "too_slow"),
    Broken("slow and declared", {"kind": "drip", "bytes_per_s": 3000}, "pdf", "too_slow", True),
    Broken("reset between chunks", {"kind": "cut", "how": "reset"}, "xbrl", "connection_lost"),
    Broken("reset in a declared body", {"kind": "cut", "how": "reset"}, "pdf", "connection_lost", True),
    Broken("closed between chunks", {"kind": "cut", "how": "short"}, "pdf", "connection_lost"),
    Broken("short of its Content-Length", {"kind": "cut", "how": "short"}, "json", "connection_lost", True),
    Broken("a Content-Length too large", {"kind": "length", "delta_bytes": 100}, "xbrl", "connection_lost", True),
    Broken("reset instead of an answer", {"kind": "refuse", "how": "rst"}, "references", "connection_lost"),
    Broken("closed instead of an answer", {"kind": "refuse", "how": "close"}, "references", "connection_lost"),
)  # fmt: skip
HIT_DAYS = days("2026-11-08", "2026-11-19")
CASES = list(zip(HIT_DAYS, BREAKS, strict=True))


@pytest.fixture(scope="module")
def broken(make_shared_rig: Callable[..., Rig]) -> tuple[Rig, DaemonProcess]:
    """One run in which each day suffers once, each from another fault."""
    rig = make_shared_rig(since=HIT_DAYS[0], filings_on=dict.fromkeys(HIT_DAYS, 2))
    for day, each in CASES:
        rig.admin.add_fault(each.effect, date=day, dataset=each.dataset, times=1)
        if each.is_declared:
            rig.admin.add_fault(
                {"kind": "head", "framing": "length"}, date=day, dataset=each.dataset, times=1
            )
    rig.config.change(
        {"http": {"idle_timeout": "1200 ms", "min_bytes_per_s": 20_000, "min_rate_window": "2 s"}}
    )
    daemon = rig.run()
    assert all(fault["applied"] == 1 for fault in rig.admin.faults())
    return rig, daemon


@pytest.mark.parametrize(("day", "each"), CASES, ids=[each.name for each in BREAKS])
def test_a_broken_exchange_is_made_again_and_its_body_stored(
    broken: tuple[Rig, DaemonProcess], day: str, each: Broken
) -> None:
    rig, daemon = broken
    failed = daemon.lines("item.failed", key=f"nbb/authentic/{day}/{each.dataset}")
    assert [line["reason"] for line in failed] == [each.reason]
    assert len(rig.journal(date=day, dataset=each.dataset)) == 2
    assert len(rig.store.versions(day, each.dataset)) == 1


def test_all_days_are_sealed_after_every_kind_of_broken_exchange(broken: tuple[Rig, DaemonProcess]) -> None:
    rig, daemon = broken
    rig.check_sealed(HIT_DAYS)
    assert rig.store.quarantined() == []
    assert daemon.lines("lane.parked") == []


def test_bursts_of_server_errors_are_waited_out(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since="2026-11-09")
    for count, status in enumerate((502, 503, 504, 500)):
        rig.admin.add_fault({"kind": "status", "status": status}, skip=10 * count, times=4)
    daemon = rig.run()
    rig.check_sealed(days("2026-11-09", "2026-11-19"))
    failed = {line["reason"] for line in daemon.lines("item.failed")}
    assert failed == {f"server_error_{status}" for status in (500, 502, 503, 504)}
    assert daemon.lines("item.gave_up") == []
    assert rig.admin.summary()["by_status"]["502"] == 4


def test_a_registry_that_keeps_failing_is_left_alone_for_a_while(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since="2026-11-18")
    rule = rig.admin.add_fault({"kind": "status", "status": 502})
    with rig.daemon() as daemon:
        parked = daemon.wait_for("lane.parked", lane="nbb/extract")
        assert parked["reason"] == "server_error_502"
        assert daemon.stop().code == 0
    asked = len(rig.journal())
    assert 5 <= asked <= 8  # five in a row, and what was under way
    with rig.daemon() as daemon:  # starting again does not make the pause shorter
        daemon.wait_for("heartbeat", count=3)
        assert daemon.stop().code == 0
    assert len(rig.journal()) == asked
    rig.admin.remove_fault(rule)
    rig.admin.clock_advance(90)
    rig.run()
    rig.check_sealed(["2026-11-18", "2026-11-19"])


def test_a_closed_door_costs_no_item_its_tries(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since="2026-11-18")
    rig.config.change({"run": {"max_attempts": 1}})
    rig.admin.listening(open_door=False)
    with rig.daemon() as daemon:
        daemon.wait_for("item.failed", reason="connect_failed")
        daemon.wait_for("lane.parked", lane="nbb/extract")
        assert daemon.stop().code == 0
        assert daemon.lines("item.gave_up") == []
    rig.admin.listening(open_door=True)
    rig.admin.clock_advance(90)
    rig.run()
    rig.check_sealed(["2026-11-18", "2026-11-19"])


def test_a_page_of_the_firewall_parks_its_lane_with_an_alarm_and_the_other_lane_goes_on(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(since="2026-10-12")
    rule = rig.admin.add_fault({"kind": "waf"}, path="/extracts/*")
    with rig.daemon() as daemon:
        parked = daemon.wait_for("lane.parked", lane="nbb/extract")
        assert parked["reason"] == "firewall"
        alarm = daemon.wait_for("alarm.raised", kind="lane_blocked", lane="nbb/extract")
        assert "user_agent" in alarm["detail"]
        daemon.wait_for("day.sealed", group="nbb/authentic/2026-10-12")
        assert daemon.stop().code == 0
        assert daemon.lines("lane.key_switched") == []
    assert len(rig.journal(status=403)) <= 4
    rig.admin.remove_fault(rule)
    with rig.daemon() as daemon:
        daemon.wait_for("day.sealed", group="nbb/authentic/2026-11-19")
        assert daemon.stop().code == 0


def test_a_wrong_media_type_and_a_wrong_path_hold_up_nothing_else(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since="2026-11-16")
    paths = {
        "json": {"accept": "application/json"},
        "xbrl": {"path": "/extracts/batches/{date}/accountingData"},
    }
    rig.config.change({"nbb": {"paths": {"extract": paths}}, "run": {"give_up_pause": "1 h"}})
    with rig.daemon() as daemon:
        for day in days("2026-11-16", "2026-11-19"):
            for dataset in ("references", "pdf"):
                daemon.wait_for("item.stored", key=f"nbb/authentic/{day}/{dataset}")
            for dataset, reason in (("json", "media_type_refused"), ("xbrl", "path_unknown")):
                daemon.wait_for("alarm.raised", key=f"nbb/authentic/{day}/{dataset}", kind=reason)
        wait_until(
            lambda: all(len(day.reasons) == 2 for day in rig.store.days().values()), "judgement of every day"
        )
        assert daemon.stop().code == 0
    for row in rig.store.days().values():
        assert not row.is_sealed
        assert row.reasons == ("json: quarantined (media_type_refused)", "xbrl: quarantined (path_unknown)")
    assert {entry["status"] for entry in rig.journal(dataset="json")} <= {415, 404}


def test_a_redirect_is_never_followed_and_the_key_goes_nowhere_else(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since="2026-11-18")
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.setblocking(False)
        location = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/extracts/batch/2026-11-19/references"
        rule = rig.admin.add_fault({"kind": "redirect", "location": location, "status": 307})
        with rig.daemon() as daemon:
            daemon.wait_for("alarm.raised", kind="lane_blocked", lane="nbb/extract")
            assert daemon.stop().code == 0
        rig.admin.remove_fault(rule)
        rig.run()
        with pytest.raises(BlockingIOError):
            elsewhere.accept()  # nobody ever connected
    assert rig.admin.summary()["by_status"]["307"] >= 1
    rig.check_sealed(["2026-11-18", "2026-11-19"])
