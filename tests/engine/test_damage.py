"""What is not as it was recorded is looked at before it is judged, and one odd file never keeps the rest from that."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from engine.rig import GROUP, KEY, SUMS, TARGET, EngineRig, Refusing, book, stored_row
from fakes.registry import FakeRegistry
from fakes.store import FakeStore
from filingd.core import events
from filingd.core.errors import DiskFaultError, ManifestDamagedError
from filingd.core.model import Group, State
from filingd.engine.damage import move_aside

OTHER_KEY, OTHER_TARGET = "lib/shelf-2/list", "lib/shelf-2/list.zip"
GOOD, NEWER = book("good"), book("a newer and longer book")
FAULT = DiskFaultError("too many levels of symbolic links")


def two_shelves() -> EngineRig:
    rig = EngineRig(FakeRegistry(shelves=2, leaves=("list",)))
    for key, target in ((KEY, TARGET), (OTHER_KEY, OTHER_TARGET)):
        rig.manifest.rows[key] = stored_row(GOOD, key)
        rig.store.published[target] = GOOD
    return rig


def refuse(rig: EngineRig, call: str, target: str) -> None:
    """The disk refuses this call for this one file."""
    inner = getattr(rig.store, call)

    async def refusing(asked: Any, *rest: Any) -> Any:
        if asked == target or (isinstance(asked, list) and target in asked):
            raise FAULT
        return await inner(asked, *rest)

    setattr(rig.store, call, refusing)


async def test_what_is_said_of_a_file_that_is_set_aside_quotes_no_key() -> None:
    store = FakeStore()
    store.published[TARGET] = b"no zip"
    await move_aside(store, KEY, TARGET, "verify", 1.0, "zip_bad_name", f"a member is called {'0fA9' * 8!r}")
    (record,) = store.quarantined.values()
    assert record.detail == "a member is called '[redacted]'"


async def test_a_sound_body_of_another_size_is_the_next_version_and_not_set_aside() -> None:
    rig = two_shelves()
    rig.store.published[TARGET] = NEWER
    rig.manifest.kept_groups[GROUP] = Group(GROUP, 1.0, sealed_at=1.0)
    rig.store.published[SUMS] = b"old"
    tally = await rig.rescue.sweep()
    row = rig.row()
    assert (row.state, row.version, row.sha256) == (State.STORED, 2, hashlib.sha256(NEWER).digest())
    assert rig.store.quarantined == {}
    assert (tally.found, tally.lost) == (1, 0)
    assert SUMS not in rig.store.published
    rig.check_agreement()


@pytest.mark.parametrize("call", ["sizes_bytes", "check", "set_aside", "remove"])
async def test_one_file_the_disk_refuses_keeps_the_sweep_from_no_other(call: str) -> None:
    rig = two_shelves()
    rig.store.published[TARGET] = GOOD[:-9]
    rig.store.published[OTHER_TARGET] = GOOD[:-9]
    refuse(rig, call, SUMS if call == "remove" else TARGET)
    if call == "sizes_bytes":
        refuse(rig, "size_bytes", TARGET)
    await rig.rescue.sweep()
    assert rig.row(OTHER_KEY).state is State.DUE
    assert rig.row().state is State.STORED
    assert rig.log.of(events.ALARM_RAISED, kind="disk_fault", key=KEY)
    assert rig.log.of(events.SWEEP_FINISHED)


async def test_a_seal_the_disk_will_not_show_keeps_no_other_from_being_looked_for() -> None:
    rig = two_shelves()
    for group in (GROUP, "lib/shelf-2"):
        rig.manifest.kept_groups[group] = Group(group, 1.0, sealed_at=1.0)
    refuse(rig, "size_bytes", SUMS)
    await rig.rescue.sweep()
    assert rig.manifest.kept_groups[GROUP].sealed_at is not None
    assert rig.manifest.kept_groups["lib/shelf-2"].sealed_at is None
    assert rig.log.of(events.ALARM_RAISED, kind="disk_fault", key=GROUP)


async def test_a_disk_that_refuses_everything_is_told_a_bounded_number_of_times() -> None:
    rig = EngineRig(FakeRegistry(shelves=400, leaves=("list",)))
    for key in rig.registry.expected(0.0):
        rig.store.published[rig.registry.target(key)] = GOOD
    rig.store_port = Refusing(rig.store, "check", FAULT, times=9999)
    rig.build()
    await rig.rescue.sweep()
    assert len(rig.log.of(events.ALARM_RAISED, kind="disk_fault")) == 100
    assert rig.log.of(events.ALARM_RAISED, kind="sweep_failed")
    assert rig.manifest.rows == {}


async def test_a_damaged_manifest_ends_the_sweep() -> None:
    rig = two_shelves()
    del rig.store.published[TARGET]
    rig.manifest_port = Refusing(rig.manifest, "record", ManifestDamagedError("torn"), times=9)
    rig.build()
    with pytest.raises(ManifestDamagedError):
        await rig.rescue.sweep()


async def test_a_leased_file_that_cannot_be_read_is_not_looked_at_again_at_once() -> None:
    rig = two_shelves()
    item = await rig.want(KEY)
    rig.store_port = Refusing(rig.store, "check", FAULT)
    rig.build()
    after = await rig.rescue.settle(item)
    assert after.due_at == rig.clock.now() + 900.0
