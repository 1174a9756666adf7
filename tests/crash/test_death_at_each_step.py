"""SIGKILL at every named step of the publish sequence, then another start: nothing is lost, nothing is done twice."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from filingd.core import steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from crash.rehearsal import Rehearsal

pytestmark = pytest.mark.slow

DAYS = ["2026-11-18", "2026-11-19"]
FILINGS = dict.fromkeys(DAYS, 3)
AT_A_SECOND_LOOK_ALONE = {steps.PREVIOUS_KEPT, steps.SUMS_REMOVED}
AT_FIRST_STORES = [step for step in steps.PUBLISH_STEPS if step not in AT_A_SECOND_LOOK_ALONE]
# Ends as it began, but for the body that is set aside.
WITH_A_BAD_BODY = [steps.BODY_QUARANTINED]


@pytest.fixture(scope="module")
def mirrored(make_rehearsal: Callable[..., Rehearsal]) -> Iterator[Path]:
    """A store in which both days are sealed."""
    rehearsal = make_rehearsal(since=DAYS[0], filings_on=FILINGS)
    assert not rehearsal.run("idle")
    rehearsal.check_end(DAYS)
    yield rehearsal.store.root
    rehearsal.rig.close()


@pytest.fixture
def empty(make_rehearsal: Callable[..., Rehearsal]) -> Iterator[Rehearsal]:
    """An empty store."""
    rehearsal = make_rehearsal(since=DAYS[0], filings_on=FILINGS)
    yield rehearsal
    rehearsal.rig.check_manners()
    rehearsal.rig.close()


@pytest.fixture
def changed(empty: Rehearsal, mirrored: Path) -> Rehearsal:
    """A mirrored store whose registry has since changed every file, and where all are due for a second look."""
    shutil.copytree(mirrored, empty.store.root)
    for day in DAYS:
        empty.rig.admin.add_fault({"kind": "mutate", "change": "added"}, date=day)
    empty.want_everything_again()
    return empty


@pytest.mark.parametrize("step", AT_FIRST_STORES)
def test_a_death_at_a_first_store_loses_nothing_and_repeats_only_what_was_in_flight(
    empty: Rehearsal, step: str
) -> None:
    assert empty.run("idle", kill_at=f"{step}:1"), f"{step} was not reached"
    assert not empty.run("idle")
    empty.check_end(DAYS)
    empty.check_repeats(deaths=1)


@pytest.mark.parametrize("step", steps.PUBLISH_STEPS)
def test_a_death_while_a_body_is_replaced_loses_neither_the_old_nor_the_new_one(
    changed: Rehearsal, step: str
) -> None:
    # All are leased at once; at the other steps the first body is through, and others are at earlier steps.
    count = 1 if step == steps.ITEM_LEASED else 2
    assert changed.run("idle", kill_at=f"{step}:{count}"), f"{step} was not reached"
    assert not changed.run("idle")
    changed.check_end(DAYS)
    changed.check_repeats(deaths=1)
    assert {row.version for row in changed.store.items().values()} == {2}
    assert all(len(changed.store.kept_versions(day)) == 4 for day in DAYS)


def test_one_death_after_the_other_still_gets_there(changed: Rehearsal) -> None:
    while changed.run("idle", kill_at="*:24"):
        assert changed.deaths < 20, "it gets nowhere"
    assert changed.deaths >= 3
    changed.check_end(DAYS)
    changed.check_repeats(deaths=changed.deaths)


@pytest.mark.parametrize("step", WITH_A_BAD_BODY)
def test_a_death_while_a_bad_body_is_set_aside_never_gives_it_a_name(empty: Rehearsal, step: str) -> None:
    empty.rig.admin.add_fault({"kind": "damage", "damage": "crc"}, dataset="json", times=1)
    assert empty.run("idle", kill_at=f"{step}:1"), f"{step} was not reached"
    assert [found.record["problem"] for found in empty.store.quarantined()] == ["zip_bad_crc"]
    assert not empty.run("sealed")
    assert not empty.run("idle")
    empty.check_end(DAYS)


def test_every_named_step_is_rehearsed() -> None:
    named = {value for name, value in vars(steps).items() if name.isupper() and isinstance(value, str)}
    # Those of forgetting are rehearsed by tests/e2e/test_forgetting.py, those of dropping and withdrawing by
    # tests/engine/test_dropping.py, those of spending by test_money_across_deaths.py.
    assert named == {
        *AT_FIRST_STORES,
        *steps.PUBLISH_STEPS,
        *WITH_A_BAD_BODY,
        *steps.FORGET_STEPS,
        *steps.DROP_STEPS,
        steps.HELD_REMOVED,
        *steps.SPEND_STEPS,
    }
