"""One call of one port fails, once: the item ends in a sane row, nothing is left behind, and later all agree.

The table is every call on the way of a body, from the request to the seal, by the error it may meet.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from engine.rig import GROUP, KEY, TARGET, BadSpot, EngineRig, Refusing, book
from fakes.http import Reply
from fakes.registry import FakeRegistry
from filingd.core import events
from filingd.core.errors import DiskFaultError, DiskFullError
from filingd.core.model import LEASED_STATES, Item, State
from filingd.engine.supervisor import Until

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = 1_795_000_000.0
ERRORS = {
    "full": DiskFullError("There is no room."),
    "fault": DiskFaultError("The disk refused."),
    "defect": ZeroDivisionError("a defect"),
}


def manifest(call: str) -> Callable[[EngineRig, Exception], object]:
    """One call of the manifest fails."""

    def exchange(rig: EngineRig, error: Exception) -> object:
        rig.manifest_port = Refusing(rig.manifest, call, error)
        return rig.manifest_port

    return exchange


def store(call: str) -> Callable[[EngineRig, Exception], object]:
    """One call of the store fails."""

    def exchange(rig: EngineRig, error: Exception) -> object:
        rig.store_port = Refusing(rig.store, call, error)
        return rig.store_port

    return exchange


def body(call: str) -> Callable[[EngineRig, Exception], object]:
    """One call for the body on its way fails."""

    def exchange(rig: EngineRig, error: Exception) -> object:
        rig.store_port = BadSpot(rig.store, TARGET, call, error)
        return rig.store_port

    return exchange


def registry(call: str) -> Callable[[EngineRig, Exception], object]:
    """One call of the registry fails."""

    def exchange(rig: EngineRig, error: Exception) -> object:
        rig.registry_port = RaisingRegistry(rig.registry, call, error)
        return rig.registry_port

    return exchange


class RaisingRegistry:
    """A registry one of whose functions raises once."""

    def __init__(self, inner: FakeRegistry, call: str, error: Exception) -> None:
        self._inner = inner
        self._call = call
        self._error = error
        self.left = 1

    def __getattr__(self, name: str) -> object:
        found = getattr(self._inner, name)
        if name != self._call:
            return found

        def raise_once(*given: object) -> object:
            if not self.left:
                return found(*given)
            self.left -= 1
            raise self._error

        return raise_once


# The call, and what a test has to exchange for it to fail.
CALLS = {
    "registry.request": registry("request"),
    "registry.target": registry("target"),
    "registry.interpret": registry("interpret"),
    "store.partial": store("partial"),
    "store.free_bytes": store("free_bytes"),
    "body.stage": body("stage"),
    "body.write": body("write"),
    "body.finish": body("finish"),
    "body.publish": body("publish"),
    "manifest.group_items": manifest("group_items"),
    "manifest.current_versions": manifest("current_versions"),
    "manifest.save_lane": manifest("save_lane"),
    "manifest.groups": manifest("groups"),
    "manifest.record": manifest("record"),
}
AT_A_SECOND_LOOK = CALLS | {
    "store.check": store("check"),
    "store.remove": store("remove"),
    "manifest.save_groups": manifest("save_groups"),
}
SEALING = {
    "registry.judge": registry("judge"),
    "store.members": store("members"),
    "store.write_text": store("write_text"),
    "store.remove": store("remove"),
    "store.read_text": store("read_text"),
    "manifest.group_items": manifest("group_items"),
    "manifest.current_versions": manifest("current_versions"),
    "manifest.groups": manifest("groups"),
    "manifest.save_groups": manifest("save_groups"),
}


def has_failed(port: object) -> bool:
    """Whether the call was made at all: a table whose calls nobody makes proves nothing."""
    return getattr(port, "met", 0) == 1 or getattr(port, "left", 1) == 0


def check_is_sane(row: Item, error: str, before: Item) -> None:
    """Not leased; scheduled; a full disk is nobody's failure, anything else is one."""
    assert row.state not in LEASED_STATES
    assert row.due_at is not None
    assert row.version >= before.version
    if row.version == before.version:
        assert row.attempts == before.attempts + (0 if error == "full" else 1)


