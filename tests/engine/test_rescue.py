"""Rescue: whatever a death left, rows and files agree again; what cannot be explained stops the sweep, not the work."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from engine.rig import GROUP, KEY, SEAL, SUMS, TARGET, EngineRig, Refusing, book, stored_row
from fakes.registry import DESK, RECHECK_S, FakeRegistry
from filingd.core import events
from filingd.core.errors import DiskFaultError
from filingd.core.model import Group, Item, PartialRecord, State
from filingd.engine.damage import RESCUED_ROUTE
from filingd.engine.supervisor import Until
from support.zips import made_zip

if TYPE_CHECKING:
    from filingd.core.model import BodyPlan, BodyReport

NOW = 1_795_000_000.0
GOOD, OTHER, DAMAGED = book("good"), book("other"), book("good")[:-9]
PARTIAL = PartialRecord("lib/desk/list", 0, 500, '"one"', NOW, "request-0")


def rig_with(row: Item | None, body: bytes | None) -> EngineRig:
    rig = EngineRig(FakeRegistry(leaves=("list",)))
    if row is not None:
        rig.manifest.rows[row.key] = row
    if body is not None:
        rig.store.published[TARGET] = body
    return rig


def check_is_stored(rig: EngineRig, body: bytes, version: int) -> None:
    """The body is the item's current version, planned to be looked at again."""
    row = rig.row()
    assert (row.state, row.version, row.sha256) == (State.STORED, version, hashlib.sha256(body).digest())
    assert (row.size_bytes, row.attempts, row.reason) == (len(body), 0, None)
    assert row.due_at == rig.clock.now() + RECHECK_S
    kept = rig.manifest.kept_versions[KEY][version]
    assert (kept.path, kept.sha256, kept.route, kept.member_count) == (TARGET, row.sha256, RESCUED_ROUTE, 1)


# ------------------------------------------------------------------------------------------ what was under way

LEASED = {
    "active": Item(KEY, DESK, State.ACTIVE, due_at=None, attempts=2),
    "rechecking": stored_row(GOOD, state=State.RECHECKING, attempts=2),
}
# item, what lies under the final name, state afterwards, what lies there afterwards, quarantined
CUT = [
    ("active", None, State.DUE, None, 0),
    ("active", GOOD, State.STORED, GOOD, 0),  # published, and the row not written any more
    ("active", DAMAGED, State.DUE, None, 1),
    ("active", b"", State.DUE, None, 1),
    ("active", made_zip({}), State.DUE, None, 1),
    ("active", b"<html>no</html>", State.DUE, None, 1),
    ("rechecking", GOOD, State.STORED, GOOD, 0),
    ("rechecking", OTHER, State.STORED, OTHER, 0),  # exchanged, and the row not written any more
    ("rechecking", None, State.DUE, None, 0),
    ("rechecking", DAMAGED, State.DUE, None, 1),
    ("rechecking", b"", State.DUE, None, 1),
]


@pytest.mark.parametrize(("leased", "body", "state", "left", "quarantined"), CUT)
async def test_an_item_whose_attempt_was_cut_is_settled_by_what_lies_there(
    leased: str, body: bytes | None, state: State, left: bytes | None, quarantined: int
) -> None:
    rig = rig_with(LEASED[leased], body)
    await rig.rescue.in_flight()
    assert rig.row().state is state
    assert rig.store.published.get(TARGET) == left
    assert len(rig.store.quarantined) == quarantined
    rig.check_agreement()


@pytest.mark.parametrize("leased", LEASED)
async def test_being_cut_is_no_failure_and_the_item_is_due_again_at_once(leased: str) -> None:
    rig = rig_with(LEASED[leased], GOOD if leased == "rechecking" else None)
    before = rig.row()
    await rig.rescue.in_flight()
    row = rig.row()
    assert (row.due_at, row.attempts, row.version) == (NOW, 2, before.version)
    assert row.sha256 == before.sha256
    assert rig.log.of(events.RESCUE_FINISHED, returned=1, found=0, lost=0)


async def test_a_body_that_was_published_and_not_recorded_is_recorded_and_not_fetched_again() -> None:
    rig = rig_with(LEASED["active"], GOOD)
    await rig.rescue.in_flight()
    check_is_stored(rig, GOOD, version=1)
    assert rig.log.of(events.ITEM_FOUND, key=KEY, path=TARGET)
    await rig.run(Until.SEALED)
    assert rig.http.requests == []
    rig.check_agreement()


