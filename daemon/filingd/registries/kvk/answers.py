"""What a response means (KVK reference, sections 4, 5 and 15.1.3).

KVK's own code decides, not the status: 404 stands for a number that is gone, for an empty search and for two temporary states
alike. What carries no code is told by its status.
"""

from __future__ import annotations

import enum
import re
import zlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from msgspec.structs import replace

from filingd.core.kinds import NOTHING_KINDS
from filingd.core.model import Absent, Blocked, Failed, Nothing, NotYet, Throttled
from filingd.core.redaction import redact_text
from filingd.core.retry import backoff_s, http_date_at, parse_retry_after
from filingd.registries.kvk.guard import RefusalGuard, Trust
from filingd.registries.kvk.operations import ZOEKEN
from filingd.registries.kvk.payloads import faults_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from filingd.core.model import Answer, BodyReport, Item, ResponseHead, Verdict
    from filingd.registries.kvk.payloads import Fault
    from filingd.registries.kvk.rules import KvkRules

# Reasons, as rows and the log have them.
NOT_DELIVERABLE = "not_deliverable"
UNPROVEN = "not_deliverable_unproven"
ALL_REFUSED = "all_refused"
REQUEST_REFUSED = "request_refused"
NUMBER_REFUSED = "number_refused"
PARAMETER_REFUSED = "parameter_refused"
BEING_PROCESSED = "being_processed"
UNAVAILABLE = "temporarily_unavailable"
NO_RESULTS = "no_results"
TECHNICAL_FAULT = "technical_fault"
UNKNOWN_CODE = "unknown_code"
RETIRED_VERSION = "retired_version"
NOT_IN_CONTRACT = "not_in_contract"

_SHOWN_CHARACTERS = 200  # of a text of theirs in a detail
_MOST_DOUBLINGS = 20
_PATIENT_TRIES = 3  # so often the wait for what is unavailable for a moment stays what it is
_IS_ABOUT_LIMITS = re.compile(rb"rate limit|quota|throttl|too many", re.IGNORECASE)
# The first line of the portal's answer names both limits, whichever was passed (section 5).
_NAMES_BOTH_LIMITS = re.compile(rb"rate limit and/or quota exceeded", re.IGNORECASE)
_QUOTA = re.compile(rb"quota", re.IGNORECASE)


class Meaning(enum.Enum):
    """What a code stands for."""

    PARAMETER_REFUSED = enum.auto()  # our own mistake: the job that sent it stops
    TECHNICAL_FAULT = enum.auto()
    NOT_PROCESSED = enum.auto()  # for hours, up to a day
    UNAVAILABLE = enum.auto()  # for minutes
    NUMBER_REFUSED = enum.auto()
    GONE = enum.auto()
    NO_RESULTS = enum.auto()


# Section 4. If an answer has several, the first of these counts.
CODES: Mapping[str, Meaning] = {
    "IPD1999": Meaning.PARAMETER_REFUSED,
    "IPD1998": Meaning.PARAMETER_REFUSED,
    "IPD5203": Meaning.PARAMETER_REFUSED,
    "IPD9999": Meaning.TECHNICAL_FAULT,
    "IPD1002": Meaning.NOT_PROCESSED,
    "IPD1003": Meaning.UNAVAILABLE,
    "IPD0004": Meaning.NUMBER_REFUSED,
    "IPD0006": Meaning.NUMBER_REFUSED,
    "IPD0010": Meaning.NUMBER_REFUSED,
    "IPD0001": Meaning.GONE,
    "IPD0005": Meaning.GONE,
    "IPD0007": Meaning.GONE,
    "IPD0015": Meaning.GONE,
    "IPD5200": Meaning.NO_RESULTS,
}


class Memory:
    """What is remembered of the answers of this run: which refusals may be believed, and which codes nobody knew were seen."""

    def __init__(self, rules: KvkRules) -> None:
        self.guard = RefusalGuard(rules.most_not_found_in_a_row)
        self._seen_codes: set[str] = set()

    def is_first_sight(self, code: str) -> bool:
        """Whether a code is seen for the first time."""
        is_first = code not in self._seen_codes
        self._seen_codes.add(code)
        return is_first


