"""`filingd cat`: processes on a store that a real daemon mirrored from a real sandbox, held against what that says it served."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import pty
import stat
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from filingd.adapters.catalogue import SqliteCatalogue
from filingd.adapters.manifest_reader import ManifestReader
from filingd.adapters.zipdirectory import read_members
from filingd.cli.output_file import OutputFileError, new_content
from filingd.core.catalogue import Contribution, Source
from filingd.core.errors import ExitCode
from filingd.core.layout import CATALOGUE_NAME
from filingd.core.model import EMPTY_STATES
from filingd.registries.nbb.filings import places_in
from support.catalogued import DAY, catalogued_mirrors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.catalogued import Catalogued

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogued]:
    yield from catalogued_mirrors(tmp_path_factory.mktemp("catalogued"))


@pytest.fixture
def mirror(filled: Catalogued, tmp_path: Path) -> Catalogued:
    return filled.copy(tmp_path / "copy")


def cat(
    mirror: Catalogued, reference: str, kind: str, *more: str, **how: Any
) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "filingd", "cat", reference, "--format", kind]
    done = subprocess.run(
        [*command, "--config", str(mirror.mirror.config.path), *more],
        **{"stdout": subprocess.PIPE, **how}, stderr=subprocess.PIPE, check=False, timeout=60,
    )  # fmt: skip
    assert b"Traceback" not in done.stderr, done.stderr
    return done


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def one_of(mirror: Catalogued, kind: str) -> tuple[str, str]:
    """A reference with a document of this kind in the day's zip, and its digest, as the sandbox says."""
    in_zip = zipfile.ZipFile(zip_of(mirror, kind)).namelist()
    name = in_zip[1]
    return name.partition(".")[0], mirror.served(kind)[name]


def zip_of(mirror: Catalogued, kind: str) -> Path:
    return mirror.mirror.store.zip_path(DAY, kind)


# ------------------------------------------------------------------------------------------ the very bytes


@pytest.mark.parametrize("kind", ["json", "xbrl", "pdf"])
def test_every_document_of_a_day_is_given_out_as_it_was_served(filled: Catalogued, kind: str) -> None:
    served = filled.served(kind)
    held = [name for name in served if name in zipfile.ZipFile(zip_of(filled, kind)).namelist()]
    assert len(held) > 3
    for name in held:
        done = cat(filled, name.partition(".")[0], kind)
        assert (done.returncode, done.stderr) == (ExitCode.OK, b"")
        assert sha256(done.stdout) == served[name]


def test_a_document_that_came_by_itself_is_given_out(filled: Catalogued) -> None:
    (path,) = filled.documents_by_themselves()
    done = cat(filled, path.stem, "json")
    assert (done.returncode, sha256(done.stdout)) == (ExitCode.OK, filled.whole[path.name])


def test_an_improvement_is_given_out_by_its_name(filled: Catalogued) -> None:
    path = filled.root / "nbb" / "improved" / DAY[:4] / DAY[5:7] / DAY / "json.zip"
    record = filled.records(family="improved")[0]
    reference, variant = record["referencenumber"], record["dataversion"].lower()
    done = cat(filled, reference, "json", "--variant", variant)
    with zipfile.ZipFile(path) as archive:
        (name,) = (name for name in archive.namelist() if name.startswith(reference))
        assert (done.returncode, done.stdout) == (ExitCode.OK, archive.read(name))


def test_a_file_is_written_whole_for_its_owner_and_group(filled: Catalogued, tmp_path: Path) -> None:
    reference, digest = one_of(filled, "pdf")
    output = tmp_path / "a.pdf"
    output.write_bytes(b"before")
    done = cat(filled, reference, "pdf", "--output", str(output))
    assert (done.returncode, done.stdout, done.stderr) == (ExitCode.OK, b"", b"")
    assert sha256(output.read_bytes()) == digest
    fresh = tmp_path / "b.pdf"
    assert cat(filled, reference, "pdf", "--output", str(fresh)).returncode == ExitCode.OK
    assert stat.S_IMODE(fresh.stat().st_mode) & 0o027 == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pdf", "b.pdf"]


# ------------------------------------------------------------------------------------------ what is not held


def test_an_unknown_filing_is_told(filled: Catalogued) -> None:
    done = cat(filled, "2026-99999999", "json")
    assert (done.returncode, done.stdout) == (ExitCode.FAILED, b"")
    assert b"No filing 2026-99999999 is known here." in done.stderr