async def test_a_body_that_was_exchanged_and_not_recorded_is_the_next_version() -> None:
    rig = rig_with(LEASED["rechecking"], OTHER)
    await rig.rescue.in_flight()
    check_is_stored(rig, OTHER, version=2)


async def test_a_stored_body_that_is_gone_is_wanted_again_and_the_log_says_that_it_was_lost() -> None:
    rig = rig_with(LEASED["rechecking"], None)
    tally = await rig.rescue.in_flight()
    row = rig.row()
    assert (row.state, row.due_at, row.reason) == (State.DUE, NOW, "file_lost")
    assert (row.size_bytes, row.sha256, row.stored_at, row.version) == (None, None, None, 1)
    assert tally.lost == 1
    assert rig.log.of(events.ITEM_LOST, key=KEY)


async def test_a_file_that_cannot_be_read_is_left_alone_with_an_alarm_and_work_begins_all_the_same() -> None:
    rig = rig_with(LEASED["rechecking"], GOOD)
    rig.store_port = Refusing(rig.store, "check", DiskFaultError("unreadable"), times=9)
    rig.build()
    await rig.rescue.in_flight()
    assert (rig.row().state, rig.row().version) == (State.STORED, 1)
    assert rig.log.of(events.ALARM_RAISED, kind="disk_fault", key=KEY)


@pytest.mark.parametrize(
    ("leased", "body"), [("rechecking", OTHER), ("rechecking", None), ("rechecking", DAMAGED)]
)
async def test_a_seal_is_taken_back_before_rescue_changes_anything_in_its_day(
    leased: str, body: bytes | None
) -> None:
    rig = rig_with(LEASED[leased], body)
    rig.manifest.kept_groups[GROUP] = Group(GROUP, NOW, sealed_at=NOW)
    rig.store.published[SUMS] = b"old"
    set_aside = rig.store.set_aside

    async def looked(*given: object) -> object:
        assert SUMS not in rig.store.published
        return await set_aside(*given)  # type: ignore[arg-type]  # passed on as they came

    rig.store.set_aside = looked  # type: ignore[method-assign, assignment]
    await rig.rescue.in_flight()
    assert SUMS not in rig.store.published
    assert rig.manifest.kept_groups[GROUP].sealed_at is None
    assert not rig.reconciler.is_idle


# ------------------------------------------------------------------------------------------ what was on its way


@pytest.mark.parametrize(
    ("state", "is_kept"),
    [
        (State.ACTIVE, True),
        (State.DUE, True),
        (State.QUARANTINED, True),
        (State.STORED, False),
        (State.RECHECKING, False),
        (State.EMPTY, False),
        (State.ABSENT, False),
        (None, False),
    ],
)
async def test_a_beginning_is_kept_for_an_item_that_still_wants_its_body_and_for_no_other(
    state: State | None, is_kept: bool
) -> None:
    holds = state in {State.STORED, State.RECHECKING}
    row = stored_row(GOOD) if holds else Item(KEY, DESK, due_at=None)
    rig = rig_with(None if state is None else replace(row, state=state), GOOD if holds else None)
    rig.store.partials[TARGET] = (b"PK\x03\x04 and", PARTIAL)
    await rig.rescue.in_flight()
    assert (TARGET in rig.store.partials) is is_kept


async def test_a_beginning_that_nobody_could_go_on_with_goes() -> None:
    rig = rig_with(LEASED["active"], None)
    rig.store.partials = {TARGET: (b"PK\x03\x04", None), "lib/shelf-9/map.zip": (b"PK", PARTIAL)}
    await rig.rescue.in_flight()
    assert rig.store.partials == {}
    assert rig.log.of(events.RESCUE_FINISHED, removed=3)


# ------------------------------------------------------------------------------------------ everything

# state of the row (None: there is none), what lies there, what the item is afterwards, what lies there afterwards
AT_REST = [
    (None, GOOD, State.STORED, GOOD),
    (None, DAMAGED, State.DUE, None),
    (State.DUE, GOOD, State.STORED, GOOD),
    (State.DUE, DAMAGED, State.DUE, None),
    (State.EMPTY, GOOD, State.STORED, GOOD),
    (State.ABSENT, GOOD, State.STORED, GOOD),
    (State.QUARANTINED, GOOD, State.STORED, GOOD),
    (State.QUARANTINED, DAMAGED, State.QUARANTINED, None),
    (State.STORED, GOOD, State.STORED, GOOD),
    (State.STORED, DAMAGED, State.DUE, None),  # another size than was recorded
    (State.STORED, None, State.DUE, None),
    (State.DUE, None, State.DUE, None),
    (State.EMPTY, None, State.EMPTY, None),
]


