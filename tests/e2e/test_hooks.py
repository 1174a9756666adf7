"""Hooks with a real daemon: each sealed day is told, across a kill, and a hanging command holds up nothing."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from support.daemon import days, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from e2e.rig import Rig

pytestmark = pytest.mark.slow
FIRST, LAST = "2026-11-16", "2026-11-19"
DAYS = days(FIRST, LAST)


def a_hook(path: Path, *lines: str) -> list[str]:
    """A command that appends what it is given to a file beside it."""
    text = [
        "import json, os, sys, time",
        "event = sys.stdin.read()",
        *lines,
        f"with open({str(path.with_suffix('.told'))!r}, 'a') as told: told.write(event)",
    ]
    path.write_text("\n".join(text) + "\n")
    return [sys.executable, str(path)]


def told(path: Path) -> list[dict[str, Any]]:
    file = path.with_suffix(".told")
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def hooked(rig: Rig, **hooks: object) -> None:
    """Have these hooks; they begin with what happens after this start."""
    rig.config.change({"hooks": hooks})


def test_each_sealed_day_and_each_stored_file_is_told_once(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    rig = make_rig(since=FIRST)
    sealed, stored = tmp_path / "sealed.py", tmp_path / "stored.py"
    hooked(rig, on_sealed=a_hook(sealed), on_stored=a_hook(stored))
    rig.run()
    assert rig.store.sealed_days() == DAYS
    assert [event["kind"] for event in told(sealed)] == ["sealed"] * len(DAYS)
    assert sorted(event["group"] for event in told(sealed)) == [f"nbb/authentic/{day}" for day in DAYS]
    held = {key: row.sha256 for key, row in rig.store.items().items() if row.state == "stored"}
    assert {event["key"]: event["sha256"] for event in told(stored)} == held
    seqs = [event["seq"] for event in told(stored)]
    assert seqs == sorted(set(seqs))
    rig.check_manners()


def test_a_killed_daemon_tells_the_event_again_and_leaves_none_out(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    rig = make_rig(since=FIRST)
    hook = tmp_path / "sealed.py"
    gate = tmp_path / "gate"
    lines = [
        f"with open({str(tmp_path / 'begun')!r}, 'a') as begun: begun.write(event)",
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)",
    ]
    hooked(rig, on_sealed=a_hook(hook, *lines))
    with rig.daemon() as daemon:
        wait_until(lambda: (tmp_path / "begun").exists() and rig.store.sealed_days() == DAYS, "sealed days")
        daemon.kill()
    assert told(hook) == []
    gate.touch()
    rig.run(until="idle")
    assert sorted({event["group"] for event in told(hook)}) == [f"nbb/authentic/{day}" for day in DAYS]
    begun = [json.loads(line)["seq"] for line in (tmp_path / "begun").read_text().splitlines()]
    assert begun[0] == begun[1], "what was under way is told again"


def test_a_command_that_fails_is_told_in_the_log_and_tried_again(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    rig = make_rig(since=LAST)
    hook, fails = tmp_path / "sealed.py", tmp_path / "fails"
    fails.touch()
    once = f"if os.path.exists({str(fails)!r}): os.unlink({str(fails)!r}); sys.exit('no such table')"
    hooked(rig, on_sealed=a_hook(hook, once))
    with rig.daemon() as daemon:
        wait_until(lambda: told(hook), "event that was told")
        assert daemon.stop().code == 0
    (line,) = daemon.lines("hook.failed")
    assert (line["hook"], line["failures"], line["detail"]) == (
        "on_sealed", 1, "it ended with exit code 1; it said: no such table",
    )  # fmt: skip
    rig.check_manners()


def test_a_command_that_hangs_is_ended_with_the_daemon(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    rig = make_rig(since=FIRST)
    pid_file = tmp_path / "pid"
    hooked(
        rig, on_stored=a_hook(tmp_path / "x.py", f"open({str(pid_file)!r}, 'w').write(str(os.getpid()))", "time.sleep(600)"),
    )  # fmt: skip
    with rig.daemon() as daemon:
        wait_until(lambda: pid_file.exists() and rig.store.sealed_days() == DAYS, "sealed days")
        assert daemon.stop().code == 0
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)
