"""Older versions that may not be kept are removed for good, whenever the process dies; the new body is never lost."""

from __future__ import annotations

import copy
import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from engine.rig import KEY, TARGET, EngineRig, SeenSteps, book, stored_row
from fakes.http import Reply
from fakes.registry import FakeCompanies, FakeRegistry, ReaderTerms
from filingd.core import events, layout, steps
from filingd.core.dropping import Drop, drop_of
from filingd.core.errors import DiskFaultError
from filingd.core.feed import FeedKind
from filingd.core.model import Group, Item, Nothing, State, Stored, Version
from filingd.engine.leads import Leads
from filingd.engine.supervisor import Until

if TYPE_CHECKING:
    from collections.abc import Mapping

OPEN, SHIELDED, OTHER = book("at Mill Lane 7"), book("at an address that is shielded"), book("of another")
FIRST, SECOND = layout.superseded(TARGET, 1), layout.superseded(TARGET, 2)
REFUSED = f"quarantine/{TARGET}.20261120T113000Z"
DAMAGED = f"quarantine/{FIRST}.20261120T113000Z"
NEIGHBOUR = "versions/lib/shelf-1/text.v1.zip"
OLDER = [FIRST, SECOND, REFUSED, f"{REFUSED}.json", DAMAGED, f"{DAMAGED}.json"]
RECHECK_AT = 1_795_500_000.0


def version(number: int, body: bytes) -> Version:
    return Version(KEY, number, TARGET, len(body), hashlib.sha256(body).digest(), 1.0, "lib/desk/list", "r")


def a_rig(served: bytes = SHIELDED) -> EngineRig:
    """An item with its third version, two older ones, refused and damaged bodies; a neighbour with an older one."""
    rig = EngineRig(FakeRegistry(leaves=("list",)), respond=lambda _: Reply(200, served))
    rig.registry.verdicts[KEY] = [Stored(RECHECK_AT, {"shielded": True}, drops_older=True)]
    rig.manifest.rows[KEY] = stored_row(OPEN, version=3)
    rig.manifest.kept_versions[KEY] = {number: version(number, OPEN) for number in (1, 2, 3)}
    rig.store.published |= {TARGET: OPEN, NEIGHBOUR: OTHER, **dict.fromkeys(OLDER, OPEN)}
    return rig


def check_alone(rig: EngineRig, body: bytes, number: int) -> None:
    """The body is all that is left of the item, in the store and in the manifest, and the row is at rest."""
    row = rig.row()
    assert (row.state, row.version, row.sha256) == (State.STORED, number, hashlib.sha256(body).digest())
    assert row.reason is None
    assert row.due_at is not None
    assert rig.store.published == {TARGET: body, NEIGHBOUR: OTHER}
    assert list(rig.manifest.kept_versions[KEY]) == [number]
    assert rig.store.partials == {}


def told(rig: EngineRig) -> list[tuple[FeedKind, int]]:
    return [(event.kind, event.version) for event in rig.manifest.kept_feed if event.subject == KEY]


async def test_a_body_that_may_have_no_older_ones_is_alone_afterwards() -> None:
    rig = a_rig()
    await rig.attempt()
    check_alone(rig, SHIELDED, 4)
    assert rig.row().due_at == RECHECK_AT
    assert rig.manifest.kept_versions[KEY][4].facts["shielded"] is True
    assert rig.manifest.kept_versions[KEY][4].request_id == "request-1"
    assert told(rig) == [(FeedKind.REPLACED, 4), (FeedKind.OLDER_REMOVED, 4)]
    assert rig.log.of(events.ITEM_OLDER_REMOVED, key=KEY, version=4, files=4)


async def test_the_body_that_is_replaced_never_lies_among_the_older_versions() -> None:
    rig = a_rig()
    seen: set[str] = set()

    class Watching(SeenSteps):
        def reached(self, step: str) -> None:
            super().reached(step)
            seen.update(rig.store.published)

    rig.store.steps = rig.steps = Watching()
    rig.build()
    await rig.attempt()
    assert layout.superseded(TARGET, 3) not in seen
    assert steps.PREVIOUS_KEPT not in rig.steps.seen