@pytest.mark.parametrize(("state", "body", "after", "left"), AT_REST)
async def test_the_sweep_makes_every_row_and_every_file_agree(
    state: State | None, body: bytes | None, after: State, left: bytes | None
) -> None:
    row = stored_row(GOOD) if state is State.STORED else Item(KEY, DESK, state or State.DUE, due_at=None)
    rig = rig_with(None if state is None else row, body)
    await rig.rescue.sweep()
    assert rig.row().state is after
    assert rig.store.published.get(TARGET) == left
    assert len(rig.store.quarantined) == (body == DAMAGED)
    rig.check_agreement()


@pytest.mark.parametrize("state", [State.ACTIVE, State.RECHECKING])
async def test_the_sweep_leaves_to_its_attempt_what_is_under_way(state: State) -> None:
    rig = rig_with(stored_row(GOOD, state=state), DAMAGED)
    await rig.rescue.sweep()
    assert rig.row().state is state
    assert rig.store.published == {TARGET: DAMAGED}


async def test_what_is_lost_is_noticed_whatever_the_clock_said_when_it_was_stored() -> None:
    rig = rig_with(stored_row(GOOD, stored_at=NOW + 365 * 24 * 3600.0), None)
    await rig.rescue.sweep()
    assert rig.row().state is State.DUE


async def test_an_item_that_is_leased_while_the_sweep_looks_at_its_file_is_left_to_its_attempt() -> None:
    rig = rig_with(Item(KEY, DESK, due_at=NOW), DAMAGED)
    check = rig.store.check

    async def checked(*given: object) -> object:
        rig.manifest.rows[KEY] = replace(rig.row(), state=State.ACTIVE, due_at=None)
        rig.store.published[TARGET] = GOOD
        return await check(*given)  # type: ignore[arg-type]  # passed on as they came

    rig.store.check = checked  # type: ignore[method-assign, assignment]
    await rig.rescue.sweep()
    assert rig.row().state is State.ACTIVE
    assert rig.store.published == {TARGET: GOOD}


async def test_a_sealed_day_whose_sums_are_gone_is_judged_and_sealed_again() -> None:
    rig = EngineRig(FakeRegistry(leaves=("list",)))
    await rig.run(Until.SEALED)
    del rig.store.published[SUMS]
    await rig.run(Until.SEALED)
    rig.check_agreement()
    assert {SEAL, SUMS} <= rig.store.published.keys()
    assert len(rig.http.requests) == 1


@pytest.mark.parametrize(
    ("stored", "missing", "lost", "alarms"),
    [(150, range(90), 90, 0), (150, range(120), 100, 1), (3000, range(0, 3000, 25), 120, 0)],
)
async def test_many_missing_files_stop_the_sweep_with_an_alarm_before_everything_is_fetched_again(
    stored: int, missing: range, lost: int, alarms: int
) -> None:
    rig = EngineRig(FakeRegistry(shelves=stored, leaves=("list",)))
    for number, key in enumerate(sorted(rig.registry.expected(NOW))):
        rig.manifest.rows[key] = stored_row(GOOD, key)
        if number not in missing:
            rig.store.published[rig.registry.target(key)] = GOOD
    await rig.rescue.sweep()
    assert sum(row.state is State.DUE for row in rig.manifest.rows.values()) == lost
    assert len(rig.log.of(events.ALARM_RAISED, kind="many_files_missing")) == alarms


async def test_a_store_that_agrees_is_swept_without_a_write() -> None:
    rig = EngineRig(FakeRegistry(shelves=3))
    await rig.run(Until.SEALED)
    rig.build()
    before = len(rig.manifest.recorded)
    tally = await rig.rescue.sweep()
    assert (tally.found, tally.lost, tally.refused) == (0, 0, 0)
    assert len(rig.manifest.recorded) == before
    assert rig.reconciler.is_idle


# ------------------------------------------------------------------------------------------ at a stop


