"""An interrupted body goes on where it ended if that can be proven right, and begins anew otherwise."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from e2e.rig import YESTERDAY
from support.daemon import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.rig import Rig

pytestmark = pytest.mark.slow

PDF = f"nbb/authentic/{YESTERDAY}/pdf"
BIG_BYTES = 6_000_000
CUT_BYTES = 4_000_000
CUT = {
    "kind": "cut",
    "how": "short",
    "after_bytes": CUT_BYTES,
}  # a reset would take back what is not read yet
# Well above what the daemon writes at once, well below the rate at which a test would take long.
SLOW_BYTES_PER_S = 2_500_000
ENOUGH_BYTES = 2_000_000

LIES = ("full_for_partial", "changed_etag", "always_416", "wrong_start", "wrong_total", "wrong_bytes")


def big_rig(make_rig: Callable[..., Rig], **settings: Any) -> Rig:
    """One day with one big PDF zip, sent with its length."""
    rig = make_rig(since=YESTERDAY, filings_on={YESTERDAY: 3}, framing="length", **settings)
    rig.admin.add_fault({"kind": "huge", "total_bytes": BIG_BYTES}, dataset="pdf")
    return rig


def check_big(rig: Rig) -> None:
    """Assert that the day is sealed, the zip whole, and nothing left over."""
    assert rig.store.sealed_days() == [YESTERDAY]
    rig.store.check_sums([YESTERDAY])
    rig.store.check_agreement()
    assert rig.store.staging() == []
    names = set(rig.truth.members(YESTERDAY, "pdf"))
    assert set(rig.store.member_digests(YESTERDAY, "pdf")) == names  # every CRC was checked on the way
    assert rig.store.zip_path(YESTERDAY, "pdf").stat().st_size > BIG_BYTES
    assert len(rig.store.versions(YESTERDAY, "pdf")) == 1


def interrupt(rig: Rig, how: signal.Signals, grace: str = "100 ms") -> int:
    """Stop a daemon in the middle of the big body; how many bytes lie there then."""
    rig.config.change({"run": {"grace_period": grace}})
    rule = rig.admin.add_fault({"kind": "drip", "bytes_per_s": SLOW_BYTES_PER_S}, dataset="pdf", times=1)
    with rig.daemon() as daemon:
        partial = rig.store.partial(YESTERDAY, "pdf")
        wait_until(
            lambda: partial.exists() and partial.stat().st_size >= ENOUGH_BYTES, "part of the body on disk"
        )
        if how is signal.SIGKILL:
            daemon.kill()
        else:
            assert daemon.stop(how).code == 0
    rig.admin.remove_fault(rule)
    assert not rig.store.zip_path(YESTERDAY, "pdf").exists()
    return partial.stat().st_size if partial.exists() else 0


def test_a_cut_body_with_a_strong_etag_is_gone_on_with(make_rig: Callable[..., Rig]) -> None:
    rig = big_rig(make_rig, ranges="correct")
    rig.admin.add_fault(CUT, dataset="pdf", times=1)
    daemon = rig.run()
    first, second = rig.journal(dataset="pdf")
    assert (first["range"], first["status"], first["outcome"]) == ("", 200, "cut")
    assert second["status"] == 206
    assert second["range"] == f"bytes={CUT_BYTES}-"
    assert second["if_range"].startswith('"')
    size = rig.store.zip_path(YESTERDAY, "pdf").stat().st_size
    assert first["body_bytes"] + second["body_bytes"] == size  # not a byte twice
    assert daemon.wait_for("item.failed", key=PDF)["reason"] == "connection_lost"
    check_big(rig)


def test_what_a_reset_left_is_gone_on_with_however_little_it_is(make_rig: Callable[..., Rig]) -> None:
    rig = big_rig(make_rig, ranges="correct")
    for nth in (1, 2, 3):
        effect = {"kind": "cut", "how": "reset", "after_bytes": 1_500_000}
        rig.admin.add_fault(effect, dataset="pdf", nth=nth)
    rig.run()
    requests = rig.journal(dataset="pdf")
    assert len(requests) == 4
    begun_at = [int(entry["range"][6:-1] or 0) for entry in requests]
    assert begun_at == sorted(begun_at)
    assert begun_at[0] == 0
    check_big(rig)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["told to stop", "killed"])
def test_a_body_that_a_death_cut_is_gone_on_with_by_the_next_daemon(
    make_rig: Callable[..., Rig], how: signal.Signals
) -> None:
    rig = big_rig(make_rig, ranges="correct")
    kept_bytes = interrupt(rig, how)
    assert kept_bytes > 0
    rig.admin.clear_journal()
    rig.run()
    (entry,) = rig.journal(dataset="pdf")
    assert entry["status"] == 206
    assert entry["range"] == f"bytes={kept_bytes}-"
    assert entry["body_bytes"] < BIG_BYTES - kept_bytes + 100_000
    check_big(rig)


@pytest.mark.parametrize("mode", ["off", "weak_etag"])
def test_without_a_strong_etag_only_a_matching_total_allows_going_on(
    make_rig: Callable[..., Rig], mode: str
) -> None:
    rig = big_rig(make_rig, ranges=mode)
    rig.admin.add_fault(CUT, dataset="pdf", times=1)
    rig.run()
    first, second = rig.journal(dataset="pdf")
    assert first["outcome"] == "cut"
    assert second["range"].startswith("bytes=")  # the total is known and will be held against the answer
    assert second["if_range"] == ""
    assert second["status"] == (200 if mode == "off" else 206)
    check_big(rig)


def test_without_any_validator_a_body_begins_anew(make_rig: Callable[..., Rig]) -> None:
    rig = big_rig(make_rig)
    rig.admin.settings(framing="chunked")
    rig.admin.add_fault(CUT, dataset="pdf", times=1)
    rig.run()
    first, second = rig.journal(dataset="pdf")
    assert (first["range"], second["range"]) == ("", "")
    assert second["status"] == 200
    check_big(rig)


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("honest", ["correct", "weak_etag"], ids=["after a strong ETag", "after a weak ETag"])
def test_a_lie_about_a_range_ends_with_the_right_body(
    make_rig: Callable[..., Rig], honest: str, lie: str
) -> None:
    rig = big_rig(make_rig, ranges=honest)
    rig.admin.add_fault(CUT, dataset="pdf", times=1)
    rig.admin.add_fault({"kind": "ranges", "mode": lie}, dataset="pdf", nth=2)
    rig.run()
    requests = rig.journal(dataset="pdf")
    assert requests[1]["range"].startswith("bytes=")
    assert len(requests) == (2 if lie == "full_for_partial" else 3)
    assert requests[-1]["status"] == 200
    assert requests[-1]["range"] == ("" if lie != "full_for_partial" else requests[1]["range"])
    check_big(rig)


def test_a_day_that_changed_between_two_parts_is_never_mixed(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(
        since=YESTERDAY, filings_on={YESTERDAY: 6}, framing="length", ranges="correct", document_scale=1.0
    )
    rig.admin.add_fault({"kind": "cut", "how": "reset", "after_share": 0.8}, dataset="pdf", times=1)
    rig.admin.add_fault({"kind": "stall", "seconds": 1}, dataset="pdf", nth=2)
    with rig.daemon(until="sealed") as daemon:
        daemon.wait_for("item.failed", key=PDF)
        rig.admin.add_fault({"kind": "mutate", "change": "figures"}, date=YESTERDAY, dataset="pdf")
        assert daemon.wait(30).code == 0
    first, second = rig.journal(dataset="pdf")
    assert second["if_range"] == f"{second['if_range']}"
    assert (first["status"], second["status"]) == (200, 200)  # If-Range did not match any more
    rig.check_sealed([YESTERDAY])
