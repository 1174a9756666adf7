"""What it means that there is nothing: late, empty, outside the window, not in this format, or gone.

Which one needs proof (NBB reference, sections 5.3 and 6.3): a settled day, every product that may serve it asked
often enough over long enough, and a references list that explains it. What is not explained stays open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filingd.core.model import EMPTY_STATES, HOLDING_STATES, Absent, Nothing, NotYet, State
from filingd.registries.nbb import timeline

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from filingd.core.model import Verdict
    from filingd.registries.nbb.days import DayQuestion

NOTHING_ON_A_WORKING_DAY = "nothing_on_a_working_day"
MISSING_THOUGH_LISTED = "missing_though_listed"
DOCUMENTS_WITHOUT_REFERENCES = "documents_without_references"
NO_LONGER_SERVED = "no_longer_served"
AT_WINDOW_EDGE = "at_window_edge"
_ALARMING = frozenset({NOTHING_ON_A_WORKING_DAY, MISSING_THOUGH_LISTED, DOCUMENTS_WITHOUT_REFERENCES})

OLD_DAYS_FACTOR = 7  # past both windows' edge a day that stays away is asked for once a week
_FRESH_DAYS = 2  # younger days may simply be published late


def nothing(question: DayQuestion, *, refused: bool) -> Verdict:
    """The verdict on an answer that brought nothing.

    `refused` tells 404 and 400, which may also mean that the day is outside the window, from the statement that the
    day's file is empty (204, no bytes, a zip without files).
    """
    rules, item, serving = question.rules, question.item, question.serving
    opens_at = timeline.first_open_at(rules, question.day)
    if question.now < opens_at:
        return NotYet(timeline.NOT_PUBLISHED_YET, opens_at)
    if question.product != serving[item.nothing_count % len(serving)]:
        # The other one, whose turn it was, failed: half an answer is no evidence.
        return question.failed("nothing_by_one_route", "the other product has not answered")
    asked = item.nothing_count + 1
    if asked % len(serving):
        return Nothing("nothing_by_one_route", question.now)  # ask the other product at once
    if item.state is State.RECHECKING:
        return _gone(question, asked)
    if question.age_days > rules.archive_max_age_days:
        return Absent(timeline.ROLLED_OUT, None, alarm=True)
    return _open_or_empty(question, asked, refused=refused)


def _open_or_empty(question: DayQuestion, asked: int, *, refused: bool) -> Nothing:
    reason, explained = _explanation(question, refused=refused)
    proven = _is_proven(question, asked)
    if proven and explained:
        return Nothing(reason, _next_look_at(question), confirmed=True)
    return Nothing(reason, _ask_again_at(question, asked), alarm=proven and reason in _ALARMING)


def _gone(question: DayQuestion, asked: int) -> Nothing:
    """The registry no longer has what is stored: it stays stored, and the operator is told (section 6.5)."""
    if not _is_proven(question, asked):
        return Nothing(NO_LONGER_SERVED, _ask_again_at(question, asked))
    again_at = timeline.next_recheck_at(question.rules, question.day, question.now)
    return Nothing(NO_LONGER_SERVED, again_at, alarm=True)


def _is_proven(question: DayQuestion, asked: int) -> bool:
    """Whether each product has said it often enough, over at least the intervals between so many questions."""
    rules = question.rules
    since = question.now if question.item.nothing_at is None else question.item.nothing_at
    span_s = rules.empty_interval_s * (rules.empty_confirmations - 1)
    return asked >= rules.empty_confirmations * len(question.serving) and question.now - since >= span_s


# ------------------------------------------------------------------------------------------------- why


def _explanation(question: DayQuestion, *, refused: bool) -> tuple[str, bool]:
    """Why there may be nothing, and whether that is reason enough once it is proven."""
    if question.dataset == timeline.REFERENCES:
        return _of_references(question, refused=refused)
    return _of_documents(question, refused=refused)


def _of_references(question: DayQuestion, *, refused: bool) -> tuple[str, bool]:
    rules, day = question.rules, question.day
    if any(sibling.item.state in HOLDING_STATES for sibling in _documents(question)):
        return DOCUMENTS_WITHOUT_REFERENCES, False
    is_known = day in rules.known_empty_days
    expects_some = rules.family.publishes_daily and rules.expect_filings_on_working_days
    if not is_known and expects_some and timeline.is_working_day(day):
        return NOTHING_ON_A_WORKING_DAY, False
    if _may_be_elsewhere(question, refused=refused):
        return AT_WINDOW_EDGE, False
    return "known_empty_day" if is_known else "nothing_published", True


def _of_documents(question: DayQuestion, *, refused: bool) -> tuple[str, bool]:
    references = question.siblings.get(timeline.REFERENCES)
    if references is None or references.item.state not in HOLDING_STATES | EMPTY_STATES:
        return "waits_for_references", False
    if references.item.state in EMPTY_STATES:
        at_edge = _may_be_elsewhere(question, refused=refused)
        return (AT_WINDOW_EDGE, False) if at_edge else ("nothing_published", True)
    facts = references.version.facts if references.version else {}
    if question.dataset in question.rules.family.not_of_pdf and _holds_only_pdf_filings(facts):
        return "only_pdf_filings", True
    return MISSING_THOUGH_LISTED, False


def _may_be_elsewhere(question: DayQuestion, *, refused: bool) -> bool:
    """Whether the day may have left one window and not yet entered the next, and so be found nowhere for a while."""
    return refused and timeline.is_doubtful(question.rules, question.age_days)


def _documents(question: DayQuestion) -> list[Any]:
    return [holding for name, holding in question.siblings.items() if name != timeline.REFERENCES]


def _holds_only_pdf_filings(facts: Mapping[str, Any]) -> bool:
    return facts.get("filings") is not None and facts.get("filings") == facts.get("pdf_only")


# ------------------------------------------------------------------------------------------------- when again


def _next_look_at(question: DayQuestion) -> float | None:
    """Only the references of an empty day are asked for again: if they change, they ask for the documents."""
    if question.dataset != timeline.REFERENCES:
        return None
    return timeline.next_recheck_at(question.rules, question.day, question.now)


def _ask_again_at(question: DayQuestion, asked: int) -> float:
    """Soon for a day that may be late, at the confirming interval otherwise; twice as long each round, up to a cap."""
    rules, rounds = question.rules, asked // len(question.serving)
    first_s = rules.not_yet_interval_s if _may_be_late(question) else rules.empty_interval_s
    is_old = question.age_days > rules.edge_give_up_age_days
    cap_s = rules.ask_again_cap_s * (OLD_DAYS_FACTOR if is_old else 1)
    return question.now + min(first_s * 2.0 ** min(rounds - 1, 16), max(cap_s, first_s))


def _may_be_late(question: DayQuestion) -> bool:
    """Whether filings are to be expected: it is a fresh day, and a working day or one whose references are there."""
    if question.age_days > _FRESH_DAYS:
        return False
    references = question.siblings.get(timeline.REFERENCES)
    are_listed = references is not None and references.item.state in HOLDING_STATES
    return are_listed or timeline.is_working_day(question.day)
