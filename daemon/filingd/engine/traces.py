"""Goes over everything that is stored and has whatever is forgotten erased: rows, current bodies, older ones, unfinished and
refused ones.

Which zips are concerned is not looked up anywhere: the names in all of them are gone through, from their member indexes. Only
where a zip lists records, and an enterprise is forgotten, is it read itself. What somebody works on at the moment is looked at
again when it is free.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from filingd.core import events, layout
from filingd.core.errors import DiskFaultError, ManifestDamagedError, StoreError, StoreReplacedError
from filingd.core.forgetting import redacted
from filingd.core.model import LEASED_STATES, State, group_of
from filingd.engine.published import published

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence

    from filingd.core.catalogue import Forgotten
    from filingd.core.forgetting import Scrub
    from filingd.core.model import Item
    from filingd.engine.erasing import Eraser, Tally
    from filingd.engine.unseal import Unsealer
    from filingd.ports import Clock, Log, Manifest, Registry, Store

    Job = tuple[str, Callable[[Item | None], Awaitable[None]]]  # the key of an item, and what is done to it

T = TypeVar("T")

_PAGE = 2000
_TURN = 200  # what is gone through before others have their turn
_LEASED_PAUSE_S = 0.25  # until what is worked on is looked at again
_LEASED_BOUND_S = 1800.0  # until it is left for the next time
_RECORD_ENDING = ".json"  # of what is written beside a refused body


class TraceHunt:
    """One pass for the traces of `new`. With `is_dry` nothing is changed: `tally` says what would go."""

    def __init__(
        self,
        registry: Registry,
        store: Store,
        manifest: Manifest,
        clock: Clock,
        log: Log,
        unsealer: Unsealer,
        eraser: Eraser,
        new: Forgotten,
        tally: Tally,
        *,
        is_dry: bool = False,
    ) -> None:
        self._registry = registry
        self._store = store
        self._manifest = manifest
        self._clock = clock
        self._log = log
        self._unsealer = unsealer
        self._eraser = eraser
        self._new = new
        self._tally = tally
        self._is_dry = is_dry
        self.found: set[str] = set()  # what turned out to be of a forgotten enterprise

    async def run(self) -> None:
        """Go over everything.

        Raises:
            DiskFullError: there is no room for what is left of a body.
            DiskFaultError: the store as a whole cannot be looked at; of single files it is told in the tally.
        """
        await self._catalogue()
        await self._work_off((item.key, self._forget_row) async for item in self._rows())
        await self._work_off((key, self._clean(key, path, None)) async for key, path in self._bodies())
        await self._work_off((key, self._clean(key, path, n)) async for key, path, n in self._older())
        await self._work_off((key, self._drop_partial(key)) async for key in self._partials())
        await self._quarantine()

    async def _catalogue(self) -> None:
        if self._eraser.catalogue is not None and not self._is_dry:
            await self._eraser.bury_found(await self._eraser.catalogue.forget(self._new))

    # ------------------------------------------------------------------ one after the other

    async def _work_off(self, jobs: AsyncIterator[Job]) -> None:
        """Do each job when nobody works on its item, under the lock of its group; others are not kept waiting. What is not
        free in time is told in the tally: what comes behind it is not kept waiting either."""
        waiting = [job async for job in jobs if not await self._is_done(*job)]
        began_s = self._clock.monotonic()
        while waiting := [job for job in waiting if not await self._is_done(*job)]:
            waited_s = self._clock.monotonic() - began_s
            if waited_s >= _LEASED_BOUND_S:
                self._give_up([key for key, _ in waiting], waited_s)
                return
            await self._clock.sleep(_LEASED_PAUSE_S)

    def _give_up(self, keys: Iterable[str], waited_s: float) -> None:
        why = f"somebody has worked on it for the {waited_s:.0f} s that it was waited for; it is tried again later"
        self._tally.refused += [(self._registry.target(key), why) for key in keys]

    async def _is_done(self, key: str, work: Callable[[Item | None], Awaitable[None]]) -> bool:
        async with self._unsealer.alone_with(group_of(key)):
            item = (await self._manifest.items([key])).get(key)
            try:
                if item is not None and not self._is_dry:
                    item = await self._eraser.settle_left(item)
                    if item.state in LEASED_STATES:
                        return False
                await work(item)
            except DiskFaultError as error:
                self._tally.refused.append((self._registry.target(key), str(error)))
            except (ManifestDamagedError, StoreReplacedError):
                raise
            except StoreError:
                return False  # somebody took it a moment ago
        return True

    # ------------------------------------------------------------------ rows

    async def _rows(self) -> AsyncIterator[Item]:
        """Items that go as a whole."""
        after = ""
        while page := await self._manifest.page(after, _PAGE):
            after = page[-1].key
            async for item in _in_turns(page):
                if self._registry.is_forgotten(item.key, self._new):
                    yield item

    async def _forget_row(self, item: Item | None) -> None:
        if item is None:
            return
        await self._learn(item.key, self._registry.target(item.key))
        if not self._is_dry:
            await self._eraser.forget_item(item, self._tally)
            return
        size_bytes = await self._store.size_bytes(self._registry.target(item.key))
        if size_bytes is not None:
            self._count_whole(item.key, size_bytes)

    def _count_whole(self, key: str, size_bytes: int) -> None:
        self._tally.documents += 1
        self._tally.size_bytes += size_bytes
        self._tally.concerns(key)

    # ------------------------------------------------------------------ bodies

    async def _bodies(self) -> AsyncIterator[tuple[str, str]]:
        """Key and path of every published body that may hold something of what is forgotten."""
        async for path in _in_turns(await published(self._registry, self._store)):
            key = self._registry.key_of(path)
            if key is not None and self._concerns(key):
                yield key, path

    async def _older(self) -> AsyncIterator[tuple[str, str, int]]:
        """The same of older versions, with their numbers."""
        async for path in _in_turns(await self._store.files(layout.VERSIONS)):
            superseded = layout.superseded_of(path)
            key = self._registry.key_of(superseded[0]) if superseded else None
            if superseded is not None and key is not None and self._concerns(key):
                yield key, path, superseded[1]

    def _concerns(self, key: str) -> bool:
        return self._registry.scrub(key, self._new) is not None or self._registry.is_forgotten(key, self._new)

    def _clean(self, key: str, path: str, number: int | None) -> Callable[[Item | None], Awaitable[None]]:
        """Clean one body: the current one, or an older version by its number."""

        async def clean(item: Item | None) -> None:
            if self._registry.is_forgotten(key, self._new):
                await self._clean_whole(key, path, is_older=number is not None)
                return
            if not await self._has_traces(key, path):
                return
            scrub = self._registry.scrub(key, self._eraser.forgotten)
            if self._is_dry or scrub is None:
                await self._count_traces(key, path, scrub, is_older=number is not None)
            elif item is None or item.state is not State.STORED or (number or 0) > item.version:
                await self._eraser.cleanse(key, path, self._tally)
            else:
                await self._eraser.exchange(item, number or item.version, scrub, self._tally)

        return clean

    async def _clean_whole(self, key: str, path: str, *, is_older: bool) -> None:
        size_bytes = await self._store.size_bytes(path)
        if size_bytes is None:
            return
        await self._learn(key, path)
        if self._is_dry:
            if is_older or key not in self._tally.keys:  # else it was counted by its row
                self._count_whole(key, size_bytes)
        else:
            await self._eraser.remove(path, self._tally)
            self._tally.concerns(key)
        self._tally.versions += is_older

    async def _has_traces(self, key: str, path: str) -> bool:
        """By the names in its member index, and by its records where these have to be asked."""
        scrub = self._registry.scrub(key, self._new)
        if scrub is None:
            return False
        members = await self._store.members(path)
        if members and not any(map(scrub.suspects, members)):
            return False  # what is no zip may have an index, too: an empty one
        traces = await self._store.traces(path, scrub)
        await self._note(scrub)
        return traces is not None

    async def _learn(self, key: str, path: str) -> None:
        """What a body that goes as a whole tells of others that go: afterwards nobody could ask it."""
        scrub = self._registry.scrub(key, self._new)
        if scrub is not None:
            await self._store.traces(path, scrub)
            await self._note(scrub)

    async def _count_traces(self, key: str, path: str, scrub: Scrub | None, *, is_older: bool) -> None:
        traces = await self._store.traces(path, scrub) if scrub is not None else None
        if traces is not None:
            self._tally.files += 1
            self._tally.versions += is_older
            self._tally.members += traces.members
            self._tally.size_bytes += traces.size_bytes
            self._tally.concerns(key)

    async def _note(self, scrub: Scrub) -> None:
        self.found |= set(scrub.found)
        if not self._is_dry:
            await self._eraser.bury_found(scrub.found)

    # ------------------------------------------------------------------ unfinished and refused bodies

    async def _partials(self) -> AsyncIterator[str]:
        async for target in _in_turns(await self._store.staged()):
            key = self._registry.key_of(target)
            if key is not None and self._concerns(key):
                yield key

    def _drop_partial(self, key: str) -> Callable[[Item | None], Awaitable[None]]:
        async def drop(_: Item | None) -> None:
            self._tally.partials += 1
            if not self._is_dry:
                await self._store.drop_partial(self._registry.target(key))

        return drop

    async def _quarantine(self) -> None:
        """A refused body is no part of the mirror: one with a trace, or that may hide one, goes as a whole."""
        async for path in _in_turns(await self._store.files(layout.QUARANTINE)):
            target = layout.set_aside_of(path)
            if target is None:
                continue
            superseded = layout.superseded_of(target)
            key = self._registry.key_of(superseded[0] if superseded else target)
            if key is not None and self._concerns(key):
                try:
                    await self._clean_refused(key, path)
                except DiskFaultError as error:
                    self._tally.refused.append((path, str(error)))

    async def _clean_refused(self, key: str, path: str) -> None:
        scrub = self._registry.scrub(key, self._new)
        size_bytes = await self._store.size_bytes(path)
        if size_bytes is None:
            return
        if scrub is not None and not await self._store.holds_trace(path, scrub):
            await self._redact_record(f"{path}{_RECORD_ENDING}")
            return
        self._tally.quarantined += 1
        self._tally.size_bytes += size_bytes
        self._tally.concerns(key)
        if not self._is_dry:
            await self._store.remove(path)
            await self._store.remove(f"{path}{_RECORD_ENDING}")
            self._log.warning(
                events.TRACE_REMOVED, reason="quarantined", path=redacted(path, self._eraser.forgotten)
            )

    async def _redact_record(self, path: str) -> None:
        """What is written beside a refused body may quote it."""
        text = await self._store.read_text(path)
        if text is not None and not self._is_dry and (left := redacted(text, self._new)) != text:
            await self._store.write_text(path, left)


async def _in_turns(many: Sequence[T]) -> AsyncIterator[T]:
    """One after the other; in between whoever else has something to do has a turn."""
    for at, one in enumerate(many, 1):
        yield one
        if at % _TURN == 0:
            await asyncio.sleep(0)
