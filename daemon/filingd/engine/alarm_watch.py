"""Tells which alarms stand: gathers the facts now and then, and whenever something changed; says what is new or over.

What was said is kept in the store (`alarms.json`), so that a restart says nothing twice and `filingd status` can show what only
a running daemon knows.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from filingd.core import alarms, events
from filingd.core.alarms import LaneFacts, Told
from filingd.core.errors import DiskFaultError, DiskFullError
from filingd.core.layout import ALARMS_NAME
from filingd.core.model import group_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from filingd.core.alarms import Alarm, Bounds, DayFacts, Facts
    from filingd.core.model import Group, Item, Version
    from filingd.engine.account import Account
    from filingd.engine.clock_watch import ClockWatch
    from filingd.engine.key_watch import KeyWatch
    from filingd.engine.lane import Lane
    from filingd.engine.room import RoomGate
    from filingd.ports import Clock, Log, Manifest, Store

_LOOK_S = 60.0
_LEAST_PAUSE_S = 0.2  # between two looks, so that changes that come together are told together
_SHARE = 50.0  # a look that takes long is had so much more rarely


class Observer(Protocol):
    """A registry's look at its days. Pure."""

    def listing_key(self, group: str, now: float) -> str | None:
        """The item whose stored version says what a day holds; None if the day is too old for that to matter."""
        ...

    def day(self, group: Group, items: Sequence[Item], listing: Version | None, now: float) -> DayFacts:
        """The facts of a day."""
        ...


class FactGatherer:
    """Reads what alarms are told from out of the manifest and the parts of a running engine."""

    def __init__(
        self,
        observer: Observer | None,
        manifest: Manifest,
        expected: Callable[[float], Sequence[str]],
        lanes: Mapping[str, Lane],
        room: RoomGate,
        keep_free_bytes: int,
        clock_watch: ClockWatch,
        key_watch: KeyWatch | None,
        clock: Clock,
        accounts: Sequence[Account] = (),
    ) -> None:
        """`expected` gives the keys of the items that should exist at an instant, as `Registry.expected`. Without an `observer`
        there are no days."""
        self._observer = observer
        self._manifest = manifest
        self._expected = expected
        self._lanes = lanes
        self._room = room
        self._keep_free_bytes = keep_free_bytes
        self._clock_watch = clock_watch
        self._key_watch = key_watch
        self._clock = clock
        self._accounts = accounts

    async def gather(self) -> Facts:
        """All facts as of now."""
        now = self._clock.now()
        return alarms.Facts(
            now=now,
            days=await self._days(now),
            lanes=self._lane_facts(),
            accounts=[account.facts for account in self._accounts],
            free_bytes=self._room.free_bytes,
            keep_free_bytes=self._keep_free_bytes,
            clock_ahead_s=self._clock_watch.ahead_s,
            key_problems=self._key_watch.problems if self._key_watch is not None else None,
        )

    def _lane_facts(self) -> list[LaneFacts]:
        """Of all lanes, and of the gates that they pass, each once."""
        gates = {lane.gate.name: lane.gate for lane in self._lanes.values() if lane.gate is not None}
        return [
            *(LaneFacts(lane.state, lane.refusal) for lane in self._lanes.values()),
            *(LaneFacts(gate.state, gate.health.refusal) for gate in gates.values()),
        ]

    async def _days(self, now: float) -> list[DayFacts]:
        observer = self._observer
        if observer is None:
            return []
        wanted = frozenset(self._expected(now))
        wanted_groups = frozenset(map(group_of, wanted))
        groups = [group for group in await self._manifest.groups() if group.key in wanted_groups]
        listing_keys = {group.key: observer.listing_key(group.key, now) for group in groups}
        listings = await self._manifest.current_versions(key for key in listing_keys.values() if key)
        days = []
        for group in groups:
            listing_key = listing_keys[group.key]
            if group.sealed_at is not None and listing_key is None:
                continue  # complete, and too old for its content to matter
            items = await self._open_items(group, wanted)
            days.append(observer.day(group, items, listings.get(listing_key or ""), now))
        return days

    async def _open_items(self, group: Group, wanted: Collection[str]) -> list[Item]:
        """The items that are wanted of a day that is not complete."""
        if group.sealed_at is not None:
            return []
        return [item for item in await self._manifest.group_items(group.key) if item.key in wanted]


class AlarmWatch:
    """Says when an alarm appears, that it still stands, and when it is over."""

    def __init__(
        self, gatherer: FactGatherer, bounds: Bounds, repeat_s: float, store: Store, clock: Clock, log: Log
    ) -> None:
        self._gatherer = gatherer
        self._bounds = bounds
        self._repeat_s = repeat_s
        self._store = store
        self._clock = clock
        self._log = log
        self._told: Sequence[Told] | None = None
        self._poked = asyncio.Event()
        self._looking = asyncio.Lock()

    def poke(self) -> None:
        """Something changed that may be an alarm, or the end of one."""
        self._poked.set()

    async def run(self) -> None:
        """Look again and again; runs until cancelled."""
        while True:
            began_s = self._clock.monotonic()
            await self.look()
            took_s = self._clock.monotonic() - began_s
            await self._clock.sleep(max(_LEAST_PAUSE_S, took_s * _SHARE))
            await self._until_poked()

    async def look(self) -> None:
        """Look once. What the disk refuses to remember is said all the same, and once more after a restart."""
        async with self._looking:
            self._poked.clear()
            facts = await self._gatherer.gather()
            before = await self._remembered() if self._told is None else self._told
            found = alarms.news(before, alarms.standing(facts, self._bounds), facts, self._repeat_s)
            self._say(found)
            self._told = found.told
            if found.raised or found.repeated or found.cleared:
                await self._remember(found.told)

    async def _until_poked(self) -> None:
        pausing = asyncio.ensure_future(self._clock.sleep(_LOOK_S))
        poked = asyncio.ensure_future(self._poked.wait())
        try:
            await asyncio.wait({pausing, poked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pausing.cancel()
            poked.cancel()

    def _say(self, found: alarms.News) -> None:
        for alarm in found.raised:
            self._log.error(events.ALARM_RAISED, **_facts(alarm), detail=alarm.detail, remedy=alarm.remedy)
        for alarm in found.repeated:
            self._log.error(
                events.ALARM_RAISED, **_facts(alarm), detail=alarm.detail, remedy=alarm.remedy, repeated=True
            )
        for alarm in found.cleared:
            self._log.info(
                events.ALARM_CLEARED, kind=alarm.kind, subject=alarm.subject, since_at=alarm.since_at
            )

    async def _remembered(self) -> Sequence[Told]:
        try:
            return alarms.told_of(await self._store.read_text(ALARMS_NAME))
        except DiskFaultError:
            return ()

    async def _remember(self, told: Sequence[Told]) -> None:
        with suppress(DiskFullError, DiskFaultError):  # whoever needs the disk says so
            await self._store.write_text(ALARMS_NAME, alarms.told_text(told))


def _facts(alarm: Alarm) -> dict[str, Any]:
    facts = {"kind": alarm.kind, "subject": alarm.subject, "since_at": alarm.since_at}
    about = {"group": alarm.group, "lane": alarm.lane, "key": alarm.key}
    return facts | {name: value for name, value in about.items() if value is not None}
