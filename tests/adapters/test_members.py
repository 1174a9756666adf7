"""One member by its recorded place: whole, in parts, and never handed out as sound when it is not what was stored."""

from __future__ import annotations

import contextlib
import io
import os
import tracemalloc
import zipfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from filingd.adapters.members import MemberDamagedError, MemberReader
from filingd.adapters.zipdirectory import read_members
from filingd.core.catalogue import DocumentPlace
from filingd.core.errors import DiskFaultError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from filingd.core.model import Member

NOISE = os.urandom(700_000)
CONTENTS = {"a.json": b'{"a":1}' * 50, "empty.json": b"", "noise.pdf": NOISE, "long.json": b"x" * 3_000_000}

FEW = {"a.json": CONTENTS["a.json"], "noise.pdf": NOISE[:9_000]}


def zipped(path: Path, contents: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Sequence[Member]:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    body = path.read_bytes()
    return read_members(lambda at, count: body[at : at + count], len(body))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_member_is_read_and_copied_as_it_was_packed(tmp_path: Path, method: int) -> None:
    members = zipped(tmp_path / "a.zip", CONTENTS, method)
    with MemberReader(tmp_path / "a.zip") as reader:
        for member in members:
            output = io.BytesIO()
            assert reader.read(member) == CONTENTS[member.name]
            assert reader.copy(member, output) == len(CONTENTS[member.name])
            assert output.getvalue() == CONTENTS[member.name]


def test_a_document_that_is_a_file_by_itself_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(NOISE)
    place = DocumentPlace("2026-1", "json", len(NOISE), packed_bytes=len(NOISE))
    with MemberReader(tmp_path / "a.json") as reader:
        assert reader.read(place) == NOISE


def test_a_document_beyond_four_gigabytes_is_read(tmp_path: Path) -> None:
    offset = 5 * 1024**3 + 7
    with (tmp_path / "big.zip").open("wb") as file:  # sparse
        file.seek(offset)
        file.write(NOISE)
    place = DocumentPlace("2026-1", "pdf", len(NOISE), member="x", offset=offset, packed_bytes=len(NOISE))
    with MemberReader(tmp_path / "big.zip") as reader:
        assert reader.read(place) == NOISE


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@given(data=st.data())
def test_a_place_that_is_wrong_in_anything_gives_nothing_for_sound(
    tmp_path_factory: pytest.TempPathFactory, method: int, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    members = {member.name: member for member in zipped(path, FEW, method)}
    right = members[data.draw(st.sampled_from(["a.json", "noise.pdf"]))]
    field = data.draw(st.sampled_from(["offset", "packed_bytes", "size_bytes", "crc32"]))
    value = data.draw(st.integers(0, 2 * getattr(right, field) + 10))
    wrong = replace(right, **{field: value})
    with MemberReader(path) as reader:
        if value == getattr(right, field):
            assert reader.read(wrong) == FEW[right.name]
        else:
            with pytest.raises(MemberDamagedError):
                reader.read(wrong)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@given(at=st.integers(0, 2**30), bit=st.integers(0, 7))
def test_one_flipped_bit_is_seen(
    tmp_path_factory: pytest.TempPathFactory, method: int, at: int, bit: int
) -> None:
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    (member,) = zipped(path, {"a.json": CONTENTS["a.json"]}, method)
    body = bytearray(path.read_bytes())
    body[member.offset + at % member.packed_bytes] ^= 1 << bit
    path.write_bytes(body)
    # A bit that is not seen is one that deflate does not look at.
    with MemberReader(path) as reader, contextlib.suppress(MemberDamagedError):
        assert reader.read(member) == CONTENTS["a.json"]


def test_a_member_of_a_file_that_was_cut_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    members = {member.name: member for member in zipped(path, CONTENTS)}
    os.truncate(path, members["noise.pdf"].offset + 10)
    with MemberReader(path) as reader, pytest.raises(MemberDamagedError) as told:
        reader.read(members["noise.pdf"])
    assert "the file ends at" in str(told.value)
    assert str(path) in str(told.value)
    assert "filingd verify --repair" in str(told.value)


def test_a_method_nobody_packs_by_is_refused(tmp_path: Path) -> None:
    (member,) = zipped(tmp_path / "a.zip", {"a": b"abc"})
    with MemberReader(tmp_path / "a.zip") as reader, pytest.raises(MemberDamagedError, match="method 12"):
        reader.read(replace(member, method=12))


def test_a_bomb_is_stopped_where_its_size_ends(tmp_path: Path) -> None:
    (member,) = zipped(tmp_path / "a.zip", {"a": bytes(60_000_000)})
    lying = replace(member, size_bytes=1000)
    with MemberReader(tmp_path / "a.zip") as reader:
        tracemalloc.start()
        with pytest.raises(MemberDamagedError, match="goes on past its 1000 bytes"):
            reader.read(lying)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak_bytes < 4 * 1024 * 1024


def test_a_large_member_is_copied_in_little_memory(tmp_path: Path) -> None:
    (member,) = zipped(tmp_path / "a.zip", {"a": os.urandom(1_000_000) * 20})
    with MemberReader(tmp_path / "a.zip") as reader, (tmp_path / "out").open("wb") as output:
        tracemalloc.start()
        reader.copy(member, output)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak_bytes < 4 * 1024 * 1024
    assert (tmp_path / "out").stat().st_size == 20_000_000


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(DiskFaultError, match="refused to read"):
        MemberReader(tmp_path / "nothing.zip")


def test_a_link_under_a_final_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "a.zip").symlink_to(tmp_path / "secret")
    with pytest.raises(DiskFaultError):
        MemberReader(tmp_path / "a.zip")
