"""Repair beside a daemon: what moved on meanwhile is left to whoever moved it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.rig import KEY, TARGET, EngineRig, book, stored_row
from fakes.http import Reply
from fakes.registry import FakeRegistry
from filingd.core.model import State
from filingd.engine.repair import Repairer
from filingd.engine.verify import Finding, Kind, Verifier

if TYPE_CHECKING:
    from filingd.core.model import BodyPlan, BodyReport

GOOD, NEW = book("good"), book("a new edition")
DAMAGED = GOOD[:-9]
SECOND, SECOND_TARGET = "lib/shelf-2/list", "lib/shelf-2/list.zip"


def repairer_of(rig: EngineRig) -> Repairer:
    verifier = Verifier(rig.registry, rig.store, rig.manifest, rig.clock, rig.log)
    return Repairer(rig.registry, rig.store, rig.manifest, rig.clock, rig.log, verifier, rig.unsealer)


def damaged_rig() -> EngineRig:
    """Two shelves, both damaged on disk; the registry has a new edition."""
    rig = EngineRig(FakeRegistry(2, leaves=("list",)), lambda _: Reply(200, NEW))
    for key, target in ((KEY, TARGET), (SECOND, SECOND_TARGET)):
        rig.manifest.rows[key] = stored_row(GOOD, key)
        rig.store.published[target] = DAMAGED
    return rig


class WhileReading:
    """A store in which something happens while a body is read for the first time."""

    def __init__(self, rig: EngineRig, happens: Any) -> None:
        self._inner = rig.store.check
        self._happens = happens
        rig.store.check = self.check  # type: ignore[method-assign]

    async def check(self, target: str, plan: BodyPlan) -> BodyReport | None:
        report = await self._inner(target, plan)
        happens, self._happens = self._happens, None
        if happens is not None:
            await happens()
        return report


async def test_a_body_that_a_daemon_stored_while_the_old_one_was_read_is_not_set_aside() -> None:
    rig = damaged_rig()

    async def the_daemon_stops_and_another_fetches() -> None:
        await rig.rescue.give_back()
        await rig.attempt()

    WhileReading(rig, the_daemon_stops_and_another_fetches)
    findings = [
        Finding(Kind.DAMAGED, KEY, TARGET, "crc"),
        Finding(Kind.DAMAGED, SECOND, SECOND_TARGET, "crc"),
    ]
    mended = await repairer_of(rig).want_again(findings)
    assert (rig.row().state, rig.row().version, rig.store.published[TARGET]) == (State.STORED, 2, NEW)
    assert [one.finding.key for one in mended] == [SECOND], "and the others are mended all the same"
    assert rig.row(SECOND).state is State.DUE


async def test_a_claim_that_a_stopping_daemon_gave_back_is_mended_all_the_same() -> None:
    rig = damaged_rig()

    async def the_daemon_stops() -> None:
        await rig.rescue.give_back()

    WhileReading(rig, the_daemon_stops)
    mended = await repairer_of(rig).want_again([Finding(Kind.DAMAGED, KEY, TARGET, "crc")])
    assert [one.finding.key for one in mended] == [KEY]
    assert (rig.row().state, TARGET in rig.store.published) == (State.DUE, False)
