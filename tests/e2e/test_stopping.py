"""Ends and beginnings: signals, deaths, a second daemon, a loop of restarts, `--until-idle`."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from e2e.rig import YESTERDAY
from support.daemon import DATASETS, days, run_daemon, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.rig import Rig
    from support.daemon import DaemonProcess, Ended

pytestmark = pytest.mark.slow

GRACE_S = 1.0
MARGIN_S = 2.0  # issue: exit 0 within the grace period plus two seconds
PDF = f"nbb/authentic/{YESTERDAY}/pdf"

both_signals = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])


def slow_rig(make_rig: Callable[..., Rig], bytes_per_s: int, total_bytes: int, **settings: str) -> Rig:
    """One day whose PDF zip is big and slow."""
    rig = make_rig(since=YESTERDAY, filings_on={YESTERDAY: 3}, **settings)
    rig.admin.add_fault({"kind": "huge", "total_bytes": total_bytes}, dataset="pdf")
    rig.admin.add_fault({"kind": "drip", "bytes_per_s": bytes_per_s}, dataset="pdf")
    return rig


def in_the_middle(rig: Rig) -> None:
    """Wait until the slow body is the only thing under way and part of it lies on the disk."""
    partial = rig.store.partial(YESTERDAY, "pdf")
    wait_until(lambda: partial.exists() and partial.stat().st_size > 0, "part of the body")
    wait_until(
        lambda: all(rig.store.item(YESTERDAY, name).state == "stored" for name in DATASETS[:3]), "other three"
    )


def stopped(daemon: DaemonProcess, *numbers: signal.Signals) -> tuple[Ended, float]:
    """Send signals one after the other; how it ended, and seconds from the first signal on."""
    began_s = time.monotonic()
    for number in numbers:
        daemon.send(number)
    return daemon.wait(), time.monotonic() - began_s


@both_signals
def test_a_slow_transfer_is_cut_at_the_end_of_the_grace_period_and_kept(
    make_rig: Callable[..., Rig], number: signal.Signals
) -> None:
    rig = slow_rig(make_rig, 2_000_000, 400_000_000, framing="length", ranges="correct")
    rig.config.change({"run": {"grace_period": f"{GRACE_S} s"}})
    with rig.daemon() as daemon:
        in_the_middle(rig)
        ended, took_s = stopped(daemon, number)
        assert ended.code == 0, ended.stderr
        assert GRACE_S <= took_s <= GRACE_S + MARGIN_S
        assert daemon.lines("daemon.stopped")[0]["interrupted"] == 1
    assert not rig.store.zip_path(YESTERDAY, "pdf").exists()
    assert rig.store.partial(YESTERDAY, "pdf").stat().st_size > 0
    row = rig.store.item(YESTERDAY, "pdf")
    assert (row.state, row.attempts) == ("due", 0)
    assert not rig.store.is_sealed_on_disk(YESTERDAY)


def test_what_cannot_be_gone_on_with_leaves_nothing_behind(make_rig: Callable[..., Rig]) -> None:
    rig = slow_rig(make_rig, 2_000_000, 400_000_000)  # in chunks, without an ETag
    rig.config.change({"run": {"grace_period": "200 ms"}})
    with rig.daemon() as daemon:
        in_the_middle(rig)
        assert stopped(daemon, signal.SIGTERM)[0].code == 0
    assert rig.store.staging() == []
    assert not rig.store.zip_path(YESTERDAY, "pdf").exists()


def test_a_transfer_that_ends_within_the_grace_period_is_stored(make_rig: Callable[..., Rig]) -> None:
    rig = slow_rig(make_rig, 1_000_000, 3_000_000)
    rig.config.change({"run": {"grace_period": "20 s"}})
    with rig.daemon() as daemon:
        in_the_middle(rig)
        ended, took_s = stopped(
            daemon, signal.SIGTERM, signal.SIGTERM, signal.SIGINT
        )  # more than once is harmless
        assert ended.code == 0, ended.stderr
        assert took_s < 20
        assert daemon.lines("item.stored", key=PDF)
        assert daemon.lines("daemon.stopped")[0]["interrupted"] == 0
    assert rig.store.item(YESTERDAY, "pdf").state == "stored"
    rig.store.check_agreement()
    rig.run()
    assert rig.store.sealed_days() == [YESTERDAY]
    assert len(rig.journal(dataset="pdf")) == 1


@both_signals
def test_an_idle_daemon_ends_at_once(make_rig: Callable[..., Rig], number: signal.Signals) -> None:
    rig = make_rig(since=YESTERDAY)
    rig.config.change({"run": {"grace_period": "30 s"}})
    with rig.daemon() as daemon:
        daemon.wait_for("day.sealed")
        daemon.wait_for("sweep.finished")
        ended, took_s = stopped(daemon, number)
        assert ended.code == 0, ended.stderr
        assert took_s < MARGIN_S
        assert [line["event"] for line in daemon.lines()][-1] == "daemon.stopped"
    rig.check_sealed([YESTERDAY])


@both_signals
def test_a_signal_in_the_first_moments_ends_it_without_a_traceback_or_a_trace(
    make_rig: Callable[..., Rig], number: signal.Signals
) -> None:
    rig = make_rig(since=YESTERDAY)
    with rig.daemon() as daemon:
        daemon.wait_for("daemon.started")
        ended = daemon.stop(number)
        assert ended.code in (0, -number, 128 + number), ended.stderr
        assert "Traceback" not in ended.stderr
    rig.run()
    rig.check_sealed([YESTERDAY])


def test_no_request_begins_after_the_signal(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since="2026-10-20", latency_ms=100)
    rig.config.change({"run": {"grace_period": "10 s"}})
    with rig.daemon() as daemon:
        daemon.wait_for("item.stored", count=5)
        daemon.send(signal.SIGTERM)
        stopping = daemon.wait_for("daemon.stopping")
        assert daemon.wait().code == 0
        late = [line for line in daemon.lines("item.leased") if line["ts"] > stopping["ts"]]
    assert late == []
    rig.store.check_agreement(at_rest=False)
    assert rig.store.staging() == []


def test_a_second_daemon_on_the_same_store_is_turned_away_and_disturbs_nobody(
    make_rig: Callable[..., Rig],
) -> None:
    rig = make_rig(since="2026-11-10", latency_ms=50)
    with rig.daemon(until="sealed") as first:
        first.wait_for("item.stored")
        second, _ = run_daemon(rig.config, rehearse_at=rig.admin.clock())
        assert second.code == 4
        assert f"pid {first.process.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        assert first.wait(60).code == 0
    rig.check_sealed(days("2026-11-10", YESTERDAY))
    ids = [entry["request_id"] for entry in rig.journal()]
    assert len(ids) == len(
        {(entry["date"], entry["dataset"], entry["status"], entry["sequence"]) for entry in rig.journal()}
    )


def test_a_loop_of_restarts_never_exceeds_the_rate(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since="2026-11-10", latency_ms=150)
    rig.config.change({"nbb": {"products": {"extract": {"calls_per_second": 1.0, "concurrency": 1}}}})
    for count in range(10):
        before = len(rig.journal())
        with rig.daemon() as daemon:
            wait_until(lambda before=before: len(rig.journal()) > before, "first request of this start")  # type: ignore[misc]
            if count % 2:
                daemon.kill()
            else:
                assert daemon.stop().code == 0
    summary = rig.admin.summary(window_s=0.8)
    assert summary["count"] >= 10
    assert summary["max_arrivals"] == 1


def test_until_idle_does_not_wait_for_what_is_due_later(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since="2026-11-18", published_at={YESTERDAY: "2026-12-01T05:00"})
    rig.config.change({"nbb": {"not_yet_interval": "1 h", "ask_again_cap": "24 h"}})
    daemon = rig.run("idle")
    assert daemon.lines("daemon.stopping")[0]["reason"] == "done"
    assert rig.store.sealed_days() == ["2026-11-18"]
    assert len(rig.journal(date=YESTERDAY)) == len(DATASETS)
    again = rig.run("idle")
    assert len(rig.journal(date=YESTERDAY)) == len(DATASETS)
    assert again.lines("item.leased") == []
