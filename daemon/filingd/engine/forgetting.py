"""Forgets what an operator was told to forget, and sees to it that it stays forgotten.

Two things, apart from each other. *Burying* makes a tombstone: in `forgotten.jsonl`, then in the manifest; from then on
nothing that arrives gets a final name before what is forgotten was taken out of it. *Erasing* takes it out of everything
that is stored, and is told in the feed when nothing is left of it. It can be cut off anywhere: a tombstone is pending until it is
erased, whoever starts next goes on, and what is clean already stays as it is.

Of which enterprise a document is shows in records alone. Each that turns out to be of a forgotten enterprise gets a tombstone of
its own, so that it is known wherever it comes from.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec.structs import replace

from filingd.core import events, steps
from filingd.core.catalogue import NOTHING_FORGOTTEN
from filingd.core.errors import DiskFaultError, DiskFullError, FilingdError
from filingd.core.forgetting import TAKEN_OUT, Traces, forgotten_by, found_tombstones, redacted
from filingd.core.kinds import examine_document
from filingd.core.tombstones import unknown_of
from filingd.engine.defects import told
from filingd.engine.erasing import Cleanable, Eraser, Tally
from filingd.engine.traces import TraceHunt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from filingd.core.catalogue import Forgotten
    from filingd.core.forgetting import Scrub
    from filingd.core.model import Item
    from filingd.core.tombstones import Tombstone
    from filingd.engine.transfer import Fetched
    from filingd.engine.unseal import Unsealer
    from filingd.ports import Clock, Log, Manifest, Registry, Staged, Steps, Store

_FULL_PAUSE_S = 60.0
_FAULT_PAUSE_S = 900.0


class Forgetter:
    """Keeps the tombstones, scrubs what arrives and erases what is stored."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        manifest: Manifest,
        clock: Clock,
        log: Log,
        steps_seen: Steps,
        unsealer: Unsealer,
        on_change: Callable[[Iterable[str]], None] = lambda _: None,
    ) -> None:
        """`on_change` is told the groups in which a body was exchanged."""
        self._registry = registry
        self._store = store
        self._manifest = manifest
        self._clock = clock
        self._log = log
        self._steps = steps_seen
        self._unsealer = unsealer
        self._eraser = Eraser(
            registry, store, manifest, clock, log, steps_seen, unsealer, on_change, self.bury_found
        )
        self._tombstones: dict[str, Tombstone] = {}
        self._wake = asyncio.Event()
        self._busy = False
        self._refused = False

    # ------------------------------------------------------------------ tombstones

    @property
    def forgotten(self) -> Forgotten:
        """All that is forgotten."""
        return self._eraser.forgotten

    def keep_clean(self, catalogue: Cleanable) -> None:
        """From now on what is erased is taken out of this catalogue, too."""
        self._eraser.catalogue = catalogue

    @property
    def has_forgotten(self) -> bool:
        """Whether anything is forgotten at all."""
        return self.forgotten != NOTHING_FORGOTTEN

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to be erased, as far as the disk allows."""
        return not self._busy and (self._refused or not self._pending())

    async def load(self) -> None:
        """Bring the file of tombstones and their table together: whatever one of them says, holds.

        Raises:
            StoreError: the file cannot be understood.
        """
        written, recorded = await self._store.tombstones(), await self._manifest.tombstones()
        if unwritten := unknown_of(recorded, written):
            await self._store.add_tombstones(unwritten)
        if unrecorded := unknown_of(written, recorded):
            await self._manifest.bury(unrecorded)
        await self.look()

    async def look(self) -> None:
        """Take note of the tombstones as they are now; another process may have added some."""
        known = {tombstone.subject: tombstone for tombstone in await self._manifest.tombstones()}
        new = known.keys() - self._tombstones.keys()
        self._tombstones = known
        self._eraser.forgotten = forgotten_by(known.values())
        pending = [subject for subject in new if known[subject].erased_at is None]
        if pending:
            self._log.warning(events.FORGETTING_ORDERED, count=len(pending))
        if self._pending():
            self._refused = False
            self._wake.set()

    async def bury(self, tombstones: Sequence[Tombstone]) -> None:
        """From now on these must not come back; what is there of them is erased by `erase`, also if that was done before.

        Raises:
            DiskFullError, DiskFaultError: the disk refused; nothing is promised.
        """
        if tombstones:
            await self._store.add_tombstones(tombstones)
            await self._manifest.bury(tombstones)
            self._steps.reached(steps.TOMBSTONE_RECORDED)
            await self.look()

    async def bury_found(self, found: Iterable[str]) -> None:
        """The same for what turned out to be of an enterprise that is forgotten."""
        await self.bury(found_tombstones(found, self.forgotten, self._clock.now()))

    def is_forgotten(self, key: str) -> bool:
        """Whether an item must never be asked for."""
        return self.has_forgotten and self._registry.is_forgotten(key, self.forgotten)

    def _pending(self) -> list[Tombstone]:
        return [tombstone for tombstone in self._tombstones.values() if tombstone.erased_at is None]

    # ------------------------------------------------------------------ what arrives

    async def scrubbed(self, key: str, fetched: Fetched) -> Fetched:
        """A sound body that arrived, without what is forgotten in it; what came is compared and published as it is then.

        Raises:
            DiskFullError, DiskFaultError: the disk refused, or it cannot be taken out.
        """
        scrub = self._registry.scrub(key, self.forgotten) if self.has_forgotten else None
        body = fetched.answer.body
        if scrub is None or body is None:
            return fetched
        if fetched.staged is None:
            left = self._scrubbed_document(key, fetched, scrub)
            await self.bury_found(scrub.found)
            return left
        taken = await fetched.staged.scrub(scrub)
        await self.bury_found(
            scrub.found
        )  # before the body has its name: afterwards nobody would know of them
        if taken is None:
            return fetched
        report, traces = taken
        self._eraser.say_scrubbed(key, traces)
        noted = replace(report, facts={**report.facts, TAKEN_OUT: traces.members})
        return replace(fetched, answer=replace(fetched.answer, body=noted))

    def _scrubbed_document(self, key: str, fetched: Fetched, scrub: Scrub) -> Fetched:
        data = fetched.document or b""
        left = scrub.document(data)
        if left is None:
            return fetched
        self._eraser.say_scrubbed(key, Traces(1, len(data) - len(left)))
        report = examine_document(left, self._registry.body_plan(key))
        return replace(fetched, answer=replace(fetched.answer, body=report), document=left)

    async def may_hold(self, key: str, staged: Staged) -> bool:
        """Whether a body that is refused must not be kept, because it holds or may hide what is forgotten."""
        scrub = self._registry.scrub(key, self.forgotten) if self.has_forgotten else None
        if scrub is None:
            return self.is_forgotten(key)
        return await staged.holds_trace(scrub)

    async def is_removed(self, key: str, path: str, problem: str) -> bool:
        """Remove a file that would go to quarantine, if for the same reason it must not be kept; whether that was so."""
        if await self._store.size_bytes(path) is None or not await self._may_hold_file(key, path):
            return False
        await self._store.remove(path)
        self.say_removed(problem, path)
        return True

    async def _may_hold_file(self, key: str, path: str) -> bool:
        scrub = self._registry.scrub(key, self.forgotten) if self.has_forgotten else None
        return self.is_forgotten(key) if scrub is None else await self._store.holds_trace(path, scrub)

    def say_removed(self, reason: str, path: str) -> None:
        """A body was not kept."""
        self._log.warning(events.TRACE_REMOVED, reason=reason, path=redacted(path, self.forgotten))

    async def cleanse(self, key: str) -> None:
        """Take what is forgotten out of the file under an item's final name, of which no row knows; the caller sees to it
        that nobody else works on it.

        Raises:
            DiskFullError, DiskFaultError: the disk refused, or it cannot be taken out.
        """
        if self.has_forgotten:
            await self._eraser.cleanse(key, self._registry.target(key), Tally())

    async def settle(self, item: Item) -> Item | None:
        """Settle a leased item whose body was being exchanged for what is left of it; None if that is not why it is leased.

        Raises:
            DiskFaultError: the file cannot be read.
        """
        return await self._eraser.settle(item)

    # ------------------------------------------------------------------ erasing, by itself

    async def run(self) -> None:
        """Erase whatever is pending, until cancelled; what the disk refuses is tried again after a pause.

        Raises:
            FilingdError: the manifest itself failed.
        """
        while True:
            self._wake.clear()
            pause_s = await self._erase_if_pending()
            await self._rest(pause_s)

    async def _erase_if_pending(self) -> float | None:
        """Until when to wait at most before it is tried again; None if nothing is left to do."""
        if not self._pending():
            return None
        self._busy = True
        try:
            tally = await self.erase()
        except DiskFullError as error:
            self._alarm("forgetting_waits_for_room", str(error))
            pause_s: float | None = _FULL_PAUSE_S
        except DiskFaultError as error:
            self._alarm("forgetting_failed", str(error))
            pause_s = _FAULT_PAUSE_S
        except FilingdError:
            raise
        except Exception as error:  # noqa: BLE001 - a defect here must not stop the daily work
            self._alarm("defect", f"forgetting: {told(error)}")
            pause_s = _FAULT_PAUSE_S
        else:
            pause_s = _FAULT_PAUSE_S if tally.refused else None
        finally:
            self._busy = False
        self._refused = pause_s is not None
        return pause_s

    async def _rest(self, pause_s: float | None) -> None:
        if pause_s is None:
            await self._wake.wait()
            return
        paused = asyncio.ensure_future(self._clock.sleep(pause_s))
        noted = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({paused, noted}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            paused.cancel()
            noted.cancel()

    def _alarm(self, kind: str, detail: str) -> None:
        self._log.error(events.ALARM_RAISED, kind=kind, detail=redacted(detail, self.forgotten))

    # ------------------------------------------------------------------ erasing

    async def erase(self) -> Tally:
        """Erase every trace of all that is pending, and of what turns out to belong to it; then tell it in the feed.

        What cannot be dealt with is told in `refused`; then all of it stays pending.

        Raises:
            DiskFullError: there is no room to write what is left of a body; it is as it was, and all stays pending.
        """
        began_s, tally, done = self._clock.monotonic(), Tally(), set[str]()
        while pending := [one for one in self._pending() if one.subject not in done]:
            await self._find_more(forgotten_by(pending))
            pending = [one for one in self._pending() if one.subject not in done]
            await self._hunt(forgotten_by(pending), tally).run()
            done |= {tombstone.subject for tombstone in pending}
        if tally.refused:
            self._tell_refused(tally)
        elif done:
            await self._manifest.note_erased(sorted(done), self._clock.now(), tally.facts())
            self._steps.reached(steps.ERASURE_RECORDED)
            duration_s = round(self._clock.monotonic() - began_s, 3)
            self._log.warning(
                events.FORGETTING_FINISHED, count=len(done), duration_s=duration_s, **tally.facts()
            )
            await self.look()
        return tally

    def _tell_refused(self, tally: Tally) -> None:
        for path, why in tally.refused:
            self._alarm("forgetting_failed", f"{path}: {why}")

    async def would_erase(self, tombstones: Sequence[Tombstone]) -> Tally:
        """What `erase` would do if these were buried; nothing is changed.

        What is of an enterprise shows in records and catalogue, as far as these are stored.
        """
        new, known = forgotten_by(tombstones), self.forgotten
        try:
            while True:
                self._eraser.forgotten, tally = known | new, Tally()
                hunt = self._hunt(new, tally, is_dry=True)
                await hunt.run()
                more = forgotten_by(found_tombstones(hunt.found, new, 0.0))
                if more == NOTHING_FORGOTTEN:
                    return tally
                new |= more
        finally:
            self._eraser.forgotten = known

    async def _find_more(self, new: Forgotten) -> None:
        """Bury what records show to be of an enterprise before anything is written anew: else much would be, twice."""
        if new.enterprises:
            hunt = self._hunt(new, Tally(), is_dry=True)
            await hunt.run()
            await self.bury_found(hunt.found)

    def _hunt(self, new: Forgotten, tally: Tally, *, is_dry: bool = False) -> TraceHunt:
        return TraceHunt(
            self._registry, self._store, self._manifest, self._clock, self._log, self._unsealer,
            self._eraser, new, tally, is_dry=is_dry,
        )  # fmt: skip
