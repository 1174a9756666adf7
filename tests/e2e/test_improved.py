"""Improved data beside the authentic datasets: a week with improvements of every kind, by both routes."""

from __future__ import annotations

import hashlib
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from e2e.rig import YESTERDAY
from support.daemon import PRODUCTS, days

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.rig import Rig

pytestmark = pytest.mark.slow

ALL_PRODUCTS = (*PRODUCTS, "improved", "improved-archive")
WEEK = days("2026-11-13", YESTERDAY)
SCALE = 0.02  # enough filings for a few improvements a day


def improved_rig(make_rig: Callable[..., Rig], since: str, **settings: Any) -> Rig:
    rig = make_rig(since=since, **{"scale": SCALE, **settings})
    rig.config.products = ALL_PRODUCTS
    rig.config.change({"nbb": {"authentic": ["references"]}})
    return rig


def groups(rig: Rig, family: str) -> dict[str, tuple[bool, dict[str, Any]]]:
    """Whether each day of a family is sealed, and its facts."""
    with rig.store.manifest() as manifest:
        rows = manifest.execute("SELECT * FROM groups WHERE key LIKE ?", (f"nbb/{family}/%",)).fetchall()
    return {
        row["key"].rpartition("/")[2]: (row["sealed_ms"] is not None, json.loads(row["facts"] or "{}"))
        for row in rows
    }


def folder(rig: Rig, day: str) -> Path:
    return rig.store.root / "nbb" / "improved" / day[:4] / day[5:7] / day


def digests(path: Path) -> dict[str, str]:
    with zipfile.ZipFile(path) as opened:
        return {name: hashlib.sha256(opened.read(name)).hexdigest() for name in opened.namelist()}


def check_truth(rig: Rig, which: list[str], product: str) -> int:
    """The zips hold what the sandbox says, to the byte; how many improvements that were."""
    count = 0
    for day in which:
        datasets = rig.admin.day(day, product=product, members=True)["datasets"]
        for dataset in ("references", "json"):
            wanted = datasets[dataset].get("members", {})
            path = folder(rig, day) / f"{dataset}.zip"
            assert path.exists() == bool(wanted), f"{day} {dataset}"
            assert not wanted or digests(path) == wanted, f"{day} {dataset}"
            count += len(wanted) * (dataset == "json")
    return count


def test_a_week_of_improved_data_is_sealed_beside_the_authentic_days(make_rig: Callable[..., Rig]) -> None:
    rig = improved_rig(make_rig, WEEK[0])
    rig.run()
    improved = groups(rig, "improved")
    assert {day for day, (is_sealed, _) in improved.items() if is_sealed} == set(WEEK)
    assert {day for day, (is_sealed, _) in groups(rig, "authentic").items() if is_sealed} == set(WEEK)
    assert check_truth(rig, WEEK, "improved") > 0
    kinds = {kind for _, facts in improved.values() for kind in facts.get("kinds", {})}
    assert kinds <= {"pdf_extracted", "euro_converted", "corrected"}
    assert kinds
    assert {entry["product"] for entry in rig.journal()} == {"extract", "improved"}


def test_old_days_come_from_the_improved_archive(make_rig: Callable[..., Rig]) -> None:
    rig = improved_rig(make_rig, "2026-09-28", clock="2026-11-20T12:30")
    rig.config.change({"nbb": {"extract_last_try_age_days": 30, "edge_give_up_age_days": 30}})
    rig.run()
    old = days("2026-09-28", "2026-10-02")
    assert all(groups(rig, "improved")[day][0] for day in old)
    check_truth(rig, old, "improved-archive")
    assert "improved-archive" in {entry["product"] for entry in rig.journal()}


def test_a_label_nobody_knows_is_kept_and_reported(make_rig: Callable[..., Rig]) -> None:
    rig = improved_rig(make_rig, WEEK[0], improved_unknown_label_share=1.0)
    daemon = rig.run()
    told = [
        facts["unknown_labels"]
        for _, facts in groups(rig, "improved").values()
        if facts.get("unknown_labels")
    ]
    assert told
    assert {label for labels in told for label in labels} == {"restated-authentic"}
    assert daemon.lines("alarm.raised", kind="unknown_label")
    check_truth(rig, WEEK, "improved")


