from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.sandbox import InProcessSandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from filingd.sandbox.server import Sandbox


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox at noon of Friday 20 November 2026, Brussels; its clock stands still."""
    async with InProcessSandbox() as running:
        yield running
