"""The lock that keeps a store to one daemon, with real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from filingd.adapters.lock import LockHolder, StoreLock, lock_holder
from filingd.core.errors import DiskFaultError, ExitCode, StoreLockedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_795_000_000.0
HOLDER = """
import sys
from pathlib import Path
from filingd.adapters.lock import StoreLock
with StoreLock(Path(sys.argv[1]), started_at=12.5, purpose="filingd run"):
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_that_holds(root: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_and_told_who_holds_the_store(tmp_path: Path) -> None:
    with another_process_that_holds(tmp_path) as other:
        with pytest.raises(StoreLockedError) as caught:
            StoreLock(tmp_path, started_at=NOW).acquire()
        assert f"filingd run (pid {other.pid} on {socket.gethostname()})" in str(caught.value)
        assert str(tmp_path) in str(caught.value)
        assert caught.value.exit_code is ExitCode.STORE


def test_the_lock_file_of_a_killed_process_is_no_obstacle(tmp_path: Path) -> None:
    with another_process_that_holds(tmp_path) as other:
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert (tmp_path / "lock").read_bytes()
        assert lock_holder(tmp_path) is None
        with StoreLock(tmp_path, started_at=NOW):
            assert lock_holder(tmp_path) == LockHolder(os.getpid(), socket.gethostname(), "filingd run", NOW)


def test_a_store_is_free_again_after_a_release(tmp_path: Path) -> None:
    lock = StoreLock(tmp_path, started_at=NOW)
    lock.acquire()
    lock.release()
    lock.release()
    assert lock_holder(tmp_path) is None
    with another_process_that_holds(tmp_path):
        pass


def test_two_locks_of_one_process_exclude_each_other_too(tmp_path: Path) -> None:
    with (
        StoreLock(tmp_path, started_at=NOW, purpose="filingd manifest rebuild"),
        pytest.raises(StoreLockedError, match="filingd manifest rebuild"),
    ):
        StoreLock(tmp_path, started_at=NOW).acquire()


def test_whoever_looks_sees_the_holder_and_is_in_nobodys_way(tmp_path: Path) -> None:
    assert lock_holder(tmp_path) is None
    with another_process_that_holds(tmp_path) as other:
        assert lock_holder(tmp_path) == LockHolder(other.pid, socket.gethostname(), "filingd run", 12.5)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": 1}', b"\xff\xfe"])
def test_a_lock_file_with_any_content_neither_locks_nor_breaks(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "lock").write_bytes(content)
    assert lock_holder(tmp_path) is None
    with StoreLock(tmp_path, started_at=NOW):
        pass


def test_an_unreadable_holder_is_called_another_process(tmp_path: Path) -> None:
    with StoreLock(tmp_path, started_at=NOW):
        (tmp_path / "lock").write_bytes(b"")
        with pytest.raises(StoreLockedError, match="in use by another process"):
            StoreLock(tmp_path, started_at=NOW).acquire()


def test_a_store_that_is_missing_says_what_to_check(tmp_path: Path) -> None:
    with pytest.raises(DiskFaultError, match="folder exists"):
        StoreLock(tmp_path / "none", started_at=NOW).acquire()


def test_a_child_process_does_not_keep_the_lock_of_its_parent(tmp_path: Path) -> None:
    lock = StoreLock(tmp_path, started_at=NOW)
    lock.acquire()
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, close_fds=False) as child:
        lock.release()
        with another_process_that_holds(tmp_path):
            assert child.poll() is None
