"""A file the disk refuses to read is a finding of its own: verification, repair and rebuild go on with the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.rig import GROUP, KEY, SUMS, TARGET, EngineRig, book, stored_row
from fakes.registry import FakeRegistry
from filingd.core import events
from filingd.core.errors import DiskFaultError
from filingd.core.model import Group, State
from filingd.engine.rebuild import Rebuilder
from filingd.engine.repair import Repairer
from filingd.engine.verify import Choice, Kind, Verifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filingd.core.model import Change

OTHER_KEY, OTHER_TARGET = "lib/shelf-2/list", "lib/shelf-2/list.zip"
GOOD = book("good")
FAULT = DiskFaultError("The disk refused to read it: Input/output error.")


class Shelf:
    """A builder that keeps what it is given."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def add(self, changes: Sequence[Change]) -> None:
        self.keys += [change.item.key for change in changes]

    def add_groups(self, groups: Sequence[Group]) -> None:
        """Not asked for here."""


def rig_with_a_bad_spot(call: str = "check", where: str = TARGET) -> EngineRig:
    """Two stored books; the disk refuses to read something of the first."""
    rig = EngineRig(FakeRegistry(shelves=2, leaves=("list",)))
    for key, target in ((KEY, TARGET), (OTHER_KEY, OTHER_TARGET)):
        rig.manifest.rows[key] = stored_row(GOOD, key)
        rig.store.published[target] = GOOD
    inner = getattr(rig.store, call)

    async def refusing(target: str, *rest: Any) -> Any:
        if target == where:
            raise FAULT
        return await inner(target, *rest)

    setattr(rig.store, call, refusing)
    return rig


def verifier_of(rig: EngineRig) -> Verifier:
    return Verifier(rig.registry, rig.store, rig.manifest, rig.clock, rig.log)


def repairer_of(rig: EngineRig) -> Repairer:
    return Repairer(rig.registry, rig.store, rig.manifest, rig.clock, rig.log, verifier_of(rig), rig.unsealer)


async def test_verification_calls_it_damaged_and_reads_the_others() -> None:
    rig = rig_with_a_bad_spot()
    found = await verifier_of(rig).verify(Choice())
    (finding,) = found.findings
    assert (finding.kind, finding.key, finding.problem) == (Kind.DAMAGED, KEY, "unreadable")
    assert "Input/output error" in finding.detail
    assert found.checked == 2


async def test_a_seal_that_cannot_be_read_does_not_hold() -> None:
    rig = rig_with_a_bad_spot("read_text", SUMS)
    rig.manifest.kept_groups[GROUP] = Group(GROUP, 1.0, sealed_at=1.0)
    found = await verifier_of(rig).verify(Choice())
    assert [(finding.kind, finding.key) for finding in found.findings] == [(Kind.SEAL, GROUP)]


async def test_repair_sets_it_aside_and_wants_it_again() -> None:
    rig = rig_with_a_bad_spot()
    found = await verifier_of(rig).verify(Choice())
    (mended,) = await repairer_of(rig).want_again(found.findings)
    row = rig.row()
    assert (row.state, row.reason, row.due_at) == (State.DUE, "file_damaged", rig.clock.now())
    assert mended.kept_at is not None
    assert rig.store.quarantined[mended.kept_at].problem == "unreadable"
    assert rig.log.of(events.ITEM_QUARANTINED, key=KEY, route="verify")
    assert TARGET not in rig.store.published


async def test_repair_goes_on_when_it_cannot_even_be_moved() -> None:
    rig = rig_with_a_bad_spot()
    rig.store.published[OTHER_TARGET] = GOOD[:-9]
    set_aside = rig.store.set_aside

    async def refusing(target: str, *rest: Any) -> Any:
        if target == TARGET:
            raise FAULT
        return await set_aside(target, *rest)

    rig.store.set_aside = refusing  # type: ignore[method-assign, assignment]
    found = await verifier_of(rig).verify(Choice())
    mended = await repairer_of(rig).want_again(found.findings)
    assert [done.finding.key for done in mended] == [OTHER_KEY]
    assert rig.row().state is State.STORED
    assert rig.log.of(events.ALARM_RAISED, kind="disk_fault", key=KEY)


async def test_a_rebuild_leaves_it_where_it_is_and_says_so() -> None:
    rig = rig_with_a_bad_spot()
    builder = Shelf()
    found = await Rebuilder(rig.registry, rig.store, rig.clock, builder).rebuild()
    assert found.refused == [(TARGET, "unreadable")]
    assert builder.keys == [OTHER_KEY]
    assert rig.store.published[TARGET] == GOOD
