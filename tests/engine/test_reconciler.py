"""Judging and sealing: the seal is written last and taken back first, and never disagrees with what lies beside it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from engine.rig import GROUP, HOUR_S, KEY, SEAL, SUMS, TARGET, EngineRig, book
from fakes.http import Reply
from fakes.registry import RECHECK_S, FakeRegistry
from filingd.core import events, steps
from filingd.core.errors import DiskFaultError, DiskFullError
from filingd.core.model import State
from filingd.engine.supervisor import Until

if TYPE_CHECKING:
    from filingd.core.model import Request

NOW = 1_795_000_000.0


async def sealed_rig(shelves: int = 1) -> EngineRig:
    """All shelves are sealed; the parts are new."""
    rig = EngineRig(FakeRegistry(shelves))
    await rig.run(Until.SEALED)
    rig.check_agreement()
    rig.build()
    rig.steps.seen.clear()
    return rig


def written(rig: EngineRig) -> list[str]:
    """The names that are written or removed from now on, in order."""
    names: list[str] = []
    write_text, remove, publish = rig.store.write_text, rig.store.remove, rig.manifest.save_groups

    async def noted_write(target: str, text: str) -> None:
        await write_text(target, text)
        names.append(f"write {target}")

    async def noted_remove(target: str) -> None:
        if target in rig.store.published:
            names.append(f"remove {target}")
        await remove(target)

    async def noted_groups(groups: object) -> None:
        names.append("row")
        await publish(groups)  # type: ignore[arg-type]  # passed on as they came

    rig.store.write_text = noted_write  # type: ignore[method-assign]
    rig.store.remove = noted_remove  # type: ignore[method-assign]
    rig.manifest.save_groups = noted_groups  # type: ignore[method-assign]
    return names


async def test_a_complete_shelf_is_sealed_and_the_row_says_so_last() -> None:
    rig = EngineRig()
    for leaf in ("list", "text"):
        await rig.attempt(f"{GROUP}/{leaf}")
    names = written(rig)
    await rig.reconciler.reconcile(GROUP)
    assert names == [f"write {SEAL}", f"write {SUMS}", "row"]
    assert rig.steps.seen[-3:] == [steps.SEAL_WRITTEN, steps.SUMS_WRITTEN, steps.GROUP_RECORDED]
    rig.check_sums(GROUP, is_sealed=True)
    seal = json.loads(rig.store.published[SEAL])
    assert seal["members"] == {"list": 1, "text": 1}
    assert seal["items"]["list"]["sha256"] == (rig.row().sha256 or b"").hex()
    assert rig.log.of(events.DAY_SEALED, group=GROUP)


ONE, TWO = "lib/shelf-1", "lib/shelf-2"


async def alike_rig() -> EngineRig:
    """Two shelves with the same content; the first was sealed before the second came."""
    rig = EngineRig(FakeRegistry(2, leaves=("list",)))
    rig.registry.fingerprints = {ONE: "abc", TWO: "abc"}
    for shelf in (ONE, TWO):
        await rig.attempt(f"{shelf}/list")
        await rig.reconciler.reconcile(shelf)
    return rig


def sealed(rig: EngineRig) -> list[str]:
    return [group.key for group in rig.manifest.kept_groups.values() if group.sealed_at is not None]


async def test_of_two_shelves_with_the_same_content_only_the_first_is_sealed_until_the_other_has_its_own() -> (
    None
):
    rig = await alike_rig()
    assert sealed(rig) == [ONE]
    assert rig.manifest.kept_groups[TWO].reasons == (f"a copy of {ONE}",)
    rig.build()  # nor does a restart forget it
    await rig.reconciler.reconcile(TWO)
    assert sealed(rig) == [ONE]
    rig.registry.fingerprints[TWO] = "def"
    await rig.reconciler.reconcile(TWO)
    assert sealed(rig) == [ONE, TWO]


async def test_which_of_two_that_are_alike_is_right_cannot_be_told_so_the_sealed_one_is_looked_at_once_as_well() -> (
    None
):
    rig = await alike_rig()
    assert rig.log.of(events.ALARM_RAISED, kind="same_content", group=TWO)
    assert rig.row(f"{ONE}/list").due_at == rig.clock.now()
    await rig.attempt(f"{ONE}/list")
    for shelf in (ONE, TWO):
        await rig.reconciler.reconcile(shelf)
    assert rig.row(f"{ONE}/list").due_at == rig.clock.now() + RECHECK_S, "and no more than once"
    assert len(rig.log.of(events.ALARM_RAISED, kind="same_content")) == 1


async def test_a_shelf_is_judged_again_when_the_one_it_was_like_turns_out_to_hold_something_else() -> None:
    rig = await alike_rig()
    rig.registry.fingerprints[ONE] = "def"
    await rig.reconciler.reconcile(ONE)
    judging = asyncio.create_task(rig.reconciler.run())
    await rig.until(lambda: sealed(rig) == [ONE, TWO])
    judging.cancel()


async def test_a_shelf_with_something_missing_is_left_open_with_the_reason() -> None:
    rig = EngineRig()
    await rig.attempt(KEY)
    await rig.want(f"{GROUP}/text")
    await rig.reconciler.reconcile(GROUP)
    (group,) = await rig.manifest.groups()
    assert (group.sealed_at, group.reasons) == (None, ("text: active",))
    assert SUMS not in rig.store.published


async def test_an_equal_judgement_writes_nothing() -> None:
    rig = await sealed_rig()
    names = written(rig)
    await rig.reconciler.reconcile(GROUP)
    assert names == []
    rig.registry.open_reasons[GROUP] = "a page is torn"
    await rig.reconciler.reconcile(GROUP)
    lines = len(rig.log.lines)
    names.clear()
    await rig.reconciler.reconcile(GROUP)
    assert names == []
    assert len(rig.log.lines) == lines


async def test_a_shelf_that_no_longer_agrees_loses_its_seal_before_its_row_says_why() -> None:
    rig = await sealed_rig()
    rig.registry.open_reasons[GROUP] = "a page is torn"
    names = written(rig)
    await rig.reconciler.reconcile(GROUP)
    assert names == [f"remove {SUMS}", "row", "row"]
    (group,) = await rig.manifest.groups()
    assert (group.sealed_at, group.reasons) == (None, ("a page is torn",))
    assert rig.log.of(events.DAY_REOPENED, group=GROUP)


async def test_before_a_new_seal_is_written_the_sums_of_the_old_one_go() -> None:
    rig = await sealed_rig()
    rig.registry.facts["visitors"] = 3
    names = written(rig)
    await rig.reconciler.reconcile(GROUP)
    assert names == [f"remove {SUMS}", f"write {SEAL}", f"write {SUMS}", "row"]
    assert json.loads(rig.store.published[SEAL])["visitors"] == 3
    rig.check_sums(GROUP, is_sealed=True)


async def test_sums_that_no_row_knows_of_go_before_a_body_changes() -> None:
    """A death between the two left the file, and a row that says open."""
    texts = iter(["one", "two"])
    rig = EngineRig(FakeRegistry(leaves=("list",)), lambda _: Reply(200, book(next(texts))))
    await rig.run(Until.SEALED)
    rig.manifest.kept_groups[GROUP] = replace(rig.manifest.kept_groups[GROUP], sealed_at=None)
    rig.build()
    await rig.attempt()
    assert SUMS not in rig.store.published
    await rig.reconciler.reconcile(GROUP)
    rig.check_sums(GROUP, is_sealed=True)


async def test_sums_that_no_row_knows_of_go_when_the_shelf_turns_out_to_be_open() -> None:
    rig = await sealed_rig()
    rig.registry.open_reasons[GROUP] = "a page is torn"
    rig.manifest.kept_groups[GROUP] = replace(
        rig.manifest.kept_groups[GROUP], sealed_at=None, reasons=("a page is torn",)
    )
    await rig.reconciler.reconcile(GROUP)
    assert SUMS not in rig.store.published


async def test_a_seal_is_judged_by_its_digests_and_not_by_counts_alone() -> None:
    rig = await sealed_rig()
    rig.store.published[SUMS] = rig.store.published[SUMS].replace(b"a", b"b")
    await rig.reconciler.reconcile(GROUP)
    rig.check_sums(GROUP, is_sealed=True)


async def test_no_body_is_exchanged_while_its_shelf_is_judged_and_sealed() -> None:
    rig = await sealed_rig()
    rig.registry.facts["visitors"] = 1
    text, judging, may_go_on = f"{GROUP}/text", asyncio.Event(), asyncio.Event()
    known = rig.manifest.current_versions

    async def slow_versions(keys: object) -> object:
        found = await known(list(keys))  # type: ignore[call-overload]  # passed on as they came
        if asyncio.current_task() is judged:
            judging.set()
            await may_go_on.wait()
        return found

    rig.manifest.current_versions = slow_versions  # type: ignore[method-assign, assignment]
    rig.http_port = rig.http
    judged = asyncio.create_task(rig.reconciler.reconcile(GROUP))
    await judging.wait()
    rig.http._respond = lambda _: Reply(200, book("another edition"))
    exchanged = asyncio.create_task(rig.attempt(text))
    await rig.clock.sleep(5.0)
    assert not exchanged.done()
    rig.check_sums_that_exist(GROUP)
    may_go_on.set()
    await judged
    await exchanged
    rig.check_sums_that_exist(GROUP)
    assert rig.row(text).version == 2
    await rig.reconciler.reconcile(GROUP)
    rig.check_sums(GROUP, is_sealed=True)


async def test_what_does_not_agree_is_fetched_again_when_the_registry_says_but_never_later_than_planned() -> (
    None
):
    rig = await sealed_rig()
    text = f"{GROUP}/text"
    rig.manifest.rows[text] = replace(rig.row(text), due_at=NOW + 10.0)
    rig.registry.open_reasons[GROUP] = "a page is torn"
    rig.registry.refetch = {KEY: NOW + 60.0, text: NOW + 60.0, f"{GROUP}/unknown": NOW}
    await rig.reconciler.reconcile(GROUP)
    assert (rig.row(KEY).due_at, rig.row(KEY).state) == (NOW + 60.0, State.STORED)
    assert rig.row(text).due_at == NOW + 10.0
    assert f"{GROUP}/unknown" not in rig.manifest.rows


async def test_an_item_that_is_leased_while_its_shelf_is_judged_is_left_to_its_attempt() -> None:
    rig = await sealed_rig()
    rig.registry.open_reasons[GROUP] = "a page is torn"
    rig.registry.refetch = {KEY: NOW + 60.0, f"{GROUP}/text": NOW + 60.0}
    judge = rig.registry.judge

    def judge_slowly(*given: object) -> object:
        rig.manifest.rows[KEY] = replace(rig.row(), state=State.RECHECKING, due_at=None)
        return judge(*given)  # type: ignore[arg-type]  # passed on as they came

    rig.registry.judge = judge_slowly  # type: ignore[method-assign, assignment]
    await rig.reconciler.reconcile(GROUP)
    assert (rig.row().state, rig.row().due_at) == (State.RECHECKING, None)
    assert rig.row(f"{GROUP}/text").due_at == NOW + 60.0


@pytest.mark.parametrize("error", [DiskFullError("full"), DiskFaultError("broken")])
async def test_a_seal_that_the_disk_refuses_is_written_later_and_delays_no_other_shelf(
    error: Exception,
) -> None:
    rig = EngineRig(FakeRegistry(shelves=3))
    write_text = rig.store.write_text

    async def refuse_one(target: str, text: str) -> None:
        if target == SEAL and rig.clock.now() < NOW + 40.0:
            raise error
        await write_text(target, text)

    rig.store.write_text = refuse_one  # type: ignore[method-assign]
    engine = await rig.begin(Until.SEALED)
    await rig.until(
        lambda: sum(group.sealed_at is not None for group in rig.manifest.kept_groups.values()) == 2
    )
    assert rig.clock.now() < NOW + 5.0
    assert rig.log.of(events.ALARM_RAISED, kind="seal_failed", group=GROUP)
    await rig.ended(engine)
    assert NOW + 40.0 <= rig.clock.now() < NOW + 60.0
    rig.check_agreement()


async def test_a_defect_in_the_judgement_of_one_shelf_is_told_and_stops_no_other() -> None:
    rig = EngineRig(FakeRegistry(shelves=3))
    judge = rig.registry.judge

    def judge_all_but_one(group: str, *given: object) -> object:
        if group == GROUP:
            raise ZeroDivisionError("no pages")
        return judge(group, *given)  # type: ignore[arg-type]  # passed on as they came

    rig.registry.judge = judge_all_but_one  # type: ignore[method-assign, assignment]
    await rig.run(Until.IDLE)
    assert [key for key, group in rig.manifest.kept_groups.items() if group.sealed_at] == [
        "lib/shelf-2",
        "lib/shelf-3",
    ]
    assert "ZeroDivisionError" in rig.log.of(events.ALARM_RAISED, kind="defect", group=GROUP)[0]["detail"]


async def test_whatever_moment_is_looked_at_no_sums_disagree_while_bodies_change_under_judgement() -> None:
    editions = iter(range(1000))

    def respond(request: Request) -> Reply:
        return Reply(200, book(f"{request.url} {next(editions)}"))

    rig = EngineRig(FakeRegistry(shelves=2), respond)
    rig.registry.verdicts = {}
    looks = 0
    for name in ("write_text", "remove"):
        call = getattr(rig.store, name)

        async def looked(*given: object, call: object = call) -> None:
            nonlocal looks
            rig.check_sums_that_exist(GROUP)
            await asyncio.sleep(0)
            await call(*given)  # type: ignore[operator]  # passed on as they came
            rig.check_sums_that_exist(GROUP)
            looks += 1

        setattr(rig.store, name, looked)
    engine = await rig.begin()
    for _ in range(30):
        await rig.clock.sleep(7.0)
        for key, row in list(rig.manifest.rows.items()):
            if row.state is State.STORED:
                rig.manifest.rows[key] = replace(row, due_at=rig.clock.now())
        rig._wake()
    await rig.clock.sleep(HOUR_S)
    rig.supervisor.stop()
    await rig.ended(engine)
    assert looks > 100
    assert rig.row().version > 20
    rig.check_agreement()
    assert TARGET in rig.store.published


async def test_while_bodies_are_exchanged_nothing_is_fetched_again_for_not_agreeing() -> None:
    rig = await sealed_rig()
    flux = [True]
    rig.reconciler.is_in_flux = lambda: flux[0]
    rig.registry.open_reasons[GROUP] = "half of it is exchanged"
    rig.registry.refetch = {KEY: NOW + 60.0}
    due_at = rig.row().due_at
    running = asyncio.create_task(rig.reconciler.run())
    rig.reconciler.note([GROUP])
    await rig.until(lambda: rig.manifest.kept_groups[GROUP].sealed_at is None)
    await rig.clock.sleep(5.0)
    assert rig.row().due_at == due_at
    assert not rig.reconciler.is_idle
    flux[0] = False
    await rig.until(lambda: rig.row().due_at == NOW + 60.0)
    running.cancel()
