"""Runs an operator's commands for what the feed tells: one at a time, in order, at least once, beside the mirror.

How far each hook has come is durable. An event is passed when its command succeeded; a death in between runs it again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from filingd.core import events
from filingd.core.change_line import line_of
from filingd.core.feed import FeedKind
from filingd.core.retry import backoff_s
from filingd.engine.following import rest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filingd.core.feed import FeedEvent
    from filingd.core.model import Version
    from filingd.ports import Clock, Commands, Log, Manifest

KINDS: Mapping[str, frozenset[FeedKind]] = {
    "on_stored": frozenset({FeedKind.STORED, FeedKind.REPLACED}),
    "on_sealed": frozenset({FeedKind.SEALED}),
}
_PAGE = 500
_RETRY_S = (1.0, 15 * 60.0)
_ALARM_AFTER = 3  # failures in a row: a consumer that is just being restarted is nobody's business


class Hook:
    """One command and the events it is run for."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        timeout_s: float,
        manifest: Manifest,
        commands: Commands,
        clock: Clock,
        log: Log,
    ) -> None:
        """`name` is one of `KINDS`."""
        self._name = name
        self._command = command
        self._timeout_s = timeout_s
        self._manifest = manifest
        self._commands = commands
        self._clock = clock
        self._log = log
        self._cursor = f"hooks.{name}"
        self._after = -1
        self._failures = 0
        self._wake = asyncio.Event()

    async def is_current(self) -> bool:
        """Whether all events were passed; a command that keeps failing is not waited for."""
        return self._failures > 0 or self._after >= await self._manifest.feed_head()

    def wake(self) -> None:
        """Something may have been recorded."""
        self._wake.set()

    async def run(self) -> None:
        """Follow the feed until cancelled."""
        self._after = await self._begin()
        while True:
            found = await self._manifest.feed(self._after, _PAGE)
            for event in found:
                await self._pass(event)
            if not found:
                await rest(self._clock, self._wake)

    async def _begin(self) -> int:
        """Where it was; a hook that is new begins with what happens from now on."""
        cursors, head = await self._manifest.cursors(), await self._manifest.feed_head()
        # A manifest that was put back from a copy has not reached the cursor: its events are new ones.
        after = min(cursors.get(self._cursor, head), head)
        if after != cursors.get(self._cursor):
            await self._manifest.save_cursor(self._cursor, after)
        return after

    async def _pass(self, event: FeedEvent) -> None:
        if event.kind in KINDS[self._name]:
            await self._deliver(event)
            await self._manifest.save_cursor(self._cursor, event.seq)
        self._after = event.seq

    async def _deliver(self, event: FeedEvent) -> None:
        text = line_of(event, await self._version_of(event))
        while (problem := await self._commands.run(self._command, text, self._timeout_s)) is not None:
            self._failures += 1
            wait_s = backoff_s(self._failures, *_RETRY_S, jitter=1.0)
            self._tell(event, problem, wait_s)
            await self._clock.sleep(wait_s)
        self._failures = 0

    def _tell(self, event: FeedEvent, problem: str, wait_s: float) -> None:
        self._log.warning(
            events.HOOK_FAILED, hook=self._name, seq=event.seq, failures=self._failures, detail=problem,
            again_at=self._clock.now() + wait_s,
        )  # fmt: skip
        if self._failures == _ALARM_AFTER:
            self._log.error(events.ALARM_RAISED, kind="hook_failing", detail=f"{self._name}: {problem}")

    async def _version_of(self, event: FeedEvent) -> Version | None:
        versions = await self._manifest.versions(event.subject) if event.version else ()
        return next((version for version in versions if version.number == event.version), None)
