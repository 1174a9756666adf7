"""Small documents: handed over, published and recorded in groups; bounded, and each settled as its own."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from typing import TYPE_CHECKING

import pytest

from engine.rig import KEY, BadSpot, EngineRig, Refusing
from fakes.http import Reply
from fakes.registry import RECHECK_S, RETRY_S, FakeRegistry, lane_spec
from filingd.core import events, steps
from filingd.core.errors import DiskFaultError, DiskFullError, StoreError
from filingd.core.model import NotYet, State
from filingd.engine.documents import GROUP_MAX, WAITING_MAX
from filingd.engine.supervisor import Until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filingd.core.model import Change, Request

NOW = 1_795_000_000.0
TARGET = f"{KEY}.json"


def card(text: str) -> bytes:
    return json.dumps({"card": text}).encode()


def serve_cards(request: Request) -> Reply:
    return Reply(200, card(request.url))


def cards(count: int, concurrency: int = 8) -> FakeRegistry:
    """As many documents as that."""
    lane = lane_spec(calls_per_s=100_000.0, burst=10_000, concurrency=concurrency)
    return FakeRegistry(shelves=count, leaves=("list",), lanes=[lane], is_documents=True)


class CountingStore:
    """Takes note of the groups that are published; each waits for the gate and takes its time."""

    def __init__(self, rig: EngineRig) -> None:
        self._inner = rig.store
        self._clock = rig.clock
        self.groups: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def put_documents(self, documents: Sequence[tuple[str, bytes]]) -> object:
        await self.gate.wait()
        await self._clock.sleep(0.05)
        self.groups.append(len(documents))
        return await self._inner.put_documents(documents)


async def test_a_document_that_comes_packed_is_stored_as_what_is_in_it_and_a_bomb_is_too_large() -> None:
    packed = {"list": card("packed"), "text": bytes(2 * 1024 * 1024)}

    def serve_packed(request: Request) -> Reply:
        return Reply(200, gzip.compress(packed[request.url.rpartition("/")[2]]), {"Content-Encoding": "gzip"})

    rig = EngineRig(FakeRegistry(leaves=("list", "text"), is_documents=True), serve_packed)
    rig.registry.verdicts["lib/shelf-1/text"] = [NotYet("too large", NOW + 10 * RECHECK_S)]
    await rig.run(Until.IDLE)
    row = rig.row()
    assert rig.store.published[TARGET] == card("packed")
    assert (row.state, row.size_bytes) == (State.STORED, len(card("packed")))
    (answer,) = [answer for key, answer in rig.registry.answers if key.endswith("text")]
    assert answer.body is not None
    assert answer.body.problem == "too_large"


async def test_documents_are_published_and_recorded_with_size_and_digest() -> None:
    rig = EngineRig(cards(40), serve_cards)
    await rig.run(Until.IDLE)
    assert len(rig.manifest.rows) == 40
    for row in rig.manifest.rows.values():
        body = card(f"http://library.invalid/{row.key}")
        assert rig.store.published[f"{row.key}.json"] == body
        assert (row.state, row.version, row.size_bytes) == (State.STORED, 1, len(body))
        assert row.sha256 == hashlib.sha256(body).digest()
    assert len(rig.log.of(events.ITEM_STORED)) == 40
    assert rig.steps.seen.count(steps.ROW_RECORDED) < 40, "one record for many"
    await rig.run(Until.IDLE)
    assert len(rig.http.requests) == 40


async def test_while_a_group_is_published_the_next_one_gathers() -> None:
    rig = EngineRig(cards(900, concurrency=4), serve_cards)
    rig.store_port = store = CountingStore(rig)
    store.gate.clear()
    engine = await rig.begin(Until.IDLE)
    await rig.until(lambda: rig.worker.desk.pending >= WAITING_MAX)
    await rig.clock.sleep(60.0)
    most = WAITING_MAX + 4  # and one in the hand of each worker
    assert rig.worker.desk.pending <= WAITING_MAX
    assert len(rig.http.requests) <= most, "what waits is bounded"
    store.gate.set()
    await rig.ended(engine)
    assert sum(store.groups) == 900
    assert max(store.groups) == GROUP_MAX
    assert len(store.groups) < 20


async def test_while_one_group_is_recorded_the_next_is_written() -> None:
    rig = EngineRig(cards(900), serve_cards)
    rig.store_port = store = CountingStore(rig)
    recorded, may_record = rig.manifest.record, asyncio.Event()

    async def record(changes: Sequence[Change]) -> None:
        if changes[0].item.state is State.STORED:
            await may_record.wait()
        await recorded(changes)

    rig.manifest.record = record  # type: ignore[method-assign]
    engine = await rig.begin(Until.IDLE)
    await rig.until(lambda: len(store.groups) == 2)
    assert not [row for row in rig.manifest.rows.values() if row.state is State.STORED]
    may_record.set()
    await rig.ended(engine)
    assert sum(store.groups) == 900


async def test_a_document_that_the_disk_refuses_is_settled_as_its_own_and_the_others_are_kept() -> None:
    rig = EngineRig(cards(20), serve_cards)
    put = rig.store.put_documents

    async def put_all_but_one(documents: Sequence[tuple[str, bytes]]) -> object:
        errors = list(await put([one for one in documents if one[0] != TARGET]))
        return [DiskFaultError("a bad spot") if target == TARGET else errors.pop() for target, _ in documents]

    rig.store.put_documents = put_all_but_one  # type: ignore[method-assign, assignment]
    await rig.run(Until.IDLE)
    assert (rig.row().state, rig.row().reason, rig.row().attempts) == (State.DUE, "disk_fault", 1)
    assert rig.log.of(events.ALARM_RAISED, kind="disk_fault", key=KEY)
    assert TARGET not in rig.store.published
    others = [row for key, row in rig.manifest.rows.items() if key != KEY]
    assert {row.state for row in others} == {State.STORED}


@pytest.mark.parametrize("error", [DiskFullError("full"), DiskFaultError("broken")])
async def test_documents_that_could_not_be_recorded_are_asked_for_again(error: Exception) -> None:
    rig = EngineRig(cards(10), serve_cards)
    await rig.planner.plan()
    rig.manifest_port = Refusing(rig.manifest, "record", error)
    engine = await rig.begin(Until.STOPPED)
    await rig.until(lambda: {row.state for row in rig.manifest.rows.values()} == {State.STORED})
    rig.supervisor.stop()
    await rig.ended(engine)
    assert {row.version for row in rig.manifest.rows.values()} == {1}


async def test_a_defect_in_publishing_a_group_is_told_for_each_of_it_and_stops_nothing() -> None:
    rig = EngineRig(cards(30), serve_cards)
    rig.store_port = Refusing(rig.store, "put_documents", KeyError("a field"))
    engine = await rig.begin(Until.STOPPED)
    await rig.until(lambda: {row.state for row in rig.manifest.rows.values()} == {State.STORED})
    rig.supervisor.stop()
    await rig.ended(engine)
    defects = rig.log.of(events.ALARM_RAISED, kind="defect")
    assert 1 <= len(defects) <= 30
    assert "KeyError" in defects[0]["detail"]


async def test_a_full_disk_pauses_documents_like_everything_else_and_costs_no_attempt() -> None:
    rig = EngineRig(cards(30), serve_cards)
    rig.store.refusals["put_documents"] = DiskFullError("full")
    engine = await rig.begin(Until.IDLE)
    await rig.until(lambda: rig.log.of(events.ROOM_LOW))
    await rig.clock.sleep(1.0)
    assert {row.attempts for row in rig.manifest.rows.values()} == {0}
    assert {row.state for row in rig.manifest.rows.values()} <= {State.DUE, State.ACTIVE}
    rig.store.refusals.clear()
    await rig.ended(engine)
    assert {row.state for row in rig.manifest.rows.values()} == {State.STORED}


async def test_a_manifest_that_fails_ends_the_run_and_leaves_no_document_leased() -> None:
    rig = EngineRig(cards(300), serve_cards)
    rig.store_port = CountingStore(rig)
    await rig.planner.plan()
    rig.manifest_port = Refusing(rig.manifest, "record", StoreError("It is closed."))
    with pytest.raises(StoreError, match="It is closed"):
        await rig.run(Until.IDLE)
    assert {row.state for row in rig.manifest.rows.values()} <= {State.DUE, State.STORED}
    assert rig.clock.now() < NOW + 1.0, "nobody waits for a desk that is dead"


async def test_a_stop_records_what_was_handed_over() -> None:
    rig = EngineRig(cards(2000), serve_cards)
    rig.store_port = store = CountingStore(rig)
    store.gate.clear()
    engine = await rig.begin()
    await rig.until(lambda: rig.worker.desk.pending >= 20)
    rig.supervisor.stop()
    await rig.clock.sleep(1.0)
    store.gate.set()
    await rig.ended(engine)
    stored = {key for key, row in rig.manifest.rows.items() if row.state is State.STORED}
    assert len(stored) >= 20
    assert {f"{key}.json" for key in stored} == set(rig.store.published)
    assert rig.worker.desk.pending == 0
    assert {row.state for row in rig.manifest.rows.values()} == {State.STORED, State.DUE}


async def test_a_group_that_is_on_the_disk_when_the_grace_period_ends_is_recorded_all_the_same() -> None:
    rig = EngineRig(cards(5), serve_cards, grace_period_s=2.0)
    put = rig.store.put_documents

    async def slowly(documents: Sequence[tuple[str, bytes]]) -> object:
        errors = await put(documents)
        await rig.clock.sleep(30.0)
        return errors

    rig.store.put_documents = slowly  # type: ignore[method-assign, assignment]
    engine = await rig.begin()
    await rig.until(lambda: rig.store.published)
    rig.supervisor.stop()
    await rig.ended(engine)
    stored = {f"{key}.json" for key, row in rig.manifest.rows.items() if row.state is State.STORED}
    assert stored == set(rig.store.published)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(200, card("x"), breaks_after=3), "connection_lost"),
        (Reply(200, b"<html></html>"), "wrong_kind"),
        (Reply(200, b"{" * (1024 * 1024 + 1)), "too_large"),
        (Reply(500), "status_500"),
    ],
)
async def test_a_document_that_is_not_what_was_asked_for_is_never_handed_over(
    reply: Reply, reason: str
) -> None:
    rig = EngineRig(cards(1), lambda _: reply)
    row = await rig.attempt()
    assert (row.state, row.reason, row.due_at) == (State.DUE, reason, NOW + RETRY_S)
    assert rig.worker.desk.pending == 0
    assert rig.store.published == {}


async def stored_card(rig: EngineRig) -> None:
    """The first version, by the desk."""
    desk = asyncio.create_task(rig.worker.desk.run())
    await rig.attempt()
    await rig.worker.desk.drain()
    desk.cancel()


async def test_a_changed_document_becomes_a_new_version_and_the_old_one_is_kept() -> None:
    texts = iter(["one", "two"])
    rig = EngineRig(cards(1), lambda _: Reply(200, card(next(texts))))
    await stored_card(rig)
    row = await rig.attempt()
    assert (row.state, row.version, row.sha256) == (State.STORED, 2, hashlib.sha256(card("two")).digest())
    assert rig.store.published[TARGET] == card("two")
    assert rig.store.published["versions/lib/shelf-1/list.v1.json"] == card("one")
    assert rig.store.partials == {}


async def test_an_unchanged_document_is_no_new_version() -> None:
    rig = EngineRig(cards(1), serve_cards)
    await stored_card(rig)
    row = await rig.attempt()
    assert (row.state, row.version) == (State.STORED, 1)
    assert rig.log.of(events.ITEM_UNCHANGED, key=KEY)


@pytest.mark.parametrize("call", ["stage", "write", "finish", "publish"])
async def test_a_disk_that_refuses_a_changed_document_leaves_the_old_one_and_its_row(call: str) -> None:
    texts = iter(["one", "two"])
    rig = EngineRig(cards(1), lambda _: Reply(200, card(next(texts))))
    await stored_card(rig)
    rig.store_port = BadSpot(rig.store, TARGET, call, DiskFaultError("a bad spot"))
    rig.build()
    row = await rig.attempt()
    assert (row.state, row.version, row.reason) == (State.STORED, 1, "disk_fault")
    assert rig.store.published == {TARGET: card("one")}
    assert rig.store.partials == {}