class Question(ABC):
    """One attempt that got an answer: what was asked, of which product, when it is asked again if all is well."""

    def __init__(
        self, rules: KvkRules, memory: Memory, product: str, item: Item, again_at: float | None, now: float
    ) -> None:
        self.rules = rules
        self.memory = memory
        self.product = product
        self.item = item
        self.again_at = again_at
        self.now = now

    @abstractmethod
    def sound(self, body: BodyReport, head: ResponseHead) -> Verdict:
        """A body of the kind that was asked for, which could be read."""

    @abstractmethod
    def no_results(self, text: str) -> Verdict:
        """KVK has nothing that fits (IPD5200)."""

    @abstractmethod
    def stopped(self, text: str) -> Verdict:
        """KVK takes a parameter for invalid: asking again would be refused again."""

    def refused_as_invalid(self, text: str) -> Verdict:
        """400 without a code."""
        return self.believed(self.left_alone("refused_as_invalid", text))

    def failed(self, reason: str, detail: str = "", *, lane: bool = False) -> Failed:
        """A failure of this attempt: the next try by backoff, or after a long pause when the tries are used up."""
        tries = self.item.attempts + 1
        gave_up = tries >= self.rules.max_attempts
        wait_s = self.rules.give_up_pause_s if gave_up else self._backoff_s(tries)
        return Failed(reason, self.now + wait_s, detail, gave_up=gave_up, strikes_lane=lane)

    def unreachable(self, reason: str, detail: str) -> Failed:
        """Nobody answered at all: it speaks against the lane, and never makes an item give up."""
        return Failed(reason, self.now + self._backoff_s(self.item.attempts + 1), detail)

    def deferred(self, reason: str, detail: str, *, alarm: bool = False) -> Failed:
        """It may pass by itself within days: a few tries a day apart, then a long pause."""
        gave_up = self.item.attempts + 1 >= self.rules.unknown_code_tries
        wait_s = self.rules.tombstone_interval_s if gave_up else self.rules.unknown_code_interval_s
        return Failed(reason, self.now + wait_s, detail, gave_up=gave_up, strikes_lane=False, alarm=alarm)

    def left_alone(self, reason: str, detail: str, *, alarm: bool = False) -> Failed:
        """Asking again soon would meet the same."""
        again_at = self.now + self.rules.tombstone_interval_s
        return Failed(reason, again_at, detail, gave_up=True, strikes_lane=False, alarm=alarm)

    def gone(self, text: str) -> Verdict:
        """KVK cannot deliver the product for this number: believed if a 404 of this product can be at all. A search has nothing
        that could be gone."""
        if self.product == ZOEKEN:
            return self.believed(self.deferred(NOT_DELIVERABLE, text))
        trust = self.memory.guard.note_refusal(self.product)
        if trust is Trust.IMPLAUSIBLE:
            return self._all_refused()
        if trust is Trust.UNPROVEN:
            doublings = min(self.item.nothing_count, _MOST_DOUBLINGS)
            wait_s = min(self.rules.unproven_interval_s * 2**doublings, self.rules.tombstone_interval_s)
            return Nothing(UNPROVEN, self.now + wait_s)
        self.memory.guard.note_believed(self.product, self.item.key)
        return Absent(NOT_DELIVERABLE, self.now + self.rules.tombstone_interval_s, detail=text)

    def believed(self, verdict: Verdict) -> Verdict:
        """What is made of one more refusal that time does not mend: `verdict`, unless an implausible run of them ends here."""
        if self.memory.guard.note_refusal(self.product) is Trust.IMPLAUSIBLE:
            return self._all_refused()
        self.memory.guard.note_believed(self.product, self.item.key)
        return verdict

    def _all_refused(self) -> Blocked:
        run = self.memory.guard.run(self.product)
        detail = (
            f"the last {run} calls of {self.product} were all refused (404 or 400), so none of that is believed: the path "
            "may have moved (see [kvk.paths]), or the service is out of order; if the numbers are gone, raise [kvk] "
            "most_not_found_in_a_row"
        )
        return Blocked(ALL_REFUSED, detail, doubts=self.memory.guard.believed(self.product))

    def _backoff_s(self, tries: int) -> float:
        # The item's own key spreads its retries, so that a burst of failures does not come back as a burst.
        spread = zlib.crc32(self.item.key.encode()) / 0xFFFFFFFF
        return backoff_s(tries, self.rules.retry_base_s, self.rules.retry_cap_s, spread)


