"""What every test has: a guard that fails it when filingd blocks the event loop, and patient property tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from blockbuster import BlockBusterFunction, blockbuster_ctx
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

# A busy machine is not a defect: properties are about what happens, never about how fast.
settings.register_profile("filingd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("filingd")

_NOT_IN_ITS_LIST = ("os.fsync", "os.fdatasync", "os.write", "os.ftruncate", "os.preadv", "os.pread")


@pytest.fixture(autouse=True)
def loop_guard() -> Iterator[None]:
    """Any call from filingd that may block, made on the event loop, raises BlockingError."""
    with blockbuster_ctx("filingd") as guard:
        for name in _NOT_IN_ITS_LIST:
            if name not in guard.functions:
                guard.functions[name] = BlockBusterFunction(None, name, scanned_modules="filingd")
                guard.functions[name].activate()
        yield
