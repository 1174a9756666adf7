"""What the engine may rely on of any store: the same suite on the fake and on the real disk."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from fakes.store import FakeStore
from filingd.adapters.store import DiskStore
from filingd.core import steps as step
from filingd.core.errors import DiskFaultError, StoreError, StoreReplacedError
from filingd.core.model import BodyPlan, PartialRecord, QuarantineRecord
from filingd.core.tombstones import Tombstone
from support.scrubs import Without
from support.zips import made_zip

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path
    from typing import Any

    from filingd.core.model import StoredBody
    from filingd.ports import BodySink, Staged, Store

TARGET = "nbb/authentic/2026/11/2026-11-20/json.zip"
OTHER_TARGET = "nbb/authentic/2026/11/2026-11-20/pdf.zip"
PLAN = BodyPlan(max_bytes=1 << 30)
REFUSAL = QuarantineRecord(
    "nbb/authentic/2026-11-20/json", "extract", "rid-1", 1_795_000_000.0, "zip_bad_crc", "member 3", 200, {}
)


class RecordedSteps:
    """Remembers the steps that were reached."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def reached(self, step: str) -> None:
        self.seen.append(step)


@pytest.fixture
def steps() -> RecordedSteps:
    return RecordedSteps()


@pytest.fixture(params=["fake", "disk"])
async def store(request: pytest.FixtureRequest, tmp_path: Path, steps: RecordedSteps) -> AsyncIterator[Store]:
    made: Store = FakeStore(steps) if request.param == "fake" else _disk_store(tmp_path / "store", steps)
    yield made
    await made.close()


def _disk_store(root: Path, steps: RecordedSteps) -> DiskStore:
    root.mkdir()
    return DiskStore(root, steps)


BODY = made_zip({f"2026-{number:08d}.json": b'{"n": %d}' % number * 50 for number in range(40)})
OTHER_BODY = made_zip({"2026-00000001.json": b"{}"})


async def pour(sink: BodySink, data: bytes) -> None:
    while data:
        buffer = sink.buffer()
        if buffer is None:
            await sink.ready()
            continue
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        sink.advance(count)
        data = data[count:]


async def staged_with(store: Store, data: bytes, plan: BodyPlan = PLAN, target: str = TARGET) -> Staged:
    staged = await store.stage(target, plan, None, None)
    await pour(staged, data)
    return staged


async def published(store: Store, data: bytes, previous_to: str | None = None) -> None:
    staged = await staged_with(store, data)
    await staged.finish(len(data))
    await staged.publish(previous_to)


def partial_record(received_bytes: int = 0, total_bytes: int | None = len(BODY)) -> PartialRecord:
    return PartialRecord("extract", received_bytes, total_bytes, '"v1"', 1_795_000_000.0, "rid-1")


# ---------------------------------------------------------------- publishing


async def test_a_sound_body_gets_its_final_name_and_its_members(store: Store) -> None:
    staged = await staged_with(store, BODY)
    report = await staged.finish(len(BODY))
    assert (report.problem, report.kind, report.member_count) == (None, "zip", 40)
    assert (report.size_bytes, report.sha256) == (len(BODY), hashlib.sha256(BODY).digest())
    assert report.head == BODY[:2048]
    assert await staged.publish(None) == TARGET
    assert await store.files("nbb") == [TARGET]
    assert await store.size_bytes(TARGET) == len(BODY)
    members = await store.members(TARGET)
    assert members is not None
    assert [member.name for member in members] == [f"2026-{number:08d}.json" for number in range(40)]


async def test_what_is_no_zip_has_no_members_whatever_way_it_came(store: Store) -> None:
    data, plan = b'[{"a": 1}]', BodyPlan(1024, accept=frozenset({"json", "zip"}))
    staged = await staged_with(store, data, plan=plan)
    assert (await staged.finish(len(data))).kind == "json"
    await staged.publish(None)
    assert await store.members(TARGET) is None
    await store.put_documents([("nbb/one.json", data)])
    assert await store.members("nbb/one.json") is None


