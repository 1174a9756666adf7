"""Judges groups whenever something in them changed, and writes or takes back their seals."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from filingd.core import events, layout, seal, steps
from filingd.core.errors import DiskFaultError, DiskFullError, FilingdError
from filingd.core.forgetting import FORGOTTEN_REASON
from filingd.core.lifecycle import Event, next_state
from filingd.core.model import (
    FINISHED_STATES,
    HOLDING_STATES,
    LEASED_STATES,
    Change,
    Group,
    Holding,
    State,
    leaf_of,
)
from filingd.engine.contents import SealedContents
from filingd.engine.defects import told
from filingd.engine.recording import record_what_stands
from filingd.engine.supplements import Supplements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from filingd.core.model import Item, Judgement, Member
    from filingd.engine.unseal import Unsealer
    from filingd.ports import Clock, Log, Manifest, Registry, Steps, Store

_DISK_PAUSE_S = 15.0
_FLUX_PAUSE_S = 0.5
_CHUNK = 1000
SETTLED_STATES = FINISHED_STATES | {State.QUARANTINED}


class Reconciler:
    """One task that works off a set of groups in which something changed."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        manifest: Manifest,
        clock: Clock,
        log: Log,
        steps_seen: Steps,
        unsealer: Unsealer,
        on_scheduled: Callable[[], None] = lambda: None,
        on_judged: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_scheduled` is told when items are to be fetched again, so that their lanes look for work."""
        self._registry = registry
        self._store = store
        self._manifest = manifest
        self._clock = clock
        self._log = log
        self._steps = steps_seen
        self._unsealer = unsealer
        self._on_scheduled = on_scheduled
        self._on_judged = on_judged
        self._contents = SealedContents(manifest)
        self._supplements = Supplements()
        self._rivals: dict[str, set[str]] = {}  # by sealed group: the open ones that hold the same
        # Whether bodies are being exchanged for what is left of them: then a group that disagrees is not fetched again for
        # it, but judged again when that is over.
        self.is_in_flux: Callable[[], bool] = lambda: False
        self._held_back: set[str] = set()
        self._dirty: dict[str, None] = {}
        self._refused: set[str] = set()  # dirty groups that wait because the disk refused something
        self._wake = asyncio.Event()
        self._busy = False

    @property
    def is_idle(self) -> bool:
        """Whether every change so far has been judged, as far as the disk allows."""
        return not self._busy and not self._held_back and self._dirty.keys() <= self._refused

    def note(self, groups: Iterable[str]) -> None:
        """Something in these groups changed."""
        self._dirty.update(dict.fromkeys(groups))
        self._wake.set()

    def note_settled(self, key: str) -> None:
        """This item came, or it is known that it will not: whoever waited for it from elsewhere may be complete now."""
        if groups := self._supplements.settled(key):
            self.note(groups)

    async def run(self) -> None:
        """Judge dirty groups until cancelled."""
        while True:
            group = next((group for group in self._dirty if group not in self._refused), None)
            if group is None:
                await self._rest()
            else:
                await self._judge(group)

    async def _judge(self, group: str) -> None:
        """One group that cannot be judged never stops the others."""
        del self._dirty[group]
        self._busy = True
        try:
            await self.reconcile(group)
        except (DiskFullError, DiskFaultError) as error:
            self._log.error(events.ALARM_RAISED, kind="seal_failed", group=group, detail=str(error))
            self._dirty[group] = None
            self._refused.add(group)
        except FilingdError:
            raise  # the manifest itself failed: nothing can be promised any more
        except Exception as error:  # noqa: BLE001 - a defect in one day's judgement must not stop the others
            self._log.error(events.ALARM_RAISED, kind="defect", group=group, detail=told(error))
        finally:
            self._busy = False
            self._on_judged()

    async def _rest(self) -> None:
        """Until something is noted; what the disk refused is tried again after a pause."""
        self._wake.clear()
        if self._held_back and not self.is_in_flux():
            held_back, self._held_back = self._held_back, set()
            self.note(held_back)
            return
        if not self._dirty and not self._held_back:
            await self._wake.wait()
            return
        pause_s = _FLUX_PAUSE_S if self._held_back else _DISK_PAUSE_S
        paused = asyncio.ensure_future(self._clock.sleep(pause_s))
        noted = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({paused, noted}, return_when=asyncio.FIRST_COMPLETED)
            if paused.done() and pause_s == _DISK_PAUSE_S:
                self._refused.clear()
        finally:
            paused.cancel()
            noted.cancel()

    async def reconcile(self, group: str) -> None:
        """Judge one group now."""
        async with self._unsealer.alone_with(group):
            await self._reconcile(group)

    async def _reconcile(self, group: str) -> None:
        items = await self._manifest.group_items(group)
        if not items or any(item.key in self._unsealer.unrecorded for item in items):
            return  # rows that are known to be wrong are no ground for a seal: whoever rights them says so
        holdings = await self._holdings(items)
        judgement = await self._judgement(group, holdings)
        if judgement is None:
            return
        known = await self._known(group)
        if judgement.reasons:
            await self._leave_open(known, judgement, items)
        else:
            await self._seal(known, judgement, holdings)
            self._contents.note_sealed(group, judgement.facts)
        if judgement.refetch and self.is_in_flux():
            self._held_back.add(group)
        else:
            await self._refetch(judgement, {item.key: item for item in items})
        await self._want(group, judgement)

    async def _judgement(self, group: str, holdings: Mapping[str, Holding]) -> Judgement | None:
        now = self._clock.now()
        judgement = await asyncio.to_thread(self._registry.judge, group, holdings, now)
        if judgement is None:
            return None
        supplements = await self._supplementary(judgement.supplements) if judgement.supplements else {}
        twin = await self._contents.twin_of(group, judgement.facts)
        if twin is not None:
            await self._doubt(twin, group)
        if twin is None and not supplements:
            return judgement
        return await asyncio.to_thread(self._registry.judge, group, holdings, now, twin, supplements)

    async def _supplementary(self, keys: Sequence[str]) -> Mapping[str, Holding]:
        items = await self._manifest.items(keys)
        versions = await self._manifest.current_versions(items)
        return {key: Holding(item, versions.get(key)) for key, item in items.items()}

    async def _want(self, group: str, judgement: Judgement) -> None:
        """Have what the group still needs from elsewhere fetched, and judge the group again when all of it is settled."""
        wanted = {item.key: item for item in judgement.wants}
        self._supplements.expect(group, wanted)  # before looking: what is settled from now on is not missed
        known = await self._manifest.items(wanted) if wanted else {}
        new = [
            _wanted_again(known.get(key), item)
            for key, item in wanted.items()
            if _is_to_be_made(known.get(key))
        ]
        for start in range(0, len(new), _CHUNK):
            await record_what_stands(self._manifest, new[start : start + _CHUNK], self._log)
        if new:
            self._log.info(events.ITEMS_WANTED, group=group, count=len(new), first=new[0].item.key)
            self._on_scheduled()
        for key, item in known.items():
            if item.state in FINISHED_STATES and not _is_to_be_made(item) and not _is_asked_again(item):
                self.note_settled(key)

    async def _doubt(self, twin: str, group: str) -> None:
        """Which of the two holds the other's content cannot be told: the sealed one is fetched again as well, once."""
        rivals = self._rivals.setdefault(twin, set())
        if group in rivals:
            return
        rivals.add(group)
        self._log.error(
            events.ALARM_RAISED, kind="same_content", group=group, detail=f"{twin} is sealed with it"
        )
        now, items = self._clock.now(), await self._manifest.group_items(twin)
        looks = [
            Change(item.state, replace(item, due_at=now)) for item in items if item.state is State.STORED
        ]
        await record_what_stands(self._manifest, looks, self._log)
        self._on_scheduled()

    async def holdings(self, group: str) -> Mapping[str, Holding]:
        """The items of a group with their current versions, by leaf; without member indexes."""
        items = await self._manifest.group_items(group)
        versions = await self._manifest.current_versions(item.key for item in items)
        return {leaf_of(item.key): Holding(item, versions.get(item.key)) for item in items}

    async def _holdings(self, items: Iterable[Item]) -> dict[str, Holding]:
        items = list(items)
        versions = await self._manifest.current_versions(item.key for item in items)
        # Members are read once no dataset is merely on its way: each came, gave up, or was said not to be there.
        complete = all(item.state in SETTLED_STATES or item.nothing_count for item in items)
        holdings: dict[str, Holding] = {}
        for item in items:
            members = None
            if complete and item.state in HOLDING_STATES:
                members = await self._members(item.key)
            holdings[leaf_of(item.key)] = Holding(item, versions.get(item.key), members)
        return holdings

    async def _members(self, key: str) -> Sequence[Member] | None:
        target, plan = self._registry.target(key), self._registry.body_plan(key)
        members = await self._store.members(target)
        if plan.inspector is None or not members or any(member.note is not None for member in members):
            return members
        await self._store.check(
            target, plan
        )  # an index made anew lacks the inspector's notes: this brings them back
        return await self._store.members(target)

    async def _known(self, group: str) -> Group:
        known = next((found for found in await self._manifest.groups(group) if found.key == group), None)
        return known or Group(group, opened_at=self._clock.now())

    async def _leave_open(self, known: Group, judgement: Judgement, items: Iterable[Item]) -> None:
        self.note(self._rivals.pop(known.key, ()))  # what held the same may be in the right after all
        any_target = self._registry.target(next(iter(items)).key)
        await self._unsealer.unseal(known.key, any_target, judgement.reasons[0])
        if known.sealed_at is None and known.reasons == judgement.reasons:
            return
        now = self._clock.now()
        group = replace(
            known, sealed_at=None, checked_at=now, reasons=judgement.reasons, facts=judgement.facts
        )
        await self._manifest.save_groups([group])
        # While items are simply on their way there is nothing to tell; a complete day that does not agree is news.
        arrived = all(item.state in SETTLED_STATES for item in items)
        say = self._log.info if arrived else self._log.debug
        say(events.DAY_OPEN, group=known.key, reasons=list(judgement.reasons))

    async def _seal(self, known: Group, judgement: Judgement, holdings: Mapping[str, Holding]) -> None:
        target = self._registry.target(next(iter(holdings.values())).item.key)
        if await self._is_current(known, judgement, target, holdings):
            return
        self.note(self._rivals.pop(known.key, ()))
        now = self._clock.now()
        # What is there already, if anything, was written for another `day.json`.
        await self._store.remove(layout.beside(target, layout.SUMS_NAME))
        text = seal.seal_text(known.key, judgement.facts, holdings, now)
        await self._store.write_text(layout.beside(target, layout.SEAL_NAME), text)
        self._steps.reached(steps.SEAL_WRITTEN)
        await self._store.write_text(layout.beside(target, layout.SUMS_NAME), seal.sums_text(holdings, text))
        self._steps.reached(steps.SUMS_WRITTEN)
        await self._manifest.save_groups(
            [replace(known, sealed_at=now, checked_at=now, reasons=(), facts=judgement.facts)]
        )
        self._steps.reached(steps.GROUP_RECORDED)
        self._log.info(events.DAY_SEALED, group=known.key, facts=judgement.facts)

    async def _is_current(
        self, known: Group, judgement: Judgement, target: str, holdings: Mapping[str, Holding]
    ) -> bool:
        """Whether the seal that is there says what a new one would: a body may have changed and no count with it."""
        if known.sealed_at is None or dict(known.facts) != dict(judgement.facts):
            return False
        sums = await self._store.read_text(layout.beside(target, layout.SUMS_NAME))
        return sums is not None and seal.names_all(sums, holdings)

    async def _refetch(self, judgement: Judgement, items: Mapping[str, Item]) -> None:
        """Schedule another look at what does not agree, unless one is due earlier anyway."""
        changes = []
        for key, at in judgement.refetch:
            item = items.get(key)
            if item is None or item.state in LEASED_STATES or (item.due_at is not None and item.due_at <= at):
                continue
            state = next_state(item.state, Event.RETRIED) if item.state is not State.STORED else State.STORED
            changes.append(Change(item.state, replace(item, state=state, due_at=at)))
        if changes:
            await record_what_stands(self._manifest, changes, self._log)
            self._on_scheduled()


def _is_to_be_made(known: Item | None) -> bool:
    """Whether an item that a group needs is not there, or was given up because nobody else wanted it any more."""
    if known is None:
        return True
    return known.state is State.ABSENT and known.reason != FORGOTTEN_REASON and not _is_asked_again(known)


def _is_asked_again(known: Item) -> bool:
    """Whether the registry said that it is not there, and it has a date for another look: until then nothing new is known."""
    return known.state is State.ABSENT and known.due_at is not None


def _wanted_again(known: Item | None, wanted: Item) -> Change:
    if known is None:
        return Change(None, wanted)
    again = replace(known, state=next_state(known.state, Event.RETRIED), lane=wanted.lane, priority=wanted.priority,
                    due_at=wanted.due_at, reason=None, attempts=0)  # fmt: skip
    return Change(known.state, again)
