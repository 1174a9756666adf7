"""The guard of tests/conftest.py catches what it is there for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from blockbuster import BlockingError

from filingd.adapters.disk import Disk, Syscalls

if TYPE_CHECKING:
    from pathlib import Path


async def test_a_sync_on_the_event_loop_fails_the_test(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(BlockingError, match="fsync"):
            Syscalls().fsync(descriptor)
    finally:
        os.close(descriptor)


async def test_writing_a_file_on_the_event_loop_fails_the_test(tmp_path: Path) -> None:
    with pytest.raises(BlockingError):
        Disk(Syscalls()).write_file(tmp_path / "x", b"data", sync=False)


def test_a_sync_outside_of_an_event_loop_is_nobodys_business(tmp_path: Path) -> None:
    Disk(Syscalls()).write_file(tmp_path / "x", b"data", sync=True)
