"""What every answer of section 5 of the NBB reference means for an item and for its lane."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from filingd.core.model import (
    BODY_PROBLEMS,
    TRANSFER_REASONS,
    Answer,
    Blocked,
    Failed,
    Nothing,
    ResponseHead,
    State,
    Stored,
    Throttled,
)
from filingd.registries.nbb import timeline
from registries.nbb_cases import (
    ARCHIVE,
    EXTRACT,
    FRIDAY,
    answer,
    at,
    at_age,
    attempt_by,
    interpret,
    item_for,
    rules,
    with_body,
)

if TYPE_CHECKING:
    from filingd.core.model import Item, Verdict
    from filingd.registries.nbb.rules import NbbRules

NOW = at("2026-11-30 12:00")  # Friday the 20th is ten days old


def gateway_json(status: int, message: str) -> bytes:
    return json.dumps({"statusCode": status, "message": message}).encode()


DENIED = "Access denied due to {} subscription key. Make sure to {} subscription key."
MISSING_KEY = gateway_json(401, DENIED.format("missing", "include"))
INVALID_KEY = gateway_json(401, DENIED.format("invalid", "provide a valid"))
NO_SUCH_PATH = b'{ "statusCode": 404, "message": "Resource not found" }'
RATE = b'{ "statusCode": 429, "message": "Rate limit is exceeded. Try again in 7 seconds." }'
QUOTA = (
    b'{ "statusCode": 403, "message": "Out of call volume quota. Quota will be replenished in 01:23:45." }'
)
PROBLEM = json.dumps(
    {
        "title": "WebService Problem", "status": 404, "path": "/batch/2026-11-20/references",
        "timestamp": "30-11-2026 11:00:00",
        "violations": [{"field": "date", "messageKey": "reference.number.not.found.json", "defaultMessage": "none"}],
    }
).encode()  # fmt: skip
NOT_FOUND_FIELD = PROBLEM.replace(b'"date"', b'"Reference Number not found"')


def page(status: int, title: str) -> bytes:
    return (
        f"<html><head><title>{status} {title}</title></head><body><center><h1>{status} {title}</h1></center><hr>"
        "<center>Microsoft-Azure-Application-Gateway/v2</center></body></html>"
    ).encode()


def judged(
    given_answer: Answer,
    item: Item | None = None,
    *,
    configured: NbbRules | None = None,
    now: float = NOW,
    product: str = EXTRACT,
    dataset: str = "references",
) -> Verdict:
    item = item or item_for(FRIDAY, dataset)
    attempt = attempt_by(product, item.key.rpartition("/")[2])
    return interpret(configured or rules(), item, attempt, given_answer, {}, now)


def failed(verdict: Verdict) -> Failed:
    assert isinstance(verdict, Failed)
    return verdict


# ------------------------------------------------------------------------------------------------- the status table


@pytest.mark.parametrize(
    ("given_answer", "kind", "reason"),
    [
        (with_body(), Stored, None),
        (with_body(status=206), Stored, None),
        (with_body("empty"), Nothing, "nothing_on_a_working_day"),
        (with_body("empty_zip"), Nothing, "nothing_on_a_working_day"),
        (answer(204), Nothing, "nothing_on_a_working_day"),
        (answer(404), Nothing, "nothing_on_a_working_day"),
        (answer(404, PROBLEM), Nothing, "nothing_on_a_working_day"),
        (answer(404, NOT_FOUND_FIELD), Nothing, "nothing_on_a_working_day"),
        (answer(404, b"<html><body>Not here</body></html>"), Nothing, "nothing_on_a_working_day"),
        (answer(404, NO_SUCH_PATH), Failed, "path_unknown"),
        (answer(404, page(404, "Not Found")), Failed, "not_found_by_gateway"),
        (answer(400, PROBLEM), Failed, "refused_as_invalid"),
        (answer(401, MISSING_KEY), Blocked, "key_refused"),
        (answer(401, INVALID_KEY), Blocked, "key_refused"),
        (answer(401), Blocked, "key_refused"),
        (answer(403, INVALID_KEY), Blocked, "key_refused"),
        (answer(403), Blocked, "key_refused"),
        (answer(403, page(403, "Forbidden")), Blocked, "firewall"),
        (answer(403, b"<!DOCTYPE html><HTML>quota"), Blocked, "firewall"),
        (answer(403, QUOTA), Throttled, "quota"),
        (answer(403, b'{"message": "Out of bandwidth Quota."}'), Throttled, "quota"),
        (answer(405), Failed, "unexpected_status_405"),
        (answer(406), Failed, "media_type_refused"),
        (answer(415), Failed, "media_type_refused"),
        (answer(408), Failed, "server_error_408"),
        (answer(425), Failed, "server_error_425"),
        (answer(429, RATE), Throttled, "rate"),
        (answer(429), Throttled, "rate"),
        (answer(500, page(500, "Internal Server Error")), Failed, "server_error_500"),
        (answer(502, page(502, "Bad Gateway")), Failed, "server_error_502"),
        (answer(503), Failed, "server_error_503"),
        (answer(503, Retry_After="30"), Throttled, "server_busy"),
        (answer(504, page(504, "Gateway Time-out")), Failed, "server_error_504"),
        (answer(599), Failed, "server_error_599"),
        (answer(302, Location="https://elsewhere.example.invalid/"), Failed, "unexpected_status_302"),
        (answer(418), Failed, "unexpected_status_418"),
    ],
)
def test_each_status_and_family_of_bodies_has_one_meaning(
    given_answer: Answer, kind: type, reason: str | None
) -> None:
    verdict = judged(given_answer)
    assert type(verdict) is kind
    assert getattr(verdict, "reason", None) == reason


@given(
    status=st.integers(100, 999),
    body=st.binary(max_size=300),
    headers=st.dictionaries(st.sampled_from(["retry-after", "server", "content-type"]), st.text(max_size=30)),
    age=st.integers(0, 1200),
    product=st.sampled_from([EXTRACT, ARCHIVE]),
    attempts=st.integers(0, 50),
    nothing_count=st.integers(0, 50),
    dataset=st.sampled_from(["references", "json", "xbrl", "pdf"]),
)
def test_whatever_is_answered_has_a_meaning_and_never_one_in_the_past(
    status: int, body: bytes, headers: dict[str, str], age: int, product: str, attempts: int,
    nothing_count: int, dataset: str,
) -> None:  # fmt: skip
    now = at_age(FRIDAY, age)
    item = item_for(
        FRIDAY, dataset, product, attempts=attempts, nothing_count=nothing_count,
        nothing_at=now - 60 if nothing_count else None,
    )  # fmt: skip
    verdict = judged(Answer(ResponseHead(status, headers), error_body=body), item, now=now, product=product)
    again_at = getattr(verdict, "again_at", None)
    assert again_at is None or again_at >= now
    if isinstance(verdict, Stored):
        raise AssertionError("stored without a body")


# ------------------------------------------------------------------------------------------------- whose fault it is


@pytest.mark.parametrize(
    ("given_answer", "strikes"),
    [
        (answer(500), True),
        (answer(502, page(502, "Bad Gateway")), True),
        (answer(503), True),
        (answer(408), True),
        (answer(405), True),
        (answer(404, NO_SUCH_PATH), True),
        (answer(404, page(404, "Not Found")), True),
        (answer(415), True),
        (answer(400, PROBLEM), False),
        (with_body("json", problem="wrong_kind"), True),
        (with_body("html", problem="wrong_kind"), True),
        (with_body(problem="zip_bad_crc"), False),
        (with_body(problem="short_body"), False),
        (with_body(facts={"filings": 0}), False),
    ],
)
def test_a_failure_says_whether_it_speaks_against_the_lane_or_the_item(
    given_answer: Answer, strikes: bool
) -> None:
    assert failed(judged(given_answer)).strikes_lane is strikes


@pytest.mark.parametrize("given_answer", [answer(401, INVALID_KEY), answer(401, MISSING_KEY), answer(403)])
def test_a_refused_key_lets_the_other_key_be_tried(given_answer: Answer) -> None:
    verdict = judged(given_answer)
    assert isinstance(verdict, Blocked)
    assert verdict.key_at_fault


def test_the_firewall_is_not_the_fault_of_a_key() -> None:
    verdict = judged(answer(403, page(403, "Forbidden")))
    assert isinstance(verdict, Blocked)
    assert not verdict.key_at_fault
    assert "user_agent" in verdict.detail


@pytest.mark.parametrize(
    ("given_answer", "pause_s"),
    [(answer(404, NO_SUCH_PATH), 3600.0), (answer(415), 86_400.0), (answer(406), 86_400.0)],
)
def test_what_only_the_configuration_can_mend_is_left_alone_and_names_the_setting(
    given_answer: Answer, pause_s: float
) -> None:
    verdict = failed(judged(given_answer))
    assert verdict.gave_up
    assert verdict.again_at == NOW + pause_s
    assert "[nbb.paths]" in verdict.detail


# ------------------------------------------------------------------------------------------------- 400 at the edges


@pytest.mark.parametrize(
    ("age", "product", "reason"),
    [
        (1, EXTRACT, "nothing_on_a_working_day"),
        (2, EXTRACT, "refused_as_invalid"),
        (27, EXTRACT, "refused_as_invalid"),
        (28, EXTRACT, "nothing_by_one_route"),
        (33, EXTRACT, "nothing_by_one_route"),
        (34, ARCHIVE, "nothing_on_a_working_day"),
        (35, ARCHIVE, "nothing_on_a_working_day"),
        (36, ARCHIVE, "refused_as_invalid"),
        (1092, ARCHIVE, "refused_as_invalid"),
        (1093, ARCHIVE, "nothing_on_a_working_day"),
        (1097, ARCHIVE, "rolled_out"),
        (1100, ARCHIVE, "rolled_out"),
    ],
)
def test_a_date_refused_as_invalid_is_no_news_at_the_edge_of_a_window(
    age: int, product: str, reason: str
) -> None:
    verdict = judged(answer(400, PROBLEM), now=at_age(FRIDAY, age), product=product)
    assert getattr(verdict, "reason", None) == reason


def test_the_archive_may_call_a_day_invalid_that_the_extract_still_has() -> None:
    item = item_for(FRIDAY, product=ARCHIVE, nothing_count=1, nothing_at=NOW)
    verdict = judged(answer(400), item, now=at_age(FRIDAY, 28), product=ARCHIVE)
    assert isinstance(verdict, Nothing)
    assert not verdict.confirmed


# ------------------------------------------------------------------------------------------------- Retry-After


def dated(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW + seconds, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("status", "body", "header", "wait_s"),
    [
        (429, b"", "120", 120.0),
        (429, b"", dated(90), 90.0),
        (429, b"", dated(-90), 0.0),
        (429, b"", "soon", None),
        (429, b"", "-5", None),
        (429, b"", None, None),
        (429, RATE, None, 7.0),
        (429, RATE, "garbage", 7.0),
        (429, RATE, "3", 7.0),
        (429, RATE, "30", 30.0),
        (403, QUOTA, None, 5025.0),
        (403, QUOTA, "60", 5025.0),
        (403, QUOTA, "9000", 9000.0),
        (403, QUOTA.replace(b"01:23:45", b"2.01:23:45"), None, 177_825.0),
        (403, b"quota, but no time", None, None),
        (403, b"quota replenished in " + b"9" * 5000 + b":00:00", None, None),
        (429, b"Try again in " + b"9" * 5000 + b" seconds", None, None),
        (503, b"", "30", 30.0),
        (503, b"", dated(30), 30.0),
    ],
)
def test_advice_how_long_to_wait_is_taken_from_header_and_text(
    status: int, body: bytes, header: str | None, wait_s: float | None
) -> None:
    headers = {} if header is None else {"Retry_After": header}
    verdict = judged(answer(status, body, **headers))
    assert isinstance(verdict, Throttled)
    assert verdict.retry_after_s == wait_s
    assert verdict.is_quota == (status == 403)


@pytest.mark.parametrize("skew_s", [-7200.0, 0.0, 7200.0])
def test_a_date_to_come_back_at_is_meant_by_the_clock_of_whoever_says_it(skew_s: float) -> None:
    verdict = judged(answer(429, b"", Retry_After=dated(skew_s + 90), Date=dated(skew_s)))
    assert isinstance(verdict, Throttled)
    assert verdict.retry_after_s == 90.0


@pytest.mark.parametrize("header", ["", "soon", "-1"])
def test_a_503_with_senseless_advice_is_a_failure(header: str) -> None:
    assert failed(judged(answer(503, Retry_After=header))).reason == "server_error_503"


# ------------------------------------------------------------------------------------------------- no whole response


@pytest.mark.parametrize("reason", sorted(TRANSFER_REASONS))
def test_every_way_an_exchange_can_break_has_a_meaning(reason: str) -> None:
    verdict = judged(Answer(transfer_reason=reason, detail="at byte 17"))
    assert verdict.reason == reason  # type: ignore[union-attr]
    assert verdict.detail == "at byte 17"  # type: ignore[union-attr]
    assert isinstance(verdict, Failed | Blocked)


@pytest.mark.parametrize("reason", ["tls_failed", "redirected"])
def test_a_server_that_cannot_be_trusted_parks_the_lane_and_costs_no_attempt(reason: str) -> None:
    verdict = judged(Answer(transfer_reason=reason))
    assert isinstance(verdict, Blocked)
    assert not verdict.key_at_fault


def test_a_key_that_cannot_be_read_is_the_lanes_fault_and_the_other_key_is_tried() -> None:
    verdict = judged(Answer(transfer_reason="key_missing"))
    assert isinstance(verdict, Blocked)
    assert verdict.key_at_fault


def test_being_offline_never_makes_an_item_give_up() -> None:
    item = item_for(FRIDAY, attempts=500)
    verdict = failed(judged(Answer(transfer_reason="connect_failed"), item))
    assert verdict.strikes_lane
    assert not verdict.gave_up
    assert verdict.again_at - NOW <= rules().retry_cap_s


def test_a_body_past_the_bound_is_not_fetched_again_soon() -> None:
    verdict = failed(judged(Answer(ResponseHead(200, {}), transfer_reason="too_large")))
    assert verdict.gave_up
    assert not verdict.strikes_lane
    assert verdict.again_at == NOW + rules().give_up_pause_s


def test_a_break_after_a_good_head_is_still_a_break() -> None:
    verdict = judged(Answer(ResponseHead(200, {}), transfer_reason="stalled"))
    assert failed(verdict).strikes_lane


def test_an_answer_without_head_or_reason_is_a_failure() -> None:
    assert failed(judged(Answer())).reason == "bad_response"
    assert failed(judged(Answer(ResponseHead(200, {})))).reason == "bad_response"


# ------------------------------------------------------------------------------------------------- bad bodies


@pytest.mark.parametrize("problem", sorted(BODY_PROBLEMS))
def test_every_problem_of_a_body_sends_it_to_quarantine(problem: str) -> None:
    verdict = failed(judged(with_body(problem=problem, problem_detail="member 3")))
    assert verdict.quarantine
    assert verdict.reason == problem
    assert "member 3" in verdict.detail
    assert not verdict.gave_up


@pytest.mark.parametrize(
    ("kind", "head"), [("json", QUOTA), ("json", PROBLEM), ("html", page(502, "Bad Gateway"))]
)
def test_an_error_under_a_200_is_refused_and_quoted(kind: str, head: bytes) -> None:
    verdict = failed(judged(with_body(kind, problem="wrong_kind", head=head)))
    assert verdict.quarantine
    assert head[:60].decode() in verdict.detail


@pytest.mark.parametrize("before", [0, 100, 170, 199])
def test_a_key_in_an_error_that_is_quoted_is_replaced_before_the_quotation_is_cut(before: int) -> None:
    key = "0123456789abcdef" * 2
    text = b"-" * before + key.encode() + b"-" * 1000
    quoted = failed(judged(with_body("other", problem="wrong_kind", head=text))).detail
    refused = judged(Answer(ResponseHead(500, {}), error_body=text)).detail  # type: ignore[union-attr]
    for detail in (quoted, refused):
        assert key[:4] not in detail
        assert detail.endswith(("-" * before + "[redacted]" + "-" * 200)[:200])


@pytest.mark.parametrize("facts", [{}, {"filings": 0}, {"filings": None}])
def test_a_references_zip_without_one_known_filing_is_refused(facts: dict[str, Any]) -> None:
    verdict = failed(judged(with_body(facts=facts, member_count=7)))
    assert verdict.reason == "zero_known_fields"
    assert verdict.quarantine


@pytest.mark.parametrize("dataset", ["json", "xbrl", "pdf"])
def test_documents_are_not_asked_for_filings(dataset: str) -> None:
    assert isinstance(judged(with_body(facts={}), dataset=dataset), Stored)


def test_a_problem_outweighs_an_empty_kind() -> None:
    assert failed(judged(with_body("empty", problem="short_body"))).reason == "short_body"


@pytest.mark.parametrize(("age", "recheck_age"), [(1, 2), (2, 27), (10, 27), (27, None), (40, None)])
def test_a_good_body_is_stored_until_the_next_recheck(age: int, recheck_age: int | None) -> None:
    verdict = judged(with_body(), now=at_age(FRIDAY, age), product=EXTRACT if age < 34 else ARCHIVE)
    assert verdict == Stored(None if recheck_age is None else at_age(FRIDAY, recheck_age, hour=5))


# ------------------------------------------------------------------------------------------------- backoff and giving up


def waits_s(configured: NbbRules, item: Item, given_answer: Answer) -> list[float]:
    """The waits of one item that fails until it gives up."""
    waits = []
    for attempts in itertools.count():
        verdict = failed(judged(given_answer, replace(item, attempts=attempts), configured=configured))
        waits.append(verdict.again_at - NOW)
        if verdict.gave_up:
            return waits
    raise AssertionError


def test_waits_grow_up_to_the_cap_and_end_in_a_long_pause() -> None:
    configured = rules(max_attempts=14)
    *waits, pause = waits_s(configured, item_for(FRIDAY), answer(500))
    assert len(waits) == 13
    assert waits == sorted(waits)
    assert configured.retry_base_s / 2 <= waits[0] <= configured.retry_base_s
    assert configured.retry_cap_s / 2 <= waits[-1] <= configured.retry_cap_s
    assert pause == configured.give_up_pause_s


def test_an_item_gives_up_with_the_configured_try() -> None:
    assert len(waits_s(rules(max_attempts=1), item_for(FRIDAY), answer(500))) == 1
    assert len(waits_s(rules(), item_for(FRIDAY), with_body(problem="zip_bad_crc"))) == rules().max_attempts


def test_the_items_of_a_burst_do_not_come_back_together() -> None:
    days = [FRIDAY.replace(day=day) for day in range(1, 21)]
    instants = {
        failed(judged(answer(502), item_for(day, name))).again_at for day in days for name in ("json", "pdf")
    }
    assert len(instants) == 40


@pytest.mark.parametrize("state", [State.ACTIVE, State.RECHECKING])
def test_the_same_answer_fails_an_item_and_its_recheck_alike(state: State) -> None:
    assert failed(judged(answer(500), item_for(FRIDAY, state=state))).reason == "server_error_500"


def test_the_answer_is_judged_by_the_day_in_its_key() -> None:
    assert timeline.day_of(item_for(FRIDAY).key) == FRIDAY