async def check_heals(rig: EngineRig) -> None:
    """A day later, and after another start, everything is there, agrees and is sealed."""
    rig.clock.pass_time(86_400.0)
    rig.manifest_port, rig.store_port, rig.registry_port = rig.manifest, rig.store, rig.registry
    for until in (Until.IDLE, Until.SEALED):
        await rig.run(until)
    rig.check_agreement()
    assert rig.row().state is State.STORED


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call", CALLS)
async def test_a_first_store_survives_one_failure_of_any_call(call: str, error: str) -> None:
    rig = EngineRig(FakeRegistry(leaves=("list",)))
    await rig.planner.plan()
    port = CALLS[call](rig, ERRORS[error])
    rig.build()
    row = await rig.attempt()
    assert has_failed(port), "this call is not on the way"
    check_is_sane(row, error, Item(KEY, ""))
    assert row.state in {State.DUE, State.STORED}
    assert rig.store.partials == {}
    rig.check_sums_that_exist(GROUP)
    await check_heals(rig)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call", AT_A_SECOND_LOOK)
async def test_a_body_that_is_replaced_survives_one_failure_of_any_call(call: str, error: str) -> None:
    editions = iter(range(99))
    rig = EngineRig(FakeRegistry(leaves=("list",)), lambda _: Reply(200, book(f"edition {next(editions)}")))
    await rig.run(Until.SEALED)
    before = rig.row()
    rig.clock.pass_time(100.0)  # what the lane reserved is over
    port = AT_A_SECOND_LOOK[call](rig, ERRORS[error])
    rig.build()
    row = await rig.attempt()
    assert has_failed(port), "this call is not on the way"
    check_is_sane(row, error, before)
    assert row.state is State.STORED
    assert TARGET in rig.store.published, "there is a body at every moment"
    assert rig.store.partials == {}
    rig.check_sums_that_exist(GROUP)
    await check_heals(rig)
    kept = [
        rig.store.published[f"versions/lib/shelf-1/list.v{number}.zip"]
        for number in range(1, rig.row().version)
    ]
    assert kept[0] == book("edition 0")
    assert len(set(kept)) == len(kept)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("call", SEALING)
async def test_a_seal_survives_one_failure_of_any_call(call: str, error: str) -> None:
    rig = EngineRig(FakeRegistry(leaves=("list",)))
    await rig.run(Until.SEALED)
    if call != "store.read_text":  # what is there is looked at only if the judgement is the same
        rig.registry.facts["visitors"] = 1
    port = SEALING[call](rig, ERRORS[error])
    rig.build()
    rig.reconciler.note([GROUP])
    task = asyncio.create_task(rig.reconciler.run())
    await rig.clock.sleep(60.0)
    assert has_failed(port), "this call is not on the way"
    assert not task.done(), "it went on"
    task.cancel()
    rig.check_sums_that_exist(GROUP)
    kind = "defect" if error == "defect" else "seal_failed"
    assert rig.log.of(events.ALARM_RAISED, kind=kind, group=GROUP)
    await check_heals(rig)


@pytest.mark.parametrize("error", ERRORS)
async def test_a_row_that_could_not_be_written_after_the_exchange_follows_the_file_at_once(
    error: str,
) -> None:
    editions = iter(range(99))
    rig = EngineRig(FakeRegistry(leaves=("list",)), lambda _: Reply(200, book(f"edition {next(editions)}")))
    await rig.run(Until.SEALED)
    manifest("record")(rig, ERRORS[error])
    rig.build()
    row = await rig.attempt()
    assert (row.state, row.version) == (State.STORED, 2)
    assert rig.store.published[TARGET] == book("edition 1")
    assert rig.log.of(events.ALARM_RAISED, kind="not_recorded", key=KEY)
    await rig.reconciler.reconcile(GROUP)
    rig.check_agreement()


