"""Bodies that are not what they should be: never under a final name, kept with their reason, and asked for again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from e2e.rig import quarantined_of, request_id_text
from support.daemon import days, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.rig import Rig
    from support.daemon import DaemonProcess

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Bad:
    """A fault, the dataset it hits, and the problem its body is refused for."""

    name: str
    effect: dict[str, Any]
    dataset: str
    problem: str


def damaged(name: str, dataset: str, problem: str, **fields: Any) -> Bad:
    return Bad(name, {"kind": "damage", "damage": name, **fields}, dataset, problem)


def replaced(body: str, dataset: str) -> Bad:
    return Bad(f"{body} with 200", {"kind": "replace", "body": body}, dataset, "wrong_kind")


BAD_BODIES = (
    damaged("crc", "json", "zip_bad_crc"),
    damaged("bitflip", "references", "zip_bad_crc"),
    damaged("no_eocd", "xbrl", "zip_no_end"),
    damaged("zip_slip", "json", "zip_bad_name"),
    damaged("absolute", "pdf", "zip_bad_name"),
    damaged("backslash", "xbrl", "zip_bad_name"),
    damaged("drive", "json", "zip_bad_name"),
    damaged("duplicate", "references", "zip_duplicate"),
    damaged("encrypted", "json", "zip_encrypted"),
    damaged("link", "xbrl", "zip_link"),
    damaged("absent", "json", "zip_directory_mismatch"),
    damaged("unlisted", "pdf", "zip_directory_mismatch"),
    damaged("renamed", "json", "zip_directory_mismatch"),
    damaged("bomb", "json", "zip_ratio", bomb_bytes=96 * 1024 * 1024),
    replaced("html", "pdf"),
    replaced("json_error", "references"),
    replaced("text", "json"),
    Bad("unknown fields", {"kind": "shape", "fields": "unknown"}, "references", "inspect_failed"),
    Bad("renamed fields", {"kind": "shape", "fields": "renamed"}, "references", "inspect_failed"),
    Bad("truncated zip in whole chunks", {"kind": "cut", "how": "clean"}, "json", "zip_no_end"),
    Bad("truncated zip with its own length", {"kind": "cut", "how": "clean"}, "pdf", "zip_no_end"),
)
DECLARED = {"truncated zip with its own length"}  # these come with a Content-Length
# One day for each, all in the extract's window; weekends have filings here.
HIT_DAYS = days("2026-10-30", "2026-11-19")
CASES = list(zip(HIT_DAYS, BAD_BODIES, strict=True))

each_bad_body = pytest.mark.parametrize(("day", "bad"), CASES, ids=[bad.name for bad in BAD_BODIES])


@pytest.fixture(scope="module")
def refused(make_shared_rig: Callable[..., Rig]) -> tuple[Rig, DaemonProcess]:
    """One run in which each day suffers once, each from another fault."""
    rig = make_shared_rig(since=HIT_DAYS[0], filings_on=dict.fromkeys(HIT_DAYS, 2))
    for day, bad in CASES:
        rig.admin.add_fault(bad.effect, date=day, dataset=bad.dataset, times=1)
        if bad.name in DECLARED:
            rig.admin.add_fault({"kind": "head", "framing": "length"}, date=day, dataset=bad.dataset, times=1)
    daemon = rig.run()
    assert all(fault["applied"] == 1 for fault in rig.admin.faults())
    return rig, daemon


@each_bad_body
def test_a_bad_body_lies_in_quarantine_with_its_headers_and_the_problem(
    refused: tuple[Rig, DaemonProcess], day: str, bad: Bad
) -> None:
    rig, daemon = refused
    found = quarantined_of(rig, day, bad.dataset)
    assert found.record["problem"] == bad.problem
    assert found.record["detail"]
    assert found.record["status"] == 200
    assert found.record["headers"]["server"] == "filingd-sandbox"
    assert ("content-length" in found.record["headers"]) == (bad.name in DECLARED)
    assert found.path.stat().st_size > 0
    (line,) = daemon.lines("item.quarantined", key=found.record["key"])
    assert line["path"] == found.path.relative_to(rig.store.root).as_posix()
    assert line["request_id"] == found.record["request_id"]


@each_bad_body
def test_a_bad_body_never_has_a_final_name_and_the_next_good_one_does(
    refused: tuple[Rig, DaemonProcess], day: str, bad: Bad
) -> None:
    rig, _ = refused
    (version,) = rig.store.versions(day, bad.dataset)
    assert version["number"] == 1
    assert rig.store.kept_versions(day) == []
    attempts = rig.journal(date=day, dataset=bad.dataset)
    assert len(attempts) == 2
    refused_id = quarantined_of(rig, day, bad.dataset).record["request_id"]
    assert [entry["request_id"] for entry in attempts] == [refused_id, request_id_text(version["request_id"])]


def test_all_days_are_sealed_after_every_kind_of_bad_body(refused: tuple[Rig, DaemonProcess]) -> None:
    rig, _ = refused
    rig.check_sealed(HIT_DAYS)
    assert len(rig.store.quarantined()) == len(BAD_BODIES)


def test_nothing_is_written_outside_the_store(refused: tuple[Rig, DaemonProcess]) -> None:
    rig, _ = refused
    assert list(rig.config.folder.parent.rglob("*evil*")) == []


def test_an_item_that_stays_bad_is_left_alone_while_all_others_go_on(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(since="2026-11-16")
    rule = rig.admin.add_fault(
        {"kind": "shape", "fields": "renamed"}, dataset="references", date="2026-11-17"
    )
    rig.config.change({"run": {"max_attempts": 3, "give_up_pause": "2 s"}})
    key = "nbb/authentic/2026-11-17/references"
    with rig.daemon() as daemon:
        for day in ("2026-11-16", "2026-11-18", "2026-11-19"):
            daemon.wait_for("day.sealed", group=f"nbb/authentic/{day}")
        daemon.wait_for("item.gave_up", key=key)
        daemon.wait_for("alarm.raised", key=key, kind="inspect_failed")
        wait_until(
            lambda: any("references: quarantined" in why for why in rig.store.days()["2026-11-17"].reasons),
            "reason why the day is open",
        )
        assert len(rig.store.quarantined()) == 3
        assert not rig.store.zip_path("2026-11-17", "references").exists()
        rig.admin.remove_fault(rule)
        daemon.wait_for("day.sealed", group="nbb/authentic/2026-11-17")  # by itself, after the pause
        assert daemon.stop().code == 0
    rig.check_sealed(days("2026-11-16", "2026-11-19"))
