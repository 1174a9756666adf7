"""What all parts of a running sandbox share, and what the admin port changes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from filingd.sandbox.days import DayStore
from filingd.sandbox.faults import FaultBook
from filingd.sandbox.keys import KeyRing
from filingd.sandbox.removals import Removals

if TYPE_CHECKING:
    from filingd.sandbox.clock import SandboxClock
    from filingd.sandbox.settings import SandboxSettings


@dataclasses.dataclass(slots=True)
class World:
    """Clock, knobs, keys, fault rules, removals and filings of one sandbox."""

    settings: SandboxSettings
    clock: SandboxClock
    base_url: str
    keys: KeyRing
    faults: FaultBook
    removals: Removals
    days: DayStore

    def apply(self, settings: SandboxSettings) -> None:
        """Take new settings: what is generated is forgotten; keys start anew only if their setting
        changed.
        """
        if settings.keys != self.settings.keys:
            self.keys = KeyRing(settings.keys)
        self.settings = settings
        self.days = DayStore(settings, settings.public_url or self.base_url, self.removals)


def make_world(settings: SandboxSettings, clock: SandboxClock, base_url: str) -> World:
    """A world at its beginning; raises `ConfigError` if the keys are wrong."""
    removals = Removals()
    return World(
        settings=settings,
        clock=clock,
        base_url=base_url,
        keys=KeyRing(settings.keys),
        faults=FaultBook(),
        removals=removals,
        days=DayStore(settings, settings.public_url or base_url, removals),
    )
