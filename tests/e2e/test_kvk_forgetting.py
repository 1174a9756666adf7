"""A company of KVK is forgotten: its records, those of its branches, its rows in search results; and nothing brings them back."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from e2e.kvk_rig import KvkRig
from support.mirror import filingd

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from e2e.rig import SandboxPool

pytestmark = pytest.mark.slow
PARTS = ["basisprofiel", "naamgeving", "vestigingen", "vestigingsprofiel"]


@pytest.fixture
def kvk(tmp_path: Path, sandbox_pool: SandboxPool) -> Iterator[KvkRig]:
    """A saved search and all parts of what it finds, mirrored."""
    made = KvkRig(
        tmp_path, sandbox_pool, watch={"molens": {"parts": PARTS, "refresh_interval": "1 h"}}, knobs={"companies": 40}
    )  # fmt: skip
    made.search("molens", naam="molen")
    made.run()
    yield made
    made.rig.close()


def forget(kvk: KvkRig, number: str) -> None:
    at = dt.datetime.fromtimestamp(kvk.admin.clock(), dt.UTC).isoformat()
    said = filingd(
        "forget", number, "--reason", "order 12", "--yes", "--config", str(kvk.rig.config.path), "--rehearse-at", at,
        environment=kvk.rig.config.environment(),
    )  # fmt: skip
    assert said.code == 0, said.err


def holding(kvk: KvkRig, needles: Iterable[str]) -> list[str]:
    """The files of the mirror that hold any of these texts, or have one in their names; and the rows' own facts."""
    sought = [needle.encode() for needle in needles]
    files = [path for path in sorted(kvk.store.root.rglob("*.json")) if path.is_file()]
    found = [
        path.relative_to(kvk.store.root).as_posix()
        for path in files
        if any(needle in path.name.encode() or needle in path.read_bytes() for needle in sought)
    ]
    with sqlite3.connect(kvk.store.root / "manifest.db") as manifest:
        rows = manifest.execute("SELECT * FROM versions").fetchall()
    manifest.close()
    return [*found, *(repr(row) for row in rows if any(needle in repr(row).encode() for needle in sought))]


def chosen(kvk: KvkRig) -> tuple[str, list[str]]:
    """A company that the search finds, and its branches, of which it has several."""
    for number in sorted({number for number, part in kvk.held() if part == "vestigingen"}):
        branches = [row["vestigingsnummer"] for row in kvk.body(number, "vestigingen")["vestigingen"]]
        if len(branches) > 1:
            return number, branches
    raise AssertionError("nobody has two branches")


def test_nothing_of_a_forgotten_company_is_left_or_comes_again_and_all_others_stay(kvk: KvkRig) -> None:
    number, branches = chosen(kvk)
    before = kvk.held()
    assert {(branch, "vestigingsprofiel") for branch in branches} <= before.keys()
    forget(kvk, number)
    assert holding(kvk, [number, *branches]) == []
    others = {key: digest for key, digest in before.items() if key[0] not in (number, *branches)}
    assert kvk.held() == others
    (page,) = (kvk.store.root / "kvk" / "searches").rglob("1.json")
    assert {"forgotten": True} in json.loads(page.read_bytes())["resultaten"]
    asked = len(kvk.admin.journal())
    kvk.admin.clock_advance(7200)
    kvk.run()
    assert len(kvk.admin.journal()) > asked, "the others were looked at again"
    again = kvk.admin.journal()[asked:]
    assert not [entry for entry in again if entry["number"] in (number, *branches)]
    assert holding(kvk, [number, *branches]) == []
    assert kvk.held() == others
    assert [cell.is_sealed for cell in kvk.cells().values()] == [True], "rows still add up"


def test_a_branch_that_is_forgotten_leaves_its_company(kvk: KvkRig) -> None:
    number, (branch, *left) = chosen(kvk)
    forget(kvk, branch)
    assert holding(kvk, [branch]) == []
    rows = kvk.body(number, "vestigingen")["vestigingen"]
    assert [row["vestigingsnummer"] for row in rows] == left
    assert kvk.body(number, "basisprofiel")["kvkNummer"] == number
    asked = len(kvk.admin.journal())
    kvk.admin.clock_advance(7200)
    kvk.run()
    assert not [entry for entry in kvk.admin.journal()[asked:] if entry["number"] == branch]
    assert holding(kvk, [branch]) == []
