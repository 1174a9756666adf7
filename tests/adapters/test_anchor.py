"""What is held stays told apart from everything else that comes to bear its name."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from filingd.adapters.anchor import Anchor
from filingd.core.errors import StoreReplacedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store, reached by a link as operators like to have it."""
    real = tmp_path / "volume" / "store"
    real.mkdir(parents=True)
    for name in ("lock", "manifest.db"):
        (real / name).write_bytes(b"")
    (tmp_path / "store").symlink_to(real)
    return tmp_path / "store"


@pytest.fixture
def anchor(store: Path) -> Iterator[Anchor]:
    made = Anchor([store, store / "lock", store / "manifest.db", store / "not-there"])
    yield made
    made.close()


def moved(store: Path) -> None:
    store.resolve().rename(store.parent / "elsewhere")


def moved_and_made_anew(store: Path) -> None:
    real = store.resolve()
    real.rename(store.parent / "elsewhere")
    real.mkdir()


def parent_moved(store: Path) -> None:
    store.resolve().parent.rename(store.parent / "elsewhere")


def link_turned(store: Path) -> None:
    (store.parent / "other").mkdir()
    store.unlink()
    store.symlink_to(store.parent / "other")


def lock_removed(store: Path) -> None:
    (store / "lock").unlink()


def lock_made_anew(store: Path) -> None:
    (store / "lock").unlink()
    (store / "lock").write_bytes(b"")


def manifest_removed(store: Path) -> None:
    (store / "manifest.db").unlink()


def manifest_restored_from_a_backup(store: Path) -> None:
    (store / "manifest.db.restored").write_bytes(b"")
    (store / "manifest.db.restored").rename(store / "manifest.db")


def root_became_a_file(store: Path) -> None:
    store.unlink()
    store.write_bytes(b"")


def link_in_a_circle(store: Path) -> None:
    store.unlink()
    store.symlink_to(store)


@pytest.mark.parametrize(
    "happens",
    [
        moved,
        moved_and_made_anew,
        parent_moved,
        link_turned,
        lock_removed,
        lock_made_anew,
        manifest_removed,
        manifest_restored_from_a_backup,
        root_became_a_file,
        link_in_a_circle,
    ],
)
def test_what_is_exchanged_is_noticed(anchor: Anchor, store: Path, happens: Callable[[Path], None]) -> None:
    anchor.check()
    happens(store)
    with pytest.raises(StoreReplacedError, match="moved, removed, replaced or unmounted"):
        anchor.check()


def test_what_changes_within_is_no_exchange(anchor: Anchor, store: Path) -> None:
    (store / "manifest.db").write_bytes(b"more")
    (store / "not-there").write_bytes(b"now it is")
    (store / "lock").chmod(0o600)
    anchor.check()


def test_what_appears_later_is_held_from_then_on(anchor: Anchor, store: Path) -> None:
    (store / "not-there").mkdir()
    anchor.check()
    (store / "not-there").rename(store / "moved")
    (store / "not-there").mkdir()
    with pytest.raises(StoreReplacedError, match="not-there"):
        anchor.check()


def test_what_is_put_back_is_as_good_as_before(anchor: Anchor, store: Path) -> None:
    real = store.resolve()
    real.rename(store.parent / "elsewhere")
    (store.parent / "elsewhere").rename(real)
    anchor.check()


def test_letting_go_of_a_manifest_leaves_its_locks_alone(tmp_path: Path) -> None:
    path = tmp_path / "manifest.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE t (a)")
    connection.execute("BEGIN EXCLUSIVE")
    anchor = Anchor([path])
    anchor.check()
    anchor.close()
    other = f"import sqlite3; sqlite3.connect({os.fspath(path)!r}, timeout=0).execute('BEGIN EXCLUSIVE')"
    tried = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True, check=False)
    assert "database is locked" in tried.stderr
    connection.execute("ROLLBACK")
    connection.close()
    assert subprocess.run([sys.executable, "-c", other], check=False).returncode == 0
