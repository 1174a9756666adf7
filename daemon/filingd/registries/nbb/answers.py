"""What a response means (NBB reference, section 5).

One table from status to reader, read from top to bottom of this file. "No error" is never a result; what a body or its
absence is worth, the question itself knows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filingd.core.kinds import NOTHING_KINDS
from filingd.core.model import Blocked, Throttled
from filingd.core.retry import http_date_at, parse_retry_after
from filingd.registries.nbb.words import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from filingd.core.model import Answer, BodyReport, Verdict
    from filingd.registries.nbb.question import Question

_WRONG_PATH_PAUSE_S = 3600.0
GATEWAY_MARK = b"Microsoft-Azure-Application-Gateway"  # family 3
_FIREWALL = (
    "the firewall in front of the whole service refused the request, which is no matter of the key: "
    "see [http] user_agent, and whether this machine's address is blocked"
)
NO_SUCH_OPERATION = b"Resource not found"  # family 1: the path is wrong, not the day (5.3)
# Family 1 says how long to wait in its text: "in 7 seconds", "in 01:23:45", days as "2.01:23:45".
_SAID_SECONDS = re.compile(rb"again in (\d{1,6}) seconds")
_SAID_TIME_SPAN = re.compile(rb"replenished in (?:(\d{1,4})\.)?(\d{1,4}):(\d\d):(\d\d)")


def interpret(question: Question, answer: Answer) -> Verdict:
    """What an answer means for the item that was asked for."""
    if answer.transfer_reason is not None:
        return _BREAKS.get(answer.transfer_reason, _broken_off)(question, answer)
    if answer.head is None:
        return question.failed("bad_response", answer.detail, lane=True)
    return _READERS.get(answer.head.status, _unexpected)(question, answer)


# ------------------------------------------------------------------------------------------------- no whole response


def _broken_off(question: Question, answer: Answer) -> Verdict:
    return question.failed(answer.transfer_reason or "", answer.detail, lane=True)


def _unreachable(question: Question, answer: Answer) -> Verdict:
    return question.unreachable(answer.transfer_reason or "", answer.detail)


def _not_to_be_trusted(question: Question, answer: Answer) -> Verdict:  # noqa: ARG001 - one shape for all readers
    return Blocked(answer.transfer_reason or "", answer.detail)


def _without_key(question: Question, answer: Answer) -> Verdict:  # noqa: ARG001 - one shape for all readers
    return Blocked(answer.transfer_reason or "", answer.detail, key_at_fault=True)


def _too_large(question: Question, answer: Answer) -> Verdict:
    # Only another bound can mend it; asking again soon would only move the same bytes.
    return question.paused(answer.transfer_reason or "", answer.detail, question.rules.give_up_pause_s)


_BREAKS: Mapping[str, Callable[[Question, Answer], Verdict]] = {
    "connect_failed": _unreachable,
    "tls_failed": _not_to_be_trusted,
    "redirected": _not_to_be_trusted,
    "key_missing": _without_key,
    "too_large": _too_large,
}


# ------------------------------------------------------------------------------------------------- 2xx


def _body(question: Question, answer: Answer) -> Verdict:
    body = answer.body
    if body is None:
        return question.failed("bad_response", "no body was read", lane=True)
    if body.problem is not None:
        return _bad_body(question, body, body.problem)
    if body.kind in NOTHING_KINDS:
        return question.nothing(refused=False)
    return question.sound(body)


def _bad_body(question: Question, body: BodyReport, problem: str) -> Verdict:
    if problem != "wrong_kind":
        return question.failed(problem, body.problem_detail, quarantine=True)
    # An error page under a 200 is the service speaking, not a bad file: it counts against the lane.
    detail = f"{body.problem_detail}; it begins with: {shown(body.head)}"
    return question.failed(problem, detail, quarantine=True, lane=True)


def _no_content(question: Question, answer: Answer) -> Verdict:  # noqa: ARG001 - one shape for all readers
    return question.nothing(refused=False)


# ------------------------------------------------------------------------------------------------- 4xx


def _bad_request(question: Question, answer: Answer) -> Verdict:
    return question.invalid(answer.error_body)


def _unauthorised(question: Question, answer: Answer) -> Verdict:  # noqa: ARG001 - one shape for all readers
    return Blocked("key_refused", shown(answer.error_body), key_at_fault=True)


def _forbidden(question: Question, answer: Answer) -> Verdict:
    if is_page(answer.error_body):
        return Blocked("firewall", _FIREWALL)
    if b"quota" in answer.error_body.lower():
        return Throttled("quota", _advised_wait_s(question, answer), is_quota=True)
    return Blocked("key_refused", shown(answer.error_body), key_at_fault=True)


def _not_found(question: Question, answer: Answer) -> Verdict:
    if NO_SUCH_OPERATION in answer.error_body:
        detail = "the gateway does not know this path: see [nbb.paths]"
        return question.paused("path_unknown", detail, _WRONG_PATH_PAUSE_S, lane=True)
    if GATEWAY_MARK in answer.error_body:
        # The front answered, not the backend: it knows nothing of days.
        return question.failed("not_found_by_gateway", shown(answer.error_body), lane=True)
    return question.nothing(refused=True, text=answer.error_body)


def _media_type(question: Question, answer: Answer) -> Verdict:  # noqa: ARG001 - one shape for all readers
    detail = "the operation does not offer this media type: see [nbb.paths]"
    return question.paused("media_type_refused", detail, question.rules.give_up_pause_s, lane=True)


def _too_many(question: Question, answer: Answer) -> Verdict:
    return Throttled("rate", _advised_wait_s(question, answer))


# ------------------------------------------------------------------------------------------------- 5xx and the rest


def _server_error(question: Question, answer: Answer) -> Verdict:
    return question.failed(f"server_error_{_status(answer)}", shown(answer.error_body), lane=True)


def _unavailable(question: Question, answer: Answer) -> Verdict:
    wait_s = _advised_wait_s(question, answer)
    return _server_error(question, answer) if wait_s is None else Throttled("server_busy", wait_s)


def _unexpected(question: Question, answer: Answer) -> Verdict:
    if _status(answer) >= 500:
        return _server_error(question, answer)
    return question.failed(f"unexpected_status_{_status(answer)}", shown(answer.error_body), lane=True)


_READERS: Mapping[int, Callable[[Question, Answer], Verdict]] = {
    200: _body,
    206: _body,
    204: _no_content,
    400: _bad_request,
    401: _unauthorised,
    403: _forbidden,
    404: _not_found,
    406: _media_type,
    408: _server_error,
    415: _media_type,
    425: _server_error,
    429: _too_many,
    503: _unavailable,
}


# ------------------------------------------------------------------------------------------------- what was said


def _advised_wait_s(question: Question, answer: Answer) -> float | None:
    """The longer of what the header and the text of the answer advise, if either makes sense."""
    header = answer.head.header("retry-after") if answer.head else None
    advice = (parse_retry_after(header, _said_at(question, answer)), said_wait_s(answer.error_body))
    return max((wait_s for wait_s in advice if wait_s is not None), default=None)


def _said_at(question: Question, answer: Answer) -> float:
    """When it was said by the clock of whoever said it: a date in its answer is by that clock, ours may differ."""
    date = answer.head.header("date") if answer.head else None
    said_at = http_date_at(date, question.now) if date else None
    return question.now if said_at is None else said_at


def said_wait_s(text: bytes) -> float | None:
    if seconds := _SAID_SECONDS.search(text):
        return float(seconds[1])
    if span := _SAID_TIME_SPAN.search(text):
        days, hours, minutes, seconds_ = (int(part or 0) for part in span.groups())
        return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds_)
    return None


def is_page(text: bytes) -> bool:
    return GATEWAY_MARK in text or b"<html" in text.lower()


def _status(answer: Answer) -> int:
    return answer.head.status if answer.head else 0
