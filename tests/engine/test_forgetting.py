"""What is forgotten goes out of everything, whatever state its item is in, and never comes in again."""

from __future__ import annotations

import asyncio
import io
import itertools
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from engine.rig import GROUP, KEY, TARGET, EngineRig, stored_row
from fakes.http import Reply
from filingd.core import layout
from filingd.core.errors import DiskFaultError, DiskFullError, StoreError
from filingd.core.feed import FeedKind
from filingd.core.forgetting import TAKEN_OUT, Claim
from filingd.core.model import Change, Failed, State, Version
from filingd.core.tombstones import Tombstone
from filingd.engine.supervisor import Until
from support.zips import made_zip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from filingd.core.model import Item, Request

BOOK = Tombstone("book-7", False, 5.0, "order 7")
AUTHOR = Tombstone("author-x", True, 5.0, "order 8")
BOOKS = {
    "book-7.txt": b"author-x wrote this",
    "book-8.txt": b"author-y wrote that",
    "book-9.txt": b"author-x again",
}
BODY = made_zip(BOOKS)
OLDER = layout.superseded(TARGET, 1)
REFUSED = f"quarantine/{TARGET}.20261120T113000Z"
ALONE, ALONE_TARGET = "lib/book-7/list", "lib/book-7/list.zip"


