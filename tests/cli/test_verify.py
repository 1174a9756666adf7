"""`filingd verify`, as a process on a store that a real daemon mirrored from a real sandbox."""

from __future__ import annotations

import shutil
import sqlite3
from typing import TYPE_CHECKING

import pytest

from support.daemon import wait_until
from support.mirror import damage, filingd, mirrors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.mirror import Mirror

pytestmark = pytest.mark.slow
DAY = "2026-11-18"
OTHER_DAY = "2026-11-17"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    yield from mirrors(tmp_path_factory.mktemp("filled"))


@pytest.fixture
def mirror(filled: Mirror, tmp_path: Path) -> Mirror:
    return filled.copy(tmp_path / "copy")


def kinds(mirror: Mirror, *options: str) -> list[tuple[str, str]]:
    report = mirror.run("verify", "--json", *options).json
    return [(finding["kind"], finding["path"]) for finding in report["findings"]]


def test_a_sound_store_is_called_sound_with_exit_code_0_and_every_file_was_read(mirror: Mirror) -> None:
    said = mirror.run("verify", "--json")
    report = said.json
    published = mirror.store.published()
    assert (said.code, report["sound"], report["findings"]) == (0, True, [])
    assert report["checked"] == report["stored"] == len(published)
    assert report["checked_bytes"] == sum(path.stat().st_size for path in published)
    assert report["seals"] == len(mirror.store.sealed_days()) == 8


def test_a_changed_byte_a_missing_file_and_a_broken_seal_are_each_named_with_exit_code_1(
    mirror: Mirror,
) -> None:
    damage(mirror.store.zip_path(DAY, "json"))
    mirror.store.zip_path(OTHER_DAY, "pdf").unlink()
    with (mirror.store.folder("2026-11-14") / "SHA256SUMS").open("a") as sums:
        sums.write(f"{'0' * 64}  more.zip\n")
    said = mirror.run("verify")
    assert said.code == 1
    assert "DAMAGED      nbb/authentic/2026/11/2026-11-18/json.zip" in said.out
    assert "MISSING      nbb/authentic/2026/11/2026-11-17/pdf.zip" in said.out
    assert "SEAL         nbb/authentic/2026/11/2026-11-14/SHA256SUMS" in said.out
    assert "filingd verify --repair" in said.out


def test_a_file_nobody_knows_is_named_and_is_nobodys_fault(mirror: Mirror) -> None:
    (mirror.store.folder(DAY) / "notes.txt").write_text("mine")
    shutil.copy(mirror.store.zip_path(DAY, "json"), mirror.store.folder("2026-11-14") / "json.zip")
    said = mirror.run("verify", "--json")
    assert said.code == 0
    assert [(each["kind"], each["path"]) for each in said.json["findings"]] == [
        ("unknown", "nbb/authentic/2026/11/2026-11-14/json.zip"),
        ("unknown", "nbb/authentic/2026/11/2026-11-18/notes.txt"),
    ]


def test_a_changed_seal_is_found_even_when_its_day_holds_no_file(mirror: Mirror) -> None:
    seal = mirror.store.folder("2026-11-15") / "day.json"
    seal.write_text(seal.read_text().replace('"filings": 0', '"filings": 1'))
    assert kinds(mirror) == [("seal", "nbb/authentic/2026/11/2026-11-15/SHA256SUMS")]
    seal.unlink()
    assert kinds(mirror, "nbb/authentic/2026-11-15") == [
        ("seal", "nbb/authentic/2026/11/2026-11-15/SHA256SUMS")
    ]


def test_a_prefix_keeps_verification_to_its_items(mirror: Mirror) -> None:
    damage(mirror.store.zip_path(OTHER_DAY, "json"))
    said = mirror.run("verify", "--json", f"nbb/authentic/{DAY}")
    assert (said.code, said.json["checked"], said.json["seals"]) == (0, 4, 1)
    assert kinds(mirror, f"nbb/authentic/{OTHER_DAY}/json") == [
        ("damaged", f"nbb/authentic/2026/11/{OTHER_DAY}/json.zip")
    ]