def interpret(question: Question, answer: Answer) -> Verdict:
    """What an answer means for the item that was asked for."""
    if answer.transfer_reason is not None:
        return _BREAKS.get(answer.transfer_reason, _broken_off)(question, answer)
    if answer.head is None:
        return question.failed("bad_response", answer.detail, lane=True)
    reader = _READERS.get(answer.head.status)
    return reader(question, answer) if reader else _by_code(question, answer, answer.error_body)


# ------------------------------------------------------------------------------------------------- no whole response


def _broken_off(question: Question, answer: Answer) -> Verdict:
    return question.failed(answer.transfer_reason or "", answer.detail, lane=True)


def _unreachable(question: Question, answer: Answer) -> Verdict:
    return question.unreachable(answer.transfer_reason or "", answer.detail)


def _not_to_be_trusted(question: Question, answer: Answer) -> Verdict:  # noqa: ARG001 - one shape for all readers
    return Blocked(answer.transfer_reason or "", answer.detail, is_wide=True)


def _without_key(question: Question, answer: Answer) -> Verdict:  # noqa: ARG001 - one shape for all readers
    return Blocked(answer.transfer_reason or "", answer.detail, key_at_fault=True)


def _too_large(question: Question, answer: Answer) -> Verdict:
    return question.left_alone(answer.transfer_reason or "", answer.detail)


_BREAKS: Mapping[str, Callable[[Question, Answer], Verdict]] = {
    "connect_failed": _unreachable,
    "tls_failed": _not_to_be_trusted,
    "redirected": _not_to_be_trusted,
    "key_missing": _without_key,
    "too_large": _too_large,
}


# ------------------------------------------------------------------------------------------------- status alone


def _body(question: Question, answer: Answer) -> Verdict:
    body, head = answer.body, answer.head
    if body is None or head is None:
        return question.failed("bad_response", "no body was read", lane=True)
    if body.problem is None and body.kind not in NOTHING_KINDS:
        question.memory.guard.note_answer(question.product)
        return question.sound(body, head)
    if faults_in(body.head):
        return _by_code(question, answer, body.head)
    reason = body.problem or "empty_body"
    detail = (
        f"{body.problem_detail}; it begins with: {shown(body.head)}" if body.head else body.problem_detail
    )
    return question.failed(reason, detail, lane=reason == "wrong_kind")


def _unauthorised(question: Question, answer: Answer) -> Verdict:  # noqa: ARG001 - one shape for all readers
    return Blocked("key_refused", shown(answer.error_body), key_at_fault=True, is_wide=True)


def _forbidden(question: Question, answer: Answer) -> Verdict:
    said = shown(answer.error_body)
    return Blocked(
        NOT_IN_CONTRACT, f"the contract of this key has no {question.product}: {said}".rstrip(": ")
    )


def _not_acceptable(question: Question, answer: Answer) -> Verdict:
    detail = f"{question.product} does not offer application/json any more (406): {shown(answer.error_body)}"
    return Blocked("media_type_refused", detail.rstrip(": "))


def _gone_for_good(question: Question, answer: Answer) -> Verdict:  # noqa: ARG001 - one shape for all readers
    return _retired(question)


def _too_many(question: Question, answer: Answer) -> Verdict:
    return _throttled(question, answer)


def _unavailable(question: Question, answer: Answer) -> Verdict:
    advised_s = _advised_wait_s(question, answer)
    if _IS_ABOUT_LIMITS.search(answer.error_body):
        return _throttled(question, answer)
    if advised_s is not None:
        return Throttled("server_busy", advised_s)
    return _by_code(question, answer, answer.error_body)


_READERS: Mapping[int, Callable[[Question, Answer], Verdict]] = {
    200: _body,
    206: _body,
    401: _unauthorised,
    403: _forbidden,
    406: _not_acceptable,
    410: _gone_for_good,
    429: _too_many,
    503: _unavailable,
}


def _throttled(question: Question, answer: Answer) -> Throttled:
    is_quota = _QUOTA.search(_NAMES_BOTH_LIMITS.sub(b"", answer.error_body)) is not None
    return Throttled("quota" if is_quota else "rate", _advised_wait_s(question, answer), is_quota=is_quota)