async def test_nothing_has_a_final_name_before_publishing(store: Store) -> None:
    staged = await staged_with(store, BODY)
    await staged.finish(len(BODY))
    assert await store.files("nbb") == []
    assert await store.size_bytes(TARGET) is None
    assert await store.members(TARGET) is None
    await staged.discard()


async def test_the_steps_of_publishing_come_in_their_order(store: Store, steps: RecordedSteps) -> None:
    await published(store, OTHER_BODY)
    steps.seen.clear()
    staged = await store.stage(TARGET, PLAN, None, partial_record())
    await pour(staged, BODY)
    await staged.finish(None)
    await staged.publish("versions/nbb/json.1.zip")
    known = [name for name in step.PUBLISH_STEPS if name in steps.seen]
    assert steps.seen == known
    assert {step.PART_OPENED, step.PART_RECORDED, step.PREVIOUS_KEPT, step.INDEX_WRITTEN} <= set(steps.seen)


async def test_the_body_that_is_replaced_is_kept_where_the_engine_says(store: Store) -> None:
    await published(store, OTHER_BODY)
    await published(store, BODY, previous_to="versions/nbb/json.1.zip")
    assert await store.files("") == [TARGET, "versions/nbb/json.1.zip"]
    assert await store.size_bytes(TARGET) == len(BODY)
    assert await store.size_bytes("versions/nbb/json.1.zip") == len(OTHER_BODY)


async def test_stored_files_can_be_looked_into_and_each_has_its_own_outcome(store: Store) -> None:
    await published(store, BODY)
    await store.put_documents([("nbb/documents/one.json", b'{"n": 1}')])

    def look(at: int, body: StoredBody) -> tuple[int, list[str], bytes]:
        members = [member.name for member in body.members]
        return at, members[:1], body.read(body.members[3]) if members else body.read()

    zipped, missing, document = await store.look_into(
        [TARGET, "nbb/none.zip", "nbb/documents/one.json"], look
    )
    assert zipped == (0, ["2026-00000000.json"], b'{"n": 3}' * 50)
    assert isinstance(missing, DiskFaultError)
    assert document == (2, [], b'{"n": 1}')


async def test_a_file_that_is_not_read_is_not_opened_either(store: Store) -> None:
    assert await store.look_into(["nbb/none.zip"], lambda at, _: at) == [0]


async def test_a_kept_version_is_never_overwritten(store: Store) -> None:
    await published(store, OTHER_BODY)
    await published(store, BODY, previous_to="versions/nbb/json.1.zip")
    await published(store, BODY, previous_to="versions/nbb/json.1.zip")
    assert await store.size_bytes("versions/nbb/json.1.zip") == len(OTHER_BODY)


async def test_without_a_place_for_it_the_replaced_body_is_gone(store: Store) -> None:
    await published(store, OTHER_BODY)
    await published(store, BODY)
    assert await store.files("") == [TARGET]
    assert await store.sweep(frozenset()) == []


@pytest.mark.parametrize("chunk", [1, 1000, 1 << 20])
async def test_the_size_of_the_pieces_does_not_matter(store: Store, chunk: int) -> None:
    staged = await store.stage(TARGET, PLAN, None, None)
    for at in range(0, len(BODY), chunk):
        await pour(staged, BODY[at : at + chunk])
    report = await staged.finish(len(BODY))
    assert (report.problem, report.sha256) == (None, hashlib.sha256(BODY).digest())
    await staged.discard()


async def test_received_bytes_count_from_the_beginning_of_the_body(store: Store) -> None:
    staged = await staged_with(store, BODY[:1000])
    assert staged.received_bytes == 1000
    await staged.keep(partial_record())
    resumed = await store.stage(TARGET, PLAN, await store.partial(TARGET), None)
    assert resumed.received_bytes == 1000
    await pour(resumed, BODY[1000:1001])
    assert resumed.received_bytes == 1001
    await resumed.discard()


