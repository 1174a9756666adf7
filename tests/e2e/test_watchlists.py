"""Companies of watchlists, end to end: from nothing to every document, a new filing noticed from the references of its day."""

from __future__ import annotations

import json
import signal
import urllib.error
import urllib.request
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from e2e.rig import NOON, YESTERDAY
from filingd.registries.nbb.enterprises import check_digits
from support.daemon import PRODUCTS, SANDBOX_KEYS, wait_until
from support.mirror import filingd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.rig import Rig

pytestmark = pytest.mark.slow

WITH_QUERY = (*PRODUCTS, "authentic-query")
WITH_ALL = (*WITH_QUERY, "improved")
FRIDAY, SATURDAY_NOON = "2026-11-20", "2026-11-21T12:30"
ACCEPT = {"json": "application/x.jsonxbrl", "xbrl": "application/x.xbrl", "pdf": "application/pdf"}


def watching_rig(make_rig: Callable[..., Rig], **settings: Any) -> Rig:
    """A rig that mirrors the references of days alone, with the products that know companies."""
    rig = make_rig(since=YESTERDAY, **settings)
    rig.config.products = WITH_QUERY
    rig.config.change({"nbb": {"authentic": ["references"]}})
    return rig


def watch(rig: Rig, *lines: str, name: str = "clients") -> Path:
    """Write a list where the configuration has it by default."""
    path = rig.config.folder / "watchlists" / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def a_company(rig: Rig, fits: Callable[[list[dict[str, Any]]], Any]) -> str:
    """The first company whose filings are as a test wants them."""
    numbers = rig.admin.companies(2000)
    return next(number for number in numbers if fits(rig.admin.company(number)))


def served(rig: Rig, product: str, path: str, accept: str) -> bytes | None:
    """What the sandbox answers to somebody else with the same key; None for 404."""
    headers = {"NBB-CBSO-Subscription-Key": SANDBOX_KEYS[product][0], "Accept": accept, "User-Agent": "test/1",
               "X-Request-Id": "00000000-0000-4000-8000-000000000000"}  # fmt: skip
    request = urllib.request.Request(rig.sandbox.base_url + path, headers=headers)
    try:
        with urllib.request.urlopen(request) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return None


def documents_served(rig: Rig, filings: list[dict[str, Any]]) -> dict[str, bytes]:
    """Every authentic document of some filings, by name; the journal is cleared of the questions."""
    found: dict[str, bytes] = {}
    for filing in filings:
        reference = filing["reference_number"]
        for kind in filing["formats"]:
            body = served(
                rig, "authentic-query", f"/authentic/deposit/{reference}/accountingData", ACCEPT[kind]
            )
            assert body is not None
            found[f"{reference}.{kind}"] = body
    rig.admin.clear_journal()
    return found