@pytest.mark.parametrize("times", [2, 10**6])
async def test_an_item_whose_row_cannot_follow_its_file_stays_leased_and_its_day_unsealed(times: int) -> None:
    editions = iter(range(99))
    rig = EngineRig(FakeRegistry(leaves=("list",)), lambda _: Reply(200, book(f"edition {next(editions)}")))
    await rig.run(Until.SEALED)
    rig.manifest.rows[KEY] = replace(rig.row(), due_at=rig.clock.now())
    rig.manifest_port = Refusing(rig.manifest, "record", DiskFaultError("broken"), times)
    with pytest.raises(DiskFaultError):
        await rig.run(Until.STOPPED)
    assert rig.row().state is State.RECHECKING, "as after a death: the file is not what the row says"
    assert rig.store.published[TARGET] == book("edition 1")
    rig.build()
    rig.unsealer.unrecorded.add(KEY)
    await rig.reconciler.reconcile(GROUP)
    rig.check_sums_that_exist(GROUP)
    assert rig.manifest.kept_groups[GROUP].sealed_at is None
    await check_heals(rig)
    assert rig.store.published["versions/lib/shelf-1/list.v1.zip"] == book("edition 0")


@pytest.mark.parametrize("error", ERRORS)
async def test_a_quarantine_that_fails_leaves_nothing_and_the_body_is_asked_for_again(error: str) -> None:
    rig = EngineRig(FakeRegistry(leaves=("list",)), lambda _: Reply(200, book()[:-9]))
    await rig.planner.plan()
    port = body("quarantine")(rig, ERRORS[error])
    rig.build()
    row = await rig.attempt()
    assert has_failed(port)
    check_is_sane(row, error, Item(KEY, ""))
    assert rig.store.partials == {}
    assert rig.store.published == {}
    rig.http._respond = lambda _: Reply(200, book())
    await check_heals(rig)


@pytest.mark.parametrize("error", ERRORS)
async def test_a_note_of_verification_that_fails_takes_nothing_from_the_item(error: str) -> None:
    rig = EngineRig(FakeRegistry(leaves=("list",)))
    await rig.run(Until.SEALED)
    before = rig.row()
    port = manifest("note_verified")(rig, ERRORS[error])
    rig.build()
    row = await rig.attempt()
    assert has_failed(port)
    assert (row.state, row.version, row.sha256) == (State.STORED, 1, before.sha256)
    await check_heals(rig)


@pytest.mark.parametrize("error", ["full", "fault"])
async def test_a_beginning_is_not_kept_when_the_disk_was_at_fault(error: str) -> None:
    rig = EngineRig(FakeRegistry(leaves=("list",)), lambda _: Reply(200, book(), {"ETag": '"one"'}))
    rig.store.refusals["write"] = ERRORS[error]
    await rig.attempt()
    assert rig.store.partials == {}
    rig.store.refusals.clear()
    rig.manifest.rows[KEY] = replace(rig.row(), due_at=NOW)
    await check_heals(rig)


async def test_an_exchange_that_fails_in_an_unknown_way_is_told_as_a_defect() -> None:
    rig = EngineRig(FakeRegistry(leaves=("list",)))

    class Raising:
        async def __aenter__(self) -> object:
            raise RuntimeError("no such socket")

        async def __aexit__(self, *_: object) -> None:
            """Never entered."""

    class RaisingHttp:
        def exchange(self, *_: object) -> Raising:
            return Raising()

    rig.http_port = RaisingHttp()
    rig.build()
    row = await rig.attempt()
    check_is_sane(row, "defect", Item(KEY, ""))
    assert rig.log.of(events.ALARM_RAISED, kind="defect", key=KEY)
    rig.http_port = rig.http
    await check_heals(rig)