def _advised_wait_s(question: Question, answer: Answer) -> float | None:
    if answer.head is None:
        return None
    date = answer.head.header("date")
    said_at = http_date_at(date, question.now) if date else None  # a date is by their clock, ours may differ
    return parse_retry_after(answer.head.header("retry-after"), question.now if said_at is None else said_at)


def _retired(question: Question) -> Blocked:
    """An answer without a code comes from in front of the service: it no longer has this path (section 1.1)."""
    detail = (
        f"the service does not know the path of {question.product} any more: the version that filingd asks for may have been "
        "retired; look at the release notes of KVK, and at [kvk] base_url and [kvk.paths]"
    )
    return Blocked(RETIRED_VERSION, detail)


# ------------------------------------------------------------------------------------------------- codes


def _by_code(question: Question, answer: Answer, text: bytes) -> Verdict:
    faults = faults_in(text)
    known = _first_known(faults)
    if known is not None:
        return _MEANINGS[CODES[known.code]](question, f"{known.code}: {told(known)}")
    if faults:
        return _unknown_code(question, answer, faults)
    return _without_code(question, answer, text)


def _first_known(faults: Sequence[Fault]) -> Fault | None:
    found = {fault.code: fault for fault in reversed(faults)}
    return next((found[code] for code in CODES if code in found), None)


def _unknown_code(question: Question, answer: Answer, faults: Sequence[Fault]) -> Verdict:
    """By its status; KVK puts temporary states on 404."""
    first, status = faults[0], _status(answer)
    alarm = question.memory.is_first_sight(first.code)
    detail = f"{status} {first.code}, a code that filingd does not know: {told(first)}"
    if status == 404:
        return question.believed(question.deferred(UNKNOWN_CODE, detail, alarm=alarm))
    if status >= 500 or status < 400:
        return replace(question.failed(UNKNOWN_CODE, detail, lane=status >= 500), alarm=alarm)
    return question.believed(question.left_alone(UNKNOWN_CODE, detail, alarm=alarm))


def _without_code(question: Question, answer: Answer, text: bytes) -> Verdict:
    status = _status(answer)
    if status == 404:
        question.memory.guard.note_refusal(question.product)
        return _retired(question)
    if status == 400:
        return question.refused_as_invalid(shown(text))
    name = "server_error" if status >= 500 else "unexpected_status"
    return question.failed(f"{name}_{status}", shown(text), lane=True)


def _being_processed(question: Question, text: str) -> Verdict:  # noqa: ARG001 - one shape for all meanings
    return NotYet(BEING_PROCESSED, question.now + question.rules.not_processed_interval_s)


def _out_of_order(question: Question, text: str) -> Verdict:  # noqa: ARG001 - one shape for all meanings
    """KVK says to come back in minutes. One that stays so must not cost a call every ten minutes for good: after a few, the wait
    doubles. Only `Nothing` is counted in the row without being a failure."""
    rules = question.rules
    doublings = min(max(question.item.nothing_count - _PATIENT_TRIES, 0), _MOST_DOUBLINGS)
    wait_s = min(rules.unavailable_interval_s * 2**doublings, rules.not_processed_interval_s)
    return Nothing(UNAVAILABLE, question.now + max(wait_s, rules.unavailable_interval_s))


_MEANINGS: Mapping[Meaning, Callable[[Question, str], Verdict]] = {
    Meaning.PARAMETER_REFUSED: lambda question, text: question.stopped(text),
    Meaning.TECHNICAL_FAULT: lambda question, text: question.failed(TECHNICAL_FAULT, text, lane=True),
    Meaning.NOT_PROCESSED: _being_processed,
    Meaning.UNAVAILABLE: _out_of_order,
    # A well-formed number was refused for a month and then was not (section 18.3).
    Meaning.NUMBER_REFUSED: lambda question, text: question.believed(question.deferred(NUMBER_REFUSED, text)),
    Meaning.GONE: lambda question, text: question.gone(text),
    Meaning.NO_RESULTS: lambda question, text: question.no_results(text),
}


def told(fault: Fault) -> str:
    """The words of a fault, as an operator may see them."""
    return shown(fault.text.encode())


def shown(text: bytes) -> str:
    """The beginning of a text, without anything shaped like a key."""
    # Before it is cut: half a key has no shape that anybody could know it by later.
    return redact_text(text.decode("utf-8", "replace"))[:_SHOWN_CHARACTERS]


def _status(answer: Answer) -> int:
    return answer.head.status if answer.head else 0
