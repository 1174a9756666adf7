"""A store that is closed does not keep the process for the file it reads."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from fakes.store import NoSteps
from filingd.adapters.body import BodyExaminer
from filingd.adapters.store import DiskStore
from filingd.core.errors import StoreError
from filingd.core.model import BodyPlan

if TYPE_CHECKING:
    from pathlib import Path

SIZE_BYTES = 64 * 1024 * 1024


async def test_closing_breaks_off_a_check_between_two_buffers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "big.zip").open("wb") as file:
        file.truncate(SIZE_BYTES)
    store = DiskStore(tmp_path, NoSteps())
    begun, may_go_on, fed = threading.Event(), threading.Event(), list[int]()

    def feed(_: BodyExaminer, data: memoryview) -> None:
        fed.append(len(data))
        begun.set()
        assert may_go_on.wait(30)

    monkeypatch.setattr(BodyExaminer, "feed", feed)
    checking = asyncio.create_task(store.check("big.zip", BodyPlan(SIZE_BYTES)))
    await asyncio.to_thread(begun.wait, 30)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    may_go_on.set()
    with pytest.raises(StoreError, match="closed"):
        await checking
    await closing
    assert len(fed) == 1
