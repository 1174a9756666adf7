"""Hooks: in order, at least once, and never in the way of the mirror."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from engine.rig import GROUP, KEY, EngineRig
from fakes.registry import FakeRegistry
from filingd.core import events
from filingd.core.feed import FeedEvent, FeedKind
from filingd.engine.hooks import Hook
from filingd.engine.supervisor import Until

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND = ("/usr/local/bin/tell", "--all")
TIMEOUT_S = 60.0


class FakeCommands:
    """Notes what was told; fails as often as is said, and may be held."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self.gate: asyncio.Event | None = None

    async def run(self, command: Sequence[str], text: bytes, timeout_s: float) -> str | None:
        assert (command, timeout_s) == (COMMAND, TIMEOUT_S)
        if self.gate is not None:
            await self.gate.wait()
        self.told.append(json.loads(text))
        return self.failures.pop(0) if self.failures else None

    @property
    def subjects(self) -> list[str]:
        return [each.get("key") or each["group"] for each in self.told]


def a_rig(shelves: int = 3) -> tuple[EngineRig, FakeCommands]:
    """A rig that hooks can be hung into."""
    rig = EngineRig(FakeRegistry(shelves=shelves))
    return rig, FakeCommands()


def hang(rig: EngineRig, commands: FakeCommands, *names: str) -> None:
    """Have these hooks from the next build on."""
    rig.more_followers = lambda: [
        Hook(name, COMMAND, TIMEOUT_S, rig.manifest_port, commands, rig.clock, rig.log) for name in names
    ]


async def begun(rig: EngineRig, commands: FakeCommands, *names: str) -> None:
    """The hooks were there before anything happened."""
    for name in names:
        await rig.manifest.save_cursor(f"hooks.{name}", await rig.manifest.feed_head())
    hang(rig, commands, *names)


async def test_each_stored_body_and_each_sealed_day_is_told_once_and_in_order() -> None:
    rig, commands = a_rig()
    await begun(rig, commands, "on_stored", "on_sealed")
    await rig.run()
    stored = [each for each in commands.told if each["kind"] == "stored"]
    sealed = [each for each in commands.told if each["kind"] == "sealed"]
    assert [each["seq"] for each in stored] == sorted(each["seq"] for each in stored)
    assert sorted(each["key"] for each in stored) == sorted(rig.manifest.rows)
    assert sorted(each["group"] for each in sealed) == sorted(rig.manifest.kept_groups)
    row = rig.row()
    (of_key,) = [each for each in stored if each["key"] == KEY]
    assert (of_key["version"], of_key["path"], of_key["sha256"]) == (
        1,
        f"{KEY}.zip",
        row.sha256 and row.sha256.hex(),
    )
    await rig.run()
    assert len(commands.told) == len(stored) + len(sealed), "and none twice"


async def test_a_hook_that_is_new_begins_with_what_happens_from_now_on() -> None:
    rig, commands = a_rig()
    await rig.run()
    hang(rig, commands, "on_stored")
    await rig.run()
    assert commands.told == []
    rig.registry.shelves += 1
    await rig.run()
    assert sorted(commands.subjects) == ["lib/shelf-4/list", "lib/shelf-4/text"]


async def test_a_command_that_fails_is_run_again_for_the_same_event_and_later_ones_wait() -> None:
    rig, commands = a_rig(shelves=2)
    await begun(rig, commands, "on_sealed")
    commands.failures = ["it ended with exit code 1"] * 4
    running = await rig.begin()
    await rig.until(lambda: len(commands.told) == 6)
    rig.supervisor.stop()
    await rig.ended(running)
    seqs = [each["seq"] for each in commands.told]
    assert seqs[:5] == [seqs[0]] * 5
    assert seqs[5] > seqs[0]
    assert [line["failures"] for line in rig.log.of(events.HOOK_FAILED)] == [1, 2, 3, 4]
    assert len(rig.log.of(events.ALARM_RAISED, kind="hook_failing")) == 1


async def test_a_command_that_never_ends_holds_up_nothing_but_itself() -> None:
    rig, commands = a_rig(shelves=4)
    await begun(rig, commands, "on_stored", "on_sealed")
    commands.gate = asyncio.Event()
    running = await rig.begin()
    await rig.until(lambda: all(group.sealed_at is not None for group in rig.manifest.kept_groups.values())
                    and len(rig.manifest.kept_groups) == 4)  # fmt: skip
    assert commands.told == []
    rig.supervisor.stop()
    await rig.ended(running)
    rig.check_agreement()


async def test_what_was_not_passed_when_the_run_ended_is_told_by_the_next_one() -> None:
    rig, commands = a_rig(shelves=2)
    await begun(rig, commands, "on_sealed")
    commands.gate = asyncio.Event()
    running = await rig.begin()
    await rig.until(
        lambda: len([g for g in rig.manifest.kept_groups.values() if g.sealed_at is not None]) == 2
    )
    rig.supervisor.stop()
    await rig.ended(running)
    commands.gate = None
    await rig.run()
    assert sorted(commands.subjects) == [GROUP, "lib/shelf-2"]


async def test_a_run_that_ends_by_itself_waits_for_its_hooks_but_not_for_one_that_fails() -> None:
    rig, commands = a_rig(shelves=1)
    await begun(rig, commands, "on_sealed")
    commands.failures = ["it ended with exit code 1"] * 10_000
    await rig.run(Until.SEALED)
    assert len(commands.told) >= 1
    commands.failures = []
    await rig.run()
    assert commands.subjects[-1] == GROUP


async def test_a_manifest_that_was_put_back_from_a_copy_tells_what_happens_after_it() -> None:
    rig, commands = a_rig(shelves=1)
    await rig.manifest.save_cursor("hooks.on_sealed", 10_000)
    hang(rig, commands, "on_sealed")
    await rig.run()
    assert commands.subjects == [GROUP]


async def test_an_event_of_a_version_nobody_knows_any_more_is_told_all_the_same() -> None:
    rig, commands = a_rig(shelves=0)
    await begun(rig, commands, "on_stored")
    head = await rig.manifest.feed_head()
    rig.manifest.kept_feed.append(FeedEvent(head + 1, 0.0, FeedKind.STORED, "lib/shelf-9/list", 1))
    await rig.run()
    (told,) = commands.told
    assert (told["key"], told["version"]) == ("lib/shelf-9/list", 1)
    assert "path" not in told