async def test_a_body_that_was_damaged_here_is_not_set_aside_either() -> None:
    rig = a_rig()
    rig.store.published[TARGET] = OPEN[:-5]
    await rig.attempt()
    check_alone(rig, SHIELDED, 4)
    assert rig.store.quarantined == {}


async def test_an_unchanged_body_lets_go_of_what_other_rules_once_kept() -> None:
    rig = a_rig(OPEN)
    await rig.attempt()
    check_alone(rig, OPEN, 3)
    assert told(rig) == [(FeedKind.OLDER_REMOVED, 3)]


async def test_an_unchanged_body_without_older_ones_is_not_gone_over() -> None:
    rig = a_rig(OPEN)
    rig.manifest.kept_versions[KEY] = {3: version(3, OPEN)}
    await rig.attempt()
    assert steps.OLDER_CLAIMED not in rig.steps.seen


async def test_a_first_body_lets_go_of_what_was_refused_before() -> None:
    rig = a_rig()
    rig.manifest.rows[KEY] = Item(KEY, "lib/desk")
    rig.manifest.kept_versions.clear()
    rig.store.published = {REFUSED: OPEN, f"{REFUSED}.json": b"{}", NEIGHBOUR: OTHER}
    await rig.attempt()
    check_alone(rig, SHIELDED, 1)
    assert told(rig) == [(FeedKind.STORED, 1)]


async def test_a_small_document_goes_the_same_way() -> None:
    rig = EngineRig(
        FakeRegistry(leaves=("list",), is_documents=True), respond=lambda _: Reply(200, b'{"a": 2}')
    )
    target = "lib/shelf-1/list.json"
    rig.registry.verdicts[KEY] = [Stored(RECHECK_AT, drops_older=True)]
    rig.manifest.rows[KEY] = Item(KEY, "lib/desk")
    rig.store.published = {f"quarantine/{target}.20261120T113000Z": b"?"}
    await rig.attempt()
    assert rig.store.published == {target: b'{"a": 2}'}
    assert rig.row().state is State.STORED


async def test_without_the_order_older_versions_stay() -> None:
    rig = a_rig()
    rig.registry.verdicts[KEY] = [Stored(RECHECK_AT)]
    await rig.attempt()
    assert {*OLDER, layout.superseded(TARGET, 3)} <= rig.store.published.keys()


# ------------------------------------------------------------------------------------------ deaths


class Camera(SeenSteps):
    """Keeps what would be on disk if the process died at a step, for each step."""

    def __init__(self, rig: EngineRig) -> None:
        super().__init__()
        self._rig = rig
        self.taken: list[tuple[str, dict[str, Any]]] = []

    def reached(self, step: str) -> None:
        super().reached(step)
        rig = self._rig
        durable = (rig.store.published, rig.store.quarantined, rig.manifest.rows, rig.manifest.kept_versions,
                   rig.manifest.kept_feed)  # fmt: skip
        names = ("published", "quarantined", "rows", "kept_versions", "kept_feed")
        self.taken.append((step, copy.deepcopy(dict(zip(names, durable, strict=True)))))


async def deaths(served: bytes, reask: bool = False) -> list[tuple[str, dict[str, Any]]]:
    rig = a_rig(served)
    if reask:
        rig.manifest.rows[KEY] = Item(KEY, "lib/desk", State.EMPTY, version=0)
        rig.manifest.kept_versions.clear()
        del rig.store.published[TARGET]
    rig.store.steps = rig.steps = camera = Camera(rig)
    rig.build()
    await rig.attempt()
    return camera.taken


def after_death(found: dict[str, Any]) -> EngineRig:
    rig = a_rig()
    for name, value in found.items():
        setattr(rig.store if name in ("published", "quarantined") else rig.manifest, name, value)
    rig.build()
    return rig