def held(rig: Rig, folder: str = "documents") -> dict[str, bytes]:
    """What lies among the single documents, by name."""
    root = rig.store.root / "nbb" / folder
    return {path.name: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def references_of(rig: Rig, number: str) -> set[str]:
    """The references in the answer about a company, as it is stored."""
    path = rig.store.root / f"nbb/enterprises/{number[:4]}/{number[4:7]}/{number}.references.json"
    return {row["ReferenceNumber"] for row in json.loads(path.read_bytes())}


def asked(rig: Rig, operation: str, product: str = "authentic-query") -> list[dict[str, Any]]:
    return rig.journal(product=product, operation=operation)


# ------------------------------------------------------------------------------------------------- from nothing


def test_a_company_is_watched_from_nothing_to_every_document(make_rig: Callable[..., Rig]) -> None:
    rig = watching_rig(make_rig)
    number = a_company(
        rig, lambda filings: len(filings) >= 8 and any("json" in f["formats"] for f in filings)
    )
    filings = rig.admin.company(number)
    truth = documents_served(rig, filings)
    rig.config.change({"nbb": {"watch": {"clients": {"documents": ["json", "xbrl", "pdf"]}}}})
    watch(rig, "number,name", f"BE {number[:4]}.{number[4:7]}.{number[7:]},a client")
    daemon = rig.run(until="idle")
    assert references_of(rig, number) == {filing["reference_number"] for filing in filings}
    assert held(rig) == truth
    assert len(asked(rig, "legalEntityReferences")) == 1
    without_pdf = [
        filing for filing in filings if "pdf" not in filing["formats"]
    ]  # how old PDFs are is not known
    assert len(asked(rig, "depositAccountingData")) == len(truth) + len(without_pdf), "nothing else in vain"
    (told,) = daemon.lines("watchlist.read")
    assert (told["companies"], told["lists"], told["added"]) == (1, {"clients": 1}, 1)
    assert rig.store.sealed_days() == [YESTERDAY]
    rig.admin.clear_journal()
    rig.run(until="idle")
    assert rig.journal() == [], "all of it is had"


def test_the_latest_exercises_alone_and_the_kinds_that_are_wanted(make_rig: Callable[..., Rig]) -> None:
    rig = watching_rig(make_rig)
    number = a_company(rig, lambda filings: len(filings) >= 8 and all(f["structured"] for f in filings))
    rig.config.change({"nbb": {"watch": {"clients": {"documents": ["pdf"], "latest": 2}}}})
    watch(rig, number)
    rig.run(until="idle")
    path = rig.store.root / f"nbb/enterprises/{number[:4]}/{number[4:7]}/{number}.references.json"
    rows = json.loads(path.read_bytes())
    newest = sorted({row["ExerciseDates"]["endDate"] for row in rows})[-2:]
    wanted = {f"{row['ReferenceNumber']}.pdf" for row in rows if row["ExerciseDates"]["endDate"] in newest}
    assert held(rig).keys() == wanted
    rig.config.change({"nbb": {"watch": {"clients": {"latest": 3}}}})
    rig.admin.clear_journal()
    rig.run(until="idle")
    assert asked(rig, "legalEntityReferences") == [], "other terms take no other answer"
    assert held(rig).keys() > wanted


def test_improved_data_of_a_company_come_by_its_number(make_rig: Callable[..., Rig]) -> None:
    rig = watching_rig(make_rig, corrected_share=0.6, extracted_share=1.0, unlisted_extraction_share=0.5,
                       pdf_only_share=0.3)  # fmt: skip
    rig.config.products = WITH_ALL
    rig.config.change(
        {
            "nbb": {
                "improved": [],
                "watch": {"clients": {"documents": [], "improved": True, "refresh_interval": "7 d"}},
            }
        }
    )

    def kinds(filings: list[dict[str, Any]]) -> set[str]:
        return {made["kind"].lower() for filing in filings for made in filing["improvements"]}

    every = {number: rig.admin.company(number) for number in rig.admin.companies(300)}
    numbers = [
        next(number for number, filings in every.items() if kind in kinds(filings))
        for kind in ("corrected", "pdf_extracted")
    ]
    truth = {
        f"{filing['reference_number']}.{kind}.json": served(
            rig, "improved", f"/improved/deposit/{filing['reference_number']}/accountingData/improved/{kind}",
            "application/x.jsonxbrl",
        )
        for number in numbers
        for filing in rig.admin.company(number)
        for kind in {made["kind"].lower() for made in filing["improvements"]}
    }  # fmt: skip
    rig.admin.clear_journal()
    watch(rig, *numbers)
    rig.run(until="idle")
    assert held(rig, "improved-documents") == truth
    assert len(asked(rig, "legalEntityReferences", "improved")) == len(numbers)
    assert held(rig) == {}


def test_a_company_that_never_filed_is_known_to_be_empty_and_asked_again_in_time(
    make_rig: Callable[..., Rig],
) -> None:
    rig = watching_rig(make_rig)
    watch(rig, "0403.101.811")
    rig.run(until="idle")
    row = rig.store.items()["nbb/enterprises/0403101811/references"]
    assert (row.state, row.reason) == ("empty", "no_filings_known")
    assert row.due_at is not None
    assert row.due_at - rig.admin.clock() == pytest.approx(30 * 86_400, abs=120)
    rig.admin.clear_journal()
    rig.run(until="idle")
    assert rig.journal() == []


def test_after_the_interval_a_company_is_asked_about_again_and_the_same_rows_are_no_new_version(
    make_rig: Callable[..., Rig],
) -> None:
    rig = watching_rig(make_rig)
    number = a_company(rig, lambda filings: len(filings) >= 6)
    rig.config.change({"nbb": {"watch": {"clients": {"documents": [], "refresh_interval": "2 d"}}}})
    watch(rig, number)
    rig.run(until="idle")
    before = references_of(rig, number)
    rig.admin.clear_journal()
    rig.admin.clock_set("2026-11-22T12:45")
    daemon = rig.run(until="idle")
    assert len(asked(rig, "legalEntityReferences")) == 1
    key = f"nbb/enterprises/{number}/references"
    assert daemon.lines("item.unchanged", key=key)
    row = rig.store.items()[key]
    assert (row.state, row.version) == ("stored", 1)
    assert row.due_at is not None
    assert row.due_at - rig.admin.clock() == pytest.approx(2 * 86_400, abs=120)
    assert references_of(rig, number) == before


# ------------------------------------------------------------------------------------------------- a new filing


def test_a_new_filing_is_noticed_from_the_references_of_its_day_and_only_its_documents_are_asked_for(
    make_rig: Callable[..., Rig],
) -> None:
    rig = watching_rig(make_rig, clock=SATURDAY_NOON, filings_on={FRIDAY: 5}, pdf_only_share=0.0,
                       missing_enterprise_share=0.0)  # fmt: skip
    (reference, *_) = (name.removesuffix(".json") for name in rig.truth.members(FRIDAY, "json"))
    row = json.loads(
        served(rig, "authentic-query", f"/authentic/deposit/{reference}/reference", "application/json") or b""
    )
    number = row["EnterpriseNumber"]
    rig.admin.clock_set(NOON)
    watch(rig, number)
    rig.config.change({"nbb": {"watch": {"clients": {"documents": ["json", "xbrl", "pdf"]}}}})
    rig.run(until="idle")
    assert reference not in references_of(rig, number)
    rig.admin.clock_set(SATURDAY_NOON)
    rig.admin.clear_journal()
    rig.run(until="idle")
    assert FRIDAY in rig.store.sealed_days()
    assert asked(rig, "legalEntityReferences") == []
    assert {entry["reference"] for entry in asked(rig, "depositAccountingData")} == {reference}
    assert len(asked(rig, "depositAccountingData")) == 3
    assert {name for name in held(rig) if name.startswith(reference)} == {
        f"{reference}.{kind}" for kind in ACCEPT
    }


def test_a_new_filing_whose_day_does_not_say_whose_it_is_is_noticed_all_the_same(
    make_rig: Callable[..., Rig],
) -> None:
    rig = watching_rig(make_rig, clock=SATURDAY_NOON, filings_on={FRIDAY: 3}, pdf_only_share=0.0,
                       missing_enterprise_share=1.0)  # fmt: skip
    reference = next(iter(rig.truth.members(FRIDAY, "json"))).removesuffix(".json")
    row = json.loads(
        served(rig, "authentic-query", f"/authentic/deposit/{reference}/reference", "application/json") or b""
    )
    rig.admin.clock_set(NOON)
    watch(rig, row["EnterpriseNumber"])
    rig.run(until="idle")
    rig.admin.clock_set(SATURDAY_NOON)
    rig.admin.clear_journal()
    rig.run(until="idle")
    assert asked(rig, "legalEntityReferences") == []
    assert {entry["reference"] for entry in asked(rig, "depositAccountingData")} == {reference}


def test_ten_thousand_companies_do_not_hold_up_the_day(make_rig: Callable[..., Rig]) -> None:
    rig = watching_rig(make_rig, filings_on={YESTERDAY: 20}, latency_ms=50)
    rig.config.change(
        {
            "run": {"concurrency": 2},
            "nbb": {
                "authentic": ["references", "json", "xbrl", "pdf"],
                "products": {"authentic-query": {"calls_per_second": 5.0, "concurrency": 1}},
            },
        }
    )
    firsts = [f"{9_000_000 + place:08d}" for place in range(10_000)]
    path = watch(rig, *(f"{first}{check_digits(first):02d}" for first in firsts))
    with rig.daemon() as daemon:
        daemon.wait_for("watchlist.read", companies=10_000, added=10_000)
        daemon.wait_for("day.sealed", timeout_s=20)
        daemon.wait_for("item.confirmed_empty", count=5)
        assert daemon.stop().code == 0
    assert path.exists()
    rows = [row for key, row in rig.store.items().items() if key.startswith("nbb/enterprises/")]
    assert len(rows) == 10_000
    begun = min(entry["started_at"] for entry in rig.journal(product="extract"))
    done = max(entry["ended_at"] for entry in rig.journal(product="extract"))
    assert done - begun < 10.0, "a call of the query lane was waited for at each dataset, not more"


def test_what_the_zips_of_mirrored_days_bring_is_not_asked_for_once_more(
    make_rig: Callable[..., Rig],
) -> None:
    rig = watching_rig(make_rig, filings_on={YESTERDAY: 5}, pdf_only_share=0.0)
    rig.config.change({"nbb": {"authentic": ["references", "json"]}})
    with_json = rig.truth.members(YESTERDAY, "json")
    reference = next(iter(with_json)).removesuffix(".json")
    row = json.loads(
        served(rig, "authentic-query", f"/authentic/deposit/{reference}/reference", "application/json") or b""
    )
    rig.admin.clear_journal()
    watch(rig, row["EnterpriseNumber"])
    rig.run(until="idle")
    asked_for = [entry for entry in asked(rig, "depositAccountingData") if entry["reference"] == reference]
    assert [entry["dataset"] for entry in asked_for] == ["pdf"]
    with zipfile.ZipFile(rig.store.zip_path(YESTERDAY, "json")) as day:
        assert f"{reference}.json" in day.namelist()


# ------------------------------------------------------------------------------------------------- lists that change


def test_bad_lines_are_told_with_their_place_and_the_good_ones_are_followed(
    make_rig: Callable[..., Rig],
) -> None:
    rig = watching_rig(make_rig)
    number, other = rig.admin.companies(2)
    path = watch(rig, number, "0403.101.812,mistyped", "# a comment", other, number)
    daemon = rig.run(until="idle")
    (told,) = daemon.lines("watchlist.read")
    assert told["level"] == "warning"
    assert (told["companies"], told["problem_count"]) == (2, 2)
    mistyped, twice = told["problems"]
    assert mistyped.startswith(f"{path}, line 2: 0403.101.812: ")
    assert "ends in 11" in mistyped
    assert twice.startswith(f"{path}, line 5: ")
    keys = {key for key in rig.store.items() if key.startswith("nbb/enterprises/")}
    assert keys == {f"nbb/enterprises/{each}/references" for each in (number, other)}


def test_lists_may_be_edited_while_the_daemon_runs(make_rig: Callable[..., Rig]) -> None:
    rig = watching_rig(make_rig)
    number = a_company(rig, lambda filings: len(filings) >= 3)
    with rig.daemon() as daemon:
        daemon.wait_for("day.sealed")
        path = watch(rig, number)
        daemon.send(signal.SIGHUP)
        daemon.wait_for("watchlist.read", added=1)
        daemon.wait_for("item.stored", key=f"nbb/enterprises/{number}/references")
        daemon.wait_for("documents.followed")
        path.write_text("# nobody\n")
        daemon.send(signal.SIGHUP)
        daemon.wait_for("watchlist.read", removed=1)
        wait_until(
            lambda: rig.store.items()[f"nbb/enterprises/{number}/references"].due_at is None,
            "company dropped",
        )
        assert daemon.stop().code == 0
    assert references_of(rig, number), "what is stored stays"


def test_a_folder_that_is_gone_for_a_while_takes_nobody_out_and_neither_does_a_start_without_it(
    make_rig: Callable[..., Rig],
) -> None:
    rig = watching_rig(make_rig)
    number = a_company(rig, lambda filings: len(filings) >= 3)
    folder, key = watch(rig, number).parent, f"nbb/enterprises/{number}/references"
    with rig.daemon() as daemon:
        daemon.wait_for("item.stored", key=key)
        folder.rename(folder.with_name("elsewhere"))
        daemon.send(signal.SIGHUP)
        gone = daemon.wait_for("watchlist.read", level="warning")
        assert (gone["companies"], gone["removed"], gone["problem_count"]) == (1, 0, 1)
        assert daemon.stop().code == 0
    due_at = rig.store.items()[key].due_at
    assert due_at is not None
    with rig.daemon() as daemon:
        told = daemon.wait_for("watchlist.read")
        assert (told["companies"], told["removed"], told["problem_count"]) == (0, 0, 1)
        assert rig.store.items()[key].due_at == due_at
        folder.with_name("elsewhere").rename(folder)
        daemon.send(signal.SIGHUP)
        daemon.wait_for("watchlist.read", companies=1, problem_count=0)
        assert daemon.stop().code == 0
    assert rig.store.items()[key].due_at == due_at
    assert len(asked(rig, "legalEntityReferences")) == 1


def test_a_death_in_the_middle_repeats_at_most_what_was_in_flight(make_rig: Callable[..., Rig]) -> None:
    rig = watching_rig(make_rig, latency_ms=20)
    number = a_company(rig, lambda filings: len(filings) >= 8)
    truth = documents_served(rig, rig.admin.company(number))
    rig.config.change({"nbb": {"watch": {"clients": {"documents": ["json", "xbrl", "pdf"]}}}})
    watch(rig, number)
    with rig.daemon() as daemon:
        daemon.wait_for("item.stored", route="authentic-query/pdf", count=2)
        daemon.kill()
    rig.run(until="idle")
    assert held(rig) == truth
    assert len(asked(rig, "depositAccountingData")) <= len(truth) + 4
    assert len(asked(rig, "legalEntityReferences")) == 1


def test_a_rebuilt_manifest_goes_on_with_the_companies(make_rig: Callable[..., Rig]) -> None:
    rig = watching_rig(make_rig)
    number = a_company(rig, lambda filings: len(filings) >= 3)
    watch(rig, number)
    rig.run(until="idle")
    before = held(rig)
    for name in ("manifest.db", "catalogue.db"):
        (rig.store.root / name).unlink()
    said = filingd(
        "manifest", "rebuild", "--config", str(rig.config.path), "--rehearse-at", "2026-11-20T12:31+01:00"
    )
    assert said.code == 0, said.err
    rig.admin.clear_journal()
    rig.run(until="idle")
    assert rig.journal() == []
    assert held(rig) == before
    row = rig.store.items()[f"nbb/enterprises/{number}/references"]
    assert (row.state, row.lane) == ("stored", "nbb/authentic-query")
    assert row.due_at is not None


# ------------------------------------------------------------------------------------------------- keys


def test_a_refused_key_of_the_query_leaves_the_daily_work_alone(make_rig: Callable[..., Rig]) -> None:
    rig = watching_rig(make_rig)
    rig.config.change({"nbb": {"authentic": ["references", "json"]}})
    (number,) = rig.admin.companies(1)
    watch(rig, number)
    rig.admin.revoke_key("authentic-query")
    rig.run(until="sealed")
    assert rig.store.sealed_days() == [YESTERDAY]
    assert rig.store.items()[f"nbb/enterprises/{number}/references"].state == "due"
    for slot, key in zip(("primary", "secondary"), SANDBOX_KEYS["authentic-query"], strict=True):
        rig.admin.add_key("authentic-query", key, slot)
    with rig.daemon() as daemon:
        daemon.wait_for("item.stored", key=f"nbb/enterprises/{number}/references")
        assert daemon.stop().code == 0


def test_companies_can_be_followed_without_any_product_of_days(make_rig: Callable[..., Rig]) -> None:
    rig = watching_rig(make_rig)
    rig.config.products = ("authentic-query",)
    number = a_company(
        rig, lambda filings: len(filings) >= 3 and any("json" in f["formats"] for f in filings)
    )
    truth = documents_served(rig, rig.admin.company(number))
    rig.config.change({"nbb": {"watch": {"clients": {"documents": ["json", "xbrl", "pdf"]}}}})
    watch(rig, number)
    rig.run(until="idle")
    assert held(rig) == truth
    assert {entry["product"] for entry in rig.journal()} == {"authentic-query"}
    said = filingd("status", "--config", str(rig.config.path))
    assert "what lists and searches name is followed, and nothing else" in said.out


def test_without_a_key_of_the_query_nothing_about_companies_is_expected(make_rig: Callable[..., Rig]) -> None:
    rig = watching_rig(make_rig)
    rig.config.products = PRODUCTS
    watch(rig, *rig.admin.companies(3))
    rig.run(until="idle")
    assert rig.store.sealed_days() == [YESTERDAY]
    assert not [key for key in rig.store.items() if "enterprises" in key]
