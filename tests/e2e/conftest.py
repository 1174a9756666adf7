"""Rigs for the end-to-end tests: real processes on real sockets, checked for manners at their end."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from e2e.kvk_rig import KvkRig
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


@contextlib.contextmanager
def _rigs(folder: Path, pool: SandboxPool) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(**fields: Any) -> Rig:
        rigs.append(Rig(folder / f"rig-{len(rigs)}", pool, **fields))
        return rigs[-1]

    try:
        yield make
        for rig in rigs:
            rig.check_manners()
    finally:
        for rig in rigs:
            rig.close()


@pytest.fixture
def make_rig(tmp_path: Path, sandbox_pool: SandboxPool) -> Iterator[Callable[..., Rig]]:
    """Make a rig of this test; its manners are checked when the test is over."""
    with _rigs(tmp_path, sandbox_pool) as make:
        yield make


@pytest.fixture(scope="module")
def make_shared_rig(
    tmp_path_factory: pytest.TempPathFactory, sandbox_pool: SandboxPool
) -> Iterator[Callable[..., Rig]]:
    """The same for a whole module."""
    with _rigs(tmp_path_factory.mktemp("shared"), sandbox_pool) as make:
        yield make


@pytest.fixture
def make_kvk(tmp_path: Path, sandbox_pool: SandboxPool) -> Iterator[Callable[..., KvkRig]]:
    """Make rigs of KVK alone; their manners are checked when the test is over."""
    rigs: list[KvkRig] = []

    def make(**fields: Any) -> KvkRig:
        rigs.append(KvkRig(tmp_path / f"kvk-{len(rigs)}", sandbox_pool, **fields))
        return rigs[-1]

    try:
        yield make
        for one in rigs:
            one.rig.check_manners()
    finally:
        for one in rigs:
            one.rig.close()