@pytest.mark.parametrize(("served", "number"), [(SHIELDED, 4), (OPEN, 3)])
async def test_a_death_at_any_step_is_finished_by_the_next_start(served: bytes, number: int) -> None:
    taken = await deaths(served)
    names = [step for step, _ in taken]
    assert {*steps.DROP_STEPS} <= {*names}
    claimed = names.index(steps.OLDER_CLAIMED)
    renamed = names.index(steps.BODY_RENAMED) if served != OPEN else claimed
    for at, (step, found) in enumerate(taken):
        rig = after_death(found)
        await rig.rescue.in_flight()
        if at < renamed:  # the new body is not there: all is as it was, and the item is asked for again
            assert rig.store.published[TARGET] == OPEN, step
            assert {*OLDER} <= rig.store.published.keys(), step
            assert (rig.row().state, rig.row().reason) == (State.STORED, None), step
        else:
            check_alone(rig, served, number)
            assert told(rig).count((FeedKind.OLDER_REMOVED, number)) == 1, step
        await rig.attempt()
        check_alone(rig, SHIELDED, 4)


async def test_a_death_before_a_first_body_of_what_was_empty_leaves_it_empty_or_alone() -> None:
    for step, found in await deaths(SHIELDED, reask=True):
        rig = after_death(found)
        await rig.rescue.in_flight()
        state = rig.row().state
        assert state in (State.EMPTY, State.STORED), step
        assert (TARGET in rig.store.published) == (state is State.STORED), step
        assert (FIRST in rig.store.published) == (state is State.EMPTY), step


