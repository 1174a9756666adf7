"""What all parts of a running sandbox share, and what the admin port changes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from filingd.sandbox.days import DayStore
from filingd.sandbox.faults import FaultBook
from filingd.sandbox.keys import KeyRing
from filingd.sandbox.kvk.world import KVK_KEYS, make_kvk_world
from filingd.sandbox.removals import Removals

if TYPE_CHECKING:
    from filingd.sandbox.clock import SandboxClock
    from filingd.sandbox.kvk.world import KvkWorld
    from filingd.sandbox.settings import SandboxSettings


@dataclasses.dataclass(slots=True)
class World:
    """Clock, knobs, keys, fault rules, removals and filings of one sandbox, and KVK's register."""

    settings: SandboxSettings
    clock: SandboxClock
    base_url: str
    keys: KeyRing
    faults: FaultBook
    removals: Removals
    days: DayStore
    kvk: KvkWorld

    def apply(self, settings: SandboxSettings) -> None:
        """Take new settings: what is generated is forgotten; keys start anew only if their setting
        changed.
        """
        if _keys(settings) != _keys(self.settings):
            self.keys = make_keys(settings)
        self.kvk.apply(settings)
        self.settings = settings
        self.days = DayStore(settings, settings.public_url or self.base_url, self.removals)


def make_world(settings: SandboxSettings, clock: SandboxClock, base_url: str) -> World:
    """A world at its beginning; raises `ConfigError` if the keys are wrong."""
    removals = Removals()
    return World(
        settings=settings,
        clock=clock,
        base_url=base_url,
        keys=make_keys(settings),
        faults=FaultBook(),
        removals=removals,
        days=DayStore(settings, settings.public_url or base_url, removals),
        kvk=make_kvk_world(settings),
    )


def make_keys(settings: SandboxSettings) -> KeyRing:
    """The keys of both registries; raises `ConfigError` if one opens two products."""
    ring = KeyRing(settings.keys)
    for slot, entry in settings.kvk.keys.items():
        ring.add(KVK_KEYS, entry.key, slot)
    return ring


def _keys(settings: SandboxSettings) -> tuple[object, object]:
    return settings.keys, settings.kvk.keys
