"""What a response means (NBB reference, section 5; 404's many meanings in 5.3; days with nothing in 6.3).

One table from status to reader, read from top to bottom of this file. "No error" is never a result, and "nothing" is
only believed with proof.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filingd.core import calendar
from filingd.core.model import (
    Absent,
    Blocked,
    Failed,
    Nothing,
    State,
    Stored,
    Throttled,
    leaf_of,
)
from filingd.core.retry import backoff_s, parse_retry_after
from filingd.registries.nbb import timeline

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Mapping

    from filingd.core.model import Answer, BodyReport, Holding, Item, Verdict
    from filingd.registries.nbb.rules import NbbRules

_WAITS_SIX = 6  # attempts after which the backoff no longer grows much; keeps the exponent small
_PATH_UNKNOWN_PAUSE_S = 3600.0
_OLD_DAYS_FACTOR = 7  # past both windows' edge a day that stays away is asked for once a week
_FRESH_DAYS = 2  # younger days may simply be published late
_QUOTA_WAIT = re.compile(rb"replenished in (\d+):(\d\d):(\d\d)")


class Question:
    """Everything an answer is judged by, in one place: the item, its day and age, its siblings, the hour."""

    def __init__(self, rules: NbbRules, item: Item, siblings: Mapping[str, Holding], now: float) -> None:
        self.rules = rules
        self.item = item
        self.siblings = siblings
        self.now = now
        self.day: dt.date = timeline.day_of(item.key)
        self.dataset = leaf_of(item.key)
        self.age_days = calendar.age_days(self.day, now, rules.zone)

    def failed(
        self, reason: str, detail: str = "", *, quarantine: bool = False, lane: bool = False
    ) -> Failed:
        """A failure of this attempt, with the next try by backoff, or a long pause when the tries are used up."""
        tries = self.item.attempts + 1
        gave_up = tries >= self.rules.max_attempts
        wait_s = self.rules.give_up_pause_s if gave_up else self._backoff_s(tries)
        return Failed(
            reason, self.now + wait_s, detail, quarantine=quarantine, gave_up=gave_up, strikes_lane=lane
        )

    def paused(self, reason: str, detail: str, pause_s: float) -> Failed:
        """A failure that trying again soon cannot mend: something is configured wrongly."""
        return Failed(reason, self.now + pause_s, detail, gave_up=True, strikes_lane=False)

    def _backoff_s(self, tries: int) -> float:
        # The item's own key spreads its retries, so that a burst of failures does not come back as a burst.
        spread = (sum(self.item.key.encode()) % 97) / 97
        return backoff_s(min(tries, _WAITS_SIX * 2), self.rules.retry_base_s, self.rules.retry_cap_s, spread)


def interpret(
    rules: NbbRules, item: Item, answer: Answer, siblings: Mapping[str, Holding], now: float
) -> Verdict:
    """What an answer to a batch request means for the item."""
    question = Question(rules, item, siblings, now)
    if answer.transfer_reason is not None:
        lane_at_fault = answer.transfer_reason not in {"too_large", "key_missing"}
        return question.failed(answer.transfer_reason, answer.detail, lane=lane_at_fault)
    if answer.head is None:
        return question.failed("bad_response", answer.detail, lane=True)
    reader = _READERS.get(answer.head.status, _unexpected)
    return reader(question, answer)


def _body(question: Question, answer: Answer) -> Verdict:
    body = answer.body
    if body is None:
        return question.failed("bad_response", "no body was read", lane=True)
    if body.problem is not None:
        return question.failed(body.problem, body.problem_detail, quarantine=True)
    if body.kind in {"empty", "empty_zip"}:
        return _nothing(question)
    if question.dataset == timeline.REFERENCES and not _has_filings(body):
        return question.failed(
            "zero_known_fields", "the zip holds files, but no filing was found in them", quarantine=True
        )
    return Stored(timeline.next_recheck_at(question.rules, question.day, question.now))


def _no_content(question: Question, answer: Answer) -> Verdict:  # noqa: ARG001 - one shape for all readers
    return _nothing(question)


def _not_found(question: Question, answer: Answer) -> Verdict:
    if (
        b"Resource not found" in answer.error_body
    ):  # the gateway's own 404: the path is wrong, not the day (5.3)
        return question.paused(
            "path_unknown", "the gateway does not know this path: see [nbb.paths]", _PATH_UNKNOWN_PAUSE_S
        )
    return _nothing(question)


def _bad_request(question: Question, answer: Answer) -> Verdict:
    # A date outside the window may be refused as invalid rather than as not found (section 11, row 3).
    low = question.rules.extract_max_age_days
    if question.age_days >= low or question.age_days <= 1:
        return _nothing(question)
    return question.paused("refused_as_invalid", _text(answer), question.rules.give_up_pause_s)


def _unauthorised(question: Question, answer: Answer) -> Verdict:  # noqa: ARG001
    return Blocked("key_refused", _text(answer), key_at_fault=True)


def _forbidden(question: Question, answer: Answer) -> Verdict:
    quota = _QUOTA_WAIT.search(answer.error_body)
    if quota is not None or b"quota" in answer.error_body.lower():
        hours, minutes, seconds = (int(part) for part in quota.groups()) if quota else (0, 0, 0)
        waits = (_retry_after_s(question, answer), float(hours * 3600 + minutes * 60 + seconds) or None)
        return Throttled("quota", max((wait for wait in waits if wait is not None), default=None))
    if b"<html" in answer.error_body.lower():
        return Blocked("firewall", "the firewall refused the request: check [http] user_agent")
    return Blocked("key_refused", _text(answer), key_at_fault=True)


def _media_type(question: Question, answer: Answer) -> Verdict:  # noqa: ARG001
    return question.paused("media_type_refused", "the operation does not offer this media type: see [nbb.paths]",
                           question.rules.give_up_pause_s)  # fmt: skip


def _too_many(question: Question, answer: Answer) -> Verdict:
    return Throttled("rate", _retry_after_s(question, answer))


def _server_error(question: Question, answer: Answer) -> Verdict:
    wait_s = _retry_after_s(question, answer)
    status = answer.head.status if answer.head else 0
    if status == 503 and wait_s is not None:
        return Throttled("server_busy", wait_s)
    return question.failed(f"server_error_{status}", _text(answer), lane=True)


def _unexpected(question: Question, answer: Answer) -> Verdict:
    status = answer.head.status if answer.head else 0
    if status >= 500:
        return _server_error(question, answer)
    return question.failed(f"unexpected_status_{status}", _text(answer), lane=True)


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
}


# ------------------------------------------------------------------------------------------------- nothing there


def _nothing(question: Question) -> Verdict:
    """The registry has nothing: late, empty, outside the window, or not in this format. Which one needs proof."""
    rules, item = question.rules, question.item
    routes = max(1, len(timeline.products_at(rules, question.age_days)))
    asked = item.nothing_count + 1
    if asked % routes:
        return Nothing(
            "nothing_by_one_route", question.now
        )  # two products serve this age: ask the other at once
    if question.age_days > rules.archive_max_age_days:
        return Absent(timeline.OUTSIDE_WINDOW, None, alarm=True)
    since = question.now if item.nothing_at is None else item.nothing_at
    proven = asked >= rules.empty_confirmations * routes and (
        question.now - since >= rules.empty_interval_s * (rules.empty_confirmations - 1)
    )
    reason, explained = _explanation(question)
    if proven and explained:
        return Nothing(reason, timeline.next_recheck_at(rules, question.day, question.now), confirmed=True)
    return Nothing(
        reason, question.now + _ask_again_s(question, asked // routes), alarm=proven and _is_alarming(reason)
    )


def _explanation(question: Question) -> tuple[str, bool]:
    """Why there may be nothing, and whether that is reason enough once it is proven."""
    rules = question.rules
    if question.dataset == timeline.REFERENCES:
        if question.day in rules.known_empty_days:
            return "known_empty_day", True
        if rules.expect_filings_on_working_days and timeline.is_working_day(question.day):
            return "nothing_on_a_working_day", False
        return "nothing_published", True
    references = question.siblings.get(timeline.REFERENCES)
    if references is None or references.item.state in {
        State.DUE,
        State.ACTIVE,
        State.ABSENT,
        State.QUARANTINED,
    }:
        return "waits_for_references", False
    if references.item.state is State.EMPTY:
        return "nothing_published", True
    return _against_references(question, references)


def _against_references(question: Question, references: Holding) -> tuple[str, bool]:
    facts = references.version.facts if references.version else {}
    only_pdf = facts.get("filings") is not None and facts.get("filings") == facts.get("pdf_only")
    if question.dataset in {"json", "xbrl"} and only_pdf:
        return "only_pdf_filings", True
    return "missing_though_listed", False


def _is_alarming(reason: str) -> bool:
    return reason in {"nothing_on_a_working_day", "missing_though_listed"}


def _ask_again_s(question: Question, rounds: int) -> float:
    """When to ask again: soon for a day that may be late, at the confirming interval otherwise, ever rarer later."""
    rules = question.rules
    late = question.age_days <= _FRESH_DAYS and (
        question.dataset != timeline.REFERENCES or timeline.is_working_day(question.day)
    )
    first_s = rules.not_yet_interval_s if late else rules.empty_interval_s
    old = question.age_days > rules.edge_give_up_age_days
    cap_s = rules.ask_again_cap_s * (_OLD_DAYS_FACTOR if old else 1)
    return float(min(first_s * 2 ** min(rounds - 1, 16), max(cap_s, first_s)))


def _has_filings(body: BodyReport) -> bool:
    return bool(body.facts.get("filings"))


def _retry_after_s(question: Question, answer: Answer) -> float | None:
    return parse_retry_after(answer.head.header("retry-after"), question.now) if answer.head else None


def _text(answer: Answer) -> str:
    return answer.error_body[:200].decode("utf-8", "replace")
