"""A filing and a company are forgotten: no byte of them is left in the store, and nothing brings them back."""

from __future__ import annotations

import datetime as dt
import io
import json
import re
import shutil
import subprocess
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from e2e.rig import YESTERDAY
from filingd.app import KILL_VARIABLE
from filingd.core import steps
from support.daemon import PRODUCTS, days, wait_until
from support.mirror import Said, filingd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from e2e.rig import Rig

pytestmark = pytest.mark.slow

SINCE = "2026-11-16"
WEEK = days(SINCE, YESTERDAY)
# What has to name it: the order itself, the log, and keys and events of what was once asked for by itself.
MAY_NAME_IT = re.compile(r"forgotten\.jsonl|manifest\.db.*|log/.*")


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """A week of both families, mirrored and sealed."""
    rig = make_rig(since=SINCE, scale=0.02)
    rig.config.products = (*PRODUCTS, "improved", "improved-archive", "authentic-query")
    rig.run()
    assert all(is_sealed for is_sealed in sealed(rig).values())
    return rig


def sealed(rig: Rig) -> dict[str, bool]:
    """Whether each day of each family is sealed."""
    with rig.store.manifest() as manifest:
        rows = manifest.execute("SELECT key, sealed_ms FROM groups").fetchall()
    return {row["key"]: row["sealed_ms"] is not None for row in rows}


def command(rig: Rig, *given: str, environment: dict[str, str] | None = None) -> Said:
    """A command on this store, at the sandbox's present instant."""
    at = ("--rehearse-at", instant(rig)) if "--list" not in given else ()
    return filingd(
        *given, "--config", str(rig.config.path), *at,
        environment={**rig.config.environment(), **(environment or {})},
    )  # fmt: skip


def instant(rig: Rig) -> str:
    return dt.datetime.fromtimestamp(rig.admin.clock(), dt.UTC).isoformat()


def records(rig: Rig) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every record of every references zip, with the zip's path."""
    for path in sorted((rig.store.root / "nbb").rglob("references.zip")):
        with zipfile.ZipFile(path) as opened:
            for name in opened.namelist():
                told = json.loads(opened.read(name))
                for record in told if isinstance(told, list) else [told]:
                    yield path, {key.lower(): value for key, value in record.items()}


def choose(rig: Rig) -> tuple[str, str, set[str]]:
    """A filing with documents, another company, and all filings of that company."""
    by_company: dict[str, set[str]] = {}
    for _, record in records(rig):
        number = "".join(sign for sign in str(record["enterprisenumber"]) if sign.isdigit()).zfill(10)
        by_company.setdefault(number, set()).add(record["referencenumber"])
    (company, filings), (_, others) = sorted(by_company.items(), key=lambda one: -len(one[1]))[:2]
    return min(others), company, filings


def layers(path: Path) -> Iterator[bytes]:
    """The bytes of a file, and of what is in it if it is a zip."""
    data = path.read_bytes()
    yield data
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            for name in opened.namelist():
                yield name.encode()
                with opened.open(name) as member:
                    vars(member)["_expected_crc"] = None  # a refused body is looked into as well
                    yield member.read()


def named(root: Path, subjects: Iterable[str]) -> list[str]:
    """The files that hold any of these texts, in any layer or in their own names."""
    needles = [subject.encode() for subject in subjects]
    found = []
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root).as_posix()
        if not path.is_file() or MAY_NAME_IT.fullmatch(relative):
            continue
        if any(needle in layer for layer in (relative.encode(), *layers(path)) for needle in needles):
            found.append(relative)
    return found


def spelled(number: str) -> list[str]:
    """A number as it may be written."""
    return [number, f"{number[:4]}.{number[4:7]}.{number[7:]}"]


def check_clean(rig: Rig, subjects: Iterable[str], was: dict[str, bool]) -> None:
    """Nothing of it is left, and everything else agrees."""
    assert named(rig.store.root, subjects) == []
    assert sealed(rig) == was
    for sums in sorted((rig.store.root / "nbb").rglob("SHA256SUMS")):
        assert sums.parent.joinpath("day.json").exists()
    for folder in {path.parent for path in (rig.store.root / "nbb").rglob("day.json")}:
        check_sums(folder)
    verified = command(rig, "verify")
    assert verified.code == 0, verified.out


