"""`filingd manifest rebuild`, as a process on a store that a real daemon mirrored from a real sandbox."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from support.mirror import damage, filingd, mirrors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.daemon import StoreView
    from support.mirror import Mirror

pytestmark = pytest.mark.slow
DAY = "2026-11-18"
EVERY_DAY = [f"2026-11-{day}" for day in range(12, 20)]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    yield from mirrors(tmp_path_factory.mktemp("filled"))


@pytest.fixture
def mirror(filled: Mirror, tmp_path: Path) -> Mirror:
    return filled.copy(tmp_path / "copy")


def told(store: StoreView) -> dict[str, Any]:
    """What the manifest knows that the disk can tell: states, digests, seals, versions, evidence of emptiness."""
    items = {
        key: (row.state, row.size_bytes, row.sha256, row.version, row.due_at, row.nothing_count)
        for key, row in store.items().items()
    }
    days = {day: (row.is_sealed, row.facts) for day, row in store.days().items()}
    versions = {
        key: [
            (each["number"], each["route"], each["request_id"], each["content_digest"], each["facts"])
            for each in store.versions(*key.split("/")[2:])
        ]
        for key in items
    }
    return {"items": items, "days": days, "versions": versions}


def test_a_rebuilt_manifest_knows_what_the_old_one_knew_and_nothing_is_fetched_again(mirror: Mirror) -> None:
    before = told(mirror.store)
    mirror.store.root.joinpath("manifest.db").unlink()
    said = mirror.run("manifest", "rebuild", "--json")
    assert said.code == 0, said.err
    assert told(mirror.store) == before
    assert said.json["sealed_days"] == len(EVERY_DAY)
    asked = mirror.requests()
    with mirror.daemon(until="idle") as daemon:
        assert daemon.wait().code == 0
    assert mirror.requests() == asked
    assert mirror.store.sealed_days() == EVERY_DAY
    mirror.store.check_agreement()


def feed_of(mirror: Mirror) -> list[tuple[int, int, str]]:
    with sqlite3.connect(mirror.store.root / "manifest.db") as connection:
        return [tuple(row) for row in connection.execute("SELECT seq, kind, subject FROM feed ORDER BY seq")]


@pytest.mark.parametrize("old", ["kept", "lost"])
def test_the_feed_of_a_rebuilt_manifest_tells_all_that_is_there_with_numbers_that_were_never_used(
    mirror: Mirror, old: str
) -> None:
    before = feed_of(mirror)
    if old == "lost":
        mirror.store.root.joinpath("manifest.db").unlink()
    assert mirror.run("manifest", "rebuild").code == 0
    after = feed_of(mirror)
    assert after[0][0] > before[-1][0]
    assert [seq - after[0][0] for seq, _, _ in after] == list(range(len(after)))
    assert after[0][1:] == (0, "")
    assert {row[1:] for row in after[1:]} == {row[1:] for row in before[1:]}


def test_a_rebuilt_manifest_remembers_how_far_hooks_have_come(mirror: Mirror) -> None:
    with sqlite3.connect(mirror.store.root / "manifest.db") as connection:
        connection.execute("INSERT INTO cursors VALUES ('hooks.on_sealed', 3)")
    assert mirror.run("manifest", "rebuild").code == 0
    with sqlite3.connect(mirror.store.root / "manifest.db") as connection:
        assert connection.execute("SELECT * FROM cursors").fetchall() == [("hooks.on_sealed", 3)]


def test_a_manifest_that_is_no_database_is_replaced_and_kept_beside_the_new_one(mirror: Mirror) -> None:
    manifest = mirror.store.root / "manifest.db"
    before = told(mirror.store)
    manifest.write_bytes(b"not a database" * 1000)
    refused = mirror.run("verify")
    assert refused.code == 4
    assert "filingd manifest rebuild" in refused.err
    said = mirror.run("manifest", "rebuild", "--json")
    kept = mirror.store.root / said.json["kept_as"]
    assert kept.read_bytes() == b"not a database" * 1000
    assert told(mirror.store) == before


def test_an_emptied_manifest_is_not_begun_anew_without_a_word_but_made_from_the_files(mirror: Mirror) -> None:
    manifest = mirror.store.root / "manifest.db"
    before, asked = told(mirror.store), mirror.requests()
    manifest.write_bytes(b"")
    for command in (("run", "--until-idle"), ("verify",)):
        refused = mirror.run(*command)
        assert refused.code == 4
        assert "is empty (0 bytes)" in refused.err
        assert "filingd manifest rebuild" in refused.err
    assert manifest.read_bytes() == b""
    assert mirror.run("manifest", "rebuild").code == 0
    assert (told(mirror.store), mirror.requests()) == (before, asked)


def test_a_dry_run_finds_the_same_and_changes_nothing(mirror: Mirror) -> None:
    damage(mirror.store.zip_path(DAY, "json"))
    before = {path: path.read_bytes() for path in mirror.store.published()}
    manifest = (mirror.store.root / "manifest.db").read_bytes()
    said = mirror.run("manifest", "rebuild", "--dry-run", "--json")
    assert said.code == 1
    assert [each["path"] for each in said.json["refused"]] == [f"nbb/authentic/2026/11/{DAY}/json.zip"]
    assert {path: path.read_bytes() for path in mirror.store.published()} == before
    assert (mirror.store.root / "manifest.db").read_bytes() == manifest
    assert not (mirror.store.root / "quarantine").exists()


def test_a_damaged_body_goes_to_quarantine_its_day_is_open_and_the_next_run_mends_it(mirror: Mirror) -> None:
    damage(mirror.store.zip_path(DAY, "json"))
    said = mirror.run("manifest", "rebuild")
    assert said.code == 0
    assert f"nbb/authentic/2026/11/{DAY}/json.zip" in said.out
    assert mirror.store.sealed_days() == [day for day in EVERY_DAY if day != DAY]
    (kept,) = mirror.store.quarantined()
    assert kept.record["key"] == f"nbb/authentic/{DAY}/json"
    asked = mirror.requests()
    with mirror.daemon(until="sealed") as daemon:
        assert daemon.wait().code == 0
    assert mirror.requests() - asked == 1
    assert mirror.store.sealed_days() == EVERY_DAY
    mirror.store.check_sums(EVERY_DAY)


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_file_that_cannot_be_read_is_told_apart_and_stays_where_it_is(
    mirror: Mirror, options: tuple[str, ...]
) -> None:
    unreadable = mirror.store.zip_path(DAY, "json")
    unreadable.unlink()
    unreadable.symlink_to(unreadable.name)  # the system refuses to open it, to root as well
    damage(mirror.store.zip_path("2026-11-17", "json"))
    said = mirror.run("manifest", "rebuild", *options)
    assert said.code == 1
    where = "would go to quarantine/" if options else "moved to quarantine/"
    assert (
        f"damaged     1 file, {where}:\n            nbb/authentic/2026/11/2026-11-17/json.zip (" in said.out
    )
    assert (
        "unreadable  1 file, left where they are; repair the disk or the permissions and run again:\n"
        f"            nbb/authentic/2026/11/{DAY}/json.zip\n"
    ) in said.out
    assert unreadable.is_symlink()
    report = mirror.run("manifest", "rebuild", "--dry-run", "--json").json
    assert report["unreadable"] == [f"nbb/authentic/2026/11/{DAY}/json.zip"]
    assert f"nbb/authentic/2026/11/{DAY}/json.zip" not in [each["path"] for each in report["refused"]]


def test_a_damaged_superseded_body_is_said_to_stay_where_it_is(mirror: Mirror) -> None:
    former = mirror.store.root / f"versions/nbb/authentic/2026/11/{DAY}/json.v1.zip"
    former.parent.mkdir(parents=True)
    former.write_bytes(b"no zip")
    said = mirror.run("manifest", "rebuild")
    assert said.code == 0
    assert "damaged     1 file, superseded anyhow, left where they are:\n            versions/" in said.out
    assert former.read_bytes() == b"no zip"


def test_a_seal_that_does_not_hold_is_not_believed(mirror: Mirror) -> None:
    (mirror.store.folder(DAY) / "SHA256SUMS").unlink()
    seal = mirror.store.folder("2026-11-15") / "day.json"
    seal.write_text(seal.read_text().replace('"empty"', '"EMPTY"'))
    assert mirror.run("manifest", "rebuild").code == 0
    days = mirror.store.days()
    assert not days[DAY].is_sealed
    assert mirror.store.item(DAY, "json").state == "stored"  # the body proves itself
    assert "2026-11-15" not in days or not days["2026-11-15"].is_sealed
    assert (
        "nbb/authentic/2026-11-15/json" not in mirror.store.items()
    )  # the emptiness was only the seal's word
    asked = mirror.requests()
    with mirror.daemon(until="sealed") as daemon:
        assert daemon.wait().code == 0
    asked_for = {entry["date"] for entry in mirror.sandbox.admin.journal(after=asked)}
    assert asked_for == {"2026-11-15"}  # the one day whose word was not believed
    assert mirror.store.sealed_days() == EVERY_DAY


def test_superseded_bodies_become_versions_before_the_current_one(mirror: Mirror) -> None:
    for number in (1, 2):
        former = mirror.store.root / f"versions/nbb/authentic/2026/11/{DAY}/json.v{number}.zip"
        former.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(mirror.store.zip_path("2026-11-1" + str(number + 1), "json"), former)
    assert mirror.run("manifest", "rebuild", "--json").json["superseded"] == 2
    versions = mirror.store.versions(DAY, "json")
    assert [version["number"] for version in versions] == [1, 2, 3]
    current = mirror.store.item(DAY, "json")
    assert current.version == 3
    assert versions[2]["sha256"].hex() == current.sha256
    former_bytes = mirror.store.zip_path("2026-11-12", "json").read_bytes()
    assert versions[0]["sha256"] == hashlib.sha256(former_bytes).digest()
    assert mirror.run("verify").code == 0


def test_the_pace_and_the_parking_of_a_lane_survive_a_rebuild(mirror: Mirror) -> None:
    path = mirror.store.root / "manifest.db"
    with sqlite3.connect(path) as manifest:
        manifest.execute(
            "UPDATE lane_states SET slowdown = 4.0, park_reason = 'throttled', parked_until_at = 9e9"
        )
    manifest.close()
    assert mirror.run("manifest", "rebuild").code == 0
    with sqlite3.connect(path) as manifest:
        rows = manifest.execute("SELECT slowdown, park_reason, parked_until_at FROM lane_states").fetchall()
    manifest.close()
    assert set(rows) == {(4.0, "throttled", 9e9)}


def test_a_store_in_use_is_left_alone(mirror: Mirror) -> None:
    with mirror.daemon() as daemon:
        daemon.wait_for("sweep.finished")
        said = mirror.run("manifest", "rebuild")
        assert said.code == 4
        assert f"filingd run (pid {daemon.process.pid}" in said.err
        assert daemon.stop().code == 0


def test_a_file_nobody_knows_is_named_and_left_alone(mirror: Mirror) -> None:
    notes = mirror.store.folder(DAY) / "notes.txt"
    notes.write_text("mine")
    said = mirror.run("manifest", "rebuild", "--json")
    assert said.json["unknown"] == [notes.relative_to(mirror.store.root).as_posix()]
    assert notes.read_text() == "mine"
    assert mirror.store.sealed_days() == EVERY_DAY


def test_without_a_store_it_says_so_and_makes_none(tmp_path: Path) -> None:
    config = tmp_path / "filingd.toml"
    config.write_text(
        f'[store]\npath = "{tmp_path}/store"\n[nbb]\nsince = 2026-11-01\n[nbb.products.extract]\nkeys = ["env:K"]\n'
    )
    said = filingd("manifest", "rebuild", "--config", str(config))
    assert said.code == 4
    assert "There is no store at" in said.err
    assert not (tmp_path / "store").exists()


def test_the_json_report_counts_what_the_disk_holds(mirror: Mirror) -> None:
    report = json.loads(mirror.run("manifest", "rebuild", "--json").out)
    published = mirror.store.published()
    assert report["stored"] == len(published)
    assert report["stored_bytes"] == sum(path.stat().st_size for path in published)
    assert report["empty"] == 4 * len(EVERY_DAY) - len(published)
