"""What `filingd status` knows, as one value: the JSON for programs is this value, the text for people is made of it.

Instants end in `_at` and are unix seconds (UTC). Fields may be added; they are never renamed or removed.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Struct

from filingd.cli.schemas import markdown_of, schema_of
from filingd.cli.schemas import says as _says

FORMAT = 1
_PREAMBLE = """\
# filingd status --json

One object. Instants end in `_at` and are unix seconds (UTC); sizes are in bytes. Fields may be added; they are never
renamed or removed. `filingd status --schema` prints the JSON Schema.

```
filingd status --json | jq -r '.coverage[].days[] | select(.state != "sealed" and .state != "sealed_empty") | .day'
filingd status --json | jq '.lanes[] | select(.parked) | {name, parked}'
```
"""


class DayReport(Struct, frozen=True):
    """One publication day."""

    day: Annotated[str, _says("the publication day, YYYY-MM-DD")]
    state: Annotated[
        str,
        _says(
            "sealed, sealed_empty, open, alarming (open, and somebody should look), not_obtainable, not_due, "
            "unplanned (expected, but not in the manifest)"
        ),
    ]
    letter: Annotated[str, _says("its letter in the calendar")]
    reasons: Annotated[
        list[str],
        _says(
            "why it is not sealed, as of now; empty if it is. While anything of the day is to come: the state of each "
            "dataset that is not there, such as `json: due (server_error_502)`; then what the last judgement said"
        ),
    ]
    sealed_at: Annotated[float | None, _says("since when it is sealed")]


class FamilyReport(Struct, frozen=True):
    """One line of publication days, such as nbb/authentic."""

    family: Annotated[str, _says("the family, such as nbb/authentic")]
    counts: Annotated[dict[str, int], _says("days by state; states without days are left out")]
    days: Annotated[list[DayReport], _says("every day, oldest first")]


class ParkReport(Struct, frozen=True):
    """Why a lane makes no calls now."""

    reason: Annotated[
        str,
        _says(
            "throttled, quota, failing, keys_refused, key_missing or refused; calls_spent or budget_spent: its account is used up"
        ),
    ]
    meaning: Annotated[str, _says("the same, in words")]
    until_at: Annotated[float, _says("when it takes calls again")]


class LaneReport(Struct, frozen=True):
    """One lane: the queue of one product."""

    name: Annotated[str, _says("the lane, such as nbb/extract")]
    scheduled: Annotated[int, _says("items that wait on it, due now or later")]
    next_due_at: Annotated[float | None, _says("when the first of them is due; null if none waits")]
    calls_per_s: Annotated[float | None, _says("its configured rate; null if it is not configured any more")]
    gate: Annotated[
        str | None, _says("the gate it passes, whose rate is that of all lanes there; null if it passes none")
    ]
    account: Annotated[str | None, _says("the account it spends of; null if its calls are not counted")]
    price_microeur: Annotated[int, _says("the price of a call, in millionths of a euro")]
    slowdown: Annotated[float, _says("the configured rate is divided by this")]
    strikes: Annotated[int, _says("failures in a row that speak against the lane")]
    key_index: Annotated[int, _says("which of its keys is in use, from 0")]
    parked: Annotated[ParkReport | None, _says("null while it takes calls")]


class GateReport(Struct, frozen=True):
    """What several lanes pass with every call: one rate, one number of calls at once."""

    name: Annotated[str, _says("the gate, such as kvk")]
    calls_per_s: Annotated[float, _says("the configured rate of all lanes that pass it")]
    concurrency: Annotated[int, _says("most calls at once, over all of them")]
    slowdown: Annotated[float, _says("the configured rate is divided by this")]
    parked: Annotated[ParkReport | None, _says("null while it takes calls")]


class AccountReport(Struct, frozen=True):
    """What was spent of one account in the calendar month that it is now. Money is in millionths of a euro."""

    name: Annotated[str, _says("the account, such as kvk/main")]
    month: Annotated[str, _says("the month, such as 2026-11, in the time zone of the registry")]
    spent_calls: Annotated[int, _says("calls that were sent, or may have been")]
    reserved_calls: Annotated[int, _says("calls that are under way; what a start finds here counts as spent")]
    calls_per_month: Annotated[int | None, _says("how many there may be; null: any number")]
    left_calls: Annotated[int | None, _says("how many are left; null: any number")]
    spent_microeur: Annotated[int, _says("what the spent calls cost")]
    reserved_microeur: Annotated[int, _says("what the reserved ones cost")]
    budget_per_month_microeur: Annotated[int | None, _says("how much it may be; null: any amount")]
    left_microeur: Annotated[int | None, _says("how much is left; null: any amount")]
    used_percent: Annotated[
        float | None, _says("of calls or money, whichever is more; null where nothing is limited")
    ]
    is_spent: Annotated[bool, _says("whether lanes wait for the next month")]
    is_spread: Annotated[bool, _says("whether paid calls are spaced so that they last until the month ends")]
    runs_out_at: Annotated[float | None, _says("when it is used up at today's pace; null: not this month")]
    turns_at: Annotated[float, _says("when the next month begins")]


class FollowedReport(Struct, frozen=True):
    """Companies of watchlists that are asked about on one lane."""

    lane: Annotated[str, _says("the lane, such as nbb/authentic-query")]
    companies: Annotated[int, _says("companies that are asked about, now or later")]
    due: Annotated[int, _says("of these, now")]
    next_due_at: Annotated[float | None, _says("when the first of them is due; null if there is none")]


class SearchStatusReport(Struct, frozen=True):
    """One saved search. A query with more hits than the registry shows is split into cells."""

    search: Annotated[
        str, _says("what the keys of its items begin with, such as kvk/searches/molens-1f0c2a9b")
    ]
    cells: Annotated[int, _says("cells that are known")]
    sealed: Annotated[int, _says("of these, cells all of whose hits are held")]
    open: Annotated[dict[str, list[str]], _says("the others, and why each is not complete")]


class DaemonReport(Struct, frozen=True):
    """Which process works on the store now."""

    pid: Annotated[int | None, _says("the process that holds the lock of the store; null if none does")]
    purpose: Annotated[str | None, _says("what it is, such as filingd run")]


class StoreReport(Struct, frozen=True):
    """Where everything lies."""

    path: Annotated[str, _says("folder of the store")]
    manifest: Annotated[str, _says("the manifest")]
    log: Annotated[str | None, _says("the status log; null: standard output of the daemon")]
    free_bytes: Annotated[int, _says("room left on its disk")]
    keep_free_bytes: Annotated[int, _says("below this, downloads pause")]


class AlarmReport(Struct, frozen=True):
    """Something that somebody should look at. Kind and subject tell it from others."""

    kind: Annotated[str, _says("what is wrong, as in the event alarm.raised of the status log")]
    subject: Annotated[str, _says("what it is about: a day, an item, a lane, a family and a field")]
    since_at: Annotated[float, _says("since when it stands, as far as that is known")]
    detail: Annotated[str, _says("more about it, for people")]
    remedy: Annotated[str, _says("what to do about it")]


class StatusReport(Struct, frozen=True):
    """The answer of `filingd status --json`."""

    format: Annotated[int, _says("the format of this report: 1")]
    at: Annotated[float, _says("the instant the report speaks of")]
    store: StoreReport
    daemon: DaemonReport
    alarms: Annotated[
        list[AlarmReport], _says("what stands now; what is only noticed by a running daemon, while one runs")
    ]
    coverage: Annotated[list[FamilyReport], _says("publication days by family")]
    lanes: list[LaneReport]
    gates: Annotated[list[GateReport], _says("what lanes pass together")]
    accounts: Annotated[list[AccountReport], _says("what lanes spend of")]
    companies: Annotated[list[FollowedReport], _says("companies of watchlists, by lane")]
    searches: Annotated[list[SearchStatusReport], _says("saved searches that are asked again")]
    items: Annotated[dict[str, int], _says("items by state, over everything")]
    remarks: Annotated[list[str], _says("what else to know, in sentences: that `since` lies in the future")]


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a report."""
    return schema_of(StatusReport, "filingd status --json")


def as_markdown() -> str:
    """The text of docs/status-json.md."""
    return f"{_PREAMBLE}\n{markdown_of(schema())}"


if __name__ == "__main__":
    print(as_markdown(), end="")
