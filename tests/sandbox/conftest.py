from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from filingd.sandbox.seasons import belgian_holidays
from support.sandbox import InProcessSandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from filingd.sandbox.server import Sandbox


@pytest.fixture(scope="session", autouse=True)
def holidays_known() -> None:
    """The library of holidays reads files for each new year; a test that asks the generator itself does so in an event loop."""
    for year in range(1977, 2028):
        belgian_holidays(year)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox at noon of Friday 20 November 2026, Brussels; its clock stands still."""
    async with InProcessSandbox() as running:
        yield running
