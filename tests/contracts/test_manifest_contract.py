"""What the engine may rely on of any manifest: the same suite on the fake and on SQLite."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from fakes.manifest import FakeManifest
from filingd.adapters.manifest import SqliteManifest
from filingd.core.errors import LifeCycleError, StoreError
from filingd.core.feed import FeedEvent, FeedKind
from filingd.core.lifecycle import TABLE, Event, next_state
from filingd.core.limits import LaneState
from filingd.core.model import LEASED_STATES, Change, Group, Item, State, Version
from filingd.core.tombstones import Tombstone

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from filingd.ports import Manifest

NOW = 1_795_000_000.0
DAY = "nbb/authentic/2026-11-20"


@pytest.fixture(params=["fake", "sqlite"])
async def manifest(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Manifest]:
    made: Manifest
    if request.param == "fake":
        made = FakeManifest(clock_now=lambda: NOW)
    else:
        made = await SqliteManifest.open(tmp_path / "manifest.db", clock_now=lambda: NOW)
    yield made
    await made.close()


def an_item(key: str = f"{DAY}/json", **fields: object) -> Item:
    """A new item that is due."""
    return replace(Item(key, "extract", due_at=NOW), **fields)


def a_version(key: str = f"{DAY}/json", number: int = 1) -> Version:
    """A version with every field set."""
    return Version(
        key=key,
        number=number,
        path=f"{key}.zip",
        size_bytes=8_282,
        sha256=bytes(range(32)),
        stored_at=NOW + number,
        route="extract",
        request_id="3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        etag='"5e-abc"',
        content_digest=bytes(reversed(range(32))),
        member_count=12,
        verified_at=NOW + number + 0.125,
        facts={"members": {"references": 3}, "naïve": True},
    )


async def plan(manifest: Manifest, *items: Item) -> None:
    await manifest.record([Change(None, item) for item in items])


async def only(manifest: Manifest, key: str = f"{DAY}/json") -> Item:
    return (await manifest.items([key]))[key]


async def store(manifest: Manifest, key: str, number: int = 1, due_at: float | None = None) -> Item:
    """Lease the item and record it as stored."""
    (leased,) = await manifest.lease("extract", NOW, 1)
    assert leased.key == key
    stored = replace(
        leased,
        state=next_state(leased.state, Event.STORED),
        due_at=due_at,
        version=number,
        size_bytes=8_282,
        sha256=bytes(range(32)),
        stored_at=NOW + number,
    )
    await manifest.record([Change(leased.state, stored, a_version(key, number))])
    return stored


# ---------------------------------------------------------------- items


async def test_an_item_comes_back_as_it_was_recorded(manifest: Manifest) -> None:
    item = an_item(
        priority=-3,
        attempts=4,
        reason="HTTP 502 · «passerelle»",
        nothing_count=1,
        nothing_at=NOW - 60.5,
        size_bytes=3_000_000_000,
        sha256=bytes(range(32)),
        stored_at=NOW - 0.001,
        version=2,
    )
    await plan(manifest, item)
    assert await only(manifest) == item


async def test_instants_are_kept_to_the_nearest_millisecond(manifest: Manifest) -> None:
    await plan(manifest, an_item(due_at=NOW + 0.00049, nothing_at=NOW + 0.00051))
    kept = await only(manifest)
    assert (kept.due_at, kept.nothing_at) == (NOW, NOW + 0.001)


async def test_an_item_is_due_at_the_very_instant_it_names(manifest: Manifest) -> None:
    # 0.001 has no exact float: an instant that was read back must not be in the future of itself.
    due_ats = [NOW + thousandth / 1000 for thousandth in range(1, 1000, 37)]
    await plan(manifest, *(an_item(f"{DAY}/{n}", due_at=due_at) for n, due_at in enumerate(due_ats)))
    for n in range(len(due_ats)):
        due_at = await manifest.next_due_at("extract")
        assert due_at is not None
        assert [item.key for item in await manifest.lease("extract", due_at, 5)] == [f"{DAY}/{n}"]


async def test_unknown_keys_are_left_out_of_the_answer(manifest: Manifest) -> None:
    await plan(manifest, an_item())
    assert set(await manifest.items([f"{DAY}/json", f"{DAY}/pdf"])) == {f"{DAY}/json"}
    assert await manifest.items([]) == {}


async def test_a_new_item_that_is_there_already_is_left_as_it_is(manifest: Manifest) -> None:
    await plan(manifest, an_item(attempts=2))
    await plan(manifest, an_item(attempts=0), an_item(f"{DAY}/pdf"))
    assert (await only(manifest)).attempts == 2
    assert (await manifest.counts())[State.DUE] == 2
    assert await manifest.scheduled_counts() == {"extract": 2}


async def test_a_change_from_another_state_than_the_item_has_is_refused_and_says_so(
    manifest: Manifest,
) -> None:
    await plan(manifest, an_item())
    with pytest.raises(StoreError, match=rf"{DAY}/json was expected to be ACTIVE but is DUE"):
        await manifest.record([Change(State.ACTIVE, an_item(state=State.STORED, due_at=None))])
    assert (await only(manifest)).state is State.DUE


async def test_a_change_decided_on_an_older_body_than_the_item_has_now_is_refused(manifest: Manifest) -> None:
    await plan(manifest, an_item())
    decided_on = await store(manifest, f"{DAY}/json", due_at=NOW)
    await store(manifest, f"{DAY}/json", number=2)
    stale = Change(State.STORED, replace(decided_on, priority=7))
    with pytest.raises(StoreError, match=r"json .*version 2 already"):
        await manifest.record([stale])
    assert (await only(manifest)).version == 2


async def test_a_change_of_an_item_that_is_not_there_is_refused_and_says_so(manifest: Manifest) -> None:
    with pytest.raises(StoreError, match=rf"{DAY}/json was expected to be DUE but is not in the manifest"):
        await manifest.record([Change(State.DUE, an_item())])
    assert await manifest.items([f"{DAY}/json"]) == {}


async def test_a_refused_change_takes_the_others_of_its_call_with_it(manifest: Manifest) -> None:
    await plan(manifest, an_item())
    changes = [
        Change(None, an_item(f"{DAY}/pdf")),
        Change(State.DUE, an_item(state=State.ABSENT, due_at=None)),
        Change(State.DUE, an_item(f"{DAY}/xbrl")),
    ]
    with pytest.raises(StoreError):
        await manifest.record(changes)
    assert [item.key for item in await manifest.page("", 10)] == [f"{DAY}/json"]
    assert (await manifest.counts())[State.DUE] == 1


async def test_a_refused_call_does_not_touch_calls_made_at_the_same_time(manifest: Manifest) -> None:
    calls = [
        manifest.record([Change(State.ACTIVE if n == 7 else None, an_item(f"{DAY}/{n:02}"))])
        for n in range(20)
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, StoreError)] == [7]
    assert (await manifest.counts())[State.DUE] == 19


async def test_two_changes_of_one_item_in_one_call_follow_each_other(manifest: Manifest) -> None:
    await manifest.record(
        [
            Change(None, an_item()),
            Change(State.DUE, an_item(state=State.ABSENT, due_at=None)),
        ]
    )
    assert (await only(manifest)).state is State.ABSENT
    assert await manifest.scheduled_counts() == {}


async def test_an_item_that_moves_to_another_lane_is_counted_and_leased_there(manifest: Manifest) -> None:
    await plan(manifest, an_item())
    await manifest.record([Change(State.DUE, an_item(lane="archive"))])
    assert await manifest.scheduled_counts() == {"archive": 1}
    assert await manifest.lease("extract", NOW, 5) == []
    assert [item.lane for item in await manifest.lease("archive", NOW, 5)] == ["archive"]


async def test_items_of_a_group_are_those_directly_in_it(manifest: Manifest) -> None:
    keys = [f"{DAY}/json", f"{DAY}/pdf", f"{DAY}/documents/1", f"{DAY}0/json", f"{DAY}-/json", f"{DAY}"]
    await plan(manifest, *(an_item(key) for key in keys))
    assert [item.key for item in await manifest.group_items(DAY)] == [f"{DAY}/json", f"{DAY}/pdf"]


async def test_a_group_key_is_never_a_pattern(manifest: Manifest) -> None:
    await plan(manifest, an_item("a%b/json"), an_item("a_b/json"), an_item("axb/json"))
    assert [item.key for item in await manifest.group_items("a_b")] == ["a_b/json"]
    assert [item.key for item in await manifest.group_items("a%b")] == ["a%b/json"]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
async def test_pages_visit_every_item_once_in_key_order(manifest: Manifest, size: int) -> None:
    keys = sorted(f"{DAY}/{n * 7919 % 101:03}" for n in range(50))
    await plan(manifest, *(an_item(key) for key in reversed(keys)))
    assert [item.key for item in await pages(manifest, size, None)] == keys


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize("wanted", [{State.ACTIVE}, {State.DUE}, {State.ACTIVE, State.DUE}, {State.EMPTY}])
async def test_pages_of_some_states_leave_out_the_others(
    manifest: Manifest, size: int, wanted: set[State]
) -> None:
    await plan(manifest, *(an_item(f"{DAY}/{n:02}", due_at=NOW - n % 2) for n in range(9)))
    await manifest.lease("extract", NOW - 1, 9)
    expected = [item.key for item in await manifest.page("", 99) if item.state in wanted]
    assert [item.key for item in await pages(manifest, size, frozenset(wanted))] == expected


async def pages(manifest: Manifest, size: int, states: frozenset[State] | None) -> list[Item]:
    found: list[Item] = []
    while page := await manifest.page(found[-1].key if found else "", size, states):
        assert len(page) <= size
        found += page
    return found


# ---------------------------------------------------------------- the schedule


async def test_leases_go_by_priority_then_due_time_then_key(manifest: Manifest) -> None:
    await plan(
        manifest,
        an_item("g/e", priority=2, due_at=NOW - 99),
        an_item("g/d", priority=1, due_at=NOW - 1),
        an_item("g/b", priority=1, due_at=NOW - 2),
        an_item("g/c", priority=1, due_at=NOW - 2),
        an_item("g/a", priority=-1, due_at=NOW),
        an_item("g/later", priority=-9, due_at=NOW + 1),
    )
    first = await manifest.lease("extract", NOW, 3)
    rest = await manifest.lease("extract", NOW, 9)
    assert [item.key for item in [*first, *rest]] == ["g/a", "g/b", "g/c", "g/d", "g/e"]


async def test_a_lease_takes_only_its_own_lane_and_at_most_what_was_asked(manifest: Manifest) -> None:
    await plan(manifest, *(an_item(f"g/{n}", lane=f"lane-{n % 2}") for n in range(6)))
    assert [item.key for item in await manifest.lease("lane-1", NOW, 2)] == ["g/1", "g/3"]
    assert await manifest.lease("lane-9", NOW, 2) == []
    assert await manifest.lease("lane-0", NOW, 0) == []


async def test_a_leased_item_is_not_scheduled_and_is_never_leased_twice(manifest: Manifest) -> None:
    await plan(manifest, an_item())
    (leased,) = await manifest.lease("extract", NOW, 5)
    assert (leased.state, leased.due_at) == (State.ACTIVE, None)
    assert await only(manifest) == leased
    assert await manifest.lease("extract", NOW + 1e6, 5) == []
    assert await manifest.next_due_at("extract") is None
    assert await manifest.scheduled_counts() == {}
    assert await manifest.leased_items() == [leased]


async def test_concurrent_leases_never_share_an_item(manifest: Manifest) -> None:
    await plan(manifest, *(an_item(f"g/{n:03}") for n in range(100)))
    leases = await asyncio.gather(*(manifest.lease("extract", NOW, 7) for _ in range(20)))
    keys = [item.key for lease in leases for item in lease]
    assert sorted(keys) == [f"g/{n:03}" for n in range(100)]


async def test_a_stored_item_is_leased_for_a_re_check_and_keeps_its_body(manifest: Manifest) -> None:
    await plan(manifest, an_item())
    stored = await store(manifest, f"{DAY}/json", due_at=NOW)
    (leased,) = await manifest.lease("extract", NOW, 1)
    assert leased == replace(stored, state=State.RECHECKING, due_at=None)
    assert (await manifest.counts())[State.RECHECKING] == 1


@pytest.mark.parametrize("state", sorted(set(State) - LEASED_STATES))
async def test_whatever_is_scheduled_is_leased_by_the_life_cycle(manifest: Manifest, state: State) -> None:
    await plan(manifest, an_item(state=state))
    (leased,) = await manifest.lease("extract", NOW, 1)
    assert leased.state is next_state(state, Event.LEASED)


@pytest.mark.parametrize("state", sorted(LEASED_STATES))
async def test_a_leased_state_is_recorded_without_a_schedule(manifest: Manifest, state: State) -> None:
    await plan(manifest, an_item(state=state, due_at=NOW))
    assert (await only(manifest)).due_at is None
    assert await manifest.scheduled_counts() == {}


async def test_the_next_due_time_is_the_earliest_over_all_priorities(manifest: Manifest) -> None:
    await plan(
        manifest,
        an_item("g/a", priority=0, due_at=NOW + 30),
        an_item("g/b", priority=5, due_at=NOW + 10),
        an_item("g/c", priority=9, due_at=NOW + 20),
        an_item("g/d", priority=9, due_at=None),
        an_item("g/e", lane="archive", due_at=NOW),
    )
    assert await manifest.next_due_at("extract") == NOW + 10
    assert await manifest.next_due_at("nowhere") is None


# ---------------------------------------------------------------- versions


async def test_a_version_comes_back_as_it_was_recorded(manifest: Manifest) -> None:
    await plan(manifest, an_item())
    await store(manifest, f"{DAY}/json")
    assert await manifest.versions(f"{DAY}/json") == [a_version()]
    assert await manifest.current_versions([f"{DAY}/json", "g/none"]) == {f"{DAY}/json": a_version()}


@pytest.mark.parametrize(
    "request_id", ["", "r-1", "3F2504E0-4F89-41D3-9A0C-0305E82C3301", "z" * 36, "-" * 36, "0" * 36]
)
async def test_a_request_id_of_any_form_is_kept(manifest: Manifest, request_id: str) -> None:
    version = replace(a_version(), request_id=request_id, etag=None, content_digest=None, facts={})
    await manifest.record([Change(None, an_item(state=State.STORED, version=1), version)])
    assert await manifest.versions(f"{DAY}/json") == [version]


async def test_a_changed_body_is_a_new_version_and_the_old_one_is_remembered(manifest: Manifest) -> None:
    await plan(manifest, an_item())
    await store(manifest, f"{DAY}/json", 1, due_at=NOW)
    await store(manifest, f"{DAY}/json", 2)
    assert [version.number for version in await manifest.versions(f"{DAY}/json")] == [1, 2]
    current = await manifest.current_versions([f"{DAY}/json"])
    assert current[f"{DAY}/json"].number == 2


async def test_a_version_recorded_again_replaces_itself(manifest: Manifest) -> None:
    await plan(manifest, an_item())
    stored = await store(manifest, f"{DAY}/json")
    moved = replace(a_version(), path="elsewhere.zip")
    await manifest.record([Change(State.STORED, stored, moved)])
    assert await manifest.versions(f"{DAY}/json") == [moved]


async def test_a_verification_is_noted_on_the_current_version_only(manifest: Manifest) -> None:
    await plan(manifest, an_item())
    await store(manifest, f"{DAY}/json", 1, due_at=NOW)
    await store(manifest, f"{DAY}/json", 2)
    await manifest.note_verified(f"{DAY}/json", NOW + 500)
    await manifest.note_verified("g/none", NOW + 500)
    assert [version.verified_at for version in await manifest.versions(f"{DAY}/json")] == [
        NOW + 1.125,
        NOW + 500,
    ]


async def test_an_item_without_a_stored_body_has_no_current_version(manifest: Manifest) -> None:
    await plan(manifest, an_item())
    (leased,) = await manifest.lease("extract", NOW, 1)
    await manifest.record([Change(State.ACTIVE, replace(leased, state=State.EMPTY))])
    assert await manifest.current_versions([f"{DAY}/json"]) == {}


# ---------------------------------------------------------------- groups, lanes, counters


async def test_groups_come_back_by_prefix_in_key_order(manifest: Manifest) -> None:
    open_day = Group("nbb/authentic/2026-11-21", NOW, reasons=("json: not yet", "pdf: «retard»"))
    sealed_day = Group(DAY, NOW - 1, NOW, NOW + 0.5, (), {"documents": 3, "by": {"m02-f": 1}})
    await manifest.save_groups([open_day, sealed_day, Group("nbb/improved/2026-11-20", NOW)])
    assert await manifest.groups("nbb/authentic/") == [sealed_day, open_day]
    assert len(await manifest.groups()) == 3
    assert await manifest.groups("nbb/x") == []


async def test_a_group_saved_again_is_replaced(manifest: Manifest) -> None:
    await manifest.save_groups([Group(DAY, NOW, reasons=("json: not yet",))])
    await manifest.save_groups([Group(DAY, NOW, sealed_at=NOW + 1)])
    assert await manifest.groups() == [Group(DAY, NOW, sealed_at=NOW + 1)]


async def test_a_lane_state_comes_back_exactly(manifest: Manifest) -> None:
    state = LaneState(
        "extract",
        boot_id="b-1",
        reserved_until_s=1234.567890123,
        parked_until_at=NOW + 0.123456,
        parked_for_s=60.1,
        park_reason="401",
        slowdown=2.5,
        strikes=3,
        key_index=1,
    )
    await manifest.save_lane(LaneState("extract"))
    await manifest.save_lane(state)
    await manifest.save_lane(LaneState("archive"))
    assert await manifest.lane_states() == {"extract": state, "archive": LaneState("archive")}


async def test_counts_name_every_state(manifest: Manifest) -> None:
    assert await manifest.counts() == dict.fromkeys(State, 0)
    assert await manifest.scheduled_counts() == {}


async def test_every_transition_of_the_life_cycle_keeps_the_counters_exact(manifest: Manifest) -> None:
    steps = [(state, event) for state, events in TABLE.items() for event in events]
    for n, (state, event) in enumerate(steps):
        following = next_state(state, event)
        scheduled = NOW if n % 2 else None
        await plan(manifest, an_item(f"g/{n:03}", state=state, due_at=NOW if n % 3 else None))
        await manifest.record([Change(state, an_item(f"g/{n:03}", state=following, due_at=scheduled))])
    assert_exact(await manifest.page("", 999), await manifest.counts(), await manifest.scheduled_counts())


def assert_exact(items: Sequence[Item], counts: object, scheduled_counts: object) -> None:
    lanes = [item.lane for item in items if item.due_at is not None]
    assert counts == {state: sum(item.state is state for item in items) for state in State}
    assert scheduled_counts == {lane: lanes.count(lane) for lane in set(lanes)}


async def test_own_changes_are_not_changes_elsewhere(manifest: Manifest) -> None:
    await plan(manifest, an_item())
    await manifest.items(["g/none"])
    assert not await manifest.changed_elsewhere()


async def test_a_closed_manifest_refuses_every_call_and_closes_twice(manifest: Manifest) -> None:
    await manifest.close()
    await manifest.close()
    with pytest.raises(StoreError, match="closed"):
        await plan(manifest, an_item())
    with pytest.raises(StoreError, match="closed"):
        await manifest.counts()


async def test_nothing_recorded_is_no_transaction(manifest: Manifest) -> None:
    await manifest.record([])
    await manifest.save_groups([])
    assert await manifest.counts() == dict.fromkeys(State, 0)


def test_no_leased_item_can_be_leased() -> None:
    for state in LEASED_STATES:
        with pytest.raises(LifeCycleError, match=f"{state.name} cannot be leased"):
            next_state(state, Event.LEASED)


# ---------------------------------------------------------------- the feed and tombstones


async def told(manifest: Manifest, after: int = 1) -> list[tuple[FeedKind, str, int]]:
    """What the feed says after its beginning."""
    return [(event.kind, event.subject, event.version) for event in await manifest.feed(after, 99)]


async def test_the_feed_begins_with_one_event(manifest: Manifest) -> None:
    assert await manifest.feed_head() == 1
    (begun,) = await manifest.feed(0, 9)
    assert (begun.seq, begun.kind, begun.subject) == (1, FeedKind.BEGUN, "")


async def test_the_feed_tells_of_a_first_body_another_version_and_a_loss(manifest: Manifest) -> None:
    key = f"{DAY}/json"
    await plan(manifest, an_item())
    await store(manifest, key, due_at=NOW)
    stored = await store(manifest, key, number=2)
    await manifest.record([Change(State.STORED, replace(stored, state=State.DUE, due_at=NOW))])
    await store(manifest, key, number=2)
    assert await told(manifest) == [
        (FeedKind.STORED, key, 1),
        (FeedKind.REPLACED, key, 2),
        (FeedKind.LOST, key, 2),
        (FeedKind.STORED, key, 2),
    ]


async def test_the_feed_says_nothing_of_plans_leases_rechecks_and_older_versions(manifest: Manifest) -> None:
    await plan(manifest, an_item())
    stored = await store(manifest, f"{DAY}/json", number=2, due_at=NOW)
    await manifest.lease("extract", NOW, 1)
    leased = replace(stored, state=State.RECHECKING)
    await manifest.record([Change(State.RECHECKING, replace(leased, state=State.STORED, due_at=None))])
    await manifest.record([Change(State.STORED, replace(stored, due_at=None), a_version(number=1))])
    assert await told(manifest) == [(FeedKind.STORED, f"{DAY}/json", 2)]


async def test_what_was_refused_is_not_told(manifest: Manifest) -> None:
    await plan(manifest, an_item())
    never_was = Change(State.STORED, an_item(state=State.STORED, version=1), a_version())
    with pytest.raises(StoreError):
        await manifest.record([never_was])
    assert await told(manifest) == []


async def test_the_feed_tells_of_seals_once_and_of_their_end(manifest: Manifest) -> None:
    opened = Group(DAY, opened_at=NOW, reasons=("planned",))
    sealed = replace(opened, sealed_at=NOW + 1, reasons=())
    await manifest.save_groups([opened])
    await manifest.save_groups([sealed])
    await manifest.save_groups([replace(sealed, checked_at=NOW + 2)])
    await manifest.save_groups([replace(sealed, sealed_at=NOW + 3)])
    await manifest.save_groups([opened])
    assert [kind for kind, _, _ in await told(manifest)] == [
        FeedKind.SEALED,
        FeedKind.SEALED,
        FeedKind.REOPENED,
    ]


async def test_the_feed_goes_on_after_any_event_and_in_parts(manifest: Manifest) -> None:
    keys = [f"{DAY}/{n}" for n in range(5)]
    for key in keys:
        await plan(manifest, an_item(key))
        await store(manifest, key)
    first = await manifest.feed(1, 2)
    rest = await manifest.feed(first[-1].seq, 99)
    assert [event.subject for event in [*first, *rest]] == keys
    assert [event.seq for event in [*first, *rest]] == list(range(2, 7))
    assert await manifest.feed_head() == 6
    assert first[0] == FeedEvent(2, NOW, FeedKind.STORED, keys[0], 1)
    assert await manifest.feed(6, 99) == []


FILING = Tombstone("2026-00999001", is_enterprise=False, buried_at=NOW, reason="court order 7")
FIRM = Tombstone("0403101811", is_enterprise=True, buried_at=NOW + 0.125)


async def test_what_is_buried_is_remembered_as_it_was_told_first_and_not_told_before_it_is_erased(
    manifest: Manifest,
) -> None:
    await manifest.bury([FILING])
    await manifest.bury([replace(FILING, reason="again"), FIRM])
    assert await manifest.tombstones() == [FIRM, FILING]
    assert await told(manifest) == []


async def test_what_is_erased_is_told_once_with_what_was_done(manifest: Manifest) -> None:
    await manifest.bury([FILING, FIRM])
    await manifest.note_erased([FILING.subject, "2026-00000000"], NOW + 5, {"files": 2})
    await manifest.note_erased([FILING.subject, FIRM.subject], NOW + 6, {})
    assert await manifest.tombstones() == [
        replace(FIRM, erased_at=NOW + 6),
        replace(FILING, erased_at=NOW + 5, erased={"files": 2}),
    ]
    assert await told(manifest) == [
        (FeedKind.FORGOTTEN, FILING.subject, 0),
        (FeedKind.FORGOTTEN, FIRM.subject, 0),
    ]


async def test_what_is_buried_again_is_to_be_erased_again(manifest: Manifest) -> None:
    await manifest.bury([FILING])
    await manifest.note_erased([FILING.subject], NOW + 5, {"files": 2})
    await manifest.bury([replace(FILING, buried_at=NOW + 9, reason="again")])
    assert await manifest.tombstones() == [FILING]
    await manifest.note_erased([FILING.subject], NOW + 10, {})
    assert len(await told(manifest)) == 2


async def test_rows_of_bodies_are_dropped_for_one_item_alone(manifest: Manifest) -> None:
    for key in (f"{DAY}/json", f"{DAY}/pdf"):
        await plan(manifest, an_item(key))
        await store(manifest, key)
    await manifest.drop_versions(f"{DAY}/json")
    assert await manifest.versions(f"{DAY}/json") == []
    assert len(await manifest.versions(f"{DAY}/pdf")) == 1


async def test_rows_of_older_bodies_are_dropped_and_told_once(manifest: Manifest) -> None:
    for key in (f"{DAY}/json", f"{DAY}/pdf"):
        await plan(manifest, an_item(key))
        for number in (1, 2, 3):
            await store(manifest, key, number, due_at=NOW if number < 3 else None)
    head = await manifest.feed_head()
    for _ in range(2):
        await manifest.drop_older(f"{DAY}/json", 3)
    assert [version.number for version in await manifest.versions(f"{DAY}/json")] == [3]
    assert len(await manifest.versions(f"{DAY}/pdf")) == 3
    found = await manifest.feed(head, 99)
    assert [(event.kind, event.subject, event.version) for event in found] == [
        (FeedKind.OLDER_REMOVED, f"{DAY}/json", 3)
    ]


async def test_a_cursor_is_kept_for_each_who_follows(manifest: Manifest) -> None:
    assert await manifest.cursors() == {}
    await manifest.save_cursor("hooks.on_sealed", 4)
    await manifest.save_cursor("hooks.on_stored", 2**60)
    await manifest.save_cursor("hooks.on_sealed", 5)
    assert await manifest.cursors() == {"hooks.on_sealed": 5, "hooks.on_stored": 2**60}


async def test_a_feed_that_is_begun_anew_above_a_number_tells_all_that_is_there(manifest: Manifest) -> None:
    await plan(manifest, an_item())
    await store(manifest, f"{DAY}/json")
    await manifest.save_groups([Group(DAY, opened_at=NOW, sealed_at=NOW + 1)])
    await manifest.retell(1000)
    (begun, *rest) = await manifest.feed(3, 99)
    assert (begun.seq, begun.kind) == (1001, FeedKind.BEGUN)
    assert [(event.seq, event.kind, event.subject) for event in rest] == [
        (1002, FeedKind.STORED, f"{DAY}/json"),
        (1003, FeedKind.SEALED, DAY),
    ]
