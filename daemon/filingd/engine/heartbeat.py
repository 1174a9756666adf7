"""One line at a set interval that says how far the mirror is and how each lane does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filingd.core import events

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from filingd.core.model import Group
    from filingd.engine.account import Account
    from filingd.engine.lane import Lane
    from filingd.engine.room import RoomGate
    from filingd.engine.worker import Worker
    from filingd.ports import Clock, Log, Manifest

_OLDEST_NAMED = 3


class Heartbeat:
    """Says what is known, once an interval."""

    def __init__(
        self,
        manifest: Manifest,
        lanes: Mapping[str, Lane],
        worker: Worker,
        room: RoomGate,
        clock: Clock,
        log: Log,
        interval_s: float,
        is_rehearsal: bool,
        wanted_groups: Callable[[float], Collection[str]] | None = None,
        accounts: Sequence[Account] = (),
    ) -> None:
        """`wanted_groups` gives the groups that count at an instant; without it all that are known do."""
        self._manifest = manifest
        self._lanes = lanes
        self._worker = worker
        self._room = room
        self._clock = clock
        self._log = log
        self._interval_s = interval_s
        self._is_rehearsal = is_rehearsal
        self._wanted_groups = wanted_groups
        self._accounts = accounts

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await self.beat()
            await self._clock.sleep(self._interval_s)

    async def beat(self) -> None:
        """Say it once."""
        groups = await self._groups()
        open_groups = [group for group in groups if group.sealed_at is None]
        scheduled = await self._manifest.scheduled_counts()
        counts = await self._manifest.counts()
        self._log.info(
            events.HEARTBEAT,
            coverage={
                "days": len(groups),
                "sealed": len(groups) - len(open_groups),
                "open": len(open_groups),
                "oldest_open": [group.key for group in open_groups[:_OLDEST_NAMED]],
            },
            lanes={lane.name: self._lane(lane, scheduled) for lane in self._lanes.values()},
            items={state.name.lower(): count for state, count in counts.items()},
            accounts={account.name: self._account(account) for account in self._accounts},
            active=self._worker.in_flight,
            free_bytes=self._room.free_bytes,
            rehearsed=self._is_rehearsal,
        )

    async def _groups(self) -> Sequence[Group]:
        groups = await self._manifest.groups()
        if self._wanted_groups is None:
            return groups
        wanted = frozenset(self._wanted_groups(self._clock.now()))
        return [group for group in groups if group.key in wanted]

    def _lane(self, lane: Lane, scheduled: Mapping[str, int]) -> dict[str, Any]:
        reason, opens_at = lane.shut_for or (None, None)
        return {
            "scheduled": scheduled.get(lane.name, 0),
            "calls_per_s": round(lane.calls_per_s, 3),
            "parked": reason,
            "opens_at": opens_at,
        }

    @staticmethod
    def _account(account: Account) -> dict[str, Any]:
        used, left = account.spending, account.left
        return {
            "month": used.month,
            "calls": used.used_calls,
            "microeur": used.used_microeur,
            "calls_left": left.calls,
            "microeur_left": left.microeur,
        }
