"""Repair beside a daemon: what moved on meanwhile is left to whoever moved it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from engine.rig import KEY, TARGET, EngineRig, book, stored_row
from fakes.http import Reply
from fakes.registry import FakeRegistry
from filingd.core import events
from filingd.core.errors import DiskFaultError, DiskFullError
from filingd.core.model import State, Version
from filingd.engine.repair import Repairer
from filingd.engine.verify import Choice, Finding, Kind, Verifier

if TYPE_CHECKING:
    from filingd.core.model import BodyPlan, BodyReport

GOOD, NEW = book("good"), book("a new edition")
DAMAGED = GOOD[:-9]
SECOND, SECOND_TARGET = "lib/shelf-2/list", "lib/shelf-2/list.zip"


OLDER_TARGET = "versions/lib/shelf-1/list.v1.zip"


def verifier_of(rig: EngineRig, *, remembers: bool = True) -> Verifier:
    return Verifier(rig.registry, rig.store, rig.manifest, rig.clock, rig.log, remembers=remembers)


def repairer_of(rig: EngineRig) -> Repairer:
    return Repairer(rig.registry, rig.store, rig.manifest, rig.clock, rig.log, verifier_of(rig), rig.unsealer)


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


# ------------------------------------------------------------------------------------------ older versions


def version_of(body: bytes, number: int) -> Version:
    return Version(
        KEY, number, TARGET, len(body), hashlib.sha256(body).digest(), 1.0, "desk", f"request-{number}"
    )


def rig_with_an_older_version(older: bytes | None = DAMAGED) -> EngineRig:
    """One shelf with a new edition; what is left of the one before lies under versions/."""
    rig = EngineRig(FakeRegistry(1, leaves=("list",)))
    rig.manifest.rows[KEY] = stored_row(NEW, version=2, due_at=rig.clock.now() + 60.0)
    rig.manifest.kept_versions[KEY] = {1: version_of(GOOD, 1), 2: version_of(NEW, 2)}
    rig.store.published[TARGET] = NEW
    if older is not None:
        rig.store.published[OLDER_TARGET] = older
    return rig


async def test_a_damaged_older_version_is_set_aside_once_and_its_row_says_where_it_lies() -> None:
    rig = rig_with_an_older_version()
    before = rig.row()
    found = await verifier_of(rig).verify(Choice())
    assert [(finding.kind, finding.path) for finding in found.findings] == [(Kind.OLD_VERSION, OLDER_TARGET)]

    (mended,) = await repairer_of(rig).set_older_aside(found.findings)
    assert mended.kept_at is not None
    assert mended.kept_at.startswith(f"quarantine/{OLDER_TARGET}.")
    assert mended.route is None
    assert rig.store.published[mended.kept_at] == DAMAGED
    record = rig.store.quarantined[mended.kept_at]
    assert (record.key, record.route) == (KEY, "verify")
    older, current = await rig.manifest.versions(KEY)
    assert (older.path, older.sha256, older.request_id) == (
        mended.kept_at,
        hashlib.sha256(GOOD).digest(),
        "request-1",
    )
    assert current.path == TARGET
    assert rig.row() == before, "the item is as it was, and so is its next re-check"
    assert rig.log.of(events.ITEM_QUARANTINED, key=KEY, path=mended.kept_at, route="verify")

    again = await verifier_of(rig).verify(Choice())
    assert again.findings == [], "it does not come back for ever"
    assert await repairer_of(rig).set_older_aside(found.findings) == []


async def test_an_older_version_that_was_put_back_meanwhile_stays_where_it_is() -> None:
    rig = rig_with_an_older_version()
    found = await verifier_of(rig).verify(Choice())
    rig.store.published[OLDER_TARGET] = GOOD
    assert await repairer_of(rig).set_older_aside(found.findings) == []
    assert rig.store.published[OLDER_TARGET] == GOOD
    assert rig.row().state is State.STORED


async def test_an_older_version_that_cannot_be_read_stays_where_it_is() -> None:
    rig = rig_with_an_older_version(GOOD)
    check = rig.store.check

    async def refusing(target: str, plan: BodyPlan) -> BodyReport | None:
        if target == OLDER_TARGET:
            raise DiskFaultError("The disk refused to read it.")
        return await check(target, plan)

    rig.store.check = refusing  # type: ignore[method-assign]
    found = await verifier_of(rig).verify(Choice())
    assert [(finding.kind, finding.problem) for finding in found.findings] == [
        (Kind.OLD_VERSION, "unreadable")
    ]
    assert await repairer_of(rig).set_older_aside(found.findings) == []
    assert rig.store.published[OLDER_TARGET] == GOOD


@pytest.mark.parametrize("error", [DiskFaultError("refused"), DiskFullError("no room")])
async def test_an_older_version_that_cannot_be_moved_is_said_and_the_item_is_given_back(
    error: Exception,
) -> None:
    rig = rig_with_an_older_version()
    rig.store.refusals["set_aside"] = error
    found = await verifier_of(rig).verify(Choice())
    assert await repairer_of(rig).set_older_aside(found.findings) == []
    assert rig.row().state is State.STORED
    assert rig.log.of(events.ALARM_RAISED, kind="disk_fault", key=KEY)
    assert [version.path for version in await rig.manifest.versions(KEY)] == [TARGET, TARGET]


async def test_an_older_version_of_an_item_in_hand_is_left_to_the_next_verification() -> None:
    rig = rig_with_an_older_version()
    found = await verifier_of(rig).verify(Choice())
    await rig.want()
    assert await repairer_of(rig).set_older_aside(found.findings) == []
    assert rig.store.published[OLDER_TARGET] == DAMAGED


async def test_no_room_for_what_is_damaged_gives_the_item_back() -> None:
    rig = damaged_rig()
    rig.store.refusals["set_aside"] = DiskFullError("no room")
    assert await repairer_of(rig).want_again([Finding(Kind.DAMAGED, KEY, TARGET, "crc")]) == []
    assert (rig.row().state, rig.store.published[TARGET]) == (State.STORED, DAMAGED)


async def test_a_verifier_that_may_not_remember_writes_nothing() -> None:
    rig = rig_with_an_older_version(GOOD)
    rig.manifest.fail_next_write = AssertionError("it wrote")
    found = await verifier_of(rig, remembers=False).verify(Choice())
    assert (found.checked, found.findings) == (1, [])