# ---------------------------------------------------------------- reports


@pytest.mark.parametrize(
    ("body", "declared", "kind", "problem"),
    [
        (b"", 0, "empty", None),
        (made_zip({}), None, "empty_zip", None),
        (b'{"statusCode": 404}', None, "json", "wrong_kind"),
        (b"<html><h1>403</h1>", None, "html", "wrong_kind"),
        (b"%PDF-1.7", None, "pdf", "wrong_kind"),
        (BODY, len(BODY) + 1, "zip", "short_body"),
        (BODY, len(BODY) - 1, "zip", "long_body"),
        (BODY[:-1], None, "zip", "zip_no_end"),
        (BODY + b"x", None, "zip", "zip_trailing"),
        (made_zip({"../x.json": b"{}"}), None, "zip", "zip_bad_name"),
    ],
)
async def test_the_report_says_what_the_body_is(
    store: Store, body: bytes, declared: int | None, kind: str, problem: str | None
) -> None:
    staged = await staged_with(store, body)
    report = await staged.finish(declared)
    assert (report.kind, report.problem) == (kind, problem)
    await staged.discard()


async def test_a_body_beyond_the_bound_is_too_large(store: Store) -> None:
    staged = await staged_with(store, BODY, BodyPlan(max_bytes=100))
    assert (await staged.finish(None)).problem == "too_large"
    await staged.discard()


class SumInspector:
    """Wants every member, notes its number, sums them up."""

    def __init__(self) -> None:
        self.total = 0

    def wants(self, name: str) -> bool:
        return name.endswith(".json")

    def member(self, name: str, data: bytes) -> str | None:
        number = json.loads(data)["n"]
        self.total += number
        if number < 0:
            raise StoreError(f"{number} is negative")
        return f"n={number}"

    def facts(self) -> Mapping[str, Any]:
        return {"total": self.total}


async def test_the_inspector_sees_the_members_and_its_notes_are_kept(store: Store) -> None:
    body = made_zip({"a.json": b'{"n": 3}', "b.json": b'{"n": 4}', "c.txt": b"not looked at"})
    staged = await staged_with(store, body, BodyPlan(1 << 20, inspector=SumInspector))
    report = await staged.finish(len(body))
    assert report.facts == {"total": 7}
    await staged.publish(None)
    members = await store.members(TARGET)
    assert members is not None
    assert [member.note for member in members] == ["n=3", "n=4", None]


async def test_what_the_inspector_refuses_is_refused(store: Store) -> None:
    body = made_zip({"a.json": b'{"n": -3}'})
    staged = await staged_with(store, body, BodyPlan(1 << 20, inspector=SumInspector))
    report = await staged.finish(len(body))
    assert report.problem == "inspect_failed"
    assert "a.json" in report.problem_detail
    assert "-3" in report.problem_detail
    await staged.discard()


# ---------------------------------------------------------------- partial bodies


async def test_a_kept_body_can_be_gone_on_with(store: Store) -> None:
    staged = await staged_with(store, BODY[:700])
    await staged.keep(partial_record())
    partial = await store.partial(TARGET)
    assert partial == partial_record(700)
    resumed = await store.stage(TARGET, PLAN, partial, None)
    await pour(resumed, BODY[700:])
    report = await resumed.finish(len(BODY))
    assert (report.problem, report.sha256) == (None, hashlib.sha256(BODY).digest())
    await resumed.publish(None)
    assert await store.partial(TARGET) is None
    assert await store.sweep(frozenset()) == []


async def test_a_resumed_prefix_is_examined_like_everything_else(store: Store) -> None:
    damaged = bytearray(BODY[:700])
    damaged[60] ^= 1
    staged = await staged_with(store, bytes(damaged))
    await staged.keep(partial_record())
    resumed = await store.stage(TARGET, PLAN, await store.partial(TARGET), None)
    await pour(resumed, BODY[700:])
    assert (await resumed.finish(len(BODY))).problem is not None
    await resumed.discard()


