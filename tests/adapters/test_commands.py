"""An operator's commands, as real processes: what they are given, how they end, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from filingd.adapters.commands import CommandRunner
from support.daemon import wait_until

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "NBB_KEY": "0" * 32, "CREDENTIALS_DIRECTORY": "/run/credentials/x"}
LONG_S = 60.0


def a_script(path: Path, *lines: str) -> list[str]:
    path.write_text("\n".join(["import os, signal, sys, time", *lines]) + "\n")
    return [sys.executable, str(path)]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_command_reads_the_event_and_succeeds(tmp_path: Path) -> None:
    took = tmp_path / "took"
    command = a_script(tmp_path / "hook.py", f"open({str(took)!r}, 'wb').write(sys.stdin.buffer.read())")
    assert await CommandRunner(ENVIRONMENT).run(command, b'{"seq":1}\n', LONG_S) is None
    assert took.read_bytes() == b'{"seq":1}\n'


async def test_a_command_that_reads_nothing_succeeds_as_well() -> None:
    assert await CommandRunner(ENVIRONMENT).run(["/bin/true"], b'{"seq":1}\n', LONG_S) is None


async def test_a_command_sees_no_key_of_the_daemon(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    command = a_script(tmp_path / "hook.py", f"open({str(seen)!r}, 'w').write(repr(dict(os.environ)))")
    assert await CommandRunner(ENVIRONMENT).run(command, b"", LONG_S) is None
    assert "PATH" in seen.read_text()
    assert "NBB_KEY" not in seen.read_text()
    assert "credentials" not in seen.read_text()


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["print('no such table'); sys.exit(3)"], "it ended with exit code 3; it said: no such table"),
        (
            ["sys.stderr.write('boom'); sys.stderr.flush(); os.kill(os.getpid(), 9)"],
            "it ended with signal 9; it said: boom",
        ),
        (["sys.exit(1)"], "it ended with exit code 1"),
    ],
)
async def test_a_failure_is_told_with_what_the_command_said(
    tmp_path: Path, lines: list[str], told: str
) -> None:
    assert await CommandRunner(ENVIRONMENT).run(a_script(tmp_path / "hook.py", *lines), b"", LONG_S) == told


async def test_a_command_that_is_not_there_is_told_with_the_remedy(tmp_path: Path) -> None:
    problem = await CommandRunner(ENVIRONMENT).run([str(tmp_path / "none")], b"", LONG_S)
    assert problem is not None
    assert "cannot be run: No such file or directory" in problem
    assert "may be executed" in problem


@pytest.mark.parametrize("heeds", [True, False], ids=["that heeds SIGTERM", "that does not"])
async def test_a_command_that_takes_too_long_is_ended_with_all_it_began(tmp_path: Path, heeds: bool) -> None:
    pids = tmp_path / "pids"
    command = a_script(
        tmp_path / "hook.py",
        "child = os.fork()",
        "" if heeds else "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        f"open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')",
        "time.sleep(600)",
    )
    problem = await CommandRunner(ENVIRONMENT).run(command, b"", 1.0)
    assert problem == "it did not end within 1 s and was ended"
    began = [int(pid) for pid in pids.read_text().split()]
    assert len(began) == 2
    wait_until(lambda: not any(is_running(pid) for pid in began), "end of the processes")


async def test_output_without_end_is_let_go() -> None:
    problem = await CommandRunner(ENVIRONMENT).run(
        ["/bin/sh", "-c", "yes | head -c 50000000; exit 1"], b"", LONG_S
    )
    assert problem is not None
    assert problem.startswith("it ended with exit code 1; it said: y")
    assert len(problem) < 5000


async def test_a_command_whose_child_keeps_its_output_open_ends_when_it_ends(tmp_path: Path) -> None:
    command = a_script(tmp_path / "hook.py", "os.fork() or time.sleep(600)")
    assert await CommandRunner(ENVIRONMENT).run(command, b"", LONG_S) is None


async def test_a_command_ends_when_nobody_waits_for_it_any_more(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    command = a_script(
        tmp_path / "hook.py", f"open({str(pid_file)!r}, 'w').write(str(os.getpid()))", "time.sleep(600)"
    )
    running = asyncio.create_task(CommandRunner(ENVIRONMENT).run(command, b"", LONG_S))

    def read_pid() -> str | None:
        return pid_file.read_text() if pid_file.exists() else None

    pid = int(await asyncio.to_thread(wait_until, read_pid, "process id") or "")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not is_running(pid)


async def test_no_descriptor_is_left_behind() -> None:
    runner = CommandRunner(ENVIRONMENT)
    await runner.run(["/bin/true"], b"", LONG_S)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        await runner.run(["/bin/false"], b"", LONG_S)
        await runner.run(["/nonexistent"], b"", LONG_S)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
