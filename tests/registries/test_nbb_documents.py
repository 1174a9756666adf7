"""Single documents: how they are asked for, what an answer about one is worth, and how they complete a day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from filingd.core.kinds import examine_document
from filingd.core.model import (
    Answer,
    Attempt,
    Blocked,
    Deferral,
    Failed,
    Holding,
    Item,
    LaneSpec,
    Nothing,
    ResponseHead,
    State,
    Stored,
)
from filingd.registries.nbb import documents, sealing
from filingd.registries.nbb.registry import NbbRegistry
from registries.nbb_cases import (
    DAY_S,
    FRIDAY,
    HOUR_S,
    agreeing_day,
    answer,
    at_age,
    files,
    holding,
    rules,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filingd.core.model import Judgement, Verdict

LANE = LaneSpec("nbb/authentic-query", 1.0)
REGISTRY = NbbRegistry([rules()], LANE)
NOW = at_age(FRIDAY, 1)
GROUP = f"nbb/authentic/{FRIDAY.isoformat()}"
REFERENCE = "2026-00999001"
NO_JSON = (
    b'{"title":"WebService Problem","status":404,"path":"/deposit/2026-00999001/accountingData","violations":'
    b'[{"field":"Reference Number not found","messageKey":"reference.number.not.found.json",'
    b'"defaultMessage":"pdf model has no published json xbrl"}]}'
)
DOCUMENTS = {
    "json": b'{"ReferenceNumber":"2026-00999001","EnterpriseName":"VOORBEELD ALFA","Rubrics":[]}',
    "xbrl": b'<?xml version="1.0"?><xbrl/>',
    "pdf": b"%PDF-1.7 and more",
}
REFERENCES = st.from_regex(r"(19[789]|20[0-9])[0-9]-[0-9]{1,12}", fullmatch=True)


def wanted(kind: str = "json", **more: Any) -> Item:
    return Item(documents.key_for(REFERENCE, kind), LANE.name, State.ACTIVE, **more)


def asked(item: Item) -> Attempt:
    attempt = REGISTRY.request(item, NOW)
    assert isinstance(attempt, Attempt)
    return attempt


def verdict_on(given_answer: Answer, item: Item | None = None, now: float = NOW) -> Verdict:
    item = item or wanted()
    return REGISTRY.interpret(item, asked(item), given_answer, {}, now)


def with_document(data: bytes, kind: str = "json") -> Answer:
    body = examine_document(data, REGISTRY.body_plan(documents.key_for(REFERENCE, kind)), len(data))
    return Answer(ResponseHead(200, {}), body=body)


# ------------------------------------------------------------------------------------------------- asking


@pytest.mark.parametrize(
    ("kind", "accept"),
    [("json", "application/x.jsonxbrl"), ("xbrl", "application/x.xbrl"), ("pdf", "application/pdf")],
)
def test_a_document_is_asked_for_by_its_reference_in_one_representation(kind: str, accept: str) -> None:
    attempt = asked(wanted(kind))
    assert attempt.url == f"https://ws.example.invalid/authentic/deposit/{REFERENCE}/accountingData"
    assert dict(attempt.headers)["Accept"] == accept
    assert (attempt.lane, attempt.route) == ("nbb/authentic-query", f"authentic-query/{kind}")
    assert attempt.secret_header == "NBB-CBSO-Subscription-Key"
    assert attempt.is_document == (kind != "pdf"), "a PDF may be anything but small"


def test_without_the_product_nothing_is_asked_for() -> None:
    alone = NbbRegistry([rules()])
    assert alone.request(wanted(), NOW) == Deferral("no_route", LANE.name, None)
    assert LANE not in alone.lanes()
    assert LANE in REGISTRY.lanes()


@given(reference=REFERENCES, kind=st.sampled_from(["json", "xbrl", "pdf"]))
def test_names_on_disk_go_both_ways(reference: str, kind: str) -> None:
    key = documents.key_for(reference, kind)
    target = REGISTRY.target(key)
    assert REGISTRY.key_of(target) == key
    assert documents.may_be_asked_for(reference)
    assert target.count("/") == 4
    assert ".." not in target


def test_a_folder_holds_at_most_a_thousand_filings() -> None:
    folders = {
        REGISTRY.target(documents.key_for(f"2026-{number:08d}", "json")).rpartition("/")[0]
        for number in range(5000)
    }
    assert len(folders) == 5


@pytest.mark.parametrize(
    "target",
    [
        "nbb/documents/2026/00999/2026-00999001.txt",
        "nbb/documents/2025/00999/2026-00999001.json",
        "nbb/documents/2026/00998/2026-00999001.json",
        "nbb/documents/2026-00999001.json",
        "versions/nbb/documents/2026/00999/2026-00999001.json",
    ],
)
def test_no_other_file_passes_for_a_document(target: str) -> None:
    assert REGISTRY.key_of(target) is None


@pytest.mark.parametrize(
    "reference", ["", "2026", "2026-", "2026-1/2", "../2026-1", "2026-1a", "26-00999001", "2026-\u0661"]
)
def test_what_cannot_be_a_reference_number_is_never_asked_for(reference: str) -> None:
    assert not documents.may_be_asked_for(reference)


# ------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_document_is_stored_and_not_compared_again(kind: str) -> None:
    assert verdict_on(with_document(DOCUMENTS[kind], kind), wanted(kind)) == Stored()
    assert REGISTRY.recheck_at(wanted(kind), NOW) is None


@pytest.mark.parametrize("kind", DOCUMENTS)
@pytest.mark.parametrize("other", DOCUMENTS)
def test_bytes_of_another_kind_are_refused_whatever_the_status(kind: str, other: str) -> None:
    verdict = verdict_on(with_document(DOCUMENTS[other], kind), wanted(kind))
    assert isinstance(verdict, Stored) == (kind == other)
    if kind != other:
        assert isinstance(verdict, Failed)
        assert (verdict.reason, verdict.quarantine) == ("wrong_kind", True)


@pytest.mark.parametrize(
    "text", [b'{"statusCode": 500, "message": "no"}', b'{"ReferenceNumber":"2026-00999002"}', b"[]"]
)
def test_json_that_does_not_name_the_filing_is_no_document_of_it(text: bytes) -> None:
    verdict = verdict_on(with_document(text))
    assert isinstance(verdict, Failed)
    assert (verdict.reason, verdict.quarantine, verdict.strikes_lane) == ("not_the_document", True, True)


def test_the_bank_saying_that_there_is_no_such_document_is_the_proof() -> None:
    verdict = verdict_on(answer(404, NO_JSON))
    assert verdict == Nothing("not_served", NOW + 90 * DAY_S, confirmed=True)


def test_any_other_404_is_believed_when_it_was_said_twice_hours_apart() -> None:
    first = verdict_on(answer(404, b"{}"))
    assert first == Nothing("no_such_document", NOW + 6 * HOUR_S)
    soon = wanted(nothing_count=1, nothing_at=NOW - HOUR_S)
    assert verdict_on(answer(404, b"{}"), soon) == Nothing("no_such_document", NOW + 6 * HOUR_S)
    later = wanted(nothing_count=1, nothing_at=NOW - 6 * HOUR_S)
    assert verdict_on(answer(404, b"{}"), later) == Nothing(
        "no_such_document", NOW + 90 * DAY_S, confirmed=True
    )


def test_a_path_the_gateway_does_not_know_says_nothing_of_the_document() -> None:
    verdict = verdict_on(answer(404, b'{ "statusCode": 404, "message": "Resource not found" }'))
    assert isinstance(verdict, Failed)
    assert verdict.reason == "path_unknown"


def test_a_refused_key_is_the_lanes_and_a_malformed_number_the_items_fault() -> None:
    assert isinstance(verdict_on(answer(401)), Blocked)
    verdict = verdict_on(answer(400, b"bad reference"))
    assert isinstance(verdict, Failed)
    assert (verdict.reason, verdict.gave_up, verdict.strikes_lane) == ("refused_as_invalid", True, False)


# ------------------------------------------------------------------------------------------------- a day they complete

FILINGS = {"2026-00000001": "m01-f", "2026-00000002": "m87-f", "2026-00000003": "m02-f-p"}
A, B, P = FILINGS
SERVED = replace(rules(), documents_lane=LANE.name)
LATER = NOW + 2 * HOUR_S


def day(**changes: Holding) -> dict[str, Holding]:
    return agreeing_day(FRIDAY, FILINGS, NOW) | changes


def judge(
    holdings: Mapping[str, Holding], *supplements: Item, now: float = LATER, configured: Any = SERVED
) -> Judgement:
    return sealing.judge(
        configured, GROUP, holdings, now, None, {item.key: Holding(item) for item in supplements}
    )


def supplement(reference: str, kind: str, state: State) -> Item:
    return Item(documents.key_for(reference, kind), LANE.name, state)


def lacking_json() -> dict[str, Holding]:
    return day(json=holding(FRIDAY, "json", files([A], "json"), stored_at=NOW))


def test_what_a_zip_lacks_is_asked_for_by_itself_after_the_zip_had_its_second_chance() -> None:
    early, late = judge(lacking_json(), now=NOW + 0.5 * HOUR_S), judge(lacking_json())
    for judgement in (early, late):
        assert judgement.reasons == (f"json: 1 listed but not in the zip: {B}",)
        assert judgement.supplements == (documents.key_for(B, "json"),)
        assert judgement.refetch, "the zip itself is looked at again too"
    assert early.wants == ()
    (item,) = late.wants
    assert (item.key, item.lane, item.state, item.due_at) == (
        documents.key_for(B, "json"),
        LANE.name,
        State.DUE,
        LATER,
    )


def test_without_the_query_product_nothing_is_asked_for_by_itself() -> None:
    judgement = judge(lacking_json(), configured=rules())
    assert judgement.wants == ()
    assert judgement.reasons == (f"json: 1 listed but not in the zip: {B}",)


@pytest.mark.parametrize(
    ("state", "fact"),
    [(State.STORED, "supplied"), (State.EMPTY, "unavailable"), (State.REASKING, "unavailable")],
)
def test_a_document_that_came_or_that_the_bank_does_not_have_completes_the_day_and_is_told(
    state: State, fact: str
) -> None:
    judgement = judge(lacking_json(), supplement(B, "json", state))
    assert (judgement.reasons, judgement.wants, judgement.refetch) == ((), (), ())
    assert judgement.facts[fact] == {"json": 1}
    assert judgement.supplements == (documents.key_for(B, "json"),), "and it counts at every later judgement"


@pytest.mark.parametrize("state", [State.DUE, State.ACTIVE, State.QUARANTINED, State.ABSENT])
def test_a_document_that_is_only_asked_for_keeps_the_day_open(state: State) -> None:
    judgement = judge(lacking_json(), supplement(B, "json", state))
    assert judgement.reasons == (f"json: 1 listed but not in the zip: {B}",)
    assert not judgement.facts.keys() & {"supplied", "unavailable"}


def test_what_is_in_the_zip_or_explained_by_the_model_is_never_asked_for() -> None:
    judgement = judge(day())
    assert (judgement.reasons, judgement.wants, judgement.supplements) == ((), (), ())


def test_a_document_in_the_zip_that_is_not_listed_is_nothing_that_could_be_supplied() -> None:
    more = day(json=holding(FRIDAY, "json", files([A, B, "2026-00000009"], "json"), stored_at=NOW))
    judgement = judge(more)
    assert judgement.reasons == ("json: 1 in the zip but not listed: 2026-00000009",)
    assert judgement.wants == ()


def failing_pdf() -> dict[str, Holding]:
    return day(pdf=holding(FRIDAY, "pdf", state=State.QUARANTINED, reason="short_body"))


def test_a_zip_that_breaks_again_and_again_is_replaced_by_each_of_its_documents_at_once() -> None:
    judgement = judge(failing_pdf(), now=NOW)
    assert judgement.reasons == (
        f"pdf: 3 listed but not in the zip: {A}, {B}, {P}",
        "pdf: quarantined (short_body)",
    )
    assert [item.key for item in judgement.wants] == [
        documents.key_for(reference, "pdf") for reference in (A, B, P)
    ]
    assert {key.rpartition("/")[2] for key, _ in judgement.refetch} <= {"references"}, (
        "the zip has its own next try"
    )


def test_a_day_whose_zip_never_came_is_sealed_by_its_documents() -> None:
    came = [supplement(reference, "pdf", State.STORED) for reference in (A, B)]
    missing = judge(failing_pdf(), *came)
    assert [item.key for item in missing.wants] == [documents.key_for(P, "pdf")]
    complete = judge(failing_pdf(), *came, supplement(P, "pdf", State.EMPTY))
    assert (complete.reasons, complete.wants) == ((), ())
    assert complete.facts["supplied"] == {"pdf": 2}
    assert complete.facts["unavailable"] == {"pdf": 1}


def test_a_failing_zip_without_the_query_product_keeps_the_day_open_as_before() -> None:
    judgement = judge(failing_pdf(), configured=rules())
    assert judgement.reasons == ("pdf: quarantined (short_body)",)
    assert judgement.wants == ()


def test_while_another_dataset_is_on_its_way_nothing_of_it_is_asked_for_by_itself() -> None:
    waiting = lacking_json() | {"xbrl": holding(FRIDAY, "xbrl", state=State.DUE)}
    judgement = judge(waiting)
    assert {item.key for item in judgement.wants} == {documents.key_for(B, "json")}
    assert "xbrl: due" in judgement.reasons


def test_without_the_list_nothing_is_known_to_be_missing() -> None:
    blind = failing_pdf() | {"references": holding(FRIDAY, "references", state=State.DUE)}
    judgement = judge(blind)
    assert judgement.wants == ()
    assert "pdf: quarantined (short_body)" in judgement.reasons


def test_a_strange_reference_is_listed_as_missing_and_never_put_into_a_path() -> None:
    filings = {"2026-00000001": "m01-f", "../../etc": "m01-f"}
    holdings = agreeing_day(FRIDAY, filings, NOW)
    holdings["json"] = holding(FRIDAY, "json", files(["2026-00000001"], "json"), stored_at=NOW)
    judgement = judge(holdings)
    assert any("../../etc" in reason for reason in judgement.reasons)
    assert (judgement.wants, judgement.supplements) == ((), ())


@given(
    held=st.sets(st.integers(0, 9)),
    supplied=st.sets(st.integers(0, 9)),
    unavailable=st.sets(st.integers(0, 9)),
    pending=st.sets(st.integers(0, 9)),
)
def test_a_day_is_sealed_exactly_if_each_listed_document_is_had_or_known_not_to_be(
    held: set[int], supplied: set[int], unavailable: set[int], pending: set[int]
) -> None:
    references = [f"2026-0000000{number}" for number in range(10)]
    filings = dict.fromkeys(references, "m01-f")
    holdings = agreeing_day(FRIDAY, filings, NOW)
    holdings["json"] = holding(
        FRIDAY, "json", files([references[n] for n in sorted(held)], "json"), stored_at=NOW
    )
    states = (
        dict.fromkeys(pending, State.DUE)
        | dict.fromkeys(unavailable, State.EMPTY)
        | dict.fromkeys(supplied, State.STORED)
    )
    judgement = judge(holdings, *(supplement(references[n], "json", state) for n, state in states.items()))
    missing = set(range(10)) - held - supplied - unavailable
    assert (judgement.reasons == ()) == (not missing)
    assert {item.key for item in judgement.wants} == {
        documents.key_for(references[n], "json") for n in missing
    }


@pytest.mark.parametrize(("said", "is_failing"), [(1, False), (2, True), (5, True)])
def test_a_dataset_that_is_said_to_have_nothing_though_filings_are_listed_is_asked_for_one_by_one(
    said: int, is_failing: bool
) -> None:
    silent = day(
        json=holding(FRIDAY, "json", state=State.DUE, reason="missing_though_listed", nothing_count=said)
    )
    judgement = judge(silent, now=NOW)
    assert [item.key for item in judgement.wants] == [
        documents.key_for(r, "json") for r in (A, B) if is_failing
    ]
    complete = judge(silent, *(supplement(reference, "json", State.EMPTY) for reference in (A, B)))
    assert (complete.reasons == ()) == is_failing