def check_sums(folder: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def others(rig: Rig, without: set[str]) -> dict[str, dict[str, bytes]]:
    """All members of all zips but those of some filings, by path."""
    found: dict[str, dict[str, bytes]] = {}
    for path in rig.store.published():
        with zipfile.ZipFile(path) as opened:
            found[path.as_posix()] = {
                name: opened.read(name)
                for name in opened.namelist()
                if not any(reference in name for reference in without)
            }
    return found


def look_again(rig: Rig) -> None:
    """Have everything that is stored fetched and compared once more."""
    assert command(rig, "items", "retry", "nbb/").code == 0
    rig.run("idle")


def test_a_filing_and_a_company_leave_no_byte_and_never_come_back(rig: Rig) -> None:
    reference, company, filings = choose(rig)
    subjects = [reference, *filings, *spelled(company)]
    was, before = sealed(rig), others(rig, {reference, *filings})
    assert named(rig.store.root, [reference])
    assert named(rig.store.root, filings)

    looked = command(rig, "forget", reference, f"BE {company}", "--dry-run", "--json")
    assert looked.code == 0, looked.err
    assert looked.json["did"]["files"] > 0
    assert named(rig.store.root, [reference]), "a dry run changes nothing"

    done = command(rig, "forget", reference, f"BE {company}", "--reason", "order 7", "--yes", "--json")
    assert done.code == 0, done.err + done.out
    assert {name: done.json["did"][name] for name in ("files", "members")} == {
        name: looked.json["did"][name] for name in ("files", "members")
    }
    check_clean(rig, subjects, was)
    assert others(rig, set()) == before, "everything else is as it was, to the byte"
    rows = [line for line in command(rig, "forget", "--list").out.splitlines() if "NOT ERASED" in line]
    assert rows == []

    look_again(rig)
    check_clean(rig, subjects, was)
    with rig.store.manifest() as manifest:
        (most,) = manifest.execute("SELECT max(version) FROM items").fetchone()
    assert most == 1, "a second look at an unchanged day makes no other version of it"

    assert command(rig, "manifest", "rebuild").code == 0
    check_clean(rig, subjects, was)
    rig.run("idle")
    check_clean(rig, subjects, was)
    assert rig.admin.company(company), "the registry still has it"
    assert [entry for entry in rig.journal() if reference in str(entry.get("path", ""))] == []


def test_a_day_that_is_lost_and_fetched_again_comes_without_it(rig: Rig) -> None:
    reference, _, _ = choose(rig)
    was = sealed(rig)
    assert command(rig, "forget", reference, "--reason", "order 7", "--yes").code == 0
    shutil.rmtree(rig.store.root / "nbb" / "authentic")
    (rig.store.root / "nbb" / "authentic").mkdir()
    repaired = command(rig, "verify", "--repair")
    assert repaired.code == 0, repaired.out
    rig.run("idle")
    check_clean(rig, [reference], was)


def test_a_backup_that_is_put_back_is_cleaned_by_whoever_finds_it(rig: Rig) -> None:
    reference, _, _ = choose(rig)
    was, root = sealed(rig), rig.store.root
    backup = root.parent / "backup"
    shutil.copytree(root / "nbb", backup)
    assert command(rig, "forget", reference, "--reason", "order 7", "--yes").code == 0
    shutil.copytree(backup, root / "nbb", dirs_exist_ok=True)
    assert named(root, [reference])
    rig.run("idle")
    assert [path for path in named(root, [reference]) if not path.startswith("nbb/")] == []
    command(rig, "verify", "--repair")
    rig.run("idle")
    check_clean(rig, [reference], was)


def test_a_running_daemon_erases_what_a_command_buries(rig: Rig) -> None:
    reference, company, filings = choose(rig)
    was = sealed(rig)
    with rig.daemon() as daemon:
        daemon.wait_for("sweep.finished")
        done = command(rig, "forget", reference, company, "--reason", "order 7", "--yes", "--json")
        assert done.code == 0, done.err + done.out
        assert done.json["did"]["files"] > 0
        assert "erases it" in done.err
        wait_until(lambda: sealed(rig) == was, "seals of all days again")
        daemon.stop()
        daemon.wait()
    check_clean(rig, [reference, *filings, *spelled(company)], was)
    rig.check_manners()


@pytest.fixture
def rich(rig: Rig) -> tuple[Rig, str, set[str]]:
    """The same with everything a store can hold of a company: answers and documents that were asked for by itself, older
    versions of its days, a refused body of one. With the company, and its filings as far as the references tell."""
    _, company, filings = choose(rig)
    lists = rig.config.folder / "watchlists"
    lists.mkdir()
    (lists / "clients.csv").write_text(f"{company}\n")
    held = next(path for path, record in records(rig) if record["referencenumber"] in filings)
    day = held.parent.name
    rig.run("idle")
    rig.admin.add_fault({"kind": "mutate", "change": "added"}, date=day)
    look_again(rig)
    rig.admin.clear_faults()
    rig.admin.add_fault({"kind": "damage", "damage": "crc"}, date=day, dataset="references", times=1)
    assert command(rig, "items", "retry", f"nbb/authentic/{day}").code == 0
    rig.run("idle")
    found = named(rig.store.root, [*filings, company])
    assert {"versions", "quarantine", "nbb"} <= {path.split("/")[0] for path in found}
    assert (rig.store.root / "nbb" / "enterprises").exists()
    assert (rig.store.root / "nbb" / "documents").exists()
    return rig, company, filings


def test_answers_documents_older_versions_and_refused_bodies_go_as_well(
    rich: tuple[Rig, str, set[str]],
) -> None:
    rig, company, filings = rich
    known = {filing["reference_number"] for filing in rig.admin.company(company)}
    was = sealed(rig)
    said = command(rig, "forget", company, "--reason", "order 8", "--yes", "--json")
    assert said.code == 0, said.err + said.out
    did = said.json["did"]
    assert min(did[name] for name in ("files", "members", "documents", "versions", "quarantined")) > 0
    subjects = [*filings, *known, *spelled(company)]
    check_clean(rig, subjects, was)
    rig.admin.clear_journal()
    look_again(rig)
    check_clean(rig, subjects, was)
    assert [entry for entry in rig.journal() if entry["product"] == "authentic-query"] == []
    feed = filingd("changes", "--config", str(rig.config.path)).out
    told = [json.loads(line) for line in feed.splitlines()]
    assert company in [one["subject"] for one in told if one["kind"] == "forgotten"]
    found = filingd("find", company, "--config", str(rig.config.path), environment=rig.config.environment())
    assert found.code == 1, found.out


@pytest.mark.parametrize("step", [steps.TRACE_REMOVED, steps.ITEM_FORGOTTEN])
def test_a_death_while_whole_files_go_is_finished_by_the_next_start(
    rich: tuple[Rig, str, set[str]], step: str
) -> None:
    rig, company, filings = rich
    was = sealed(rig)
    given = ("forget", company, "--reason", "order 8", "--yes")
    killed = command(rig, *given, environment={KILL_VARIABLE: f"{step}:1"})
    assert killed.code == -9, killed.err
    rig.run("idle")
    check_clean(rig, [*filings, *spelled(company)], was)
    assert "NOT ERASED" not in command(rig, "forget", "--list").out


@pytest.mark.parametrize(
    "step",
    [*sorted({*steps.FORGET_STEPS} - {steps.TRACE_REMOVED, steps.ITEM_FORGOTTEN}), steps.SUMS_REMOVED,
     steps.BODY_SYNCED, steps.BODY_RENAMED, steps.FOLDER_SYNCED, steps.INDEX_WRITTEN, steps.PART_OPENED],
)  # fmt: skip
def test_a_death_at_any_step_of_forgetting_is_finished_by_the_next_start(rig: Rig, step: str) -> None:
    reference, company, filings = choose(rig)
    was, before = sealed(rig), others(rig, {reference, *filings})
    given = ("forget", reference, company, "--reason", "order 7", "--yes")
    killed = command(rig, *given, environment={KILL_VARIABLE: f"{step}:1"})
    assert killed.code == -9, killed.err
    rig.run("idle")
    check_clean(rig, [reference, *filings, *spelled(company)], was)
    assert others(rig, set()) == before
    with rig.store.manifest() as manifest:
        rows = manifest.execute("SELECT key, version FROM items WHERE version > 1").fetchall()
        pending = manifest.execute("SELECT subject FROM tombstones WHERE erased_ms IS NULL").fetchall()
    assert ([tuple(row) for row in rows], pending) == ([], [])
