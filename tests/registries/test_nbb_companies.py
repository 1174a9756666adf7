"""What the bank knows of a company, and its improved documents: how they are asked for, and what an answer is worth."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.core.kinds import HEAD_BYTES, examine_document
from filingd.core.model import (
    Answer,
    Attempt,
    Blocked,
    Deferral,
    Failed,
    Item,
    LaneSpec,
    Nothing,
    ResponseHead,
    State,
    Stored,
    Throttled,
)
from filingd.core.watchlist import CompanyNumberError
from filingd.registries.nbb import companies, improved_documents
from filingd.registries.nbb.enterprises import check_digits, enterprise_number, plain_number
from filingd.registries.nbb.registry import NbbRegistry
from filingd.registries.nbb.terms import NbbTerms
from registries.nbb_cases import DAY_S, FRIDAY, answer, at_age, rules

if TYPE_CHECKING:
    from filingd.core.model import Verdict

QUERY, IMPROVED = LaneSpec("nbb/authentic-query", 2.0), LaneSpec("nbb/improved", 1.0)
NUMBER, REFERENCE = "0999000129", "2026-00999001"
NOW = at_age(FRIDAY, 1)
WEEK = NbbTerms(7 * DAY_S, improved=True)
ROW = {
    "ReferenceNumber": REFERENCE,
    "DepositDate": "2026-06-24",
    "EnterpriseNumber": NUMBER,
    "EnterpriseName": "VOORBEELD ALFA",
}
OTHER_ROW = ROW | {"ReferenceNumber": "2016-99500017", "DepositDate": "2016-07-01"}
LEAVES = [companies.FILINGS, companies.IMPROVEMENTS]
NO_DEPOSIT = (
    b'{"title":"WebService Problem","status":404,"violations":[{"defaultMessage":"No deposit found"}]}'
)
NUMBERS = st.integers(0, 19_999_999).map(lambda first: f"{first:08d}{check_digits(f'{first:08d}'):02d}")


def registry(*lanes: LaneSpec, **watched: NbbTerms) -> NbbRegistry:
    made = NbbRegistry([rules()], QUERY if QUERY in lanes else None, IMPROVED if IMPROVED in lanes else None)
    made.companies[0].follow(watched or {NUMBER: WEEK})
    return made


WITH_ALL = registry(QUERY, IMPROVED)


def wanted(leaf: str = companies.FILINGS, **more: Any) -> Item:
    return Item(companies.key_for(NUMBER, leaf), QUERY.name, State.ACTIVE, **more)


def asked(item: Item, of: NbbRegistry = WITH_ALL) -> Attempt:
    attempt = of.request(item, NOW)
    assert isinstance(attempt, Attempt)
    return attempt


def verdict_on(said: Answer | object, item: Item | None = None, of: NbbRegistry = WITH_ALL) -> Verdict:
    item = item or wanted()
    given_answer = said if isinstance(said, Answer) else with_body(json.dumps(said).encode(), item.key)
    return of.interpret(item, asked(item, of), given_answer, {}, NOW)


def with_body(data: bytes, key: str) -> Answer:
    return Answer(ResponseHead(200, {}), body=examine_document(data, WITH_ALL.body_plan(key), len(data)))


# ------------------------------------------------------------------------------------------------- asking


@pytest.mark.parametrize(
    ("leaf", "lane", "path"),
    [
        ("references", QUERY, f"/authentic/legalEntity/{NUMBER}/references"),
        ("improved", IMPROVED, f"/improved/legalEntity/{NUMBER}/references/improved"),
    ],
)
def test_a_company_is_asked_for_by_its_number(leaf: str, lane: LaneSpec, path: str) -> None:
    attempt = asked(wanted(leaf))
    assert attempt.url == f"https://ws.example.invalid{path}"
    assert (attempt.lane, dict(attempt.headers)["Accept"]) == (lane.name, "application/json")
    assert attempt.secret_header == "NBB-CBSO-Subscription-Key"
    assert attempt.is_document


def test_an_improved_document_is_asked_for_by_reference_and_kind() -> None:
    attempt = asked(Item(improved_documents.key_for(REFERENCE, "euro_converted"), IMPROVED.name))
    path = f"/improved/deposit/{REFERENCE}/accountingData/improved/euro_converted"
    assert attempt.url == f"https://ws.example.invalid{path}"
    assert (attempt.lane, dict(attempt.headers)["Accept"]) == (IMPROVED.name, "application/x.jsonxbrl")


@pytest.mark.parametrize(
    "key",
    [
        *(companies.key_for(NUMBER, leaf) for leaf in LEAVES),
        improved_documents.key_for(REFERENCE, "corrected"),
    ],
)
def test_without_the_product_nothing_is_asked_for(key: str) -> None:
    alone = registry()
    assert alone.request(Item(key, "anywhere"), NOW) == Deferral("no_route", "anywhere", None)


def test_each_lane_is_there_once_whoever_needs_it() -> None:
    assert [lane.name for lane in WITH_ALL.lanes()] == [
        "nbb/extract", "nbb/authentic-archive", "nbb/authentic-query", "nbb/improved",
    ]  # fmt: skip


@given(NUMBERS, st.sampled_from(LEAVES))
def test_names_of_companies_on_disk_go_both_ways(number: str, leaf: str) -> None:
    key = companies.key_for(number, leaf)
    target = WITH_ALL.target(key)
    assert target == f"nbb/enterprises/{number[:4]}/{number[4:7]}/{number}.{leaf}.json"
    assert WITH_ALL.key_of(target) == key


@given(
    st.from_regex(r"(19[789]|20[0-9])[0-9]-[0-9]{1,12}", fullmatch=True),
    st.sampled_from(improved_documents.KINDS),
)
def test_names_of_improved_documents_on_disk_go_both_ways(reference: str, kind: str) -> None:
    key = improved_documents.key_for(reference, kind)
    assert WITH_ALL.key_of(WITH_ALL.target(key)) == key


@pytest.mark.parametrize(
    "target",
    [
        f"nbb/enterprises/0999/000/{NUMBER}.json",
        f"nbb/enterprises/0999/001/{NUMBER}.references.json",
        "nbb/enterprises/0999/000/0999000128.references.json",
        f"nbb/enterprises/0999/000/{NUMBER}.references.json.part",
        f"nbb/enterprises/{NUMBER}.references.json",
        f"nbb/improved-documents/2026/00999/{REFERENCE}.restated.json",
        f"nbb/improved-documents/2026/00998/{REFERENCE}.corrected.json",
        f"nbb/improved-documents/2026/00999/{REFERENCE}.json",
        "nbb/enterprises",
        "nbb/",
    ],
)
def test_no_other_file_passes_for_an_answer(target: str) -> None:
    assert WITH_ALL.key_of(target) is None


def test_nothing_of_it_is_ever_sealed() -> None:
    for group in (f"nbb/enterprises/{NUMBER}", f"nbb/improved-documents/{REFERENCE}"):
        assert WITH_ALL.judge(group, {}, NOW) is None


# ------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize("leaf", LEAVES)
def test_filings_are_stored_and_asked_for_again_after_the_interval(leaf: str) -> None:
    assert verdict_on([ROW, OTHER_ROW], wanted(leaf)) == Stored(NOW + 7 * DAY_S)


@pytest.mark.parametrize("casing", ["camel", "snake", "upper"])
def test_keys_may_be_spelled_as_the_bank_likes(casing: str) -> None:
    spelled = {
        "camel": lambda key: key[0].lower() + key[1:],
        "snake": lambda key: "".join("_" * sign.isupper() + sign for sign in key).strip("_"),
        "upper": str.upper,
    }[casing]
    assert isinstance(verdict_on([{spelled(key): value for key, value in ROW.items()}]), Stored)


@pytest.mark.parametrize("said", [answer(404, NO_DEPOSIT), answer(204), [], Answer(ResponseHead(404, {}))])
def test_that_the_bank_knows_nothing_of_it_is_believed_and_asked_again(said: object) -> None:
    assert verdict_on(said) == Nothing("no_filings_known", NOW + 7 * DAY_S, confirmed=True)


@pytest.mark.parametrize("text", [b"", b" [ \n]\n"])
def test_an_empty_body_and_an_empty_list_mean_the_same(text: bytes) -> None:
    item = wanted()
    assert verdict_on(with_body(text, item.key)) == Nothing(
        "no_filings_known", NOW + 7 * DAY_S, confirmed=True
    )


@pytest.mark.parametrize(
    "said",
    [
        {"statusCode": 200, "message": f"ReferenceNumber {NUMBER}"},
        [{"ReferenceNumber": REFERENCE, "EnterpriseNumber": "0999000228"}],
        ["no rows"],
        [[]],
    ],
)
def test_a_body_that_is_no_list_of_its_filings_is_refused(said: object) -> None:
    verdict = verdict_on(said)
    assert isinstance(verdict, Failed)
    assert (verdict.reason, verdict.quarantine, verdict.strikes_lane) == ("not_the_answer", True, True)


def test_a_row_need_not_tell_the_number() -> None:
    assert isinstance(verdict_on([{"ReferenceNumber": REFERENCE}]), Stored)


LONG_ROW = {"ReferenceNumber": REFERENCE, "EnterpriseName": "N" * HEAD_BYTES}


@pytest.mark.parametrize("casing", [str, str.lower, str.upper])
@pytest.mark.parametrize(
    "rows",
    [
        [{"ReferenceNumber": REFERENCE, "EnterpriseNumber": None}, LONG_ROW | {"EnterpriseNumber": NUMBER}],
        [{"ReferenceNumber": REFERENCE, "EnterpriseNumber": ""}, LONG_ROW],
        [{"EnterpriseNumber": None} | LONG_ROW],
    ],
)
def test_a_row_whose_number_is_null_says_nothing_of_anybody(rows: list[Any], casing: Any) -> None:
    spelled = [{casing(key): value for key, value in each.items()} for each in rows]
    assert isinstance(verdict_on(spelled), Stored)


@pytest.mark.parametrize("written", ["0999000228", "0999.000.228", 999000228])
def test_the_number_of_another_company_in_any_row_that_shows_is_refused(written: object) -> None:
    rows = [ROW, {"ReferenceNumber": REFERENCE, "enterpriseNumber": written}]
    for said in (rows, rows[::-1]):
        verdict = verdict_on(said)
        assert isinstance(verdict, Failed)
        assert verdict.reason == "not_the_answer"


@pytest.mark.parametrize("written", ["0999.000.129", 999000129, "BE0999000129", " 0999000129 "])
def test_its_own_number_may_be_written_in_any_way(written: object) -> None:
    assert isinstance(verdict_on([ROW | {"EnterpriseNumber": written}]), Stored)


def test_a_number_that_is_cut_off_where_the_head_ends_is_no_other_companys() -> None:
    key = wanted().key
    for length in range(1700, HEAD_BYTES):
        said = json.dumps([ROW | {"EnterpriseName": "N" * length}, OTHER_ROW])
        assert isinstance(verdict_on(with_body(said.encode(), key)), Stored), length


@pytest.mark.parametrize("body", [b"<html>403</html>", b"%PDF-1.7"])
def test_bytes_that_are_no_json_are_refused(body: bytes) -> None:
    verdict = verdict_on(with_body(body, wanted().key))
    assert isinstance(verdict, Failed)
    assert verdict.reason == "wrong_kind"


def test_all_the_rest_means_what_it_always_means() -> None:
    refused = verdict_on(answer(401))
    assert isinstance(refused, Blocked)
    assert refused.key_at_fault
    assert isinstance(verdict_on(answer(429)), Throttled)
    malformed = verdict_on(answer(400))
    assert isinstance(malformed, Failed)
    assert malformed.gave_up


def test_who_is_in_no_list_any_more_is_not_asked_for_again() -> None:
    alone = registry(QUERY, IMPROVED, **{"0999000228": WEEK})
    assert verdict_on([ROW], of=alone) == Stored(None)
    assert verdict_on(answer(404), of=alone) == Nothing("no_filings_known", None, confirmed=True)
    assert alone.recheck_at(wanted(), NOW) is None


@given(rows=st.permutations([ROW, OTHER_ROW, ROW | {"ReferenceNumber": "2025-00999009"}]))
def test_another_order_of_the_rows_is_no_other_answer(rows: list[dict[str, str]]) -> None:
    plan = WITH_ALL.body_plan(wanted().key)
    one, other = (
        examine_document(json.dumps(each).encode(), plan)
        for each in (rows, [dict(reversed(row.items())) for row in sorted(rows, key=str)])
    )
    assert one.content_digest == other.content_digest is not None
    fewer = examine_document(json.dumps(rows[1:]).encode(), plan)
    changed = examine_document(json.dumps([rows[0] | {"EnterpriseName": "X"}, *rows[1:]]).encode(), plan)
    assert len({one.content_digest, fewer.content_digest, changed.content_digest}) == 3


def test_what_is_no_list_has_no_digest_of_its_content() -> None:
    for data in (b"{}", b"no json", b'{"a":' * 3, b"\xff"):
        assert companies.content_digest(data) is None


# ------------------------------------------------------------------------------------------------- improved documents


def improved_item(state: State = State.ACTIVE) -> Item:
    return Item(improved_documents.key_for(REFERENCE, "corrected"), IMPROVED.name, state)


def test_an_improved_document_is_stored_and_a_comparison_remembers_when_it_was() -> None:
    body = {"ReferenceNumber": REFERENCE, "Rubrics": []}
    assert verdict_on(body, improved_item()) == Stored(None)
    assert verdict_on(body, improved_item(State.RECHECKING)) == Stored(NOW + 90 * DAY_S)


def test_an_improved_document_of_another_filing_is_refused() -> None:
    verdict = verdict_on({"ReferenceNumber": "2026-00999002", "Rubrics": []}, improved_item())
    assert isinstance(verdict, Failed)
    assert verdict.reason == "not_the_document"


def test_the_bank_may_say_that_it_made_nothing_of_a_filing() -> None:
    said = verdict_on(answer(404, b'{"messageKey":"reference.number.not.found.json"}'), improved_item())
    assert said == Nothing("not_served", NOW + 90 * DAY_S, confirmed=True)


# ------------------------------------------------------------------------------------------------- numbers


@given(NUMBERS)
def test_a_number_is_itself(number: str) -> None:
    assert plain_number(number) == number


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0403.101.812", "begins with 04031018 ends in 11"),
        ("", "no number"),
        ("Bakker", "nothing but digits"),
        ("12345", "5 digits"),
        ("2403101811", "begins with 0 or 1"),
    ],
)
def test_a_number_that_is_none_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(CompanyNumberError, match=said):
        plain_number(text)


@given(st.text(max_size=20))
def test_what_is_no_number_always_has_a_reason(text: str) -> None:
    if enterprise_number(text) is None:
        with pytest.raises(CompanyNumberError):
            plain_number(text)
    else:
        assert plain_number(text) == enterprise_number(text)
