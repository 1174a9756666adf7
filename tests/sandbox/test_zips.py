"""The zip writer, judged by the standard library's reader."""

from __future__ import annotations

import io
import itertools
import random
import stat
import warnings
import zipfile
import zlib
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.sandbox.zips import (
    EVIL_NAMES,
    Damage,
    DamageKind,
    Layout,
    Member,
    Method,
    folder_of,
    huge_members,
    member_of,
    rechunk,
    stored_zip_bytes,
    write_zip,
)

METHODS: tuple[Method, ...] = ("deflate", "stored")
WIDTHS: tuple[Literal["auto", "forced"], ...] = ("auto", "forced")
LAYOUTS = [Layout(*parts) for parts in itertools.product(METHODS, WIDTHS, (True, False))]
NAMES = [f"2026-{number:08d}.json" for number in range(5)]


def members() -> list[Member]:
    return [member_of(name, f'{{"n":{index}}}'.encode() * 500) for index, name in enumerate(NAMES)]


def made(layout: Layout = Layout(), damage: Damage | None = None) -> bytes:  # noqa: B008 - frozen
    return b"".join(write_zip(members(), layout, damage))


def opened(data: bytes) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(data))


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_every_layout_is_read_back_whole(layout: Layout) -> None:
    archive = opened(made(layout))
    assert archive.namelist() == NAMES
    assert archive.testzip() is None
    assert [archive.read(name) for name in NAMES] == [b"".join(member.chunks()) for member in members()]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_the_same_members_give_the_same_bytes(layout: Layout) -> None:
    assert made(layout) == made(layout)


@given(st.lists(st.binary(max_size=3000), max_size=8), st.sampled_from(LAYOUTS))
def test_any_contents_survive_any_layout(contents: list[bytes], layout: Layout) -> None:
    held = [member_of(f"{index}.bin", data) for index, data in enumerate(contents)]
    archive = opened(b"".join(write_zip(held, layout)))
    assert [archive.read(info) for info in archive.infolist()] == contents


def test_descriptors_leave_the_sizes_out_of_the_local_header_and_without_them_they_are_there() -> None:
    streamed, known = made(Layout(descriptors=True)), made(Layout(descriptors=False))
    assert streamed[6] & 0x8
    assert streamed[14:26] == bytes(12)
    assert b"PK\x07\x08" in streamed
    assert not known[6] & 0x8
    assert int.from_bytes(known[14:18], "little") == zlib.crc32(b"".join(members()[0].chunks()))
    assert b"PK\x07\x08" not in known


def test_forced_zip64_has_its_records_and_the_automatic_one_has_not() -> None:
    assert b"PK\x06\x06" in made(Layout(zip64="forced"))
    assert b"PK\x06\x07" in made(Layout(zip64="forced"))
    assert b"PK\x06\x06" not in made(Layout(zip64="auto"))


def test_more_members_than_sixteen_bits_count_make_a_zip64_by_themselves() -> None:
    many = (member_of(f"{number}", b"") for number in range(65_600))
    assert len(opened(b"".join(write_zip(many, Layout("stored")))).namelist()) == 65_600


def test_a_folder_prefix_and_a_name_beyond_ascii_are_read_back() -> None:
    archive = opened(b"".join(write_zip([member_of("naïf-€.json", b"x")], Layout(folder="2026/november/"))))
    assert archive.namelist() == ["2026/november/naïf-€.json"]


def test_a_zip_without_members_is_the_end_record_alone() -> None:
    assert b"".join(write_zip([])) == b"PK\x05\x06" + bytes(18)


def test_a_zip_of_folders_has_no_file() -> None:
    archive = opened(b"".join(write_zip([folder_of("accounts/")])))
    assert [info.is_dir() for info in archive.infolist()] == [True]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("kind", ["crc", "bitflip"])
def test_a_damaged_member_fails_its_check_and_it_alone(kind: DamageKind, layout: Layout) -> None:
    archive = opened(made(layout, Damage(kind, member=2)))
    with pytest.raises((zipfile.BadZipFile, zlib.error)):
        archive.read(NAMES[2])
    for name in NAMES[:2] + NAMES[3:]:
        archive.read(name)