def names(data: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert opened.testzip() is None
        return opened.namelist()


def serve(request: Request) -> Reply:
    return Reply(200, BODY)


@pytest.fixture
async def rig() -> EngineRig:
    return EngineRig(respond=serve)


def put(rig: EngineRig, data: bytes = BODY, key: str = KEY, **fields: Any) -> Item:
    """A stored body, with its row and its version."""
    row = stored_row(data, key, "lib/desk", **fields)
    rig.manifest.rows[key] = row
    rig.store.published[rig.registry.target(key)] = data
    version = Version(
        key, row.version, rig.registry.target(key), len(data), row.sha256 or b"", 1.0, "lib/desk", "r"
    )
    rig.manifest.kept_versions.setdefault(key, {})[row.version] = version
    return row


def told(rig: EngineRig) -> list[tuple[FeedKind, str]]:
    return [(event.kind, event.subject) for event in rig.manifest.kept_feed[1:]]


async def forget(rig: EngineRig, *tombstones: Tombstone) -> None:
    await rig.forgetter.bury(tombstones or [BOOK])
    await rig.forgetter.erase()


async def test_a_stored_zip_is_exchanged_and_its_version_keeps_its_number(rig: EngineRig) -> None:
    row = put(rig, due_at=900.0)
    await forget(rig)
    after, (version,) = rig.row(), await rig.manifest.versions(KEY)
    assert names(rig.store.published[TARGET]) == ["book-8.txt", "book-9.txt"]
    assert (after.state, after.version, after.due_at, after.reason) == (
        State.STORED,
        row.version,
        900.0,
        None,
    )
    assert (version.number, version.member_count, version.facts[TAKEN_OUT]) == (1, 2, 1)
    assert (version.sha256, version.size_bytes) == (after.sha256, after.size_bytes)
    rig.check_agreement()
    assert told(rig) == [(FeedKind.REPLACED, KEY), (FeedKind.FORGOTTEN, "book-7")]


async def test_what_is_of_an_enterprise_is_learnt_from_the_bodies_and_buried_by_itself(
    rig: EngineRig,
) -> None:
    put(rig)
    put(rig, made_zip({"book-9.pdf": b"no author in here"}), "lib/shelf-1/text")
    await forget(rig, AUTHOR)
    assert names(rig.store.published[TARGET]) == ["book-8.txt"]
    assert names(rig.store.published["lib/shelf-1/text.zip"]) == []
    assert rig.manifest.kept_tombstones.keys() == {"author-x", "book-7", "book-9"}
    assert {one.subject for one in rig.store.kept_tombstones} == {"author-x", "book-7", "book-9"}
    assert all(one.erased_at is not None for one in rig.manifest.kept_tombstones.values())


async def test_older_versions_are_cleaned_with_their_rows(rig: EngineRig) -> None:
    put(rig, version=1)
    put(rig, made_zip({"book-8.txt": b"new"}), version=2)
    rig.store.published[OLDER] = BODY
    await forget(rig)
    older, current = await rig.manifest.versions(KEY)
    assert names(rig.store.published[OLDER]) == ["book-8.txt", "book-9.txt"]
    assert older.size_bytes == len(rig.store.published[OLDER])
    assert TAKEN_OUT not in current.facts
    assert rig.row().version == 2
    assert [kind for kind, _ in told(rig)] == [FeedKind.FORGOTTEN], "nobody uses an older version"


async def test_a_whole_item_is_absent_from_then_on_and_never_asked_for(rig: EngineRig) -> None:
    put(rig, key=ALONE, due_at=0.0)
    rig.store.published[layout.superseded(ALONE_TARGET, 1)] = BODY
    await forget(rig)
    row = rig.manifest.rows[ALONE]
    assert (row.state, row.reason, row.due_at, row.sha256) == (State.ABSENT, "forgotten", None, None)
    assert not [path for path in rig.store.published if "book-7" in path]
    assert await rig.manifest.versions(ALONE) == []
    rig.manifest.rows[ALONE] = stored_row(BODY, ALONE, state=State.DUE, due_at=0.0, version=0)
    await rig.run(Until.IDLE)
    assert rig.manifest.rows[ALONE].state is State.ABSENT
    assert [one.url for one in rig.http.requests if "book-7" in one.url] == []


@pytest.mark.parametrize("state", [State.DUE, State.EMPTY, State.ABSENT, State.QUARANTINED])
async def test_whatever_state_a_whole_item_is_in_it_is_absent_afterwards(
    rig: EngineRig, state: State
) -> None:
    rig.manifest.rows[ALONE] = stored_row(BODY, ALONE, state=state, due_at=7.0)
    await forget(rig)
    assert rig.manifest.rows[ALONE].state is State.ABSENT
    assert rig.manifest.rows[ALONE].due_at is None


async def test_refused_and_unfinished_bodies_go_and_records_do_not_quote_it(rig: EngineRig) -> None:
    put(rig, made_zip({"book-8.txt": b"x"}))
    record = f"{REFUSED}-2.json"
    rig.store.published |= {
        REFUSED: BODY[:-30], f"{REFUSED}.json": b"{}",
        f"{REFUSED}-2": made_zip({"book-8.txt": b"x"}), record: b'{"detail": "book-7.txt is damaged"}',
    }  # fmt: skip
    rig.store.partials[TARGET] = (BODY[:50], None)
    await forget(rig)
    left = {path for path in rig.store.published if path.startswith("quarantine/")}
    assert left == {f"{REFUSED}-2", record}
    assert rig.store.published[record] == b'{"detail": "(forgotten).txt is damaged"}'
    assert rig.store.partials == {}
    assert rig.log.of("trace.removed")


async def test_an_item_that_is_worked_on_is_waited_for_and_the_others_are_not_kept_waiting(
    rig: EngineRig,
) -> None:
    put(rig, state=State.RECHECKING)
    put(rig, key="lib/shelf-2/list")
    await rig.forgetter.bury([BOOK])
    erasing = asyncio.ensure_future(rig.forgetter.erase())
    await rig.until(lambda: len(names(rig.store.published["lib/shelf-2/list.zip"])) == 2)
    assert len(names(rig.store.published[TARGET])) == 3
    assert not erasing.done()
    await rig.manifest.record([Change(State.RECHECKING, stored_row(BODY))])
    await erasing
    assert len(names(rig.store.published[TARGET])) == 2


async def test_what_arrives_is_scrubbed_before_it_is_compared(rig: EngineRig) -> None:
    put(rig, due_at=0.0)
    await forget(rig)
    await rig.attempt()
    assert rig.row().version == 1, "an unchanged body is no other version"
    assert rig.log.of("item.unchanged")
    rig.check_agreement()


async def test_a_first_body_is_scrubbed_before_it_has_its_name_and_what_it_teaches_is_buried_first(
    rig: EngineRig,
) -> None:
    await rig.forgetter.bury([AUTHOR])
    rig.manifest.rows[KEY] = stored_row(b"", state=State.DUE, version=0, due_at=0.0)
    await rig.attempt(size_bytes=None, sha256=None)
    assert names(rig.store.published[TARGET]) == ["book-8.txt"]
    assert rig.manifest.kept_tombstones.keys() == {"author-x", "book-7", "book-9"}
    (version,) = await rig.manifest.versions(KEY)
    assert version.facts[TAKEN_OUT] == 2
    buried = rig.steps.seen.index("tombstone.recorded", rig.steps.seen.index("body.received"))
    assert buried < rig.steps.seen.index("body.renamed")


async def test_a_document_with_an_index_that_says_nothing_is_looked_into_all_the_same(rig: EngineRig) -> None:
    rig.registry.is_documents = True
    row = put(rig, b'["book-7 and book-8"]')
    target = rig.registry.target(row.key)
    rig.store.indexes[target] = (rig.store.published[target], [])
    await forget(rig)
    assert rig.store.published[target] == b'["(forgotten) and book-8"]'


async def test_a_document_teaches_before_it_has_its_name_as_a_zip_does() -> None:
    rig = EngineRig(respond=lambda _: Reply(200, b'["book-7 and book-9 are by author-x"]'))
    rig.registry.is_documents = True
    await rig.forgetter.bury([AUTHOR])
    rig.manifest.rows[KEY] = stored_row(b"", state=State.DUE, version=0, due_at=0.0)
    await rig.attempt(size_bytes=None, sha256=None)
    assert rig.manifest.kept_tombstones.keys() == {"author-x", "book-7", "book-9"}


async def test_a_document_that_turns_out_to_be_of_what_is_forgotten_is_not_kept() -> None:
    rig = EngineRig(respond=lambda _: Reply(200, b'["book-7 is by author-x"]'))
    rig.registry.is_documents = True
    await rig.forgetter.bury([AUTHOR])
    await rig.attempt(ALONE, version=0, size_bytes=None, sha256=None)
    assert rig.store.published == {}
    row = rig.manifest.rows[ALONE]
    assert (row.state, row.reason, row.due_at) == (State.ABSENT, "forgotten", None)


async def test_a_refused_body_with_a_trace_is_not_kept(rig: EngineRig) -> None:
    await rig.forgetter.bury([BOOK])
    rig.registry.verdicts[KEY] = [Failed("zip_bad_crc", 60.0, quarantine=True)]
    rig.manifest.rows[KEY] = stored_row(b"", state=State.DUE, version=0, due_at=0.0)
    await rig.attempt(size_bytes=None, sha256=None)
    assert rig.store.quarantined == {}
    assert rig.store.partials == {}
    assert rig.log.of("trace.removed")


async def test_a_file_that_was_put_back_is_cleaned_before_it_is_adopted(rig: EngineRig) -> None:
    await rig.forgetter.bury([BOOK])
    rig.store.published[TARGET] = BODY
    rig.store.published[ALONE_TARGET] = BODY
    await rig.run(Until.IDLE)
    assert names(rig.store.published[TARGET]) == ["book-8.txt", "book-9.txt"]
    assert ALONE_TARGET not in rig.store.published
    rig.check_agreement()


async def test_file_and_table_are_brought_together_at_a_start(rig: EngineRig) -> None:
    rig.store.kept_tombstones.append(BOOK)
    await rig.manifest.bury([AUTHOR])
    await rig.forgetter.load()
    assert rig.manifest.kept_tombstones.keys() == {one.subject for one in rig.store.kept_tombstones}
    assert rig.forgetter.forgotten.references == {"book-7"}
    assert rig.forgetter.forgotten.enterprises == {"author-x"}


# ---------------------------------------------------------------- trouble


async def test_a_full_disk_loses_nothing_is_told_and_is_gone_on_with(rig: EngineRig) -> None:
    row = put(rig, due_at=900.0)
    await rig.forgetter.bury([BOOK])
    rig.store.refusals["stage_scrubbed"] = DiskFullError("no room")
    with pytest.raises(DiskFullError):
        await rig.forgetter.erase()
    assert (rig.row(), rig.store.published[TARGET]) == (row, BODY)
    assert rig.manifest.kept_tombstones["book-7"].erased_at is None
    engine = await rig.begin()
    await rig.until(lambda: rig.log.of("alarm.raised"))
    assert rig.log.of("alarm.raised")[0]["kind"] == "forgetting_waits_for_room"
    rig.store.refusals.clear()
    await rig.until(lambda: rig.manifest.kept_tombstones["book-7"].erased_at is not None)
    rig.supervisor.stop()
    await rig.ended(engine)
    assert len(names(rig.store.published[TARGET])) == 2


async def test_one_file_that_cannot_be_read_keeps_all_pending_and_the_others_are_cleaned(
    rig: EngineRig,
) -> None:
    put(rig, BODY[:-30])
    put(rig, key="lib/shelf-2/list")
    await rig.forgetter.bury([BOOK])
    tally = await rig.forgetter.erase()
    assert [path for path, _ in tally.refused] == [TARGET]
    assert len(names(rig.store.published["lib/shelf-2/list.zip"])) == 2
    assert rig.manifest.kept_tombstones["book-7"].erased_at is None
    assert rig.row().state is State.STORED
    assert FeedKind.FORGOTTEN not in [kind for kind, _ in told(rig)]


@pytest.mark.parametrize("call", ["publish", "record"])
async def test_a_refusal_in_the_middle_leaves_row_and_file_agreeing(rig: EngineRig, call: str) -> None:
    row = put(rig)
    await rig.forgetter.bury([BOOK])
    if call == "publish":
        rig.store.refusals["publish"] = DiskFaultError("no")
    else:
        rig.manifest.fail_next_write = DiskFaultError("no")
    assert (await rig.forgetter.erase()).refused
    assert (rig.row(), rig.store.published[TARGET]) == (row, BODY)
    rig.store.refusals.clear()
    assert not (await rig.forgetter.erase()).refused
    rig.check_agreement()


@pytest.mark.parametrize("was_renamed", [True, False])
@pytest.mark.parametrize("said_before", [None, "not_wanted"])
async def test_a_claim_that_a_death_left_is_settled_by_what_lies_there(
    rig: EngineRig, was_renamed: bool, said_before: str | None
) -> None:
    left = made_zip({name: data for name, data in BOOKS.items() if name != "book-7.txt"})
    new = stored_row(left)
    row = put(rig)
    assert new.sha256 is not None
    claim = Claim(1, new.sha256.hex(), said_before, 900.0)
    rig.manifest.rows[KEY] = stored_row(BODY, state=State.RECHECKING, reason=claim.text())
    if was_renamed:
        rig.store.published[TARGET] = left
    await rig.rescue.in_flight()
    after = rig.row()
    assert (after.state, after.version, after.reason) == (State.STORED, 1, said_before)
    assert after.due_at == 900.0, "what is to be checked again is not forgotten"
    assert after.sha256 == (new.sha256 if was_renamed else row.sha256)
    rig.check_agreement()


async def test_a_dry_run_counts_and_changes_nothing(rig: EngineRig) -> None:
    put(rig)
    put(rig, key=ALONE)
    before = (dict(rig.manifest.rows), dict(rig.store.published))
    tally = await rig.forgetter.would_erase([BOOK, AUTHOR])
    assert (tally.files, tally.members, tally.documents) == (1, 2, 1)
    assert (rig.manifest.rows, rig.store.published) == before
    assert rig.manifest.kept_tombstones == {}
    assert not rig.forgetter.has_forgotten


async def test_what_is_erased_already_can_be_erased_once_more(rig: EngineRig) -> None:
    await forget(rig)
    put(rig)  # somebody put it back, row and all
    await forget(rig)
    assert len(names(rig.store.published[TARGET])) == 2
    assert [kind for kind, _ in told(rig)].count(FeedKind.FORGOTTEN) == 2


async def test_a_row_that_moves_on_meanwhile_is_taken_when_it_is_free(rig: EngineRig) -> None:
    put(rig)
    await rig.forgetter.bury([BOOK])
    rig.manifest.fail_next_write = StoreError("it was changed meanwhile")
    await rig.forgetter.erase()
    assert len(names(rig.store.published[TARGET])) == 2
    assert rig.manifest.kept_groups.get(GROUP) is None or rig.manifest.kept_groups[GROUP].sealed_at is None


class OnceFull:
    """A manifest whose disk is full once, at the first record that a test means."""

    def __init__(self, rig: EngineRig, is_meant: Callable[[Change], bool]) -> None:
        self._record, self._is_meant = rig.manifest.record, is_meant
        self.met = 0
        rig.manifest.record = self  # type: ignore[method-assign]

    async def __call__(self, changes: Sequence[Change]) -> None:
        if not self.met and any(map(self._is_meant, changes)):
            self.met += 1
            raise DiskFullError("no room to commit")
        await self._record(changes)


def ends_an_exchange(change: Change) -> bool:
    return change.version is not None


def takes_a_claim_back(change: Change) -> bool:
    return change.before is State.RECHECKING and change.item.state is State.STORED


@pytest.mark.parametrize("is_meant", [ends_an_exchange, takes_a_claim_back])
async def test_a_commit_that_is_refused_once_keeps_a_takedown_until_the_next_look_and_no_longer(
    rig: EngineRig, is_meant: Callable[[Change], bool]
) -> None:
    put(rig, due_at=5e9, reason="not_wanted")
    put(rig, key="lib/shelf-2/list")
    await rig.forgetter.bury([BOOK])
    if is_meant is takes_a_claim_back:
        rig.store.refusals["stage_scrubbed"] = DiskFaultError("no")
    full = OnceFull(rig, is_meant)
    engine = await rig.begin()
    await rig.until(lambda: full.met)
    rig.store.refusals.clear()
    await rig.until(lambda: rig.manifest.kept_tombstones["book-7"].erased_at is not None)
    assert rig.forgetter.is_idle
    rig.supervisor.stop()
    await rig.ended(engine)
    assert (rig.row().state, rig.row().version, rig.row().reason) == (State.STORED, 1, "not_wanted")
    assert rig.row().due_at == 5e9
    assert rig.unsealer.unrecorded == set()
    assert len(names(rig.store.published[TARGET])) == 2
    assert len(names(rig.store.published["lib/shelf-2/list.zip"])) == 2
    rig.check_agreement()


async def test_the_row_of_a_whole_item_that_could_not_be_written_is_written_by_the_next_look(
    rig: EngineRig,
) -> None:
    put(rig, key=ALONE)
    await rig.forgetter.bury([BOOK])
    OnceFull(rig, lambda change: change.item.state is State.ABSENT)
    with pytest.raises(DiskFullError):
        await rig.forgetter.erase()
    await rig.forgetter.erase()
    assert rig.manifest.rows[ALONE].state is State.ABSENT
    assert rig.manifest.kept_tombstones["book-7"].erased_at is not None


async def test_a_claim_that_could_not_be_taken_back_stands_over_a_stop_and_is_settled_by_the_next_start(
    rig: EngineRig,
) -> None:
    row = put(rig, due_at=9000.0)
    await rig.forgetter.bury([BOOK])
    rig.store.refusals["stage_scrubbed"] = DiskFaultError("no")
    OnceFull(rig, takes_a_claim_back)
    with pytest.raises(DiskFullError):
        await rig.forgetter.erase()
    await rig.rescue.give_back()
    await rig.rescue.in_flight()
    assert rig.row() == row


async def test_an_item_that_is_worked_on_for_too_long_is_told_and_keeps_nothing_behind_it(
    rig: EngineRig,
) -> None:
    put(rig, state=State.RECHECKING)
    rig.store.published[f"quarantine/{TARGET}.20261120T113000Z"] = BODY
    await rig.forgetter.bury([BOOK])
    tally = await rig.forgetter.erase()
    assert [path for path, _ in tally.refused] == [TARGET]
    assert tally.quarantined == 1
    assert rig.manifest.kept_tombstones["book-7"].erased_at is None


async def test_nothing_is_staged_where_there_is_no_room_for_it_and_the_row_is_left_alone(
    rig: EngineRig,
) -> None:
    put(rig)
    await rig.forgetter.bury([BOOK])
    rig.store.room_bytes = len(BODY)
    with pytest.raises(DiskFullError, match="bytes are free"):
        await rig.forgetter.erase()
    assert "scrub.claimed" not in rig.steps.seen
    assert rig.manifest.recorded == []


async def test_others_have_their_turn_while_many_names_are_gone_through(rig: EngineRig) -> None:
    for number in range(3000):
        rig.store.published[f"lib/book-{number + 100}/list.zip"] = BODY
    seen = 0
    key_of = rig.registry.key_of

    def counted(target: str) -> str | None:
        nonlocal seen
        seen += 1
        return key_of(target)

    rig.registry.key_of = counted  # type: ignore[method-assign]
    await rig.forgetter.bury([BOOK])
    erasing = asyncio.ensure_future(rig.forgetter.erase())
    seen_at_turns = {0}
    while not erasing.done():
        await asyncio.sleep(0)
        seen_at_turns.add(seen)
    in_order = sorted(seen_at_turns)
    assert max(later - sooner for sooner, later in itertools.pairwise(in_order)) <= 200
    assert seen >= 3000
