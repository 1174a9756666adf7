"""What `filingd doctor` asks KVK: one free search with each key, booked like any other call."""

from __future__ import annotations

import asyncio
import zoneinfo
from typing import TYPE_CHECKING

from filingd.core import ledger
from filingd.core.checkup import Finding, skipped
from filingd.core.errors import FilingdError, StoreError
from filingd.core.layout import LEDGER_NAME
from filingd.core.ledger import Spending
from filingd.core.model import LaneSpec, Request, SecretRef
from filingd.lane_specs import kvk_rules
from filingd.registries.kvk import probes
from filingd.registries.kvk.operations import KEY_HEADER
from filingd.registries.kvk.rules import GATE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from filingd.core.model import AccountSpec, Answer
    from filingd.engine.probing import Prober
    from filingd.ports import Clock, Ledger
    from filingd.registries.kvk.probes import Probe, Reading
    from filingd.registries.kvk.rules import KvkRules
    from filingd.settings import Settings
    from filingd.settings_kvk import KvkSettings

    Ask = Callable[[Request], Awaitable[Answer]]

BESIDE_DAEMON = "a daemon works on the store, and it alone books what is spent: ask when it is stopped"


def gate_as_lane(kvk: KvkSettings) -> LaneSpec:
    """The gate of the registry, at whose pace its keys are tried."""
    rules = kvk_rules(kvk)
    return LaneSpec(
        GATE, rules.calls_per_s, rules.burst, 1, tuple(account.key_name for account in rules.accounts)
    )


async def ask_keys(
    settings: Settings,
    kvk: KvkSettings,
    prober: Prober,
    ask: Ask,
    broken: Mapping[str, str],
    clock: Clock,
    *,
    asked_before: bool,
) -> list[Finding]:
    """Try each key that can be read; `ask` makes a call. Nobody else may write the ledger meanwhile.

    `asked_before`: a daemon is known to have made calls, so that a ledger that is not there was lost.
    """
    rules = kvk_rules(kvk)
    wanted = [probe for probe in probes.probes(rules) if probe.key_name not in broken]
    try:
        books = await _Books.opened(settings, rules, clock, asked_before=asked_before)
    except FilingdError as error:
        return [skipped("calls", "kvk", f"no call can be booked: {error}")]
    try:
        found, tried = await _try(wanted, books, ask)
    finally:
        await books.close()
    await prober.rest()
    return [*found, *probes.findings(rules, tried)]


async def _try(
    wanted: Sequence[Probe], books: _Books, ask: Ask
) -> tuple[list[Finding], list[tuple[Probe, Reading]]]:
    found: list[Finding] = []
    tried: list[tuple[Probe, Reading]] = []
    for probe in wanted:
        stop = await books.reserve(probe.account)
        if stop is not None:
            found.append(skipped("key", f"kvk/{probe.account} ({probe.key_name})", stop))
            continue
        answer = await ask(_request(probe))
        await books.settle(probe.account)
        tried.append((probe, probes.read(answer)))
    return found, tried


def _request(probe: Probe) -> Request:
    from filingd.adapters.request_ids import RequestIds

    headers = (("Accept", probe.accept),)
    return Request(probe.url, headers, RequestIds()(), SecretRef(KEY_HEADER, probe.key_name))


class _Books:
    """The ledger, for calls that cost nothing; begun here where nobody has spent anything yet."""

    def __init__(self, book: Ledger, spendings: Sequence[Spending], rules: KvkRules, clock: Clock) -> None:
        self._book = book
        self._spendings = {(each.account, each.month): each for each in spendings}
        self._specs: dict[str, AccountSpec] = {spec.name: spec for spec in rules.account_specs()}
        self._zone = zoneinfo.ZoneInfo(rules.zone)
        self._clock = clock
        self._months: dict[str, str] = {}  # in which the call under way was reserved, by account

    @classmethod
    async def opened(cls, settings: Settings, rules: KvkRules, clock: Clock, *, asked_before: bool) -> _Books:
        """Open it.

        Raises:
            FilingdError: it cannot be used.
        """
        from filingd.adapters.ledger import SqliteLedger

        path = settings.store.path / LEDGER_NAME
        await asyncio.to_thread(_check_there_or_new, path, asked_before=asked_before)
        book = await SqliteLedger.open(path)
        try:
            return cls(book, await book.spendings(), rules, clock)
        except BaseException:
            await book.close()
            raise

    async def reserve(self, account: str) -> str | None:
        """Book a call before it is made; why none may be made, if that is so."""
        now = self._clock.now()
        month = ledger.month_at(now, self._zone)
        spending = self._spending(account, month)
        closing = ledger.closing(self._specs[f"{GATE}/{account}"], spending, 0, now, self._zone)
        if closing is not None:
            return f"no call may be made with it now ({closing.reason.replace('_', ' ')})"
        self._months[account] = month
        await self._save(ledger.reserved(spending, 0, now, self._zone))
        return None

    async def settle(self, account: str) -> None:
        """It was made, whatever became of it: spent in the month in which it was reserved, and in one that began since."""
        now, reserved_in = self._clock.now(), self._months.pop(account)
        await self._save(ledger.settled(self._spending(account, reserved_in), 0))
        for month in sorted(ledger.months_about(now, self._zone) - {reserved_in}):
            booked = ledger.reserved(self._spending(account, month), 0, now, self._zone)
            await self._save(ledger.settled(booked, 0))

    async def close(self) -> None:
        await self._book.close()

    def _spending(self, account: str, month: str) -> Spending:
        name = f"{GATE}/{account}"
        return self._spendings.get((name, month)) or Spending(name, month)

    async def _save(self, spending: Spending) -> None:
        self._spendings[spending.account, spending.month] = spending
        await self._book.save([spending])


def _check_there_or_new(path: Path, *, asked_before: bool) -> None:
    """Whether there is a ledger, or one may be begun.

    Raises:
        StoreError: one was lost, or the daemon could not use what we make.
    """
    from filingd.adapters.checks import is_ours

    if path.exists():
        return
    if asked_before:
        raise StoreError(
            f"{path} is not there, although calls were made before: put a copy of it back. If there is none, "
            "`filingd run` says what to do."
        )
    if not is_ours(path.parent):
        raise StoreError(
            f"{path} is not there yet: run this as the owner of {path.parent}, or start filingd first."
        )