def test_without_its_end_record_it_is_no_zip() -> None:
    for layout in LAYOUTS:
        with pytest.raises(zipfile.BadZipFile):
            opened(made(layout, Damage("no_eocd")))


def test_a_duplicate_has_one_name_twice() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert sorted(opened(made(damage=Damage("duplicate", 1))).namelist()) == sorted([*NAMES, NAMES[1]])


@pytest.mark.parametrize("kind", sorted(EVIL_NAMES))
def test_an_evil_name_is_in_the_directory_as_it_stands(kind: DamageKind) -> None:
    assert EVIL_NAMES[kind].encode() in made(damage=Damage(kind))
    assert len(opened(made(damage=Damage(kind))).namelist()) == len(NAMES) + 1


def test_an_encrypted_member_asks_for_a_password() -> None:
    archive = opened(made(damage=Damage("encrypted", 3)))
    with pytest.raises(RuntimeError, match="password required"):
        archive.read(NAMES[3])
    archive.read(NAMES[2])


def test_a_link_is_marked_as_one_by_its_attributes() -> None:
    info = opened(made(damage=Damage("link"))).infolist()[-1]
    assert stat.S_ISLNK(info.external_attr >> 16)


def test_an_absent_member_is_listed_and_cannot_be_read() -> None:
    archive = opened(made(damage=Damage("absent")))
    assert len(archive.namelist()) == len(NAMES) + 1
    with pytest.raises(zipfile.BadZipFile):
        archive.read(archive.namelist()[-1])


def test_an_unlisted_member_is_there_and_not_in_the_directory() -> None:
    data = made(damage=Damage("unlisted", 1))
    assert opened(data).namelist() == [NAMES[0], *NAMES[2:]]
    assert NAMES[1].encode() in data


def test_a_renamed_member_has_another_name_in_its_local_header() -> None:
    archive = opened(made(damage=Damage("renamed", 0)))
    with pytest.raises(zipfile.BadZipFile, match="differ"):
        archive.read(NAMES[0])


def test_a_bomb_is_small_on_the_wire_and_large_inside() -> None:
    data = made(damage=Damage("bomb", bomb_bytes=50_000_000))
    info = opened(data).infolist()[-1]
    assert info.file_size == 50_000_000
    assert info.compress_size < 60_000
    assert opened(data).testzip() is None


@pytest.mark.parametrize(
    "layout", [Layout("stored"), Layout("stored", descriptors=False), Layout("stored", "forced")]
)
def test_a_huge_zip_has_exactly_the_size_that_was_foretold_and_is_whole(layout: Layout) -> None:
    held = huge_members([f"2026-{number:08d}.pdf" for number in range(7)], 30_000_000)
    data = b"".join(write_zip(held, layout))
    assert len(data) == stored_zip_bytes(held, layout)
    assert opened(data).testzip() is None
    first = opened(data).read("2026-00000000.pdf")
    assert first.startswith(b"%PDF-")
    assert first.endswith(b"%%EOF\n")


def test_what_does_not_shrink_is_deflated_without_effort_and_read_back() -> None:
    data = random.Random(1).randbytes(300_000)
    archive = opened(b"".join(write_zip([member_of("a.pdf", data)], Layout("deflate"))))
    info = archive.infolist()[0]
    assert info.compress_type == zipfile.ZIP_DEFLATED
    assert len(data) < info.compress_size < len(data) * 1.001
    assert archive.read(info) == data


def test_the_size_of_a_zip_beyond_four_gib_is_foretold_without_making_it() -> None:
    held = huge_members([f"{number}.pdf" for number in range(90)], 9 * 1024**3)
    size = stored_zip_bytes(held, Layout("stored"))
    assert 9 * 1024**3 < size < 9 * 1024**3 + 20_000


@given(st.lists(st.binary(max_size=50)), st.integers(min_value=1, max_value=40))
def test_rechunking_keeps_the_bytes_and_evens_the_sizes(pieces: list[bytes], size: int) -> None:
    chunks = list(rechunk(pieces, size))
    assert b"".join(chunks) == b"".join(pieces)
    assert all(len(chunk) == size for chunk in chunks[:-1])
