"""A day that heals itself: what a zip lacks or never brings comes document by document, and the day is sealed with it."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from e2e.rig import YESTERDAY
from filingd.adapters.catalogue_reader import CatalogueReader
from support.daemon import PRODUCTS, days
from support.mirror import filingd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.rig import Rig

pytestmark = pytest.mark.slow

WITH_QUERY = (*PRODUCTS, "authentic-query")
FILINGS = 7


def healing_rig(make_rig: Callable[..., Rig], **settings: object) -> Rig:
    """A rig with one day of a few filings and the product that serves single documents."""
    rig = make_rig(since=YESTERDAY, filings_on={YESTERDAY: FILINGS}, pdf_only_share=0.0, **settings)
    rig.config.products = WITH_QUERY
    rig.config.change({"nbb": {"mismatch_retry": ["200 ms", "400 ms"]}})
    return rig


def instant_text(at: float) -> str:
    """As `--rehearse-at` wants it."""
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat()


def documents(rig: Rig) -> dict[str, Path]:
    """What lies among the single documents, by file name."""
    folder = rig.store.root / "nbb" / "documents"
    return {path.name: path for path in sorted(folder.rglob("*")) if path.is_file()}


def served(rig: Rig, dataset: str) -> dict[str, str]:
    """SHA-256 by member name, of what the sandbox holds of yesterday."""
    return rig.truth.members(YESTERDAY, dataset)


def check_same(rig: Rig, wanted: dict[str, str]) -> None:
    """The single documents are those the zip should have brought, to the byte."""
    assert {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in documents(rig).items()
    } == wanted


def test_a_document_that_a_zip_lacks_is_fetched_by_itself_and_the_day_is_sealed(
    make_rig: Callable[..., Rig],
) -> None:
    rig = healing_rig(make_rig)
    whole = served(rig, "json")
    rig.admin.add_fault(
        {"kind": "mutate", "change": "removed", "member": 2}, product="extract", dataset="json"
    )
    daemon = rig.run()
    assert rig.store.sealed_days() == [YESTERDAY]
    (name,) = set(whole) - set(rig.store.member_digests(YESTERDAY, "json"))
    check_same(rig, {name: whole[name]})
    seal = rig.store.seal(YESTERDAY)
    assert seal["supplied"] == {"json": 1}
    assert "unavailable" not in seal
    (wanted,) = daemon.lines("items.wanted")
    assert (wanted["count"], wanted["first"]) == (1, f"nbb/documents/{name.removesuffix('.json')}/json")
    assert len(rig.journal(product="authentic-query")) == 1
    rig.admin.clear_journal()
    rig.run(until="idle")
    assert rig.journal(product="authentic-query") == [], "it is had"


def test_a_pdf_batch_that_always_breaks_is_completed_document_by_document(
    make_rig: Callable[..., Rig],
) -> None:
    rig = healing_rig(make_rig)
    wanted = served(rig, "pdf")
    assert len(wanted) == FILINGS
    rig.config.change({"run": {"max_attempts": 3}})
    rig.admin.add_fault({"kind": "cut", "after_share": 0.6}, product="extract", dataset="pdf")
    rig.run()
    assert rig.store.sealed_days() == [YESTERDAY]
    assert not rig.store.zip_path(YESTERDAY, "pdf").exists()
    check_same(rig, wanted)
    seal = rig.store.seal(YESTERDAY)
    assert seal["supplied"] == {"pdf": FILINGS}
    assert seal["items"]["pdf"]["state"] == "quarantined"
    assert rig.store.sums_of(YESTERDAY).returncode == 0


@pytest.mark.parametrize("share", [0.5, 1.0], ids=["some filings", "all filings"])
def test_what_the_bank_does_not_have_either_is_told_and_holds_nothing_up(
    make_rig: Callable[..., Rig], share: float
) -> None:
    rig = healing_rig(make_rig, unexplained_gap_share=share)
    rig.run()
    assert rig.store.sealed_days() == [YESTERDAY]
    assert documents(rig) == {}
    lacking = FILINGS - len(served(rig, "json"))
    assert rig.store.seal(YESTERDAY)["unavailable"] == {"json": lacking, "xbrl": lacking}
    rows = [item for key, item in rig.store.items().items() if key.startswith("nbb/documents/")]
    assert {(row.state, row.reason, row.nothing_count) for row in rows} == {("empty", "not_served", 1)}
    assert len(rig.journal(product="authentic-query")) == len(rows) == 2 * lacking


def test_without_the_query_product_such_a_day_stays_open_and_says_why(make_rig: Callable[..., Rig]) -> None:
    rig = healing_rig(make_rig)
    rig.config.products = PRODUCTS
    rig.admin.add_fault(
        {"kind": "mutate", "change": "removed", "member": 2}, product="extract", dataset="json"
    )
    with rig.daemon() as daemon:
        daemon.wait_for("item.unchanged", count=2)
        assert daemon.stop().code == 0
    day = rig.store.days()[YESTERDAY]
    assert not day.is_sealed
    assert "listed but not in the zip" in day.reasons[0]
    assert documents(rig) == {}


def test_a_death_in_the_middle_of_healing_repeats_at_most_what_was_in_flight(
    make_rig: Callable[..., Rig],
) -> None:
    rig = healing_rig(make_rig, latency_ms=30)
    rig.config.change({"run": {"max_attempts": 2}})
    rig.config.change({"nbb": {"products": {"authentic-query": {"concurrency": 1}}}})
    rig.admin.add_fault({"kind": "cut", "after_share": 0.6}, product="extract", dataset="pdf")
    with rig.daemon() as daemon:
        daemon.wait_for("item.stored", route="authentic-query/pdf", count=3)
        daemon.kill()
    rig.run()
    assert rig.store.sealed_days() == [YESTERDAY]
    check_same(rig, served(rig, "pdf"))
    assert len(rig.journal(product="authentic-query")) <= FILINGS + 1
    assert rig.store.staging() == []


def test_a_rebuilt_manifest_knows_the_single_documents_and_the_seal_stands(
    make_rig: Callable[..., Rig],
) -> None:
    rig = healing_rig(make_rig)
    rig.admin.add_fault(
        {"kind": "mutate", "change": "removed", "member": 2}, product="extract", dataset="json"
    )
    rig.run()
    before = {key: (item.state, item.sha256) for key, item in rig.store.items().items()}
    (rig.store.root / "manifest.db").unlink()
    said = filingd("manifest", "rebuild", "--config", str(rig.config.path), "--json",
                   "--rehearse-at", instant_text(rig.admin.clock()))  # fmt: skip
    assert said.code == 0, said.err
    assert {key: (item.state, item.sha256) for key, item in rig.store.items().items()} == before
    assert json.loads(said.out)["sealed_days"] == 1
    assert list(rig.store.days()) == days(YESTERDAY, YESTERDAY)
    rig.admin.clear_journal()
    rig.run()
    assert rig.journal() == []


def test_a_record_that_does_not_say_whose_filing_it_is_is_asked_for_by_itself_once(
    make_rig: Callable[..., Rig],
) -> None:
    rig = healing_rig(make_rig, missing_enterprise_share=1.0)
    rig.run()
    references = rig.truth.members(YESTERDAY, "references")
    asked = rig.journal(product="authentic-query", operation="depositReference")
    assert sorted(call["reference"] for call in asked) == sorted(name[:13] for name in references)
    with CatalogueReader(rig.store.root / "catalogue.db") as catalogue:
        assert catalogue.parked(99) == []
        entries = [catalogue.entry(name[:13]) for name in references]
        assert all(entry and {one.enterprise for one in entry.listings} != {None} for entry in entries)
        assert all(entry and len(entry.listings) == 2 for entry in entries)
    rig.admin.clear_journal()
    rig.run(until="idle")
    assert rig.journal(product="authentic-query") == []