def test_a_filing_made_as_pdf_has_no_json_and_that_is_said(filled: Catalogued) -> None:
    record = next(one for one in filled.records() if one["modeltype"].endswith("-p"))
    done = cat(filled, record["referencenumber"], "json")
    assert (done.returncode, done.stdout) == (ExitCode.FAILED, b"")
    assert b"is known, but no json of it is held. Held: pdf" in done.stderr
    assert b"It was filed as PDF" in done.stderr


def test_what_the_registry_has_not_is_told_as_unavailable(filled: Catalogued) -> None:
    with ManifestReader(filled.root / "manifest.db") as manifest:
        (key,) = (item.key for item in manifest.with_prefix("nbb/documents/", "", 10, EMPTY_STATES))
    done = cat(filled, key.split("/")[2], "json")
    assert (done.returncode, done.stdout) == (ExitCode.FAILED, b"")
    assert b"recorded as unavailable since" in done.stderr


def test_a_variant_that_is_not_held_is_told_with_those_that_are(filled: Catalogued) -> None:
    reference, _ = one_of(filled, "json")
    done = cat(filled, reference, "json", "--variant", "coorected")
    assert (done.returncode, done.stdout) == (ExitCode.FAILED, b"")
    assert b"no json coorected of it is held. Held: json, pdf, xbrl." in done.stderr


# ------------------------------------------------------------------------------------------ damage, replacement


def spoil(path: Path, member: str) -> None:
    """Change one byte in the middle of a member's data."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(member)
    body = bytearray(path.read_bytes())
    at = info.header_offset + 30 + len(member) + info.compress_size // 2
    body[at] ^= 0xFF
    path.write_bytes(body)


@pytest.mark.parametrize("to_file", [True, False])
def test_a_damaged_document_is_never_given_out_for_sound(
    mirror: Catalogued, tmp_path: Path, to_file: bool
) -> None:
    reference, _ = one_of(mirror, "json")
    spoil(zip_of(mirror, "json"), f"{reference}.json")
    output = tmp_path / "out.json"
    output.write_bytes(b"before")
    done = cat(mirror, reference, "json", *(["--output", str(output)] if to_file else []))
    assert (done.returncode, done.stdout) == (ExitCode.FAILED, b"")
    assert b"is not what was stored" in done.stderr
    assert b"filingd verify --repair" in done.stderr
    assert output.read_bytes() == b"before"
    assert list(tmp_path.glob(".*")) == []


def test_a_cut_file_is_told(mirror: Catalogued) -> None:
    reference, _ = one_of(mirror, "pdf")
    os.truncate(zip_of(mirror, "pdf"), 100)
    done = cat(mirror, reference, "pdf")
    assert (done.returncode, done.stdout) == (ExitCode.FAILED, b"")
    assert b"the file ends at" in done.stderr


def test_a_document_by_itself_with_one_other_byte_is_told_by_its_checksum(mirror: Catalogued) -> None:
    (path,) = mirror.documents_by_themselves()
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
    done = cat(mirror, path.stem, "json")
    assert (done.returncode, done.stdout) == (ExitCode.FAILED, b"")
    assert b"its SHA-256 is" in done.stderr


def test_a_file_that_is_gone_is_told(mirror: Catalogued) -> None:
    reference, _ = one_of(mirror, "json")
    zip_of(mirror, "json").unlink()
    done = cat(mirror, reference, "json")
    assert (done.returncode, done.stdout) == (ExitCode.FAILED, b"")
    assert b"No such file" in done.stderr


def test_another_copy_is_taken_where_one_is_damaged_and_that_is_said(mirror: Catalogued) -> None:
    (path,) = mirror.documents_by_themselves()
    reference, whole = path.stem, path.read_bytes()
    body = zip_of(mirror, "json")
    with zipfile.ZipFile(body, "a") as archive:
        archive.writestr(path.name, whole)
    catalogue_anew(mirror, body)
    spoil(body, path.name)
    done = cat(mirror, reference, "json")
    assert (done.returncode, done.stdout) == (ExitCode.OK, whole)
    assert b"Another copy was sound and was taken." in done.stderr


def catalogue_anew(mirror: Catalogued, body: Path) -> None:
    """Let the catalogue know what is in the day's json zip now."""
    data = body.read_bytes()
    members = read_members(lambda at, count: data[at : at + count], len(data))
    path = body.relative_to(mirror.root).as_posix()
    source = Source(f"nbb/authentic/{DAY}/json", 99, path, "nbb/authentic", DAY)

    async def contribute() -> None:
        catalogue = await SqliteCatalogue.open(mirror.root / CATALOGUE_NAME)
        await catalogue.contribute(Contribution(source, places=places_in("json", members)))
        await catalogue.close()

    asyncio.run(contribute())


