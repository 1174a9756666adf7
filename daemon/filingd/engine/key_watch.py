"""Reads the keys anew when their files change or an operator asks for it (SIGHUP), and lets the lanes go on with them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from filingd.core import events

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from filingd.core.keys import KeyReading
    from filingd.engine.lane import Lane
    from filingd.ports import Clock, Keys, Log

_LOOK_S = 2.0


class KeyWatch:
    """Looks at the files of the keys every few seconds.

    `hooks` are called, one after the other, whenever an operator asks for a reload: whoever keeps something that lies
    in files beside the configuration adds its own look to them.
    """

    def __init__(
        self,
        keys: Keys,
        lanes: Mapping[str, Lane],
        clock: Clock,
        log: Log,
        problems: Mapping[str, str] | None = None,
    ) -> None:
        """`problems` are those of the first reading, before the daemon began."""
        self._keys = keys
        self._lanes = lanes
        self._clock = clock
        self._log = log
        self._wake = asyncio.Event()
        self._is_asked = False
        self.hooks: list[Callable[[], Awaitable[None]]] = []
        self.on_read: Callable[[], None] = lambda: None
        self.problems: Mapping[str, str] = dict(problems or {})
        for lane in lanes.values():
            lane.on_health.append(self.look_soon)

    def reload(self) -> None:
        """Look at everything soon. May be called from a signal handler."""
        self._is_asked = True
        self._wake.set()

    def look_soon(self) -> None:
        """A lane was refused: its keys may have been exchanged a moment ago."""
        self._wake.set()

    async def run(self) -> None:
        """Look again and again, and at once when told to; runs until cancelled."""
        while True:
            await self._pause()
            if self._is_asked:
                self._is_asked = False
                await self._reload()
            elif await self._keys.are_outdated():
                await self._read()

    async def _pause(self) -> None:
        pausing = asyncio.ensure_future(self._clock.sleep(_LOOK_S))
        woken = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({pausing, woken}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pausing.cancel()
            woken.cancel()
        self._wake.clear()

    async def _reload(self) -> None:
        self._log.info(events.DAEMON_RELOADED)
        await self._read(is_asked=True)
        for lane in self._lanes.values():
            await lane.reload()
        for look in self.hooks:
            await look()

    async def _read(self, *, is_asked: bool = False) -> None:
        reading = await self._keys.read()
        if reading.changed or is_asked or dict(reading.problems) != dict(self.problems):
            self._tell(reading)
        self.problems = reading.problems
        for lane in self._lanes.values():
            await lane.keys_changed(reading.changed)
        self.on_read()

    def _tell(self, reading: KeyReading) -> None:
        say = self._log.warning if reading.problems else self._log.info
        say(
            events.KEYS_READ,
            changed=sorted(reading.changed),
            problems=[_told(name, text, reading.kept) for name, text in sorted(reading.problems.items())],
        )


def _told(name: str, problem: str, kept: Collection[str]) -> str:
    return f"{problem} The key that was read before stays in use." if name in kept else problem
