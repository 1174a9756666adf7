"""Rehearsals of sudden death: a real daemon, a sandbox that is shared by the tests of a process, a store each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from crash.rehearsal import Rehearsal
from e2e.rig import Rig, SandboxPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def sandbox_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxPool]:
    """Running sandboxes, used again and again."""
    pool = SandboxPool(tmp_path_factory.mktemp("sandboxes"))
    yield pool
    pool.close()


@pytest.fixture(scope="session")
def make_rehearsal(
    tmp_path_factory: pytest.TempPathFactory, sandbox_pool: SandboxPool
) -> Callable[..., Rehearsal]:
    """Make a rehearsal on an empty store. Close its rig when it is over."""

    def make(**fields: Any) -> Rehearsal:
        folder: Path = tmp_path_factory.mktemp("store")
        # Totals and ETags are given, so that partial files have a record and are resumed.
        return Rehearsal(Rig(folder, sandbox_pool, framing="length", ranges="correct", **fields))

    return make
