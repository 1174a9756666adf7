"""What an answer of KVK is worth: the whole table of codes, what has no code, 404 that is not believed, limits, good bodies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given as given_by
from hypothesis import strategies as st
from msgspec.structs import replace

from filingd.core.model import (
    Absent,
    Answer,
    Blocked,
    BodyReport,
    Failed,
    Item,
    Nothing,
    NotYet,
    ResponseHead,
    State,
    Stored,
    Throttled,
)
from filingd.registries.kvk.answers import CODES, Meaning
from registries.kvk_cases import (
    BODIES,
    BRANCH,
    COMPANY,
    DAY_S,
    EVERYTHING,
    HOUR_S,
    NOW,
    OTHER_BRANCH,
    RSIN,
    address,
    basisprofiel,
    branch,
    fault,
    given,
    item,
    registry,
    results,
    row,
    said,
    verdict,
    vestigingen,
)

if TYPE_CHECKING:
    from filingd.registries.kvk.registry import KvkRegistry

PROFILE = item()
BY_RSIN = item("zoeken", RSIN)
LAYER7 = b"Rate limit and/or quota exceeded. See reason below.\n"


def proven(**changes: object) -> KvkRegistry:
    """A registry to which every product has answered well."""
    of = registry(**changes)  # type: ignore[arg-type]
    for part in BODIES:
        wanted = item(part, BRANCH if part == "vestigingsprofiel" else COMPANY)
        assert isinstance(verdict(of, wanted, given(of, wanted, BODIES[part])), Stored)
    return of


# ------------------------------------------------------------------------------------------------- the table


NOT_UNDERSTOOD = (
    "KVK refuses how basisprofiel is asked for ({}), so nothing more is asked of it: look at geo_data of the lists under "
    "[kvk.watch], and at [kvk.paths]; a restart asks once more"
)
TABLE = {
    "IPD0001": (404, Absent("not_deliverable", NOW + 30 * DAY_S, detail="IPD0001: Voorbeeldtekst.")),
    "IPD0004": (400, Failed("number_refused", NOW + DAY_S, "IPD0004: Voorbeeldtekst.", strikes_lane=False)),
    "IPD0005": (404, Absent("not_deliverable", NOW + 30 * DAY_S, detail="IPD0005: Voorbeeldtekst.")),
    "IPD0006": (400, Failed("number_refused", NOW + DAY_S, "IPD0006: Voorbeeldtekst.", strikes_lane=False)),
    "IPD0007": (404, Absent("not_deliverable", NOW + 30 * DAY_S, detail="IPD0007: Voorbeeldtekst.")),
    "IPD0010": (400, Failed("number_refused", NOW + DAY_S, "IPD0010: Voorbeeldtekst.", strikes_lane=False)),
    "IPD0015": (404, Absent("not_deliverable", NOW + 30 * DAY_S, detail="IPD0015: Voorbeeldtekst.")),
    "IPD1002": (404, NotYet("being_processed", NOW + DAY_S)),
    "IPD1003": (404, Nothing("temporarily_unavailable", NOW + 600.0)),
    "IPD1998": (400, Blocked("request_refused", NOT_UNDERSTOOD.format("IPD1998: Voorbeeldtekst."))),
    "IPD1999": (400, Blocked("request_refused", NOT_UNDERSTOOD.format("IPD1999: Voorbeeldtekst."))),
    "IPD5203": (404, Blocked("request_refused", NOT_UNDERSTOOD.format("IPD5203: Voorbeeldtekst."))),
}  # fmt: skip


@pytest.mark.parametrize("code", TABLE)
@pytest.mark.parametrize("nested", [False, True])
def test_each_code_means_what_the_table_says(code: str, nested: bool) -> None:
    status, expected = TABLE[code]
    assert verdict(proven(), PROFILE, fault(code, status, nested=nested)) == expected


@pytest.mark.parametrize("code", TABLE)
@pytest.mark.parametrize("status", [400, 404, 500])
def test_the_code_decides_and_not_the_status(code: str, status: int) -> None:
    assert verdict(proven(), PROFILE, fault(code, status)) == TABLE[code][1]


def test_every_code_of_the_reference_is_in_the_table() -> None:
    assert CODES.keys() == TABLE.keys() | {"IPD5200", "IPD9999"}
    assert {CODES[code] for code in TABLE} == set(Meaning) - {Meaning.NO_RESULTS, Meaning.TECHNICAL_FAULT}


def test_a_technical_fault_is_tried_three_times_and_then_left_for_a_day() -> None:
    of, answer = registry(), fault("IPD9999", 500)
    first, second, third = (verdict(of, replace(PROFILE, attempts=tries), answer) for tries in range(3))
    assert isinstance(first, Failed)
    assert isinstance(second, Failed)
    assert NOW < first.again_at <= NOW + 5 < second.again_at <= NOW + 10
    assert third == Failed("technical_fault", NOW + DAY_S, "IPD9999: Voorbeeldtekst.", gave_up=True)


def test_an_empty_search_is_an_answer() -> None:
    expected = Nothing("no_results", NOW + 30 * DAY_S, confirmed=True, drops_held=True)
    assert verdict(registry(), BY_RSIN, fault("IPD5200")) == expected


def test_of_several_codes_the_gravest_counts_wherever_it_stands() -> None:
    body = {"fout": [{"code": "IPD7777"}, {"code": "IPD0005"}, {"code": "IPD1002"}]}
    assert verdict(proven(), PROFILE, said(404, json.dumps(body).encode())) == NotYet(
        "being_processed", NOW + DAY_S
    )


def test_a_code_under_a_200_counts_as_well() -> None:
    of = registry()
    answer = given(of, PROFILE, {"fout": [{"code": "IPD1003", "omschrijving": "Later."}]})
    assert verdict(of, PROFILE, answer) == Nothing("temporarily_unavailable", NOW + 600.0)


def test_what_stays_unavailable_is_asked_for_ever_later_and_at_least_once_a_day() -> None:
    found = [
        verdict(registry(), replace(PROFILE, nothing_count=count), fault("IPD1003")) for count in range(14)
    ]
    waits = [(one.again_at or 0.0) - NOW for one in found if isinstance(one, Nothing)]
    assert waits[:6] == [600.0, 600.0, 600.0, 600.0, 1200.0, 2400.0]
    assert waits[-1] == DAY_S
    assert sum(wait <= DAY_S / 2 for wait in waits) < 12, "calls of the first day"


def test_an_error_that_was_cut_still_has_its_code() -> None:
    answer = said(404, b'{"fout":[{"code":"IPD1002","omschr')
    assert verdict(registry(), PROFILE, answer) == NotYet("being_processed", NOW + DAY_S)


# ------------------------------------------------------------------------------------------------- unknown codes


def test_an_unknown_code_on_404_waits_a_day_and_is_given_up_after_a_few() -> None:
    of = registry()
    first = verdict(of, PROFILE, fault("IPD7777"))
    assert isinstance(first, Failed)
    assert (first.reason, first.again_at, first.alarm, first.gave_up) == (
        "unknown_code",
        NOW + DAY_S,
        True,
        False,
    )
    assert "404 IPD7777" in first.detail
    last = verdict(of, replace(PROFILE, attempts=2), fault("IPD7777"))
    assert isinstance(last, Failed)
    assert (last.again_at, last.alarm, last.gave_up) == (NOW + 30 * DAY_S, False, True)


@pytest.mark.parametrize(("status", "gave_up"), [(400, True), (500, False), (503, False), (418, True)])
def test_an_unknown_code_is_told_once_and_taken_by_its_status(status: int, gave_up: bool) -> None:
    of = registry()
    told = [verdict(of, PROFILE, fault("IPD7777", status)) for _ in range(2)]
    assert all(isinstance(one, Failed) and one.reason == "unknown_code" for one in told)
    assert [one.alarm for one in told if isinstance(one, Failed)] == [True, False]
    assert [one.gave_up for one in told if isinstance(one, Failed)] == [gave_up, gave_up]


# ------------------------------------------------------------------------------------------------- status alone


@pytest.mark.parametrize("body", [b"", b"<html>no</html>", b'{"fout":[{"code":"IPD1002"}]}'])
def test_a_refused_key_closes_the_whole_registry(body: bytes) -> None:
    found = verdict(registry(), PROFILE, said(401, body))
    assert isinstance(found, Blocked)
    assert (found.reason, found.key_at_fault, found.is_wide) == ("key_refused", True, True)


def test_what_the_contract_lacks_closes_its_product_alone() -> None:
    found = verdict(registry(), PROFILE, said(403, b"nee"))
    assert isinstance(found, Blocked)
    assert (found.reason, found.key_at_fault, found.is_wide) == ("not_in_contract", False, False)
    assert "basisprofiel" in found.detail


def test_a_media_type_that_is_not_offered_closes_the_product() -> None:
    found = verdict(registry(), PROFILE, said(406))
    assert isinstance(found, Blocked)
    assert found.reason == "media_type_refused"


@pytest.mark.parametrize(
    "answer", [said(404), said(404, b"<html>404</html>"), said(404, b"{}"), said(410), said(410, b"weg")]
)
@pytest.mark.parametrize("wanted", [PROFILE, BY_RSIN])
def test_a_path_that_is_gone_is_named_and_takes_no_item_with_it(answer: Answer, wanted: Item) -> None:
    found = verdict(proven(), wanted, answer)
    assert isinstance(found, Blocked)
    assert (found.reason, found.key_at_fault, found.is_wide) == ("retired_version", False, False)
    assert "retired" in found.detail


def test_a_request_that_is_refused_without_a_word_is_left_alone() -> None:
    found = verdict(registry(), PROFILE, said(400, b"bad request"))
    assert isinstance(found, Failed)
    assert (found.reason, found.gave_up, found.again_at) == ("refused_as_invalid", True, NOW + 30 * DAY_S)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("body", [b"", b"<html>oops</html>"])
def test_a_server_error_speaks_against_the_lane_and_ends_in_a_pause_of_a_day(
    status: int, body: bytes
) -> None:
    first = verdict(registry(), PROFILE, said(status, body))
    assert isinstance(first, Failed)
    assert (first.reason, first.strikes_lane, first.gave_up) == (f"server_error_{status}", True, False)
    last = verdict(registry(), replace(PROFILE, attempts=2), said(status, body))
    assert isinstance(last, Failed)
    assert (last.gave_up, last.again_at) == (True, NOW + DAY_S)


# ------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (said(429), Throttled("rate", None)),
        (said(429, Retry_After="7"), Throttled("rate", 7.0)),
        (said(429, b"monthly quota is used up"), Throttled("quota", None, is_quota=True)),
        (said(503, LAYER7), Throttled("rate", None)),
        (said(503, LAYER7 + b"Rate limit of 100/s"), Throttled("rate", None)),
        (said(503, LAYER7 + b"Monthly quota reached"), Throttled("quota", None, is_quota=True)),
        (said(503, LAYER7, Retry_After="30"), Throttled("rate", 30.0)),
        (said(503, b"maintenance", Retry_After="60"), Throttled("server_busy", 60.0)),
    ],
)
def test_limits_are_told_by_429_and_by_the_words_of_503(answer: Answer, expected: Throttled) -> None:
    assert verdict(registry(), PROFILE, answer) == expected


def test_a_date_to_retry_after_is_by_their_clock() -> None:
    answer = said(429, Retry_After="Sun, 22 Nov 2026 12:00:30 GMT", Date="Sun, 22 Nov 2026 12:00:00 GMT")
    assert verdict(registry(), PROFILE, answer) == Throttled("rate", 30.0)


# ------------------------------------------------------------------------------------------------- 404 that is not believed


def test_nothing_is_gone_before_the_product_has_answered_well() -> None:
    of = registry()
    waits = []
    for asked_before in range(4):
        found = verdict(of, replace(PROFILE, nothing_count=asked_before), fault("IPD0005"))
        assert isinstance(found, Nothing)
        assert (found.reason, found.confirmed) == ("not_deliverable_unproven", False)
        waits.append((found.again_at or 0.0) - NOW)
    assert waits == [HOUR_S, 2 * HOUR_S, 4 * HOUR_S, 8 * HOUR_S]
    late = verdict(of, replace(PROFILE, nothing_count=1000), fault("IPD0005"))
    assert isinstance(late, Nothing)
    assert late.again_at == NOW + 30 * DAY_S


def test_one_product_does_not_speak_for_another() -> None:
    of = registry()
    verdict(of, PROFILE, given(of, PROFILE, basisprofiel()))
    assert isinstance(verdict(of, item("eigenaar"), fault("IPD0005")), Absent)
    assert isinstance(verdict(of, item("vestigingsprofiel", BRANCH), fault("IPD0007")), Nothing)


def test_too_many_404_in_a_row_are_believed_no_more_until_one_goes_well() -> None:
    of = proven(most_not_found_in_a_row=5)
    found = [verdict(of, PROFILE, fault("IPD0005")) for _ in range(7)]
    assert [type(one) for one in found] == [Absent] * 5 + [Blocked] * 2
    last = found[-1]
    assert isinstance(last, Blocked)
    assert (last.reason, last.key_at_fault) == ("all_refused", False)
    assert "most_not_found_in_a_row" in last.detail
    verdict(of, PROFILE, given(of, PROFILE, basisprofiel()))
    assert isinstance(verdict(of, PROFILE, fault("IPD0005")), Absent)


def test_an_implausible_run_takes_back_what_was_believed_of_it_and_nothing_else() -> None:
    of = proven(most_not_found_in_a_row=3)
    before, *run = [item("basisprofiel", f"9900{n:04d}") for n in range(5)]
    (companies,) = of.companies
    companies.follow(dict.fromkeys([f"9900{n:04d}" for n in range(5)], EVERYTHING))
    verdict(of, before, fault("IPD0005"))
    verdict(of, before, given(of, before, basisprofiel(kvkNummer="99000000")))
    *believed, last = [verdict(of, one, fault("IPD0005")) for one in run]
    assert [type(one) for one in believed] == [Absent] * 3
    for tripped in (last, verdict(of, run[-1], fault("IPD0005"))):
        assert isinstance(tripped, Blocked)
        assert tripped.doubts == tuple(one.key for one in run[:3]), (
            "also those whose rows were not written yet"
        )


@pytest.mark.parametrize("code", ["IPD1002", "IPD1003"])
def test_temporary_states_are_no_part_of_such_a_run(code: str) -> None:
    of = proven(most_not_found_in_a_row=2)
    for _ in range(5):
        verdict(of, PROFILE, fault(code))
    assert isinstance(verdict(of, PROFILE, fault("IPD0005")), Absent)


def test_a_parameter_that_is_refused_closes_the_product_and_names_it() -> None:
    found = verdict(registry(), PROFILE, fault("IPD1999", 400, "ongeldig: [geoData]"))
    assert isinstance(found, Blocked)
    assert (found.reason, found.key_at_fault, found.is_wide) == ("request_refused", False, False)
    assert "basisprofiel" in found.detail
    assert "[geoData]" in found.detail


def test_one_number_alone_that_is_refused_a_parameter_does_not_close_the_product_for_good() -> None:
    of, refused = proven(), fault("IPD1999", 400)
    once = replace(PROFILE, reason="request_refused")
    assert isinstance(verdict(of, PROFILE, refused), Blocked)
    assert isinstance(verdict(of, once, refused), Blocked), "nothing has gone well since"
    verdict(of, PROFILE, given(of, PROFILE, basisprofiel()))
    assert isinstance(verdict(of, PROFILE, refused), Blocked), "asked for the first time"
    verdict(of, PROFILE, given(of, PROFILE, basisprofiel()))
    last = verdict(of, once, refused)
    assert isinstance(last, Failed)
    assert (last.reason, last.again_at, last.alarm, last.strikes_lane) == (
        "request_refused",
        NOW + DAY_S,
        True,
        False,
    )


def test_an_rsin_that_is_refused_as_a_parameter_waits_alone() -> None:
    found = verdict(registry(), BY_RSIN, fault("IPD1999", 400, "ongeldig: [rsin]"))
    assert isinstance(found, Failed)
    assert (found.reason, found.again_at, found.strikes_lane) == ("number_refused", NOW + DAY_S, False)


FOR_GOOD = {
    "400 without a code": said(400, b"bad request"),
    "400 with an unknown code": fault("IPD7777", 400),
    "404 with an unknown code": fault("IPD7777"),
    "a number": fault("IPD0004", 400),
    "gone": fault("IPD0005"),
}


@pytest.mark.parametrize("answer", FOR_GOOD.values(), ids=FOR_GOOD)
def test_however_calls_are_refused_one_after_the_other_the_product_is_closed_before_all_are_paid_for(
    answer: Answer,
) -> None:
    of = proven(most_not_found_in_a_row=5)
    found = [verdict(of, PROFILE, answer) for _ in range(7)]
    assert [isinstance(one, Blocked) for one in found] == [False] * 5 + [True] * 2
    assert {one.reason for one in found if isinstance(one, Blocked)} == {"all_refused"}


def test_an_empty_search_ends_a_run_of_refused_ones() -> None:
    of = registry(most_not_found_in_a_row=3)
    for told in [fault("IPD0010", 400), fault("IPD5200")] * 10:
        assert not isinstance(verdict(of, BY_RSIN, told), Blocked)


ANSWERS = {
    "good": None,
    "gone": fault("IPD0005"),
    "no path": said(404),
    "unknown": fault("IPD7777"),
    "later": fault("IPD1002"),
    "broken": said(500),
}


@given_by(st.lists(st.sampled_from(sorted(ANSWERS)), max_size=30), st.integers(1, 4))
def test_a_tombstone_always_follows_a_good_answer_and_no_long_run(story: list[str], longest: int) -> None:
    of, has_answered, run = registry(most_not_found_in_a_row=longest), False, 0
    for told in story:
        answer = ANSWERS[told] or given(of, PROFILE, basisprofiel())
        found = verdict(of, PROFILE, answer)
        run = 0 if told == "good" else run + (told in ("gone", "no path", "unknown"))
        has_answered = has_answered or told == "good"
        assert isinstance(found, Absent) == (told == "gone" and has_answered and run <= longest)


# ------------------------------------------------------------------------------------------------- no whole response


@pytest.mark.parametrize("reason", ["connection_lost", "head_timeout", "stalled", "too_slow", "bad_response"])
def test_a_broken_exchange_counts_as_a_try(reason: str) -> None:
    found = verdict(registry(), replace(PROFILE, attempts=2), Answer(transfer_reason=reason))
    assert isinstance(found, Failed)
    assert (found.reason, found.gave_up, found.strikes_lane) == (reason, True, True)


def test_nobody_answering_is_never_the_items_fault() -> None:
    found = verdict(registry(), replace(PROFILE, attempts=50), Answer(transfer_reason="connect_failed"))
    assert isinstance(found, Failed)
    assert (found.gave_up, found.strikes_lane) == (False, True)


@pytest.mark.parametrize("reason", ["tls_failed", "redirected"])
def test_a_host_that_cannot_be_trusted_closes_everything(reason: str) -> None:
    found = verdict(registry(), PROFILE, Answer(transfer_reason=reason))
    assert isinstance(found, Blocked)
    assert (found.reason, found.is_wide, found.key_at_fault) == (reason, True, False)


def test_a_key_that_cannot_be_read_closes_the_lane() -> None:
    found = verdict(registry(), PROFILE, Answer(transfer_reason="key_missing"))
    assert isinstance(found, Blocked)
    assert (found.is_wide, found.key_at_fault) == (False, True)


def test_a_body_that_is_too_large_is_not_asked_for_soon() -> None:
    found = verdict(registry(), PROFILE, Answer(transfer_reason="too_large"))
    assert isinstance(found, Failed)
    assert (found.gave_up, found.again_at) == (True, NOW + 30 * DAY_S)


def test_no_head_and_no_body_are_failures() -> None:
    assert isinstance(verdict(registry(), PROFILE, Answer()), Failed)
    assert isinstance(verdict(registry(), PROFILE, Answer(ResponseHead(200, {}))), Failed)


# ------------------------------------------------------------------------------------------------- good bodies


@pytest.mark.parametrize("part", BODIES)
def test_a_good_body_is_stored_with_the_version_of_the_api(part: str) -> None:
    of, wanted = registry(), item(part, BRANCH if part == "vestigingsprofiel" else COMPANY)
    found = verdict(of, wanted, given(of, wanted, BODIES[part], version="1.5.0"))
    assert found == Stored(NOW + 30 * DAY_S, {"api_version": "1.5.0"}, drops_older=False)


def test_an_answer_without_version_says_none() -> None:
    of = registry()
    answer = replace(given(of, PROFILE, basisprofiel()), head=ResponseHead(200, {}))
    assert verdict(of, PROFILE, answer) == Stored(NOW + 30 * DAY_S, {})


@pytest.mark.parametrize(
    ("part", "body"),
    [
        ("basisprofiel", basisprofiel(adressen=[address("Ja")])),
        (
            "basisprofiel",
            basisprofiel(_embedded={"hoofdvestiging": branch(adressen=[address(), address("ja")])}),
        ),
        ("hoofdvestiging", branch(adressen=[address("Ja")])),
        ("vestigingen", vestigingen(BRANCH, OTHER_BRANCH, shielded="Ja")),
    ],
)
def test_a_shielded_address_takes_older_versions_with_it_unless_they_are_to_be_kept(
    part: str, body: object
) -> None:
    for keeps, version in ((False, 0), (False, 3), (True, 3)):
        of = registry(keep_versions_of_shielded=keeps)
        wanted = item(part, state=State.RECHECKING, version=version)
        found = verdict(of, wanted, given(of, wanted, body))
        assert isinstance(found, Stored)
        assert found.drops_older is (version > 0 and not keeps), "of a first body there is no older one"


def test_older_results_of_searches_never_stay_by_default() -> None:
    of, again = registry(), replace(BY_RSIN, version=1)
    found = verdict(of, again, given(of, again, results([row()]), version="2.1.0"))
    assert found == Stored(NOW + 30 * DAY_S, {"api_version": "2.1.0"}, drops_older=True)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "empty_body"),
        (b"<html>Welkom</html>", "wrong_kind"),
        (b'{"kvkNummer": "9900', "inspect_failed"),
        (b"[]", "inspect_failed"),
        (b'{"links": []}', "inspect_failed"),
        (json.dumps(basisprofiel(kvkNummer="99000038")).encode(), "inspect_failed"),
    ],
)
def test_a_200_that_cannot_be_read_is_transient_twice_and_then_given_up_with_its_beginning(
    body: bytes, reason: str
) -> None:
    of = registry()
    found = [verdict(of, replace(PROFILE, attempts=tries), given(of, PROFILE, body)) for tries in range(3)]
    assert [one.reason for one in found if isinstance(one, Failed)] == [reason] * 3
    assert [one.gave_up for one in found if isinstance(one, Failed)] == [False, False, True]
    last = found[-1]
    assert isinstance(last, Failed)
    assert body[:20].decode() in last.detail


def test_an_unreadable_200_does_not_prove_that_the_product_works() -> None:
    of = registry()
    verdict(of, PROFILE, given(of, PROFILE, b"<html>Welkom</html>"))
    assert isinstance(verdict(of, PROFILE, fault("IPD0005")), Nothing)


def test_what_is_shown_of_an_answer_has_no_key_in_it() -> None:
    key = "l7xx" + "0123456789abcdef" * 2
    found = verdict(registry(), PROFILE, said(500, f"apikey {key}".encode()))
    assert isinstance(found, Failed)
    assert key not in found.detail


def test_a_stored_record_that_is_gone_keeps_its_next_look_and_says_why() -> None:
    found = verdict(proven(), item(state=State.RECHECKING), fault("IPD0005"))
    assert isinstance(found, Absent)
    assert found.recheck_at == NOW + 30 * DAY_S


def test_a_report_of_another_kind_is_no_body() -> None:
    of = registry()
    body = BodyReport("pdf", 4, b"", b"%PDF", "wrong_kind", "it is pdf, not json")
    found = verdict(of, PROFILE, Answer(ResponseHead(200, {}), body=body))
    assert isinstance(found, Failed)
    assert found.strikes_lane