@pytest.mark.parametrize("label", ["aa-corrected", "aa-sb-corrected", "corrected"])
def test_whatever_label_stands_for_both_corrections_the_days_are_sealed(
    make_rig: Callable[..., Rig], label: str
) -> None:
    rig = improved_rig(make_rig, WEEK[0], improved_both_label=label)
    rig.run()
    assert all(is_sealed for is_sealed, _ in groups(rig, "improved").values())


def test_without_a_subscription_for_it_nothing_improved_is_expected(make_rig: Callable[..., Rig]) -> None:
    rig = improved_rig(make_rig, YESTERDAY)
    rig.config.products = PRODUCTS
    rig.run()
    assert groups(rig, "improved") == {}
    assert "improved" not in {entry["product"] for entry in rig.journal()}


# ------------------------------------------------------------------------------------------------- one by one


def single_documents(rig: Rig) -> dict[str, str]:
    """SHA-256 of the improved documents that came by themselves, by reference number and kind."""
    root = rig.store.root / "nbb" / "improved-documents"
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.name.removesuffix(".json"): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def improvements(rig: Rig) -> tuple[str, dict[str, str]]:
    """A day of the week with more than one improvement; SHA-256 of its JSON members, by name."""
    for day in WEEK:
        members = rig.admin.day(day, product="improved", members=True)["datasets"]["json"].get("members", {})
        if len(members) > 1:
            return day, members
    raise AssertionError("no day of the week has two improvements")


def healing_rig(make_rig: Callable[..., Rig]) -> Rig:
    rig = improved_rig(make_rig, WEEK[0], unlisted_extraction_share=0.0)
    rig.config.change({"nbb": {"mismatch_retry": ["200 ms", "400 ms"]}, "run": {"max_attempts": 3}})
    return rig


def singles_asked(rig: Rig) -> list[dict[str, Any]]:
    return rig.journal(product="improved", operation="depositAccountingData")


def test_an_improvement_that_a_zip_lacks_is_fetched_by_itself_and_the_day_is_sealed(
    make_rig: Callable[..., Rig],
) -> None:
    rig = healing_rig(make_rig)
    day, whole = improvements(rig)
    rig.admin.add_fault(
        {"kind": "mutate", "change": "removed", "member": 0}, product="improved", dataset="json", date=day
    )
    daemon = rig.run()
    is_sealed, facts = groups(rig, "improved")[day]
    assert is_sealed
    assert facts["supplied"] == {"json": 1}
    (name,) = whole.keys() - digests(folder(rig, day) / "json.zip").keys()
    assert list(single_documents(rig).values()) == [whole[name]]
    (wanted,) = daemon.lines("items.wanted")
    assert (wanted["group"], wanted["count"]) == (f"nbb/improved/{day}", 1)
    assert len(singles_asked(rig)) == 1
    rig.admin.clear_journal()
    rig.run(until="idle")
    assert rig.journal() == [], "it is had"


def test_an_improved_batch_that_always_breaks_is_completed_document_by_document(
    make_rig: Callable[..., Rig],
) -> None:
    rig = healing_rig(make_rig)
    day, whole = improvements(rig)
    rig.admin.add_fault(
        {"kind": "cut", "after_share": 0.6}, product="improved", operation="accountingData", date=day
    )
    rig.run()
    is_sealed, facts = groups(rig, "improved")[day]
    assert is_sealed
    assert facts["supplied"] == {"json": len(whole)}
    assert not (folder(rig, day) / "json.zip").exists()
    assert sorted(single_documents(rig).values()) == sorted(whole.values())


def test_improvements_that_the_bank_has_not_by_themselves_either_are_told_and_hold_nothing_up(
    make_rig: Callable[..., Rig],
) -> None:
    rig = healing_rig(make_rig)
    rig.config.change({"nbb": {"empty_interval": "200 ms"}})
    day, _ = improvements(rig)
    rig.admin.add_fault(
        {"kind": "mutate", "change": "removed", "member": 0}, product="improved", dataset="json", date=day
    )
    rig.admin.add_fault(
        {"kind": "status", "status": 404, "family": 2}, product="improved", operation="depositAccountingData"
    )
    rig.run()
    is_sealed, facts = groups(rig, "improved")[day]
    assert is_sealed
    assert facts["unavailable"] == {"json": 1}
    assert single_documents(rig) == {}
