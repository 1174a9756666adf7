"""What several lanes pass with every call: one pace, one pool of calls at the same time, one health.

A lane that passes a gate has no pace of its own: there is one queue at the gate, in the order of asking, so that nothing of what
all of them may do together is lost.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from filingd.core.model import LaneSpec
from filingd.engine.health import Health

if TYPE_CHECKING:
    from filingd.core.limits import LaneState
    from filingd.core.model import GateSpec
    from filingd.engine.lane import Lane
    from filingd.engine.pacer import LanePacer
    from filingd.ports import Clock, Log


def lane_spec_of(spec: GateSpec) -> LaneSpec:
    """A gate as what a pacer takes: it has no keys, so that a refusal closes it at once."""
    return LaneSpec(spec.name, spec.calls_per_s, spec.burst, spec.concurrency)


class Gate:
    """Holds what its lanes share. `pacer` is made of `lane_spec_of` its specification."""

    def __init__(self, spec: GateSpec, pacer: LanePacer, clock: Clock, log: Log) -> None:
        self.spec = spec
        self.pacer = pacer
        self.slots = asyncio.Semaphore(spec.concurrency)
        self.health = Health(lane_spec_of(spec), pacer, clock, log, self._stand_still, self._wake)
        self.lanes: list[Lane] = []

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def state(self) -> LaneState:
        """Pace and health, as they would survive a restart."""
        return self.pacer.state

    async def _stand_still(self) -> None:
        for lane in self.lanes:
            await lane.stand_still()

    def _wake(self) -> None:
        for lane in self.lanes:
            lane.wake()