async def test_a_body_without_a_byte_is_not_kept(store: Store) -> None:
    staged = await store.stage(TARGET, PLAN, None, partial_record())
    await staged.keep(partial_record())
    assert await store.partial(TARGET) is None


async def test_a_partial_longer_than_its_total_is_not_trusted(store: Store) -> None:
    staged = await staged_with(store, BODY)
    await staged.keep(partial_record(total_bytes=len(BODY) - 1))
    assert await store.partial(TARGET) is None


async def test_a_dropped_partial_is_gone(store: Store) -> None:
    staged = await staged_with(store, BODY[:700])
    await staged.keep(partial_record())
    await store.drop_partial(TARGET)
    assert await store.partial(TARGET) is None
    await store.drop_partial(TARGET)


async def test_discarding_leaves_no_trace_and_may_be_repeated(store: Store) -> None:
    staged = await store.stage(TARGET, PLAN, None, partial_record())
    await pour(staged, BODY[:700])
    await staged.discard()
    await staged.discard()
    assert await store.partial(TARGET) is None
    assert await store.sweep(frozenset()) == []


async def test_discarding_what_was_published_changes_nothing(store: Store) -> None:
    staged = await staged_with(store, BODY)
    await staged.finish(None)
    await staged.publish(None)
    await staged.discard()
    assert await store.files("nbb") == [TARGET]


async def test_sweeping_removes_staging_files_but_those_to_be_kept(store: Store) -> None:
    other = "nbb/authentic/2026/11/2026-11-19/json.zip"
    for target in (TARGET, other):
        staged = await staged_with(store, BODY[:700], target=target)
        await staged.keep(partial_record())
    removed = await store.sweep(frozenset({TARGET}))
    assert removed == [
        "nbb/authentic/2026/11/2026-11-19/.json.zip.part",
        "nbb/authentic/2026/11/2026-11-19/.json.zip.part.json",
    ]
    assert await store.partial(TARGET) is not None
    assert await store.partial(other) is None


# ---------------------------------------------------------------- quarantine


async def test_a_refused_body_goes_to_quarantine_with_its_bytes(store: Store) -> None:
    staged = await staged_with(store, BODY[:-1])
    await staged.finish(None)
    place = await staged.quarantine(REFUSAL)
    assert place.startswith("quarantine/nbb/authentic/2026/11/2026-11-20/json.zip.")
    assert await store.size_bytes(place) == len(BODY) - 1
    assert await store.files("nbb") == []
    assert await store.sweep(frozenset()) == []


async def test_two_refusals_in_the_same_second_do_not_meet(store: Store) -> None:
    places = set()
    for _ in range(2):
        staged = await staged_with(store, BODY[:-1])
        places.add(await staged.quarantine(REFUSAL))
    assert len(places) == 2


async def test_a_damaged_stored_file_can_be_set_aside(store: Store) -> None:
    await published(store, BODY)
    place = await store.set_aside(TARGET, REFUSAL)
    assert place is not None
    assert await store.size_bytes(place) == len(BODY)
    assert await store.size_bytes(TARGET) is None
    assert await store.members(TARGET) is None
    assert await store.set_aside(TARGET, REFUSAL) is None


# ---------------------------------------------------------------- stored files


async def test_checking_a_stored_file_reads_it_again(store: Store) -> None:
    await published(store, BODY)
    report = await store.check(TARGET, PLAN)
    assert report is not None
    assert (report.problem, report.sha256) == (None, hashlib.sha256(BODY).digest())
    assert await store.check("nbb/none.zip", PLAN) is None


async def test_checking_brings_back_the_notes_of_a_lost_index(store: Store) -> None:
    body = made_zip({"a.json": b'{"n": 3}'})
    assert await store.put_documents([(TARGET, body)]) == [None]
    await store.check(TARGET, BodyPlan(1 << 20, inspector=SumInspector))
    members = await store.members(TARGET)
    assert members is not None
    assert [member.note for member in members] == ["n=3"]