async def test_at_a_stop_everything_that_is_leased_is_given_back_without_blame() -> None:
    rig = EngineRig()
    rig.manifest.rows = {"lib/shelf-1/list": LEASED["active"], "lib/shelf-2/list": stored_row(
        GOOD, "lib/shelf-2/list", state=State.RECHECKING
    )}  # fmt: skip
    assert await rig.rescue.give_back() == 2
    rows = rig.manifest.rows.values()
    assert [(row.state, row.due_at, row.attempts) for row in rows] == [
        (State.DUE, NOW, 2),
        (State.STORED, NOW, 0),
    ]


async def test_what_another_process_settled_meanwhile_does_not_keep_the_rest_from_being_given_back() -> None:
    rig = EngineRig()
    for number in (1, 2, 3):
        key = f"lib/shelf-{number}/list"
        rig.manifest.rows[key] = Item(key, DESK, State.ACTIVE, due_at=None)
    leased = rig.manifest.leased_items

    async def leased_items() -> object:
        found = await leased()
        rig.manifest.rows["lib/shelf-2/list"] = replace(found[1], state=State.DUE, due_at=NOW + 9.0)
        return found

    rig.manifest.leased_items = leased_items  # type: ignore[method-assign, assignment]
    assert await rig.rescue.give_back() == 2
    assert [row.due_at for row in rig.manifest.rows.values()] == [NOW, NOW + 9.0, NOW]


async def test_a_bad_spot_under_a_file_nobody_knows_stops_neither_the_sweep_nor_the_work() -> None:
    rig = EngineRig(FakeRegistry(shelves=2, leaves=("list",)))
    rig.store.published[TARGET] = GOOD
    rig.store_port = Refusing(rig.store, "check", DiskFaultError("unreadable"))
    rig.build()
    await rig.rescue.sweep()
    assert rig.log.of(events.ALARM_RAISED, kind="disk_fault", key=KEY)
    assert KEY not in rig.manifest.rows


# ------------------------------------------------------------------------------------------ what could not be settled


async def test_a_row_that_was_leased_while_the_sweep_read_its_file_is_left_to_its_attempt() -> None:
    """What lies there is not what the row says: the attempt puts it right, and nothing is left unjudged."""
    rig = rig_with(stored_row(GOOD), OTHER)
    inner = rig.store.check
    leased: list[Item] = []

    async def check(target: str, plan: BodyPlan) -> BodyReport | None:
        report = await inner(target, plan)
        if not leased:
            rig.manifest.rows[KEY] = replace(rig.row(), due_at=rig.clock.now())
            leased.extend(await rig.manifest.lease(DESK, rig.clock.now(), 1))
        return report

    rig.store.check = check  # type: ignore[method-assign]
    rig.manifest.rows[KEY] = replace(rig.row(), size_bytes=len(OTHER) + 1)
    await rig.rescue.sweep()
    assert rig.unsealer.unrecorded == set(), "whoever leased it decides"
    (item,) = leased
    await rig.worker._handle(rig.lane, item)
    await rig.reconciler.reconcile(GROUP)
    rig.check_agreement()
    rig.check_sums(GROUP, is_sealed=True)


async def test_one_item_that_the_disk_does_not_let_settle_keeps_no_other_from_starting() -> None:
    rig = EngineRig(FakeRegistry(2, leaves=("list",)))
    rig.manifest.rows[KEY] = stored_row(GOOD, state=State.RECHECKING)
    rig.store.published[TARGET] = OTHER
    refusing = Refusing(rig.store, "remove", DiskFaultError("a folder that is read-only"), times=2)
    rig.store_port = refusing
    await rig.run(Until.IDLE)
    assert rig.row("lib/shelf-2/list").state is State.STORED
    assert rig.row().state is State.RECHECKING, "as after a death: its file is not what its row says"
    assert rig.log.of(events.ALARM_RAISED, kind="disk_fault", key=KEY)
    await rig.run(Until.IDLE)
    assert rig.row().state is State.STORED
    rig.check_agreement()


async def test_a_row_that_cannot_follow_its_file_is_no_ground_for_a_seal() -> None:
    rig = rig_with(stored_row(GOOD, state=State.RECHECKING), OTHER)
    rig.manifest_port = Refusing(rig.manifest, "record", DiskFaultError("broken"), times=1)
    rig.build()
    await rig.rescue.in_flight()
    assert rig.unsealer.unrecorded == {KEY}
    await rig.reconciler.reconcile(GROUP)
    assert SUMS not in rig.store.published
