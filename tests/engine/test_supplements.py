"""A shelf that needs something from elsewhere: it is asked for, and the shelf is judged again when all of it is settled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.rig import GROUP, EngineRig, book
from fakes.http import Reply
from fakes.registry import FakeRegistry
from filingd.core import events
from filingd.core.model import Item, Nothing, State
from filingd.engine.rebuild import Rebuilder
from filingd.engine.supervisor import Until
from filingd.engine.supplements import Supplements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filingd.core.model import Change, Group, Request

ANNEX = ["lib/annex-1/text", "lib/annex-2/text", "lib/annex-3/text"]


def needy_registry(*keys: str, is_documents: bool = False) -> FakeRegistry:
    registry = FakeRegistry(is_documents=is_documents)
    registry.supplements[GROUP] = list(keys)
    return registry


@pytest.mark.parametrize("is_documents", [False, True], ids=["bodies", "documents"])
async def test_what_a_shelf_needs_from_elsewhere_is_fetched_and_then_the_shelf_is_sealed(
    is_documents: bool,
) -> None:
    body = b'{"a": 1}' if is_documents else book()
    rig = EngineRig(needy_registry(*ANNEX, is_documents=is_documents), lambda _: Reply(200, body))
    await rig.run(Until.SEALED)
    assert {key: rig.row(key).state for key in ANNEX} == dict.fromkeys(ANNEX, State.STORED)
    assert list(rig.manifest.kept_groups) == [GROUP], "the annex is nothing that is sealed"
    (wanted,) = rig.log.of(events.ITEMS_WANTED, group=GROUP)
    assert (wanted["count"], wanted["first"]) == (3, ANNEX[0])
    rig.check_agreement()


async def test_a_shelf_is_judged_once_when_the_last_of_it_is_settled_and_not_for_each() -> None:
    rig = EngineRig(needy_registry(*ANNEX))
    judged: list[str] = []
    judge = rig.registry.judge

    def count(group: str, *given: object) -> object:
        judged.append(group)
        return judge(group, *given)  # type: ignore[arg-type]  # passed on as they came

    rig.registry.judge = count  # type: ignore[method-assign, assignment]
    await rig.run(Until.SEALED)
    held_at = judged.index(GROUP)
    assert judged[held_at:].count(GROUP) <= 8, (
        "as often as its own two items, the beginning and the end give cause"
    )


async def test_what_is_proven_not_to_be_had_is_settled_too() -> None:
    registry = needy_registry(*ANNEX)
    registry.verdicts[ANNEX[1]] = [Nothing("burnt", None, confirmed=True)]
    rig = EngineRig(registry)
    await rig.run(Until.SEALED)
    assert rig.row(ANNEX[1]).state is State.EMPTY


async def test_what_is_not_there_for_now_is_asked_for_at_its_date_and_not_at_once() -> None:
    rig = EngineRig(needy_registry(*ANNEX))
    later_at = rig.clock.now() + 9 * 86_400.0
    rig.manifest.rows[ANNEX[0]] = Item(ANNEX[0], "lib/cellar", State.ABSENT, 9, later_at, reason="gone")
    judged: list[str] = []
    judge = rig.registry.judge

    def count(group: str, *given: object) -> object:
        judged.append(group)
        return judge(group, *given)  # type: ignore[arg-type]  # passed on as they came

    rig.registry.judge = count  # type: ignore[method-assign, assignment]
    await rig.run(Until.IDLE)
    assert (rig.row(ANNEX[0]).state, rig.row(ANNEX[0]).due_at) == (State.ABSENT, later_at)
    assert {rig.row(key).state for key in ANNEX[1:]} == {State.STORED}
    assert judged.count(GROUP) <= 20, "it is not judged over and over"


async def test_what_was_given_up_because_nobody_else_wanted_it_is_wanted_again() -> None:
    rig = EngineRig(needy_registry(*ANNEX))
    rig.manifest.rows[ANNEX[0]] = Item(ANNEX[0], "lib/cellar", State.ABSENT, 9, None, reason="not_wanted")
    await rig.run(Until.SEALED)
    row = rig.row(ANNEX[0])
    assert (row.state, row.lane, row.reason) == (State.STORED, "lib/desk", None)
    (wanted,) = rig.log.of(events.ITEMS_WANTED, group=GROUP)
    assert wanted["count"] == 3
    rig.check_agreement()


async def test_after_a_restart_nothing_that_came_is_asked_for_again() -> None:
    def answer(request: Request) -> Reply:
        return Reply(503) if request.url.endswith(ANNEX[2]) and not is_open else Reply(200, book())

    is_open = False
    rig = EngineRig(needy_registry(*ANNEX), answer)
    engine = await rig.begin(Until.SEALED)
    await rig.until(lambda: rig.manifest.rows.get(ANNEX[1]) and rig.row(ANNEX[1]).state is State.STORED)
    rig.supervisor.stop()
    await rig.ended(engine)
    asked, is_open = len(rig.http.requests), True
    await rig.run(Until.SEALED)
    assert [request.url.removeprefix("http://library.invalid/") for request in rig.http.requests[asked:]] == [
        ANNEX[2]
    ]
    rig.check_agreement()


@given(
    needs=st.dictionaries(st.sampled_from("abc"), st.sets(st.integers(1, 5)), max_size=3),
    order=st.permutations(range(1, 6)),
)
def test_each_group_is_told_once_by_the_last_of_what_it_waits_for(
    needs: dict[str, set[int]], order: list[int]
) -> None:
    supplements, told, left = Supplements(), list[str](), {group: set(keys) for group, keys in needs.items()}
    for group, keys in needs.items():
        supplements.expect(group, map(str, keys))
    for key in order:
        complete = supplements.settled(str(key))
        for keys in left.values():
            keys.discard(key)
        assert complete == sorted(
            group for group, keys in needs.items() if key in keys and not left[group] and group not in told
        )
        told += complete
    assert sorted(told) == sorted(group for group, keys in needs.items() if keys)


def test_a_group_that_needs_something_else_now_no_longer_waits_for_what_it_needed() -> None:
    supplements = Supplements()
    supplements.expect("a", ["1", "2"])
    supplements.expect("b", ["1"])
    supplements.expect("a", ["3"])
    assert supplements.settled("1") == ["b"]
    assert supplements.settled("2") == []
    assert supplements.settled("3") == ["a"]
    assert supplements.settled("3") == []


class Shelf:
    """Takes what a rebuild finds."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.groups: list[str] = []

    def add(self, changes: Sequence[Change]) -> None:
        self.keys += [change.item.key for change in changes]

    def add_groups(self, groups: Sequence[Group]) -> None:
        self.groups += [group.key for group in groups]


async def test_a_rebuilt_manifest_knows_what_lies_in_the_annex_and_takes_it_for_nothing_to_be_sealed() -> (
    None
):
    rig = EngineRig(needy_registry(*ANNEX))
    await rig.run(Until.SEALED)
    shelf = Shelf()
    await Rebuilder(rig.registry, rig.store, rig.clock, shelf).rebuild()
    assert sorted(shelf.keys) == sorted([*ANNEX, f"{GROUP}/list", f"{GROUP}/text"])
    assert shelf.groups == [GROUP]


async def test_a_lost_manifest_finds_what_came_for_a_shelf_by_itself_and_fetches_none_of_it_again() -> None:
    rig = EngineRig(needy_registry(*ANNEX))
    await rig.run(Until.SEALED)
    asked = len(rig.http.requests)
    rig.manifest.rows.clear()
    rig.manifest.kept_groups.clear()
    await rig.run(Until.SEALED)
    assert len(rig.http.requests) == asked
    rig.check_agreement()