async def test_the_member_index_is_made_anew_from_the_zip(store: Store) -> None:
    await published(store, BODY)
    indexed = await store.members(TARGET)
    assert await store.put_documents([("nbb/copy.zip", BODY)]) == [None]
    assert await store.members("nbb/copy.zip") == indexed


async def test_the_member_index_is_of_the_zip_that_lies_there_now(store: Store) -> None:
    await published(store, BODY)
    assert await store.put_documents([(TARGET, OTHER_BODY)]) == [None]
    members = await store.members(TARGET)
    assert members is not None
    assert [member.name for member in members] == ["2026-00000001.json"]


async def test_what_is_no_zip_has_no_members(store: Store) -> None:
    assert await store.put_documents([("kvk/a.json", b"{}")]) == [None]
    assert await store.members("kvk/a.json") is None


# ---------------------------------------------------------------- what is to be forgotten

GONE = "2026-00000007.json"
LEFT = [f"2026-{number:08d}.json" for number in range(40) if number != 7]


async def names_at(store: Store, target: str = TARGET) -> list[str]:
    return [member.name for member in await store.members(target) or ()]


async def test_what_is_forgotten_is_taken_out_of_a_body_before_it_has_a_name(store: Store) -> None:
    staged = await staged_with(store, BODY)
    await staged.finish(len(BODY))
    taken = await staged.scrub(Without({GONE}))
    assert taken is not None
    report, traces = taken
    assert (report.problem, report.member_count, traces.members) == (None, 39, 1)
    await staged.publish(None)
    assert await store.size_bytes(TARGET) == report.size_bytes < len(BODY)
    assert await names_at(store) == LEFT
    checked = await store.check(TARGET, PLAN)
    assert checked is not None
    assert (checked.problem, checked.sha256) == (None, report.sha256)


async def test_a_body_in_which_nothing_is_forgotten_is_published_as_it_came(store: Store) -> None:
    staged = await staged_with(store, BODY)
    await staged.finish(len(BODY))
    assert await staged.scrub(Without({"2026-99999999.json"})) is None
    await staged.publish(None)
    checked = await store.check(TARGET, PLAN)
    assert checked is not None
    assert checked.sha256 == hashlib.sha256(BODY).digest()


async def test_a_scrubbed_body_that_is_discarded_leaves_nothing_behind(store: Store) -> None:
    staged = await store.stage(TARGET, PLAN, None, partial_record())
    await pour(staged, BODY)
    await staged.finish(len(BODY))
    await staged.scrub(Without({GONE}))
    assert await store.partial(TARGET) is None, "what is left must never be gone on with"
    await staged.discard()
    assert await store.staged() == []
    assert await store.files("nbb") == []


async def test_a_stored_body_is_exchanged_for_what_is_left_of_it(store: Store) -> None:
    await published(store, BODY)
    assert (await store.traces(TARGET, Without({GONE})) or (0,))[0] == 1
    taken = await store.stage_scrubbed(TARGET, PLAN, Without({GONE}))
    assert taken is not None
    staged, report, _ = taken
    assert await store.size_bytes(TARGET) == len(BODY), "as long as it has no name"
    await staged.publish(None)
    assert await names_at(store) == LEFT
    assert await store.size_bytes(TARGET) == report.size_bytes
    assert await store.files("") == [TARGET], "the old body is nowhere"
    assert await store.traces(TARGET, Without({GONE})) is None
    assert await store.stage_scrubbed(TARGET, PLAN, Without({GONE})) is None
    assert await store.staged() == []


async def test_an_exchange_that_is_given_up_leaves_the_body_as_it_was(store: Store) -> None:
    await published(store, BODY)
    taken = await store.stage_scrubbed(TARGET, PLAN, Without({GONE}))
    assert taken is not None
    await taken[0].discard()
    assert await store.size_bytes(TARGET) == len(BODY)
    assert await store.staged() == []


