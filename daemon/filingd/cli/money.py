"""Accounts as `filingd status` and `filingd plan` tell them: what was spent, what is left, and when it runs out."""

from __future__ import annotations

import zoneinfo
from typing import TYPE_CHECKING, Any

import msgspec

from filingd.cli.instants import iso_minute
from filingd.core import ledger
from filingd.core.layout import LEDGER_NAME
from filingd.core.ledger import Cost, Spending, as_eur

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from filingd.cli.status_report import AccountReport
    from filingd.core.model import AccountSpec, LaneSpec
    from filingd.ports import Registry
    from filingd.settings import Settings


def spendings_now(settings: Settings, specs: Sequence[AccountSpec], now: float) -> dict[str, Spending]:
    """What was spent of each account in the month that it is now, by its name; the ledger is read only if there are accounts.

    Raises:
        StoreError, DiskFaultError: the ledger cannot be read.
    """
    if not specs:
        return {}
    from filingd.adapters.ledger_reader import LedgerReader

    with LedgerReader(settings.store.path / LEDGER_NAME) as reader:
        kept = {(each.account, each.month): each for each in reader.spendings()}
    months = {spec.name: ledger.month_at(now, zoneinfo.ZoneInfo(spec.zone)) for spec in specs}
    return {name: kept.get((name, month), Spending(name, month)) for name, month in months.items()}


def dearest_of(account: str, lanes: Iterable[LaneSpec]) -> int:
    """The price of the dearest call of the lanes that spend of an account, in millionths of a euro."""
    return max((lane.price_microeur for lane in lanes if lane.account == account), default=0)


def costs_of(
    settings: Settings, registry: Registry, calls_by_lane: Mapping[str, int], now: float
) -> list[Cost]:
    """What so many calls on each lane take of every account, as of what is left in the month at `now`.

    Raises:
        StoreError, DiskFaultError: the ledger cannot be read.
    """
    specs, lanes = registry.accounts(), registry.lanes()
    spendings = spendings_now(settings, specs, now)
    return [ledger.cost_of(spec, spendings[spec.name], lanes, calls_by_lane) for spec in specs]


def account_report(spec: AccountSpec, spending: Spending, dearest_microeur: int, now: float) -> AccountReport:
    """All that is told of one account."""
    from filingd.cli.status_report import AccountReport

    zone, left = zoneinfo.ZoneInfo(spec.zone), ledger.left_of(spec, spending)
    return AccountReport(
        name=spec.name,
        month=spending.month,
        spent_calls=spending.spent_calls,
        reserved_calls=spending.reserved_calls,
        calls_per_month=spec.calls_per_month,
        left_calls=left.calls,
        spent_microeur=spending.spent_microeur,
        reserved_microeur=spending.reserved_microeur,
        budget_per_month_microeur=spec.budget_per_month_microeur,
        left_microeur=left.microeur,
        used_percent=ledger.used_percent(spec, spending),
        is_spent=ledger.calls_left(spec, spending, dearest_microeur) == 0,
        is_spread=spec.is_spread,
        runs_out_at=ledger.runs_out_at(spec, spending, now, zone),
        turns_at=ledger.month_ends_at(spending.month, zone),
    )


# ------------------------------------------------------------------------------------------ text


def account_lines(accounts: Sequence[AccountReport]) -> Iterator[str]:
    """What `filingd status` prints of them."""
    if not accounts:
        return
    yield "accounts"
    for account in accounts:
        yield f"  {account.name:<24} {account.month}: {'; '.join(_account_facts(account))}"


def _account_facts(account: AccountReport) -> Iterator[str]:
    of_calls = "" if account.calls_per_month is None else f" of {account.calls_per_month:,}"
    budget = account.budget_per_month_microeur
    of_money = "" if budget is None else f" of {as_eur(budget)}"
    yield f"spent {account.spent_calls:,}{of_calls} calls and {as_eur(account.spent_microeur)}{of_money} EUR"
    if account.reserved_calls:
        yield f"reserved {account.reserved_calls:,} and {as_eur(account.reserved_microeur)} EUR"
    left = _left(account.left_calls, account.left_microeur)
    if left:
        yield f"left {left}"
    yield _outlook(account)


def _outlook(account: AccountReport) -> str:
    if account.is_spent:
        return f"USED UP until {iso_minute(account.turns_at)}"
    if account.is_spread:
        return "spread over the month"
    if account.runs_out_at is None:
        return "lasts the month at today's pace"
    return f"runs out {iso_minute(account.runs_out_at)} at today's pace"


def cost_reports(costs: Sequence[Cost]) -> list[dict[str, Any]]:
    """What planned calls take of the accounts, for programs."""
    return [msgspec.structs.asdict(cost) for cost in costs]


def cost_lines(reports: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The same for people, of accounts that something is taken of."""
    for cost in (Cost(**report) for report in reports):
        if cost.calls:
            paid = f", {cost.paid_calls:,} of them paid" if cost.paid_calls != cost.calls else ""
            calls = f"{cost.calls:>6,} calls{paid}: {as_eur(cost.microeur)} EUR"
            yield f"                  {cost.account:<24} {calls}; {_fit(cost)}"


def _fit(cost: Cost) -> str:
    if cost.months is None:
        return "NEVER, because a month has no room for one of them"
    left = _left(cost.left_calls, cost.left_microeur)
    has = f"{left} left this month" if left else "no limit is set"
    return has if cost.months == 1 else f"{has}: they take {cost.months} calendar months"


def _left(calls: int | None, microeur: int | None) -> str:
    return " and ".join([
        *([f"{calls:,} calls"] if calls is not None else []),
        *([f"{as_eur(microeur)} EUR"] if microeur is not None else []),
    ])  # fmt: skip