def test_a_share_takes_what_was_not_verified_for_longest_so_that_repeated_runs_see_everything(
    mirror: Mirror,
) -> None:
    damage(mirror.store.zip_path(DAY, "xbrl"))
    seen = []
    stored = len(mirror.store.published())
    for day in range(21, 25):
        report = mirror.run("verify", "--json", "--percent", "25", at=f"2026-11-{day}T12:30+01:00").json
        assert report["checked"] == -(-stored // 4)
        seen += [finding["path"] for finding in report["findings"]]
    assert f"nbb/authentic/2026/11/{DAY}/xbrl.zip" in seen


def test_files_verified_lately_are_left_out_by_max_age(mirror: Mirror) -> None:
    two_days_later = "2026-11-22T12:30+01:00"
    assert mirror.run("verify", "--json", "--max-age", "3 d", at=two_days_later).json["checked"] == 0
    all_of_them = len(mirror.store.published())
    assert (
        mirror.run("verify", "--json", "--max-age", "1 d", at=two_days_later).json["checked"] == all_of_them
    )
    assert mirror.run("verify", "--json", "--max-age", "1 d", at=two_days_later).json["checked"] == 0


def test_no_file_is_begun_when_the_time_is_up_and_the_report_says_how_many_are_left(mirror: Mirror) -> None:
    said = mirror.run("verify", "--max-duration", "1 ms")
    assert said.code == 0
    assert f"no time for {len(mirror.store.published())} more" in said.out


def test_repair_without_a_daemon_fetches_exactly_what_was_damaged_and_seals_again(mirror: Mirror) -> None:
    damage(mirror.store.zip_path(DAY, "json"))
    mirror.store.zip_path(OTHER_DAY, "pdf").unlink()
    before = mirror.requests()
    said = mirror.run("verify", "--repair")
    assert said.code == 0, said.out
    assert "fetched again by extract/json" in said.out
    assert mirror.requests() - before == 2
    assert mirror.store.sealed_days() == [f"2026-11-{day}" for day in range(12, 20)]
    mirror.store.check_sums([DAY, OTHER_DAY])
    mirror.store.check_agreement()
    (kept,) = mirror.store.quarantined()
    assert kept.record["key"] == f"nbb/authentic/{DAY}/json"
    assert kept.path.read_bytes() != mirror.store.zip_path(DAY, "json").read_bytes()


def test_repair_writes_a_broken_seal_anew_without_asking_the_registry(mirror: Mirror) -> None:
    (mirror.store.folder(DAY) / "SHA256SUMS").write_text("nonsense\n")
    (mirror.store.folder("2026-11-15") / "day.json").unlink()
    before = mirror.requests()
    said = mirror.run("verify", "--repair", "--json")
    assert (said.code, mirror.requests() - before) == (0, 0)
    assert [finding["what"] for finding in said.json["findings"]] == ["sealed anew", "sealed anew"]
    mirror.store.check_sums([DAY, "2026-11-15"])


def test_repair_beside_a_running_daemon_leaves_the_fetching_to_it(mirror: Mirror) -> None:
    with mirror.daemon() as daemon:
        daemon.wait_for("sweep.finished")
        damage(mirror.store.zip_path(DAY, "json"))
        said = mirror.run("verify", "--repair")
        assert said.code == 1
        assert f"filingd run (pid {daemon.process.pid}) fetches it again by extract/json" in said.out
        daemon.wait_for("item.stored", key=f"nbb/authentic/{DAY}/json")
        daemon.wait_for("day.sealed", group=f"nbb/authentic/{DAY}")
        assert daemon.stop().code == 0
    mirror.store.check_sums([DAY])
    mirror.store.check_agreement()
    assert mirror.run("verify").code == 0


def test_verification_beside_a_running_daemon_needs_no_lock(mirror: Mirror) -> None:
    with mirror.daemon() as daemon:
        daemon.wait_for("sweep.finished")
        assert mirror.run("verify").code == 0
        assert daemon.stop().code == 0


def test_what_no_route_serves_any_more_is_said_and_its_day_stays_open(mirror: Mirror) -> None:
    mirror.config.change({"nbb": {"extract_max_age_days": 1, "extract_last_try_age_days": 1}})
    mirror.config.products = ("extract",)
    mirror.config.change({"nbb": {"archive_min_age_days": 1}}).write()
    damage(mirror.store.zip_path("2026-11-16", "json"))
    said = mirror.run("verify", "--repair")
    assert said.code == 1
    assert "nothing serves it any more: only what is in quarantine/ is left of it" in said.out
    assert "2026-11-16" not in mirror.store.sealed_days()
    assert len(mirror.store.quarantined()) == 1


def test_a_refused_key_ends_a_repair_with_the_item_left_to_the_next_run(mirror: Mirror) -> None:
    damage(mirror.store.zip_path(DAY, "json"))
    wrong = {name: "f" * 31 + str(number) for number, name in enumerate(mirror.config.environment())}
    said = filingd("verify", "--repair", "--config", str(mirror.config.path), "--rehearse-at", "2026-11-20T12:30+01:00",
                   environment=wrong)  # fmt: skip
    assert said.code == 1
    assert "the next `filingd run` goes on with it" in said.out
    with mirror.daemon(until="sealed") as daemon:
        wait_until(lambda: daemon.lines("rescue.finished"), "start")
        daemon.stop()


def test_what_is_had_again_after_damage_is_the_version_it_was(mirror: Mirror) -> None:
    mirror.store.zip_path(DAY, "json").unlink()
    assert mirror.run("verify", "--repair").code == 0
    assert mirror.store.item(DAY, "json").version == 1
    assert mirror.store.kept_versions(DAY) == []
    mirror.store.check_sums([DAY])


def test_a_superseded_body_is_read_too_and_its_absence_is_no_fault(mirror: Mirror) -> None:
    key = f"nbb/authentic/{DAY}/json"
    former = mirror.store.root / f"versions/nbb/authentic/2026/11/{DAY}/json.v1.zip"
    columns = "path, size_bytes, sha256, stored_ms, route_id, request_id, etag, content_digest, member_count, verified_ms, facts"
    with sqlite3.connect(mirror.store.root / "manifest.db") as manifest:
        manifest.execute(f"INSERT INTO versions (key, number, {columns}) SELECT key, 2, {columns} FROM versions WHERE key = ?",
                         (key,))  # fmt: skip
        manifest.execute("UPDATE items SET version = 2 WHERE key = ?", (key,))
    manifest.close()
    assert mirror.run("verify", "--json", key).json["findings"] == [], "the same content as version 1"

    former.parent.mkdir(parents=True)
    shutil.copy(mirror.store.zip_path(DAY, "json"), former)
    damage(former)
    assert kinds(mirror, key) == [("old_version", former.relative_to(mirror.store.root).as_posix())]
    assert mirror.run("verify", key).code == 1

    former.unlink()
    with sqlite3.connect(mirror.store.root / "manifest.db") as manifest:
        manifest.execute("UPDATE versions SET sha256 = zeroblob(32), content_digest = NULL WHERE number = 1 AND key = ?",
                         (key,))  # fmt: skip
    manifest.close()
    assert kinds(mirror, key) == [("old_version_gone", former.relative_to(mirror.store.root).as_posix())]
    assert mirror.run("verify", key).code == 0


def test_without_a_manifest_it_says_so_and_makes_none(tmp_path: Path) -> None:
    config = tmp_path / "filingd.toml"
    config.write_text(
        f'[store]\npath = "{tmp_path}/store"\n[nbb]\nsince = 2026-11-01\n[nbb.products.extract]\nkeys = ["env:K"]\n'
    )
    said = filingd("verify", "--config", str(config))
    assert said.code == 4
    assert "There is no manifest at" in said.err
    assert not (tmp_path / "store").exists()


def test_a_duration_without_a_unit_is_a_usage_error(mirror: Mirror) -> None:
    said = mirror.run("verify", "--max-age", "30")
    assert said.code == 2
    assert "write a number and a unit" in said.err