async def test_a_stored_text_is_exchanged_as_well(store: Store) -> None:
    target = "nbb/enterprises/0403/101/0403101811.references.json"
    await store.put_documents([(target, b'["secret", "other"]')])
    plan = BodyPlan(1 << 20, frozenset({"json"}))
    taken = await store.stage_scrubbed(target, plan, Without({"secret"}))
    assert taken is not None
    await taken[0].publish(None)
    assert await store.read_text(target) == '["", "other"]'


async def test_no_file_has_no_traces_and_what_cannot_be_read_is_said(store: Store) -> None:
    assert await store.traces(TARGET, Without({GONE})) is None
    await store.put_documents([(TARGET, BODY[:-40])])
    for call in (store.traces(TARGET, Without({GONE})), store.stage_scrubbed(TARGET, PLAN, Without({GONE}))):
        with pytest.raises(DiskFaultError):
            await call
    assert await store.size_bytes(TARGET) == len(BODY) - 40
    assert await store.staged() == []


@pytest.mark.parametrize(
    ("data", "gone", "hides", "holds"),
    [
        (BODY, GONE, False, True),
        (BODY, "2026-99999999.json", True, False),
        (BODY[:-40], GONE, False, True),  # its name can be seen
        (BODY[:-40], "2026-99999999.json", False, False),
        (BODY[:-40], "2026-99999999.json", True, True),  # it may be in what is packed
        (b"<html>2026-00000007.json", GONE, False, True),
        (b"", GONE, True, False),
    ],
)
async def test_a_refused_body_holds_a_trace_if_one_can_be_seen_or_may_be_hidden(
    store: Store, data: bytes, gone: str, hides: bool, holds: bool
) -> None:
    scrub = Without({gone}, hides=hides)
    staged = await staged_with(store, data)
    await staged.finish(None)
    assert await staged.holds_trace(scrub) is holds
    await staged.discard()
    await store.put_documents([(TARGET, data)])
    assert await store.holds_trace(TARGET, scrub) is holds


async def test_tombstones_are_added_once_and_read_back(store: Store) -> None:
    assert await store.tombstones() == []
    first = Tombstone("2026-00999001", False, 1_795_000_000.25, "order \u201c7\u201d\nof today")
    second = Tombstone("0403101811", True, 1_795_000_001.0)
    await store.add_tombstones([first])
    await store.add_tombstones([replace(first, reason="again"), second])
    assert await store.tombstones() == [first, second]


async def test_documents_are_published_and_replaced(store: Store) -> None:
    assert await store.put_documents([("kvk/69/a.json", b"{}")]) == [None]
    assert await store.put_documents([("kvk/69/a.json", b'{"new": 1}')]) == [None]
    assert await store.read_text("kvk/69/a.json") == '{"new": 1}'


async def test_many_documents_are_all_there_when_the_call_returns(store: Store) -> None:
    documents = [(f"kvk/{number % 7}/{number:04}.json", b'{"n": %d}' % number) for number in range(700)]
    assert await store.put_documents(documents) == [None] * len(documents)
    assert await store.sizes_bytes([target for target, _ in documents]) == [
        len(data) for _, data in documents
    ]


async def test_the_sizes_of_many_files_are_had_in_one_go(store: Store) -> None:
    await store.put_documents([("kvk/a.json", b"{}"), ("kvk/b.json", b"{ }")])
    assert await store.sizes_bytes(["kvk/b.json", "kvk/none.json", "kvk/a.json"]) == [3, None, 2]


async def test_texts_are_published_read_and_removed(store: Store) -> None:
    await store.write_text("nbb/day.json", "{}\n")
    assert await store.read_text("nbb/day.json") == "{}\n"
    await store.remove("nbb/day.json")
    await store.remove("nbb/day.json")
    assert await store.read_text("nbb/day.json") is None


