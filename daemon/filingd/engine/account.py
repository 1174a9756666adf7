"""One account at work: books every call before it is sent, and says when the next one may be begun.

    reservation = await account.reserve(price)   # durable; None: no call may be begun now
    await reservation.prepare()                  # the connection is there: booked in the months it may be counted in
    reservation.begun()                          # from now on bytes may leave
    reservation.end()                            # spent if it was begun, else given back; waits for nothing

What is to survive is saved beside the work, never twice at a time: all who wait for their reservation share one save.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from filingd.core import events, ledger, steps
from filingd.core.alarms import facts_of_account
from filingd.core.errors import FilingdError
from filingd.core.ledger import Spending

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Sequence

    from filingd.core.alarms import AccountFacts
    from filingd.core.ledger import Closing, Left
    from filingd.core.model import AccountSpec
    from filingd.ports import Clock, Ledger, Log, Steps

_DEFERENCE_S = 0.02  # by this much earlier a lane comes to a spread call than the one that spent after it
_TIDY_AFTER_S = 0.5  # what is settled needs no haste: found reserved, it counts as spent


class MonthSpentError(FilingdError):
    """The month turned while a call waited for its connection, and the new one has no room for it: it does not go out."""


class Account:
    """What may be spent, and what was. The one writer of its months in the ledger."""

    def __init__(
        self,
        spec: AccountSpec,
        zone: dt.tzinfo,
        spendings: Sequence[Spending],
        kept: Ledger,
        clock: Clock,
        log: Log,
        steps_seen: Steps,
    ) -> None:
        """`spendings` is what the ledger holds of this account; what is reserved there was under way at a death."""
        self.spec = spec
        self._zone = zone
        self._ledger = kept
        self._clock = clock
        self._log = log
        self._steps = steps_seen
        self.prices_microeur: set[int] = set()  # those of the lanes that spend of it
        self.on_change: list[Callable[[], None]] = []  # told when there is room again, and of every warning
        self._months = {each.month: each for each in ledger.recovered(spendings, zone)}
        before = {each.month: each for each in spendings}
        self._dirty = {month for month, each in self._months.items() if before.get(month) != each}
        self._under_way: set[Reservation] = set()
        self._spenders: list[str] = []  # lanes in the order in which they spent last, of a spread account
        self._changes = len(self._dirty)  # counts changes, to know which of them are durable
        self._durable_changes = 0
        self._saving: asyncio.Task[None] | None = None
        self._tidying: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def spending(self) -> Spending:
        """What was spent in the month that it is now."""
        return self._opened(ledger.month_at(self._clock.now(), self._zone))

    @property
    def left(self) -> Left:
        """What is left of it."""
        return ledger.left_of(self.spec, self.spending)

    @property
    def facts(self) -> AccountFacts:
        """What alarms are told from."""
        return facts_of_account(self.spec, self.spending, max(self.prices_microeur, default=0))

    @property
    def quota_pause_s(self) -> float:
        """How long to wait when the registry says that its quota is used up, and not until when: see `ledger.quota_pause_s`."""
        return ledger.quota_pause_s(self._clock.now(), self._zone)

    def closing(self, price_microeur: int) -> Closing | None:
        """Why no call of this price may be begun now; None if one may."""
        spending = self.spending
        return ledger.closing(self.spec, spending, price_microeur, self._clock.now(), self._zone)

    def deference_s(self, lane: str) -> float:
        """By how much longer a lane waits for a spread call than the lane that waited longest, so that they take turns."""
        return _DEFERENCE_S * (1 + self._spenders.index(lane)) if lane in self._spenders else 0.0

    async def reserve(self, price_microeur: int, lane: str = "") -> Reservation | None:
        """Book a call that is about to be made on a lane; None if it may not be begun now. Returns when that is durable.

        Raises:
            Exception: what saving died of; nothing is booked, and the call must not go out.
        """
        if self.closing(price_microeur) is not None:
            return None
        reservation = Reservation(self, price_microeur)
        self._under_way.add(reservation)
        self._book(reservation, self.spending.month)
        if self.spec.is_spread and price_microeur:
            self._spenders = [*(each for each in self._spenders if each != lane), lane]
        percent = self._warning_due()
        try:
            await self._until_durable(self._changes)
        except BaseException:
            reservation.end()
            raise
        if percent is not None:
            self._warn(percent)
        self._steps.reached(steps.CALL_RESERVED)
        return reservation

    async def begin(self, reservation: Reservation) -> None:
        """The call goes out now: it is booked, durably, in each month in which it may be counted, and in no other.

        Raises:
            MonthSpentError: it was not booked in one of them before, and there is no room.
            Exception: what saving died of.
        """
        booked, months = set(reservation.months), self._months_now()
        if booked == months and len(months) == 1:
            return
        for former in reservation.months - months:
            self._take_back(reservation, former)
        for month in sorted(months - reservation.months):
            self._book(reservation, month)
        for month in sorted(months):
            if self._is_overdrawn(self._months[month], reservation.price_microeur):
                raise MonthSpentError(
                    f"The month turned, and {self.name} has no room for the call in {month}."
                )
        await self._until_durable(self._changes)

    def settle(self, reservation: Reservation) -> None:
        """The call was begun: it is spent, whatever became of it, in each month in which it may have been counted."""
        for month in sorted(self._months_now() - reservation.months):
            self._book(reservation, month)
        self._under_way.discard(reservation)
        for month in reservation.months:
            self._put(ledger.settled(self._months[month], reservation.price_microeur))
        self._tidy()

    def release(self, reservation: Reservation) -> None:
        """No byte of the call left."""
        self._under_way.discard(reservation)
        for month in tuple(reservation.months):
            self._take_back(reservation, month)
        self._tidy()
        self._tell()

    async def close(self) -> None:
        """Record what is not recorded yet.

        Raises:
            Exception: what saving died of; what was spent is then found reserved by the next start.
        """
        if self._tidying is not None:
            self._tidying.cancel()
        await self._until_durable(self._changes)

    # ------------------------------------------------------------------ booking

    def _months_now(self) -> set[str]:
        """The months in which what is under way now may be counted; what is under way is booked in each of them."""
        months = ledger.months_about(self._clock.now(), self._zone)
        for month in sorted(months):
            self._opened(month)
        return months

    def _opened(self, month: str) -> Spending:
        if month not in self._months:
            self._months[month] = Spending(self.name, month)
            for reservation in self._under_way:  # nobody knows in which month they will be counted
                self._book(reservation, month)
        return self._months[month]

    def _is_overdrawn(self, used: Spending, price_microeur: int) -> bool:
        calls, budget = self.spec.calls_per_month, self.spec.budget_per_month_microeur
        if calls is not None and used.used_calls > calls:
            return True
        return budget is not None and price_microeur > 0 and used.used_microeur > budget

    def _book(self, reservation: Reservation, month: str) -> None:
        reservation.months.add(month)
        spending = self._months[month]
        self._put(ledger.reserved(spending, reservation.price_microeur, self._clock.now(), self._zone))

    def _take_back(self, reservation: Reservation, month: str) -> None:
        reservation.months.discard(month)
        self._put(ledger.released(self._months[month], reservation.price_microeur))

    def _put(self, spending: Spending) -> None:
        self._months[spending.month] = spending
        self._dirty.add(spending.month)
        self._changes += 1

    # ------------------------------------------------------------------ warnings

    def _warning_due(self) -> int | None:
        """The threshold that was just reached, if any; from now on it counts as told."""
        percent = ledger.warning_due(self.spec, self.spending)
        if percent is not None:
            self._put(ledger.warned(self.spending, percent))
        return percent

    def _warn(self, percent: int) -> None:
        used, spec, now = self.spending, self.spec, self._clock.now()
        self._log.warning(
            events.ACCOUNT_WARNED, account=self.name, month=used.month, percent=percent, calls=used.used_calls,
            calls_per_month=spec.calls_per_month, microeur=used.used_microeur,
            budget_per_month_microeur=spec.budget_per_month_microeur,
            runs_out_at=ledger.runs_out_at(spec, used, now, self._zone),
        )  # fmt: skip
        self._tell()

    def _tell(self) -> None:
        for tell in self.on_change:
            tell()

    # ------------------------------------------------------------------ saving

    def _tidy(self) -> None:
        """See to it that what changed is saved before long."""
        if self._tidying is None or self._tidying.done():
            self._tidying = asyncio.ensure_future(self._save_before_long())

    async def _save_before_long(self) -> None:
        while self._durable_changes < self._changes:
            await self._clock.sleep(_TIDY_AFTER_S)
            with suppress(FilingdError):  # whoever reserves next meets it as well
                await self._until_durable(self._changes)

    def _keep_saving(self) -> asyncio.Task[None] | None:
        if self._saving is None and self._durable_changes < self._changes:
            self._saving = asyncio.ensure_future(self._save_changes())
            self._saving.add_done_callback(self._saved)
        return self._saving

    def _saved(self, task: asyncio.Task[None]) -> None:
        self._saving = None
        if not task.cancelled():
            task.exception()  # whoever waits for it is told; the next one tries again

    async def _save_changes(self) -> None:
        changes, months, self._dirty = self._changes, self._dirty, set()
        try:
            await self._ledger.save([self._months[month] for month in sorted(months)])
        except BaseException:
            self._dirty |= months
            raise
        self._durable_changes = changes

    async def _until_durable(self, changes: int) -> None:
        while self._durable_changes < changes and (saving := self._keep_saving()) is not None:
            await asyncio.wait({saving})  # so that a waiter that is cancelled does not cancel the write
            await saving


class Reservation:
    """One call between its booking and its end. `months` are those in which it is booked."""

    __slots__ = ("_account", "_is_begun", "_is_over", "months", "price_microeur")

    def __init__(self, account: Account, price_microeur: int) -> None:
        self._account = account
        self.price_microeur = price_microeur
        self.months: set[str] = set()
        self._is_begun = False
        self._is_over = False

    async def prepare(self) -> None:
        """The connection is there: return when the call may go out, as far as the account goes. See `Account.begin`."""
        await self._account.begin(self)

    def begun(self) -> None:
        """From this very moment on bytes of the call may leave."""
        self._is_begun = True

    def end(self) -> None:
        """It is over: spent if it was begun, else given back. No error if that was said."""
        if self._is_over:
            return
        self._is_over = True
        if self._is_begun:
            self._account.settle(self)
        else:
            self._account.release(self)
