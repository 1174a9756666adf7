"""From a leased item to a recorded outcome: every verdict, for an item that has nothing and for one that holds a body."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from engine.rig import GROUP, KEEP_FREE_BYTES, KEY, SUMS, TARGET, EngineRig, book
from fakes.http import Reply
from fakes.registry import CELLAR, DESK, FakeRegistry, lane_spec
from filingd.core import events
from filingd.core.model import (
    Absent,
    Blocked,
    Deferral,
    Failed,
    Item,
    Nothing,
    NotYet,
    State,
    Throttled,
)
from filingd.engine.supervisor import Until
from support.zips import made_zip

if TYPE_CHECKING:
    from filingd.core.model import Request, Verdict

NOW = 1_795_000_000.0  # the fake clock's beginning
LATER = NOW + 500.0

# verdict, state of an item that had nothing, when it is due, failures since the last success (it had two)
VERDICTS: dict[str, tuple[Verdict, State, float | None, int]] = {
    "nothing yet": (Nothing("gone", LATER), State.DUE, LATER, 0),
    "nothing, proven": (Nothing("gone", None, confirmed=True), State.EMPTY, None, 0),
    "not yet": (NotYet("closed", LATER), State.DUE, LATER, 2),
    "absent": (Absent("sold", None), State.ABSENT, None, 2),
    "absent for now": (Absent("sold", LATER, alarm=True), State.ABSENT, LATER, 2),
    "failed": (Failed("torn", LATER), State.DUE, LATER, 3),
    "failed, bad body": (Failed("torn", LATER, quarantine=True), State.DUE, LATER, 3),
    "gave up": (Failed("torn", LATER, gave_up=True), State.QUARANTINED, LATER, 0),
    "throttled": (Throttled("crowded", 30.0), State.DUE, NOW, 2),
    "blocked": (Blocked("card_refused"), State.DUE, NOW, 2),
    "blocked by its key": (Blocked("card_refused", key_at_fault=True), State.DUE, NOW, 2),
}


@pytest.mark.parametrize("name", VERDICTS)
async def test_every_verdict_moves_an_item_without_a_body_as_the_life_cycle_says(name: str) -> None:
    verdict, state, due_at, attempts = VERDICTS[name]
    rig = EngineRig()
    rig.registry.verdicts[KEY] = [verdict]
    row = await rig.attempt(attempts=2)
    assert (row.state, row.due_at, row.attempts) == (state, due_at, attempts)
    assert (row.version, row.sha256) == (0, None)
    assert TARGET not in rig.store.published
    assert rig.store.partials == {}


@pytest.mark.parametrize("name", VERDICTS)
async def test_a_second_look_never_takes_away_what_is_stored(name: str) -> None:
    verdict, _, due_at, attempts = VERDICTS[name]
    rig = EngineRig()
    stored = await rig.attempt()
    before = dict(rig.store.published)
    rig.registry.verdicts[KEY] = [verdict]
    row = await rig.attempt(attempts=2)
    assert (row.state, row.due_at, row.attempts) == (State.STORED, due_at, attempts)
    assert (row.version, row.sha256, row.stored_at) == (1, stored.sha256, stored.stored_at)
    assert {name: body for name, body in rig.store.published.items() if name in before} == before
    assert rig.store.partials == {}


async def test_what_was_believed_too_soon_is_asked_for_again_and_what_is_forgotten_is_not() -> None:
    rig = EngineRig()
    doubted = {
        "lib/shelf-9/a": Item("lib/shelf-9/a", "lib/cellar", State.ABSENT, due_at=LATER, reason="sold"),
        "lib/shelf-9/b": Item("lib/shelf-9/b", "lib/cellar", State.QUARANTINED, due_at=LATER, reason="torn"),
        "lib/shelf-9/c": Item("lib/shelf-9/c", "lib/cellar", State.STORED, due_at=LATER, reason="sold"),
        "lib/shelf-9/d": Item("lib/shelf-9/d", "lib/cellar", State.ABSENT, due_at=None, reason="forgotten"),
        "lib/shelf-9/e": Item("lib/shelf-9/e", "lib/cellar", State.ACTIVE, due_at=LATER),
        "lib/shelf-9/f": Item("lib/shelf-9/f", "lib/cellar", State.DUE, due_at=NOW - 5.0, reason="torn"),
    }
    rig.manifest.rows.update(doubted)
    rig.registry.verdicts[KEY] = [Blocked("all_refused", doubts=(*doubted, "lib/shelf-9/unknown"))]
    await rig.attempt()
    after = {key: rig.row(key) for key in doubted}
    told = {key[-1]: (row.state, row.due_at, row.reason) for key, row in after.items() if row != doubted[key]}
    assert told == {
        "a": (State.DUE, NOW, "all_refused"),
        "b": (State.DUE, NOW, "all_refused"),
        "c": (State.STORED, NOW, "all_refused"),
    }


async def test_a_good_body_is_published_and_recorded_with_its_evidence() -> None:
    rig = EngineRig(respond=lambda _: Reply(200, book(), {"ETag": '"one"'}))
    row = await rig.attempt(attempts=2, nothing_count=1, nothing_at=5.0, reason="gone")
    body = rig.store.published[TARGET]
    assert (row.state, row.version, row.size_bytes) == (State.STORED, 1, len(body))
    assert row.sha256 == hashlib.sha256(body).digest()
    assert (row.attempts, row.nothing_count, row.nothing_at, row.reason) == (0, 0, None, None)
    (version,) = await rig.manifest.versions(KEY)
    assert (version.number, version.path, version.route) == (1, TARGET, "lib/desk/list")
    assert (version.request_id, version.etag, version.member_count) == ("request-1", '"one"', 1)
    assert rig.log.of(events.ITEM_STORED, key=KEY, sha256=body and row.sha256.hex())


async def test_a_changed_body_becomes_a_new_version_and_the_old_one_is_kept() -> None:
    texts = iter(["first", "second"])
    rig = EngineRig(respond=lambda _: Reply(200, book(next(texts))))
    await rig.attempt()
    row = await rig.attempt()
    assert (row.state, row.version) == (State.STORED, 2)
    assert rig.store.published[TARGET] == book("second")
    assert rig.store.published["versions/lib/shelf-1/list.v1.zip"] == book("first")
    assert [version.number for version in await rig.manifest.versions(KEY)] == [1, 2]
    assert rig.log.of(events.ITEM_VERSION_REPLACED, key=KEY, version=2)


@pytest.mark.parametrize("again", [book("same"), made_zip({"book.json": b"same"}, method=0)])
async def test_the_same_content_however_packed_is_no_new_version(again: bytes) -> None:
    bodies = iter([book("same"), again])
    rig = EngineRig(respond=lambda _: Reply(200, next(bodies)))
    await rig.attempt()
    rig.clock.pass_time(100.0)
    row = await rig.attempt(attempts=1)
    assert (row.version, row.attempts, row.reason) == (1, 0, None)
    assert row.due_at is not None
    assert rig.store.published == {TARGET: book("same")}
    (version,) = await rig.manifest.versions(KEY)
    assert version.verified_at == rig.clock.now()
    assert rig.log.of(events.ITEM_UNCHANGED, key=KEY)
    assert rig.store.partials == {}


async def test_a_body_that_lies_no_longer_there_is_stored_again_and_is_no_other_version() -> None:
    rig = EngineRig()
    await rig.attempt()
    del rig.store.published[TARGET]
    row = await rig.attempt()
    assert (row.state, row.version) == (State.STORED, 1)
    assert TARGET in rig.store.published
    assert not rig.log.of(events.ITEM_VERSION_REPLACED)


ROTTEN = book("same")[:40] + b"?" + book("same")[41:]  # as long as it was, and not what it was
CUT = book("same")[:-9]


@pytest.mark.parametrize("lies", [ROTTEN, CUT, book("sound, and not what was stored")])
async def test_a_re_check_puts_right_what_was_damaged_here_and_calls_it_damage_not_a_version(
    lies: bytes,
) -> None:
    rig = EngineRig(FakeRegistry(leaves=("list",)), lambda _: Reply(200, book("same")))
    await rig.run(Until.SEALED)
    rig.build()
    rig.store.published[TARGET] = lies
    row = await rig.attempt()
    assert (row.state, row.version) == (State.STORED, 1)
    assert rig.store.published[TARGET] == book("same")
    assert not [name for name in rig.store.published if name.startswith("versions/")]
    assert len(rig.store.quarantined) == 1
    assert rig.log.of(events.ITEM_QUARANTINED, key=KEY)
    await rig.reconciler.reconcile(GROUP)
    rig.check_sums(GROUP, is_sealed=True)


async def test_a_damaged_body_is_not_kept_as_the_version_before_a_new_one() -> None:
    bodies = iter([book("same"), book("another edition")])
    rig = EngineRig(respond=lambda _: Reply(200, next(bodies)))
    await rig.attempt()
    rig.store.published[TARGET] = CUT
    row = await rig.attempt()
    assert (row.version, rig.store.published[TARGET]) == (2, book("another edition"))
    assert not [name for name in rig.store.published if name.startswith("versions/")]
    assert len(rig.store.quarantined) == 1


async def test_what_a_first_look_that_found_nothing_counts_is_a_series() -> None:
    rig = EngineRig(respond=lambda _: Reply(404))
    first = await rig.attempt()
    rig.clock.pass_time(50.0)
    second = await rig.attempt()
    assert (first.nothing_count, first.nothing_at) == (1, NOW)
    assert (second.nothing_count, second.nothing_at) == (2, NOW)


async def test_a_bad_body_goes_to_quarantine_with_what_is_known_of_it() -> None:
    rig = EngineRig(respond=lambda _: Reply(200, book()[:-30], {"Server": "shelf", "X-Served-By": "nobody"}))
    row = await rig.attempt()
    assert (row.state, row.attempts) == (State.DUE, 1)
    ((place, record),) = rig.store.quarantined.items()
    assert rig.store.published == {place: book()[:-30]}
    assert (record.key, record.status, record.headers["server"]) == (KEY, 200, "shelf")
    assert "x-served-by" not in record.headers, "what is kept is decided by name"
    assert record.problem == row.reason
    assert rig.log.of(events.ITEM_QUARANTINED, key=KEY, path=place)


async def test_what_quarantine_says_of_a_body_quotes_no_key() -> None:
    rig = EngineRig()
    rig.registry.verdicts[KEY] = [Failed("torn", LATER, f"it begins with: {'0fA9' * 8}", quarantine=True)]
    await rig.attempt()
    (record,) = rig.store.quarantined.values()
    assert record.detail == "it begins with: [redacted]"


async def test_a_transfer_that_breaks_keeps_its_beginning_if_it_can_be_resumed() -> None:
    rig = EngineRig(respond=lambda _: Reply(200, book(), {"ETag": '"one"'}, breaks_after=40))
    row = await rig.attempt()
    assert (row.state, row.reason) == (State.DUE, "connection_lost")
    body, record = rig.store.partials[TARGET]
    assert body == book()[:40]
    assert record is not None
    assert (record.etag, record.received_bytes, record.route) == ('"one"', 40, "lib/desk/list")


async def test_a_transfer_that_breaks_leaves_nothing_if_nobody_could_say_what_the_rest_belongs_to() -> None:
    rig = EngineRig(respond=lambda _: Reply(200, book(), declares_length=False, breaks_after=40))
    assert (await rig.attempt()).state is State.DUE
    assert rig.store.partials == {}


async def test_the_rest_of_a_body_is_asked_for_and_the_whole_is_stored() -> None:
    whole = book("a long story " * 50)

    def respond(request: Request) -> Reply:
        asked = dict(request.headers).get("Range")
        if asked is None:
            return Reply(200, whole, {"ETag": '"one"'}, breaks_after=60)
        headers = {"ETag": '"one"', "Content-Range": f"bytes 60-{len(whole) - 1}/{len(whole)}"}
        return Reply(206, whole[60:], headers)

    rig = EngineRig(respond=respond)
    await rig.attempt()
    row = await rig.attempt()
    assert (row.state, rig.store.published[TARGET]) == (State.STORED, whole)
    assert dict(rig.http.requests[1].headers) == {"Range": "bytes=60-", "If-Range": '"one"'}
    assert rig.store.partials == {}


async def test_a_server_that_has_no_such_range_is_asked_again_from_the_first_byte_without_blame() -> None:
    replies = [Reply(200, book(), {"ETag": '"one"'}, breaks_after=40), Reply(416), Reply(200, book("new"))]
    rig = EngineRig(respond=lambda _: replies.pop(0))
    await rig.attempt()
    row = await rig.attempt()
    assert (row.state, row.attempts, row.reason, row.due_at) == (State.DUE, 1, "resume_refused", NOW)
    assert rig.store.partials == {}
    await rig.attempt()
    assert rig.store.published[TARGET] == book("new")


async def test_the_body_of_an_error_is_read_to_a_bound_and_judged() -> None:
    rig = EngineRig(respond=lambda _: Reply(500, b"x" * 20_000))
    assert (await rig.attempt()).reason == "status_500"
    ((_, answer),) = rig.registry.answers
    assert answer.error_body == b"x" * 8192


async def test_a_body_that_no_row_knows_is_taken_as_it_is_instead_of_being_fetched_and_written_over() -> None:
    rig = EngineRig()
    rig.store.published[TARGET] = book("from before")
    row = await rig.attempt()
    assert (row.state, row.version, row.sha256) == (
        State.STORED,
        1,
        hashlib.sha256(book("from before")).digest(),
    )
    assert rig.http.requests == []
    rig.check_agreement()


async def test_a_body_larger_than_the_room_there_is_is_not_begun_and_is_nobodys_failure() -> None:
    rig = EngineRig(respond=lambda _: Reply(200, book("a long story " * 5000), {}))
    rig.store.room_bytes = KEEP_FREE_BYTES + 50
    row = await rig.attempt(attempts=1)
    assert (row.state, row.reason, row.attempts) == (State.DUE, "does_not_fit", 1)
    assert row.due_at is not None
    assert row.due_at > NOW
    assert rig.store.partials == {}
    assert rig.room.is_open, "smaller ones still fit"
    assert rig.log.of(events.ALARM_RAISED, kind="does_not_fit", key=KEY)


# ------------------------------------------------------------------------------------------ where it is asked for


async def test_an_item_that_cannot_be_had_yet_waits_on_the_lane_it_will_be_had_on() -> None:
    rig = EngineRig(FakeRegistry(lanes=[lane_spec(DESK), lane_spec(CELLAR)]))
    rig.registry.deferrals[KEY] = Deferral("not_fetched_up", CELLAR, LATER)
    row = await rig.attempt(attempts=1)
    assert (row.state, row.lane, row.due_at, row.attempts) == (State.DUE, CELLAR, LATER, 1)
    assert rig.http.requests == []


async def test_an_item_that_nobody_serves_any_more_is_absent_and_says_so() -> None:
    rig = EngineRig()
    rig.registry.deferrals[KEY] = Deferral("burnt", DESK, None)
    row = await rig.attempt()
    assert (row.state, row.due_at, row.reason) == (State.ABSENT, None, "burnt")
    assert rig.log.of(events.ALARM_RAISED, kind="not_obtainable", key=KEY)
    assert not rig.reconciler.is_idle, "its shelf is to be judged"


async def test_an_item_whose_route_changed_while_it_waited_is_asked_for_on_the_other_lane() -> None:
    rig = EngineRig(FakeRegistry(leaves=("list",), lanes=[lane_spec(DESK), lane_spec(CELLAR)]))
    item = await rig.want()
    rig.registry.lane_of[KEY] = CELLAR
    await rig.worker._handle(rig.lanes[DESK], item)
    assert (rig.row().lane, rig.row().state, rig.row().due_at) == (CELLAR, State.DUE, NOW)
    assert rig.http.requests == []
    await rig.run(Until.SEALED)
    assert [request.url for request in rig.http.requests] == [f"http://library.invalid/{KEY}"]
    rig.check_agreement()


async def test_a_request_carries_the_lanes_key_by_name_and_an_id_of_its_own() -> None:
    rig = EngineRig(respond=lambda _: Reply(404))
    await rig.attempt()
    await rig.attempt()
    first, second = rig.http.requests
    assert first.secret is not None
    assert (first.secret.header, first.secret.name) == ("Reader-Card", "key-0")
    assert (first.request_id, second.request_id) == ("request-1", "request-2")


# ------------------------------------------------------------------------------------------ many at once


async def test_a_defect_in_one_item_does_not_stop_the_rest() -> None:
    rig = EngineRig(FakeRegistry(shelves=4))
    known = rig.registry.interpret

    def interpret(item: Item, *rest: Any) -> Verdict:
        if item.key == KEY:
            raise KeyError("a field that was always there")
        return known(item, *rest)

    rig.registry.interpret = interpret  # type: ignore[method-assign, assignment]
    await rig.run()
    row = rig.row()
    assert (row.state, row.attempts, row.reason) == (State.DUE, 1, "internal_error")
    assert row.due_at == pytest.approx(NOW + 900.0, abs=5.0)
    (alarm,) = rig.log.of(events.ALARM_RAISED, kind="defect", key=KEY)
    assert "KeyError" in alarm["detail"]
    assert "test_worker.py" in alarm["detail"]
    others = [row for key, row in rig.manifest.rows.items() if key != KEY]
    assert {row.state for row in others} == {State.STORED}
    rig.check_agreement()


async def test_no_more_exchanges_are_open_at_once_than_the_overall_setting_allows() -> None:
    gate = asyncio.Event()
    specs = [lane_spec(DESK, concurrency=4), lane_spec(CELLAR, concurrency=4)]
    rig = EngineRig(FakeRegistry(shelves=8, lanes=specs), lambda _: Reply(200, book(), gate=gate), overall=5)
    rig.registry.lane_of = {key: CELLAR for key in rig.registry.expected(0.0) if key.endswith("/text")}
    engine = await rig.begin(Until.SEALED)
    await rig.until(lambda: rig.http.open_now == 5)
    await rig.clock.sleep(60.0)
    assert rig.http.open_now == 5, "and no more"
    gate.set()
    await rig.ended(engine)
    assert rig.http.most_at_once == 5
    assert len(rig.http.requests) == 16


async def test_no_more_exchanges_are_open_on_a_lane_than_its_own_setting_allows() -> None:
    gate = asyncio.Event()
    rig = EngineRig(
        FakeRegistry(shelves=5, lanes=[lane_spec(concurrency=3)]),
        lambda _: Reply(200, book(), gate=gate),
        overall=9,
    )
    engine = await rig.begin(Until.SEALED)
    await rig.until(lambda: rig.http.open_now == 3)
    await rig.clock.sleep(60.0)
    gate.set()
    await rig.ended(engine)
    assert rig.http.most_at_once == 3


async def test_what_quarantine_says_of_a_body_quotes_no_key_of_whatever_shape() -> None:
    registry = FakeRegistry()
    registry.verdicts[KEY] = [Failed("zip_bad_crc", NOW, "it says My-Secret.Key_98765", quarantine=True)]
    rig = EngineRig(registry, lambda _: Reply(200, book()))
    rig.outcomes._redacted = lambda text: text.replace("My-Secret.Key_98765", "[redacted]")
    await rig.attempt()
    (record,) = rig.store.quarantined.values()
    assert record.detail == "it says [redacted]"


async def test_calls_keep_their_distance_as_they_are_sent_also_while_connections_are_slow_to_come() -> None:
    sent_s: list[float] = []

    def answer(_: Request) -> Reply:
        sent_s.append(rig.clock.elapsed_s)
        return Reply(200, book())

    lanes = [lane_spec(calls_per_s=2.0, burst=1, concurrency=6)]
    rig = EngineRig(FakeRegistry(shelves=4, lanes=lanes), answer, overall=9)
    rig.http.connect_gate = gate = asyncio.Event()
    engine = await rig.begin(Until.SEALED)
    await rig.clock.sleep(20.0)
    assert rig.http.open_now == 2, "more could arrive together with these"
    gate.set()
    await rig.ended(engine)
    assert len(sent_s) == 8
    assert [
        later - first for first, later in zip(sent_s, sent_s[2:], strict=False) if later - first < 1.0
    ] == []


async def test_a_stop_while_a_connection_is_being_made_sends_nothing_and_returns_the_item() -> None:
    rig = EngineRig()
    rig.http.connect_gate = gate = asyncio.Event()
    engine = await rig.begin()
    await rig.until(lambda: rig.http.open_now)
    rig.supervisor.stop()
    await rig.clock.sleep(0.1)
    gate.set()
    await rig.ended(engine)
    assert rig.http.requests == []
    assert {(row.state, row.attempts) for row in rig.manifest.rows.values()} == {(State.DUE, 0)}


async def test_before_a_body_in_a_sealed_shelf_changes_its_seal_goes() -> None:
    texts = iter(["a", "b", "c"])
    rig = EngineRig(FakeRegistry(leaves=("list",)), lambda _: Reply(200, book(next(texts))))
    await rig.run(Until.SEALED)
    assert SUMS in rig.store.published
    rig.build()
    await rig.attempt()
    assert SUMS not in rig.store.published
    (group,) = await rig.manifest.groups()
    assert group.sealed_at is None
    seen = rig.steps.seen
    last = len(seen) - 1 - seen[::-1].index("body.synced")
    assert seen.index("sums.removed") < last
