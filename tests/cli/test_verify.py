"""`filingd verify`, as a process on a store that a real daemon mirrored from a real sandbox."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from filingd.adapters.manifest_commands import ManifestWriter
from filingd.core.model import Change
from support.daemon import wait_until
from support.mirror import INSTANT, Said, damage, filingd, mirrors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.mirror import Mirror

pytestmark = pytest.mark.slow
DAY = "2026-11-18"
OTHER_DAY = "2026-11-17"
KEY = f"nbb/authentic/{DAY}/json"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    yield from mirrors(tmp_path_factory.mktemp("filled"))


@pytest.fixture
def mirror(filled: Mirror, tmp_path: Path) -> Mirror:
    return filled.copy(tmp_path / "copy")


def last_line(said: Said) -> str:
    return said.out.splitlines()[-1]


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


def with_an_older_version(mirror: Mirror) -> Path:
    """Let the manifest say that the body of KEY is its second one, of the same content as the first; where that would lie."""
    columns = "path, size_bytes, sha256, stored_ms, route_id, request_id, etag, content_digest, member_count, verified_ms, facts"
    with sqlite3.connect(mirror.store.root / "manifest.db") as manifest:
        manifest.execute(f"INSERT INTO versions (key, number, {columns}) SELECT key, 2, {columns} FROM versions WHERE key = ?",
                         (KEY,))  # fmt: skip
        manifest.execute("UPDATE items SET version = 2 WHERE key = ?", (KEY,))
    manifest.close()
    return mirror.store.root / f"versions/nbb/authentic/2026/11/{DAY}/json.v1.zip"


def with_a_damaged_older_version(mirror: Mirror) -> str:
    """The same, and a damaged body lies there; where, relative to the store."""
    former = with_an_older_version(mirror)
    former.parent.mkdir(parents=True)
    shutil.copy(mirror.store.zip_path(DAY, "json"), former)
    damage(former)
    return former.relative_to(mirror.store.root).as_posix()


def test_a_superseded_body_is_read_too_and_its_absence_is_no_fault(mirror: Mirror) -> None:
    former = with_an_older_version(mirror)
    assert mirror.run("verify", "--json", KEY).json["findings"] == [], "the same content as version 1"

    with sqlite3.connect(mirror.store.root / "manifest.db") as manifest:
        manifest.execute("UPDATE versions SET sha256 = zeroblob(32), content_digest = NULL WHERE number = 1 AND key = ?",
                         (KEY,))  # fmt: skip
    manifest.close()
    assert kinds(mirror, KEY) == [("old_version_gone", former.relative_to(mirror.store.root).as_posix())]
    assert mirror.run("verify", KEY).code == 0


def test_a_damaged_superseded_body_is_set_aside_once_and_not_named_for_ever(mirror: Mirror) -> None:
    former = with_a_damaged_older_version(mirror)
    assert kinds(mirror, KEY) == [("old_version", former)]
    said = mirror.run("verify", KEY)
    assert said.code == 1
    assert (
        last_line(said) == "not everything is sound: `filingd verify --repair` sets the older version aside"
    )

    before = mirror.requests()
    said = mirror.run("verify", "--repair", KEY)
    assert (said.code, mirror.requests() - before) == (1, 0), "a loss is said once, with exit code 1"
    (kept,) = mirror.store.quarantined()
    where = kept.path.relative_to(mirror.store.root).as_posix()
    assert where.startswith(f"quarantine/{former}.")
    assert f"the damaged body lies in {where}" in said.out
    assert "set aside for good: no registry serves an older version" in said.out
    assert last_line(said) == "all that is current is sound; an older version is lost"
    assert kept.record["key"] == KEY

    for options in ((), ("--repair",)):
        again = mirror.run("verify", "--json", *options)
        assert (again.code, again.json["findings"]) == (0, [])
    assert DAY in mirror.store.sealed_days(), "no seal speaks of an older version"
    shown = filingd("items", "show", KEY, "--config", str(mirror.config.path))
    assert f"damaged on disk since; what is left of it lies in {where}" in shown.out
    assert f"quarantined  {where}" in shown.out


def test_a_damaged_superseded_body_is_set_aside_together_with_the_current_one(mirror: Mirror) -> None:
    with_a_damaged_older_version(mirror)
    damage(mirror.store.zip_path(DAY, "json"))
    said = mirror.run("verify", "--repair", KEY)
    assert "fetched again by extract/json" in said.out
    assert "set aside for good" in said.out
    assert len(mirror.store.quarantined()) == 2
    assert mirror.run("verify").code == 0


def test_a_damaged_superseded_body_is_set_aside_beside_a_running_daemon(mirror: Mirror) -> None:
    with_a_damaged_older_version(mirror)
    with mirror.daemon() as daemon:
        daemon.wait_for("sweep.finished")
        said = mirror.run("verify", "--repair", KEY)
        assert last_line(said) == "all that is current is sound; an older version is lost"
        assert mirror.run("verify", KEY).code == 0
        assert daemon.stop().code == 0


def test_a_superseded_body_that_cannot_be_read_stays_where_it_is_and_no_repair_is_promised(
    mirror: Mirror,
) -> None:
    former = with_an_older_version(mirror)
    former.parent.mkdir(parents=True)
    former.symlink_to(former.name)  # the system refuses to open it, to root as well
    for options in ((), ("--repair",)):
        said = mirror.run("verify", *options, KEY)
        assert said.code == 1
        assert "it cannot be read and stays where it is: see to the disk or the permissions" in said.out
        assert last_line(said) == "not everything is sound"
    assert former.is_symlink()


def test_the_last_word_says_what_a_repair_would_really_do(mirror: Mirror) -> None:
    (mirror.store.folder(DAY) / "SHA256SUMS").write_text("nonsense\n")
    said = mirror.run("verify", f"nbb/authentic/{DAY}")
    assert last_line(said) == "not everything is sound: `filingd verify --repair` seals the day anew"
    with_a_damaged_older_version(mirror)
    mirror.store.zip_path(OTHER_DAY, "pdf").unlink()
    assert last_line(mirror.run("verify")) == (
        "not everything is sound: `filingd verify --repair` fetches again what is damaged or missing and "
        "seals the day anew and sets the older version aside"
    )


def test_a_broken_seal_beside_a_running_daemon_is_left_to_it(mirror: Mirror) -> None:
    with mirror.daemon() as daemon:
        daemon.wait_for("sweep.finished")
        (mirror.store.folder(DAY) / "SHA256SUMS").write_text("nonsense\n")
        said = mirror.run("verify", "--repair", f"nbb/authentic/{DAY}")
        who = f"filingd run (pid {daemon.process.pid})"
        if said.code:  # it may have sealed the day before we looked
            assert f"{who} judges it anew" in said.out
            assert last_line(said) == f"not everything is sound yet: {who} goes on with it"
        daemon.wait_for("day.sealed", group=f"nbb/authentic/{DAY}")
        assert daemon.stop().code == 0
    mirror.store.check_sums([DAY])


# ------------------------------------------------------------------------------------------ who may only read

READ_ONLY_HERE = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'  # seen by this process alone
NOT_REMEMBERED = "this store can only be read here: what was verified when is not remembered"


def read_only(mirror: Mirror, *command: str) -> Said:
    """Run a command with the store mounted read-only, which stops root as well."""
    namespace = ["unshare", "--mount", *(() if os.geteuid() == 0 else ("--user", "--map-root-user"))]
    mounted = [*namespace, "sh", "-c", READ_ONLY_HERE, "sh", str(mirror.store.root)]
    if subprocess.run([*mounted, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("a read-only mount of its own needs the right to make one")
    return said_by(mirror, [*mounted, sys.executable, "-m", "filingd"], command)


def said_by(mirror: Mirror, program: list[str], command: tuple[str, ...], **given: Any) -> Said:
    done = subprocess.run(
        [*program, *command, "--config", str(mirror.config.path), "--rehearse-at", INSTANT],
        capture_output=True, text=True, check=False, timeout=60, **given,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return Said(done.returncode, done.stdout, done.stderr)


def everything(mirror: Mirror) -> dict[str, tuple[int, int]]:
    """Size and time of each file of the store."""
    files = [path for path in mirror.store.root.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def test_a_store_that_can_only_be_read_is_verified_and_nothing_is_written_or_remembered(
    mirror: Mirror,
) -> None:
    shutil.rmtree(mirror.store.root / "index")
    before = everything(mirror)
    said = read_only(mirror, "verify")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[-2:] == [NOT_REMEMBERED, "all of it is sound"]
    assert everything(mirror) == before
    report = read_only(mirror, "verify", "--json").json
    assert (report["checked"], report["remembered"]) == (len(mirror.store.published()), False)
    assert mirror.run("verify", "--json").json["remembered"] is True
    assert NOT_REMEMBERED not in mirror.run("verify").out

    damage(mirror.store.zip_path(DAY, "json"))
    said = read_only(mirror, "verify", KEY)
    assert said.code == 1
    assert f"DAMAGED      nbb/authentic/2026/11/{DAY}/json.zip" in said.out


def test_a_store_that_can_only_be_read_is_verified_while_its_manifest_is_being_written(
    mirror: Mirror,
) -> None:
    with ManifestWriter(mirror.store.root / "manifest.db", clock_now=lambda: 0.0) as writer:
        writer.note_verified(KEY, 1.0)
        assert (mirror.store.root / "manifest.db-wal").stat().st_size > 0
        said = read_only(mirror, "verify")
        assert (said.code, NOT_REMEMBERED in said.out) == (0, True)


def test_a_snapshot_of_a_store_in_the_middle_of_its_work_is_verified_with_what_its_log_holds(
    mirror: Mirror, tmp_path: Path
) -> None:
    with ManifestWriter(mirror.store.root / "manifest.db", clock_now=lambda: 0.0) as writer:
        (item,) = writer.items([KEY]).values()
        writer.record([Change(item.state, replace(item, sha256=bytes(32)))])
        snapshot = mirror.copy(tmp_path / "snapshot")
    said = read_only(snapshot, "verify", "--json")
    assert said.code == 1, said.err
    assert [finding["key"] for finding in said.json["findings"] if finding["kind"] == "damaged"] == [KEY]


def test_a_store_that_can_only_be_read_is_not_repaired_and_the_error_says_why(mirror: Mirror) -> None:
    damage(mirror.store.zip_path(DAY, "json"))
    before = everything(mirror)
    said = read_only(mirror, "verify", "--repair")
    assert (said.code, said.out) == (4, "")
    assert (
        f"The store {mirror.store.root} can only be read here, so nothing of it can be repaired." in said.err
    )
    assert everything(mirror) == before


VERIFY_AS_NOBODY = """
import os, sys
from filingd.cli.root import run
assert run(["verify", *sys.argv[2:]]) == 0  # and every module is loaded, whoever may read it
print("now as nobody", flush=True)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sys.exit(run([*sys.argv[1].split(), *sys.argv[2:]]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_who_may_only_read_verifies_the_store(mirror: Mirror) -> None:
    for place in (mirror.config.path, mirror.store.root, *mirror.store.root.rglob("*")):
        place.chmod(0o755 if place.is_dir() else 0o644)
    for parent in list(mirror.store.root.parents)[:-2]:
        parent.chmod(parent.stat().st_mode | 0o055)
    said = said_by(mirror, [sys.executable, "-c", VERIFY_AS_NOBODY], ("verify",))
    assert (said.code, said.err) == (0, "")
    as_root, as_nobody = said.out.split("now as nobody\n")
    assert NOT_REMEMBERED not in as_root
    assert as_nobody.splitlines()[-2:] == [NOT_REMEMBERED, "all of it is sound"]
    said = said_by(mirror, [sys.executable, "-c", VERIFY_AS_NOBODY], ("verify --repair",))
    assert said.code == 4
    assert "can only be read here, so nothing of it can be repaired" in said.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_leaves_no_file_of_its_own_in_the_store_of_another_user(mirror: Mirror) -> None:
    for place in (mirror.store.root, *mirror.store.root.rglob("*")):
        os.chown(place, 65534, 65534)
    shutil.rmtree(mirror.store.root / "index")
    (mirror.store.root / "log" / "filingd.jsonl").unlink()
    damage(mirror.store.zip_path(DAY, "json"))
    said = mirror.run("verify")
    assert (said.code, NOT_REMEMBERED in said.out) == (1, True)
    said = mirror.run("verify", "--repair")
    assert said.code == 4
    assert "Be the user that filingd runs as" in said.err
    assert {place.stat().st_uid for place in mirror.store.root.rglob("*")} == {65534}


# ------------------------------------------------------------------------------------------ what is refused


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
