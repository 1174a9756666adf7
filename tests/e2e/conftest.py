"""Rigs for the end-to-end tests: real processes on real sockets, checked for manners at their end."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from e2e.rig import Rig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextlib.contextmanager
def _rigs(next_folder: Callable[[], Path]) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(**fields: Any) -> Rig:
        rigs.append(Rig(next_folder(), **fields))
        return rigs[-1]

    try:
        yield make
        for rig in rigs:
            rig.check_manners()
    finally:
        for rig in rigs:
            rig.close()


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    """Make a rig of this test; its manners are checked when the test is over."""
    names = iter(range(100))
    with _rigs(lambda: tmp_path / f"rig-{next(names)}") as make:
        yield make


@pytest.fixture(scope="module")
def make_shared_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Rig]]:
    """The same for a whole module."""
    with _rigs(lambda: tmp_path_factory.mktemp("rig") / "shared") as make:
        yield make