class Sticky:
    """A store that does not let go of older versions."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def remove(self, target: str) -> None:
        if target.startswith("versions/"):
            raise DiskFaultError("versions/ is read-only.")
        await self._inner.remove(target)


async def test_stopping_leaves_what_is_not_finished_to_the_next_start() -> None:
    rig = a_rig()
    rig.store_port = Sticky(rig.store)
    rig.build()
    await rig.attempt()
    assert rig.log.of(events.ALARM_RAISED, kind="older_versions_left", key=KEY)
    assert rig.row().state is State.RECHECKING
    await rig.rescue.give_back()
    assert drop_of(rig.row().reason) is not None
    rig.store_port = rig.store
    rig.build()
    await rig.rescue.in_flight()
    check_alone(rig, SHIELDED, 4)
    assert rig.row().due_at == RECHECK_AT


async def test_a_folder_that_cannot_be_changed_leaves_the_rest_of_the_work_alone() -> None:
    rig = a_rig()
    rig.manifest.rows[KEY] = replace(rig.row(), due_at=rig.clock.now())
    rig.store_port = Sticky(rig.store)
    await rig.run(Until.IDLE)
    assert rig.store.published[TARGET] == SHIELDED
    assert rig.row().state is State.RECHECKING
    assert rig.log.of(events.DAEMON_FAILED) == []


# ------------------------------------------------------------------------------------------ what the row says


@pytest.mark.parametrize("drop", [Drop("ab" * 32), Drop("0" * 64, 1795000000.25)])
def test_what_a_row_says_is_read_as_it_was_written(drop: Drop) -> None:
    assert drop_of(drop.text()) == drop


@pytest.mark.parametrize("reason", [None, "", "dropping older", "dropping older xy -", "forgetting 1 - -"])
def test_other_reasons_speak_of_nothing_to_drop(reason: str | None) -> None:
    assert drop_of(reason) is None


# ------------------------------------------------------------------------------------------ what does not stand any more

GONE = Nothing("no_results", RECHECK_AT, confirmed=True, drops_held=True)


def a_rig_without_results() -> EngineRig:
    rig = a_rig()
    rig.registry.verdicts[KEY] = [GONE]
    return rig


def check_gone(rig: EngineRig) -> None:
    row = rig.row()
    assert (row.state, row.reason, row.due_at) == (State.EMPTY, "no_results", RECHECK_AT)
    assert (row.size_bytes, row.sha256, row.stored_at, row.version) == (None, None, None, 3)
    assert [name for name in rig.store.published if rig.registry.key_of(name)] == []
    assert rig.store.published[NEIGHBOUR] == OTHER
    assert not {*OLDER} & rig.store.published.keys()
    assert not rig.manifest.kept_versions.get(KEY)
    assert told(rig)[-1] == (FeedKind.LOST, 3)


async def test_a_body_that_does_not_stand_any_more_goes_with_all_older_ones() -> None:
    rig = a_rig_without_results()
    await rig.attempt()
    check_gone(rig)
    assert rig.log.of(events.ITEM_CONFIRMED_EMPTY, key=KEY, state="empty")


async def test_what_it_named_is_followed_no_longer() -> None:
    rig = a_rig_without_results()
    rig.manifest.kept_versions[KEY][3] = replace(version(3, OPEN), facts={"names": ["900"]})

    class Named(FakeCompanies):
        lead_prefixes = ("lib/shelf-1/",)

        def lead_terms(self, key: str, watched: Mapping[str, Any]) -> ReaderTerms:
            return ReaderTerms()

    leads = Leads(Named(), rig.manifest)
    await leads.look()
    assert leads.united({}) == {"900": ReaderTerms()}
    await rig.attempt()
    assert await leads.look()
    assert leads.united({}) == {}


async def test_the_seal_is_taken_back_before_a_body_goes() -> None:
    rig = a_rig_without_results()
    group = rig.row().group
    rig.manifest.kept_groups[group] = Group(group, 1.0, sealed_at=2.0)
    rig.store.published[f"{group}/SHA256SUMS"] = b"sums"
    await rig.attempt()
    assert rig.steps.seen.index(steps.SUMS_REMOVED) < rig.steps.seen.index(steps.HELD_REMOVED)
    assert f"{group}/SHA256SUMS" not in rig.store.published


async def test_without_the_order_a_body_stays_though_there_is_nothing() -> None:
    rig = a_rig()
    rig.registry.verdicts[KEY] = [Nothing("no_results", RECHECK_AT, confirmed=True)]
    await rig.attempt()
    assert rig.row().state is State.STORED
    assert rig.store.published[TARGET] == OPEN


async def test_what_is_empty_already_is_not_gone_over_again() -> None:
    rig = a_rig_without_results()
    await rig.attempt()
    rig.steps.seen.clear()
    await rig.attempt()
    check_gone(rig)
    assert steps.HELD_REMOVED not in rig.steps.seen


async def test_after_a_death_at_any_step_what_does_not_stand_is_asked_for_again_and_gone() -> None:
    alive = a_rig_without_results()
    alive.store.steps = alive.steps = camera = Camera(alive)
    alive.build()
    await alive.attempt()
    assert {steps.OLDER_REMOVED, steps.OLDER_RECORDED, steps.HELD_REMOVED} <= {
        step for step, _ in camera.taken
    }
    for step, found in camera.taken:
        rig = after_death(found)
        rig.registry.verdicts[KEY] = [GONE]
        await rig.rescue.in_flight()
        row = rig.row()
        assert row.due_at is not None, step
        assert row.due_at <= rig.clock.now(), step
        assert (row.state is State.STORED) == (TARGET in rig.store.published), step
        await rig.attempt()
        check_gone(rig)


async def test_what_the_disk_does_not_let_go_stays_held_and_is_tried_again() -> None:
    rig = a_rig_without_results()
    rig.store_port = Sticky(rig.store)
    rig.build()
    await rig.attempt()
    assert rig.row().state is State.STORED
    assert rig.store.published[TARGET] == OPEN
    assert rig.log.of(events.ALARM_RAISED, kind="disk_fault", key=KEY)
    assert rig.row().due_at is not None
    rig.store_port = rig.store
    rig.build()
    await rig.attempt()
    check_gone(rig)


async def test_what_comes_back_is_stored_anew() -> None:
    rig = a_rig_without_results()
    await rig.attempt()
    rig.registry.verdicts[KEY] = [Stored(RECHECK_AT, drops_older=True)]
    await rig.attempt()
    check_alone(rig, SHIELDED, 4)
