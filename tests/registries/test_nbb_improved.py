"""Improved data: one timeline beside the authentic one, sealed by itself, whatever labels the bank comes up with."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from filingd.core.model import Attempt, Deferral, Holding, Item, LaneSpec, Nothing, State, Stored, Version
from filingd.registries.nbb import improved_documents, planning, requests, sealing
from filingd.registries.nbb.families import AUTHENTIC, FAMILIES, IMPROVED_DATA
from filingd.registries.nbb.payloads import (
    CONVERTED,
    CORRECTED,
    EXTRACTED,
    ReferencesInspector,
    filings_of,
    improvements_in,
    improvements_of,
)
from filingd.registries.nbb.registry import NbbRegistry
from registries.nbb_cases import FRIDAY, answer, at_age, interpret, member, rules, with_body

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from filingd.core.model import Judgement, Member
    from filingd.registries.nbb.rules import NbbRules

NOW = at_age(FRIDAY, 1)
GROUP = f"nbb/improved/{FRIDAY.isoformat()}"
KINDS = {"Pdf_extracted": EXTRACTED, "Euro_converted": CONVERTED, "Corrected": CORRECTED}
LABELS = {
    EXTRACTED: ("ocr-authentic",),
    CONVERTED: ("euro-authentic",),
    CORRECTED: ("aa-corrected", "sb-corrected", "aa-sb-corrected"),
}


def improved_rules(*products: str, **changes: Any) -> NbbRules:
    """The shipped rules of improved data."""
    named = products or IMPROVED_DATA.products
    return replace(rules(*named), family=IMPROVED_DATA, datasets=IMPROVED_DATA.datasets, **changes)


def row(reference: str, data_version: str | None, model: str = "m02-f-p", **more: Any) -> dict[str, Any]:
    """A row of an improved references zip, as far as anybody reads it here."""
    return {"referenceNumber": reference, "modelType": model, "dataVersion": data_version, **more}


def listed(rows: Iterable[Mapping[str, Any]]) -> tuple[Member, ...]:
    """The members of a references zip with the notes its inspector really leaves."""
    inspector = ReferencesInspector()
    return tuple(
        member(name, inspector.member(name, json.dumps(each).encode()))
        for number, each in enumerate(rows)
        for name in [f"{each['referenceNumber']}-{number}.json"]
    )


def held(dataset: str, members: tuple[Member, ...] = (), state: State = State.STORED) -> Holding:
    key = IMPROVED_DATA.key_for(FRIDAY, dataset)
    if state is not State.STORED:
        return Holding(Item(key, "nbb/improved", state))
    digest = hashlib.sha256(repr(members).encode()).digest()
    version = Version(
        key, 1, f"{dataset}.zip", 10, digest, NOW, f"improved/{dataset}", "id", content_digest=digest
    )
    return Holding(
        Item(key, "nbb/improved", state, sha256=digest, stored_at=NOW, version=1), version, members
    )


def judge(rows: Iterable[Mapping[str, Any]], names: Iterable[str]) -> Judgement:
    """A day with these lines and JSON members of these names."""
    holdings = {
        "references": held("references", listed(rows)),
        "json": held("json", tuple(map(member, names))),
    }
    return sealing.judge(improved_rules(), GROUP, holdings, NOW)


# ------------------------------------------------------------------------------------------------- the timeline


def test_days_of_both_families_are_expected_and_sealed_apart() -> None:
    registry = NbbRegistry([rules(since=FRIDAY), improved_rules(since=FRIDAY)])
    assert registry.expected(NOW) == [
        family.key_for(FRIDAY, dataset) for family in FAMILIES for dataset in family.datasets
    ]
    assert [lane.name for lane in registry.lanes()] == [
        "nbb/extract", "nbb/authentic-archive", "nbb/improved", "nbb/improved-archive",
    ]  # fmt: skip
    changes = registry.plan(NOW, {})
    assert {change.item.group for change in changes} == {f"{family.path}/2026-11-20" for family in FAMILIES}
    assert registry.plan(NOW, {change.item.key: change.item for change in changes}) == []


@pytest.mark.parametrize(
    ("age_days", "dataset", "url", "accept"),
    [
        (1, "references", "/improved/batch/2026-11-20/references/improved", "application/x.zip+json"),
        (1, "json", "/improved/batch/2026-11-20/accountingData/improved", "application/x.zip+jsonxbrl"),
        (400, "references", "/improved-archive/2026-11-20/references", "application/x.zip+json"),
        (400, "json", "/improved-archive/2026-11-20/accountingData", "application/x.zip+jsonxbrl"),
    ],
)
def test_a_day_is_asked_for_by_the_product_that_serves_its_age(
    age_days: int, dataset: str, url: str, accept: str
) -> None:
    item = Item(IMPROVED_DATA.key_for(FRIDAY, dataset), "nbb/improved")
    attempt = requests.request(improved_rules(), item, at_age(FRIDAY, age_days))
    assert isinstance(attempt, Attempt)
    assert attempt.url == f"https://ws.example.invalid{url}"
    assert dict(attempt.headers)["Accept"] == accept
    assert attempt.lane == f"nbb/{attempt.route.partition('/')[0]}"


def test_names_on_disk_go_both_ways_for_each_family() -> None:
    registry = NbbRegistry([rules(), improved_rules()])
    for family in FAMILIES:
        for dataset in family.datasets:
            key = family.key_for(FRIDAY, dataset)
            assert registry.target(key) == f"{family.path}/2026/11/2026-11-20/{dataset}.zip"
            assert registry.key_of(registry.target(key)) == key
    assert registry.key_of("nbb/improved/2026/11/2026-11-20/pdf.zip") is None
    assert registry.key_of("nbb/other/2026/11/2026-11-20/json.zip") is None


def test_what_was_stored_of_a_family_that_is_not_wanted_any_more_stays_and_is_not_asked_for() -> None:
    both = NbbRegistry([rules(since=FRIDAY), improved_rules(since=FRIDAY)])
    known = {change.item.key: change.item for change in both.plan(NOW, {})}
    stored = IMPROVED_DATA.key_for(FRIDAY, "references")
    known[stored] = replace(known[stored], state=State.STORED, due_at=NOW + 1.0, version=1)
    alone = NbbRegistry([rules(since=FRIDAY)])
    known |= {change.item.key: change.item for change in alone.plan(NOW, known)}
    improved = {key: item for key, item in known.items() if key.startswith("nbb/improved/")}
    assert {(item.state, item.due_at) for item in improved.values()} == {
        (State.STORED, None),
        (State.ABSENT, None),
    }
    assert isinstance(alone.request(improved[stored], NOW), Deferral)
    complete = {"references": held("references", listed([row("2026-1", "Corrected")])),
                "json": held("json", (member("2026-1-aa-corrected.json"),))}  # fmt: skip
    judged = alone.judge(GROUP, complete, NOW)
    assert judged is not None
    assert judged.reasons == (), "its seals stand"
    known |= {change.item.key: change.item for change in both.plan(NOW, known)}
    assert known[stored].due_at is not None, "and it goes on when it is wanted again"


@given(since=st.dates(dt.date(2023, 1, 1), FRIDAY), products=st.sampled_from([AUTHENTIC, IMPROVED_DATA]))
def test_one_family_plans_nothing_of_the_other(since: dt.date, products: Any) -> None:
    configured = replace(rules(*products.products, since=since), family=products, datasets=products.datasets)
    keys = planning.expected_keys(configured, NOW)
    assert all(key.startswith(f"{products.path}/") for key in keys)


# ------------------------------------------------------------------------------------------------- nothing there


def test_a_working_day_without_improvements_is_an_empty_day_and_no_alarm() -> None:
    item = Item(
        IMPROVED_DATA.key_for(FRIDAY, "references"), "nbb/improved", State.ACTIVE,
        nothing_count=1, nothing_at=at_age(FRIDAY, 5, 1),
    )  # fmt: skip
    attempt = requests.request(improved_rules(), item, at_age(FRIDAY, 5, 12))
    assert isinstance(attempt, Attempt)
    verdict = interpret(improved_rules(), item, attempt, answer(404), {}, at_age(FRIDAY, 5, 12))
    assert isinstance(verdict, Nothing)
    assert (verdict.confirmed, verdict.alarm, verdict.reason) == (True, False, "nothing_published")


def test_missing_documents_are_never_explained_by_a_model() -> None:
    references = held("references", listed([row("2026-1", "Pdf_extracted")]))
    assert references.version is not None
    facts = {"filings": 1, "pdf_only": 1}
    siblings = {"references": Holding(references.item, replace(references.version, facts=facts))}
    item = Item(
        IMPROVED_DATA.key_for(FRIDAY, "json"), "nbb/improved", State.ACTIVE,
        nothing_count=1, nothing_at=at_age(FRIDAY, 5, 1),
    )  # fmt: skip
    attempt = requests.request(improved_rules(), item, at_age(FRIDAY, 5, 12))
    assert isinstance(attempt, Attempt)
    verdict = interpret(improved_rules(), item, attempt, answer(404), siblings, at_age(FRIDAY, 5, 12))
    assert isinstance(verdict, Nothing)
    assert (verdict.confirmed, verdict.alarm, verdict.reason) == (False, True, "missing_though_listed")


def test_a_sound_zip_is_stored_and_compared_again() -> None:
    item = Item(IMPROVED_DATA.key_for(FRIDAY, "json"), "nbb/improved", State.ACTIVE)
    attempt = requests.request(improved_rules(), item, NOW)
    assert isinstance(attempt, Attempt)
    assert interpret(improved_rules(), item, attempt, with_body(), {}, NOW) == Stored(at_age(FRIDAY, 2, 5))


# ------------------------------------------------------------------------------------------------- lines and labels


def test_a_line_is_noted_with_what_the_bank_did_to_the_filing() -> None:
    members = listed(
        [row("2026-1", "Pdf_extracted"), row("2026-1", "Corrected", correctedData="AA"), row("2026-2", None)]
    )
    assert improvements_of(members) == {("2026-1", EXTRACTED), ("2026-1", CORRECTED), ("2026-2", "authentic")}
    assert filings_of(members) == {"2026-1": "m02-f-p", "2026-2": "m02-f-p"}


def test_notes_of_before_there_was_improved_data_are_of_authentic_filings() -> None:
    old = (member("2026-1.json", "2026-1 m01-f"), member("2026-2.json", "2026-2 m02-f-p\n2026-3 ?"))
    assert filings_of(old) == {"2026-1": "m01-f", "2026-2": "m02-f-p", "2026-3": "?"}
    assert {kind for _, kind in improvements_of(old)} == {"authentic"}


@pytest.mark.parametrize("text", ["Pdf_extracted", "PDF_EXTRACTED", "pdf_extracted", " Pdf_extracted "])
def test_the_casing_of_a_data_version_does_not_matter(text: str) -> None:
    assert improvements_of(listed([row("2026-1", text)])) == {("2026-1", EXTRACTED)}


@pytest.mark.parametrize(
    ("kind", "label"), [(kind, label) for kind, labels in LABELS.items() for label in labels]
)
def test_a_label_tells_the_kind(kind: str, label: str) -> None:
    for name in (f"2026-00999001-{label}.json", f"folder/2026-00999001-{label.upper()}.json"):
        found = improvements_in([member(name)])
        assert found.kinds == {"2026-00999001": {kind}}
        assert (found.of_unknown_kind, found.strangers) == ({}, ())


def test_an_unknown_label_is_counted_and_may_be_anything_of_its_filing() -> None:
    found = improvements_in(
        [member("2026-1-as-filed.json"), member("2026-2.json"), member("2026-3-as-filed.json")]
    )
    assert found.of_unknown_kind == {"as-filed": 2, "": 1}
    assert found.has("2026-1", CORRECTED)
    assert found.has("2026-1", EXTRACTED)
    assert not found.has("2026-4", EXTRACTED)


def test_members_without_a_reference_or_of_another_dataset_fit_no_filing() -> None:
    found = improvements_in([member("readme.json"), member("2026-1-aa-corrected.pdf"), member("folder/")])
    assert (found.kinds, found.strangers) == ({}, ("readme.json", "2026-1-aa-corrected.pdf"))


# ------------------------------------------------------------------------------------------------- sealing


def test_a_day_whose_lines_all_have_a_document_is_sealed_with_its_facts() -> None:
    rows = [
        row("2026-1", "Pdf_extracted"),
        row("2026-2", "Euro_converted", "m01-f"),
        row("2026-3", "Corrected", "m87-f", correctedData="AA"),
        row("2026-1", "Corrected", correctedData="SB"),
    ]
    names = [
        "2026-1-ocr-authentic.json",
        "2026-2-euro-authentic.json",
        "2026-3-aa-corrected.json",
        "2026-1-sb-corrected.json",
    ]
    judgement = judge(rows, names)
    assert (judgement.reasons, judgement.refetch) == ((), ())
    fingerprint = judgement.facts["fingerprint"]
    assert judgement.facts == {
        "day": "2026-11-20",
        "fingerprint": fingerprint,
        "filings": 4,
        "kinds": {CORRECTED: 2, CONVERTED: 1, EXTRACTED: 1},
        "extracted_without_line": 0,
        "unknown_labels": {},
        "counts": {"references": 4, "json": 4},
        "unexplained": {},
    }
    assert json.loads(json.dumps(judgement.facts)) == judgement.facts


def test_annual_accounts_and_social_balance_corrected_on_one_day_are_one_line_and_one_or_two_documents() -> (
    None
):
    both = [row("2026-1", "Corrected", correctedData="AA")]
    for names in (
        ["2026-1-aa-corrected.json", "2026-1-sb-corrected.json"],
        ["2026-1-aa-corrected.json"],
        ["2026-1-aa-sb-corrected.json"],
    ):
        assert judge(both, names).reasons == ()


def test_a_line_without_its_document_keeps_the_day_open_and_is_looked_for_again() -> None:
    judgement = judge([row("2026-1", "Corrected"), row("2026-2", "Corrected")], ["2026-1-aa-corrected.json"])
    assert judgement.reasons == ("json: 1 listed but not in the zip: 2026-2 corrected",)
    assert judgement.facts["unexplained"] == {"json": 1}
    assert {key.rpartition("/")[2] for key, _ in judgement.refetch} == {"references", "json"}


def test_another_kind_of_the_same_filing_does_not_stand_in() -> None:
    judgement = judge([row("2026-1", "Corrected")], ["2026-1-ocr-authentic.json"])
    assert judgement.reasons == ("json: 1 listed but not in the zip: 2026-1 corrected",)


def test_a_corrected_document_without_a_line_keeps_the_day_open() -> None:
    judgement = judge([row("2026-1", "Corrected")], ["2026-1-aa-corrected.json", "2026-2-aa-corrected.json"])
    assert judgement.reasons == ("json: 1 in the zip but not listed: 2026-2 corrected",)


def test_figures_read_out_of_a_pdf_may_come_without_a_line_and_are_told() -> None:
    judgement = judge([row("2026-1", "Corrected")], ["2026-1-aa-corrected.json", "2026-2-ocr-authentic.json"])
    assert judgement.reasons == ()
    assert judgement.facts["extracted_without_line"] == 1


def test_an_unknown_label_is_kept_and_reported_and_holds_nothing_up() -> None:
    judgement = judge([row("2026-1", "Corrected")], ["2026-1-consolidated.json"])
    assert judgement.reasons == ()
    assert judgement.facts["unknown_labels"] == {"consolidated": 1}


def test_a_row_of_an_authentic_filing_in_an_improved_list_has_no_document_and_shows() -> None:
    judgement = judge([row("2026-1", "Authentic", "m01-f")], ["2026-1-aa-corrected.json"])
    assert judgement.reasons == (
        "json: 1 listed but not in the zip: 2026-1 authentic",
        "json: 1 in the zip but not listed: 2026-1 corrected",
    )


@given(
    lines=st.sets(st.tuples(st.integers(1, 9), st.sampled_from(sorted(KINDS))), max_size=12),
    lost=st.sets(st.integers(0, 11), max_size=3),
    extra=st.sets(st.tuples(st.integers(1, 9), st.sampled_from(sorted(LABELS))), max_size=3),
)
def test_a_day_is_sealed_exactly_if_every_line_has_a_document_and_no_document_lacks_a_line(
    lines: set[tuple[int, str]], lost: set[int], extra: set[tuple[int, str]]
) -> None:
    wanted = sorted((f"2026-{number}", KINDS[said]) for number, said in lines)
    present = {pair for position, pair in enumerate(wanted) if position not in lost}
    present |= {(f"2026-{number}", kind) for number, kind in extra}
    names = [f"{reference}-{LABELS[kind][0]}.json" for reference, kind in sorted(present)]
    judgement = judge([row(f"2026-{number}", said) for number, said in sorted(lines)], names)
    unlisted = {(reference, kind) for reference, kind in present - set(wanted) if kind != EXTRACTED}
    assert (judgement.reasons == ()) == (set(wanted) <= present and not unlisted)


# ------------------------------------------------------------------------------------------------- one by one

SINGLES = improved_rules(documents_lane="nbb/improved")
HELD, MISSING = "2026-00999001", "2026-00999002"
LATER = NOW + 2 * 3600.0


def judge_singles(
    json_zip: Holding, *supplements: Item, rows: Iterable[Mapping[str, Any]] = (), configured: Any = SINGLES
) -> Judgement:
    """A day with a line for each of two filings, by default, long after its zips came."""
    lines = list(rows) or [row(HELD, "Corrected"), row(MISSING, "Corrected")]
    holdings = {"references": held("references", listed(lines)), "json": json_zip}
    return sealing.judge(
        configured, GROUP, holdings, LATER, None, {item.key: Holding(item) for item in supplements}
    )


def lacking_one() -> Holding:
    return held("json", (member(f"{HELD}-aa-corrected.json"),))


def single(reference: str, kind: str, state: State) -> Item:
    return Item(improved_documents.key_for(reference, kind), "nbb/improved", state, stored_at=LATER)


def test_an_improvement_that_the_zip_lacks_is_asked_for_by_itself() -> None:
    judgement = judge_singles(lacking_one())
    key = improved_documents.key_for(MISSING, CORRECTED)
    assert judgement.reasons == (f"json: 1 listed but not in the zip: {MISSING} corrected",)
    assert judgement.supplements == (key,)
    (item,) = judgement.wants
    assert (item.key, item.lane, item.state) == (key, "nbb/improved", State.DUE)


@pytest.mark.parametrize(
    ("state", "fact"),
    [(State.STORED, "supplied"), (State.EMPTY, "unavailable"), (State.REASKING, "unavailable")],
)
def test_an_improvement_that_came_by_itself_or_that_the_bank_has_not_is_told_and_holds_nothing_up(
    state: State, fact: str
) -> None:
    judgement = judge_singles(lacking_one(), single(MISSING, CORRECTED, state))
    assert (judgement.reasons, judgement.wants, judgement.refetch) == ((), (), ())
    assert {name: judgement.facts.get(name) for name in ("supplied", "unavailable")} == {
        "supplied": None,
        "unavailable": None,
        fact: {"json": 1},
    }


def test_each_kind_of_a_filing_is_a_document_of_its_own() -> None:
    both = [row(MISSING, "Corrected"), row(MISSING, "Pdf_extracted")]
    judgement = judge_singles(held("json"), single(MISSING, EXTRACTED, State.STORED), rows=both)
    assert judgement.reasons == (f"json: 1 listed but not in the zip: {MISSING} corrected",)
    assert [item.key for item in judgement.wants] == [improved_documents.key_for(MISSING, CORRECTED)]


def test_an_improved_batch_that_always_breaks_is_replaced_by_each_of_its_documents() -> None:
    broken = held("json", state=State.QUARANTINED)
    missing = judge_singles(broken)
    assert {item.key for item in missing.wants} == {
        improved_documents.key_for(reference, CORRECTED) for reference in (HELD, MISSING)
    }
    complete = judge_singles(
        broken, single(HELD, CORRECTED, State.STORED), single(MISSING, CORRECTED, State.EMPTY)
    )
    assert complete.reasons == ()
    assert (complete.facts["supplied"], complete.facts["unavailable"]) == ({"json": 1}, {"json": 1})


def test_without_the_product_of_single_improved_documents_such_a_day_stays_open() -> None:
    judgement = judge_singles(lacking_one(), configured=improved_rules())
    assert (len(judgement.reasons), judgement.wants) == (1, ())


@pytest.mark.parametrize("said", ["Authentic", "Restated"])
def test_a_line_of_a_kind_nobody_can_ask_for_keeps_the_day_open(said: str) -> None:
    judgement = judge_singles(held("json"), rows=[row(MISSING, said)])
    assert len(judgement.reasons) == 1
    assert (judgement.wants, judgement.supplements) == ((), ())


def test_each_family_asks_for_single_documents_in_its_own_lane() -> None:
    registry = NbbRegistry(
        [rules(), improved_rules()], LaneSpec("nbb/authentic-query", 1.0), LaneSpec("nbb/improved", 1.0)
    )
    lines = [row(HELD, "Corrected"), row(MISSING, "Corrected")]
    holdings = {"references": held("references", listed(lines)), "json": lacking_one()}
    judgement = registry.judge(GROUP, holdings, LATER)
    assert judgement is not None
    assert [item.lane for item in judgement.wants] == ["nbb/improved"]
    archive_alone = NbbRegistry(
        [rules(), improved_rules("improved-archive")], LaneSpec("nbb/authentic-query", 1.0)
    )
    unasked = archive_alone.judge(GROUP, holdings, LATER)
    assert unasked is not None
    assert unasked.wants == ()