def test_a_zip_that_was_written_again_is_looked_into_before_the_catalogue_knows(mirror: Catalogued) -> None:
    reference, digest = one_of(mirror, "json")
    body = zip_of(mirror, "json")
    with zipfile.ZipFile(body) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(body, "w", zipfile.ZIP_STORED) as archive:
        for name in reversed(members):
            archive.writestr(name, members[name])
    done = cat(mirror, reference, "json")
    assert (done.returncode, sha256(done.stdout)) == (ExitCode.OK, digest)


def test_a_document_that_is_not_in_the_zip_any_more_is_not_given_out(mirror: Catalogued) -> None:
    reference, _ = one_of(mirror, "json")
    body = zip_of(mirror, "json")
    with zipfile.ZipFile(body) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if not name.startswith(reference)}
    with zipfile.ZipFile(body, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    done = cat(mirror, reference, "json")
    assert (done.returncode, done.stdout) == (ExitCode.FAILED, b"")


def test_what_was_forgotten_is_said_to_be_and_all_else_in_its_zips_is_given_out_still(
    mirror: Catalogued,
) -> None:
    served = mirror.served("json")
    reference, *others = [
        name.partition(".")[0] for name in zipfile.ZipFile(zip_of(mirror, "json")).namelist()
    ]
    before = mirror.run("changes").out.count("\n")
    said = mirror.mirror.run("forget", reference, "--reason", "order 7", "--yes")
    assert said.code == ExitCode.OK, said.err
    done = cat(mirror, reference, "json")
    assert (done.returncode, done.stdout) == (ExitCode.FAILED, b"")
    assert f"{reference} was forgotten on an operator's order".encode() in done.stderr
    assert "was forgotten" in mirror.run("find", reference).err
    for other in others:
        done = cat(mirror, other, "json")
        assert (done.returncode, sha256(done.stdout)) == (ExitCode.OK, served[f"{other}.json"])
    lines = [json.loads(line) for line in mirror.run("changes", "--since", str(before)).out.splitlines()]
    assert [line["subject"] for line in lines if line["kind"] == "forgotten"] == [reference]
    (replaced,) = (line for line in lines if line.get("key") == f"nbb/authentic/{DAY}/json")
    assert (replaced["kind"], replaced["version"]) == ("replaced", 1)
    assert replaced["sha256"] == sha256(zip_of(mirror, "json").read_bytes())


# ------------------------------------------------------------------------------------------ where it goes


def test_a_pdf_is_not_written_to_a_terminal(filled: Catalogued) -> None:
    reference, _ = one_of(filled, "pdf")
    ours, its = pty.openpty()
    try:
        done = cat(filled, reference, "pdf", "--output", "-", stdout=its)
        assert done.returncode == ExitCode.USAGE
        assert f"--output {reference}.pdf".encode() in done.stderr
    finally:
        os.close(ours)
        os.close(its)


def test_a_reader_that_went_away_ends_it_quietly(filled: Catalogued) -> None:
    reference, _ = one_of(filled, "pdf")
    reading, writing = os.pipe()
    os.close(reading)
    done = cat(filled, reference, "pdf", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (ExitCode.PIPE_CLOSED, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("to_file", [True, False])
def test_where_there_is_no_room_it_is_told(filled: Catalogued, to_file: bool) -> None:
    reference, _ = one_of(filled, "json")
    with Path("/dev/full").open("wb") as full:
        done = cat(filled, reference, "json", *(["--output", "/dev/full"] if to_file else []), stdout=full)
    assert done.returncode == ExitCode.FAILED
    assert b"No space left on device" in done.stderr
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


@pytest.mark.parametrize("place", ["nowhere/a.json", "."])
def test_a_file_that_cannot_be_written_is_told(filled: Catalogued, tmp_path: Path, place: str) -> None:
    reference, _ = one_of(filled, "json")
    done = cat(filled, reference, "json", "--output", str(tmp_path / place))
    assert done.returncode == ExitCode.FAILED
    assert b"cannot be written" in done.stderr
    assert list(tmp_path.rglob("*")) == []


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"before")
    (tmp_path / "link").symlink_to("real")
    with new_content(tmp_path / "link") as output:
        output.write(b"after")
        assert (tmp_path / "real").read_bytes() == b"before"
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"after"


def test_what_is_not_finished_leaves_no_trace(tmp_path: Path) -> None:
    def write_half(path: Path) -> None:
        with new_content(path) as output:
            output.write(b"half")
            raise KeyboardInterrupt

    (tmp_path / "a").write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "a")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"before")]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(OutputFileError, match="Is a directory"), new_content(tmp_path) as output:
        output.write(b"x")