async def test_files_are_listed_without_staging_and_index_files(store: Store) -> None:
    await published(store, BODY)
    await store.write_text("nbb/b.json", "{}")
    await store.write_text("nbbx/c.json", "{}")
    staged = await store.stage("nbb/z.zip", PLAN, None, partial_record())
    assert await store.files("nbb") == sorted([TARGET, "nbb/b.json"])
    assert await store.files("") == sorted([TARGET, "nbb/b.json", "nbbx/c.json"])
    assert await store.files("none") == []
    await staged.discard()


@pytest.mark.parametrize("target", ["/etc/passwd", "../x", "a/../../x", "a/.hidden", ""])
async def test_a_target_outside_of_the_store_is_refused(store: Store, target: str) -> None:
    with pytest.raises(StoreError):
        await store.put_documents([(target, b"x")])
    with pytest.raises(StoreError):
        await store.write_text(target, "x")


async def test_there_is_room(store: Store) -> None:
    assert await store.free_bytes() > 0


# ---------------------------------------------------------------- a store that is exchanged under us


def replace_the_store(store: Store, tmp_path: Path) -> None:
    """Somebody moves the store away and puts an empty folder in its place."""
    if isinstance(store, FakeStore):
        store.is_replaced = True
    else:
        (tmp_path / "store").rename(tmp_path / "moved")
        (tmp_path / "store").mkdir()


TOUCHES: Mapping[str, Callable[[Store], Awaitable[object]]] = {
    "check_in_place": lambda store: store.check_in_place(),
    "free_bytes": lambda store: store.free_bytes(),
    "stage": lambda store: store.stage(OTHER_TARGET, PLAN, None, None),
    "write_text": lambda store: store.write_text("nbb/authentic/2026/11/2026-11-20/day.json", "{}"),
    "read_text": lambda store: store.read_text("nbb/authentic/2026/11/2026-11-20/day.json"),
    "remove": lambda store: store.remove(TARGET),
    "check": lambda store: store.check(TARGET, PLAN),
    "members": lambda store: store.members(TARGET),
    "size_bytes": lambda store: store.size_bytes(TARGET),
    "sizes_bytes": lambda store: store.sizes_bytes([TARGET]),
    "set_aside": lambda store: store.set_aside(TARGET, REFUSAL),
    "files": lambda store: store.files("nbb"),
    "sweep": lambda store: store.sweep(frozenset()),
    "tombstones": lambda store: store.tombstones(),
    "add_tombstones": lambda store: store.add_tombstones([Tombstone("2026-00999001", False, 1.0)]),
    "traces": lambda store: store.traces(TARGET, Without({GONE})),
    "stage_scrubbed": lambda store: store.stage_scrubbed(TARGET, PLAN, Without({GONE})),
}


@pytest.mark.parametrize("touch", TOUCHES)
async def test_a_store_that_was_exchanged_is_neither_changed_nor_believed(
    store: Store, tmp_path: Path, touch: str
) -> None:
    await published(store, BODY)
    await store.check_in_place()
    replace_the_store(store, tmp_path)
    with pytest.raises(StoreReplacedError):
        await TOUCHES[touch](store)
    assert not (tmp_path / "store").exists() or list((tmp_path / "store").iterdir()) == []


async def test_a_body_that_is_under_way_when_the_store_is_exchanged_is_not_published(
    store: Store, tmp_path: Path
) -> None:
    staged = await staged_with(store, BODY)
    await staged.finish(len(BODY))
    replace_the_store(store, tmp_path)
    with pytest.raises((StoreReplacedError, DiskFaultError)):
        await staged.publish(None)


async def test_documents_are_not_published_into_a_store_that_was_exchanged(
    store: Store, tmp_path: Path
) -> None:
    assert await store.put_documents([("nbb/documents/1.json", b"{}")]) == [None]
    replace_the_store(store, tmp_path)
    errors = await store.put_documents([("nbb/documents/2.json", b"{}"), ("nbb/documents/3.json", b"{}")])
    assert [type(error) for error in errors] == [StoreReplacedError, StoreReplacedError]
    assert not (tmp_path / "store/nbb").exists()
