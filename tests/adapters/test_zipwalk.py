"""The walk believes nothing it has not seen: any chunking gives the same verdict, any damage is found."""

from __future__ import annotations

import io
import random
import stat
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from filingd.adapters.zipdirectory import read_directory, read_members
from filingd.adapters.zipwalk import ZipRefusedError, ZipWalk
from filingd.core.errors import FilingdError
from filingd.core.model import ZipLimits
from support.zips import Unseekable, made_zip

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

LIMITS = ZipLimits()
MEMBERS = {"a.json": b'{"a": 1}' * 30, "sub/b.json": b"", "c.json": bytes(range(256)) * 3}


def walked(data: bytes, pieces: list[int] | int | None = None, limits: ZipLimits = LIMITS) -> ZipWalk:
    """Walk, and walk again with the sizes of the directory where the first walk asks for them."""
    walk = _fed(ZipWalk(limits), data, pieces)
    if walk.wants_directory:
        lines = read_directory(lambda at, count: data[at : at + count], len(data))
        walk = _fed(
            ZipWalk(limits, None, {line.header_at: line.packed_bytes for line in lines}), data, pieces
        )
    return walk


def _fed(walk: ZipWalk, data: bytes, pieces: list[int] | int | None) -> ZipWalk:
    buffer = bytearray(len(data) + 1)  # reused for every piece, as the pooled buffers are
    sizes = [pieces] if isinstance(pieces, int) else pieces or [max(1, len(data))]
    at, turn = 0, 0
    while at < len(data):
        piece = data[at : at + sizes[turn % len(sizes)]]
        buffer[: len(piece)] = piece
        walk.feed(memoryview(buffer)[: len(piece)])
        buffer[: len(piece)] = b"\xff" * len(piece)
        at, turn = at + len(piece), turn + 1
    walk.finish()
    return walk


def verdict(walk: ZipWalk) -> str | None:
    return walk.refusal.code if walk.refusal else None


def listed_in(data: bytes) -> list[tuple[str, int, int, int, int]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return [
            (i.filename, i.compress_size, i.file_size, i.CRC, i.compress_type)
            for i in archive.infolist()
            if not i.is_dir()
        ]


# ---------------------------------------------------------------- sound zips, in any pieces


@st.composite
def zips(draw: st.DrawFn) -> bytes:
    names = draw(
        st.lists(
            st.text(
                st.characters(blacklist_categories=["Cs"], blacklist_characters="/\\\0:."),
                min_size=1,
                max_size=8,
            ),
            unique=True,
            max_size=6,
        )
    )
    members = {
        f"{draw(st.sampled_from(['', 'd/', 'd/e/']))}{name}": draw(
            st.one_of(st.binary(max_size=300), st.integers(0, 5000).map(lambda count: b"ab" * count))
        )
        for name in names
    }
    return made_zip(
        members,
        method=draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])),
        streamed=draw(st.booleans()),
        force_zip64=draw(st.booleans()),
        # A comment that looks like the end record misleads the judge, zipfile, itself.
        comment=draw(st.binary(max_size=40).filter(lambda text: b"PK" not in text)),
        folders=("d/",) if draw(st.booleans()) else (),
    )


@settings(max_examples=150, deadline=None)
@given(data=zips(), pieces=st.lists(st.integers(1, 700), min_size=1, max_size=8))
def test_any_pieces_give_what_zipfile_sees(data: bytes, pieces: list[int]) -> None:
    for chunks in (None, 1, pieces):
        walk = walked(data, chunks)
        assert verdict(walk) is None
        assert [(m.name, m.packed_bytes, m.size_bytes, m.crc32, m.method) for m in walk.members] == listed_in(
            data
        )


@settings(max_examples=60, deadline=None)
@given(data=zips())
def test_the_index_leads_to_the_bytes_of_each_member(data: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in walked(data).members:
            packed = data[member.offset : member.offset + member.packed_bytes]
            plain = zlib.decompress(packed, -15) if member.method else packed
            assert plain == archive.read(member.name)


@settings(max_examples=60, deadline=None)
@given(data=zips())
def test_an_index_made_from_the_directory_equals_that_of_the_walk(data: bytes) -> None:
    assert read_members(lambda at, count: data[at : at + count], len(data)) == list(walked(data).members)


def test_the_digest_is_of_the_content_however_it_is_packed() -> None:
    digests = {
        walked(made_zip(MEMBERS, method=method, streamed=streamed, comment=comment)).digest
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        for streamed in (False, True)
        for comment in (b"", b"packed again")
    }
    assert len(digests) == 1
    assert walked(made_zip({**MEMBERS, "a.json": b"other"})).digest not in digests
    assert walked(made_zip(dict(reversed(MEMBERS.items())))).digest in digests


def test_members_larger_than_any_piece_are_inflated_in_steps() -> None:
    data = random.Random(5).randbytes(300_000) + bytes(3_000_000)
    for streamed in (False, True):
        walk = walked(made_zip({"big.bin": data}, streamed=streamed), 1 << 20)
        assert verdict(walk) is None
        assert walk.inflated_bytes == len(data)


def test_an_empty_zip_is_sound() -> None:
    walk = walked(made_zip({}))
    assert (verdict(walk), walk.member_count) == (None, 0)


def test_folders_are_no_members() -> None:
    walk = walked(made_zip({"d/a.json": b"{}"}, folders=("d/", "e/")))
    assert (verdict(walk), [m.name for m in walk.members]) == (None, ["d/a.json"])


def test_more_members_than_sixteen_bits_can_count_are_walked() -> None:
    walk = walked(made_zip({f"{number}.json": b"" for number in range(66_000)}))
    assert (verdict(walk), walk.member_count) == (None, 66_000)


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_truncated_at_any_byte_is_never_sound(streamed: bool, method: int) -> None:
    data = made_zip(MEMBERS, method=method, streamed=streamed, force_zip64=streamed, comment=b"end")
    for length in range(len(data)):
        assert _verdict_or_refusal(data[:length]) is not None, f"sound after {length} of {len(data)} bytes"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("force_zip64", [False, True])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_with_any_byte_flipped_is_never_sound_with_other_content(
    streamed: bool, force_zip64: bool, method: int
) -> None:
    data = made_zip(MEMBERS, method=method, streamed=streamed, force_zip64=force_zip64)
    content = walked(data).digest
    for at in range(len(data)):
        for flip in (0x01, 0x80, 0xFF):
            damaged = bytearray(data)
            damaged[at] ^= flip
            if _verdict_or_refusal(bytes(damaged)) is None:
                assert walked(bytes(damaged)).digest == content, f"byte {at} ^ {flip:#x}"


@settings(max_examples=150, deadline=None)
@given(data=zips(), damage=st.data())
def test_random_damage_is_never_sound_with_other_content(data: bytes, damage: st.DataObject) -> None:
    at = damage.draw(st.integers(0, len(data)))
    cut = damage.draw(st.integers(0, 20))
    damaged = data[:at] + damage.draw(st.binary(max_size=20)) + data[at + cut :]
    if damaged != data and _verdict_or_refusal(damaged) is None:
        assert walked(damaged).digest == walked(data).digest


def _verdict_or_refusal(data: bytes) -> str | None:
    try:
        return verdict(walked(data))
    except ZipRefusedError as refusal:  # from reading the directory for the second walk
        return refusal.code


def test_bytes_before_between_and_after_are_refused() -> None:
    data = made_zip({"a.json": b"{}", "b.json": b"{}"})
    second = data.index(b"PK\x03\x04", 4)
    assert verdict(walked(data + b"\n")) == "zip_trailing"
    assert verdict(walked(data[:second] + b"gap" + data[second:])) == "zip_no_end"
    assert verdict(walked(b"x" + data)) == "zip_no_end"
    assert verdict(walked(data + data)) == "zip_trailing"


# ---------------------------------------------------------------- what is refused


def patched(data: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """Overwrite bytes of the first header with that signature."""
    at = data.index(signature) + offset
    return data[:at] + value + data[at + len(value) :]


ONE = made_zip({"a.json": b'{"a": 1}' * 10})
LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (patched(ONE, LOCAL, 6, b"\x01\x00"), "zip_encrypted"),
        (patched(ONE, CENTRAL, 8, b"\x01\x00"), "zip_encrypted"),
        (patched(ONE, LOCAL, 8, b"\x09\x00"), "zip_bad_method"),
        (patched(ONE, LOCAL, 8, b"\x0c\x00"), "zip_bad_method"),
        (patched(ONE, LOCAL, 14, b"\0\0\0\0"), "zip_bad_crc"),
        (patched(ONE, LOCAL, 36, b"\xff"), "zip_bad_data"),
        (patched(ONE, CENTRAL, 16, b"\0\0\0\0"), "zip_directory_mismatch"),
        (patched(ONE, CENTRAL, 20, b"\1"), "zip_directory_mismatch"),
        (patched(ONE, CENTRAL, 24, b"\1"), "zip_directory_mismatch"),
        (patched(ONE, CENTRAL, 42, b"\1"), "zip_directory_mismatch"),
        (patched(ONE, CENTRAL, 46, b"b"), "zip_directory_mismatch"),
        (patched(ONE, END, 8, b"\2"), "zip_directory_mismatch"),
        (patched(ONE, END, 10, b"\2"), "zip_directory_mismatch"),
        (patched(ONE, END, 12, b"\2"), "zip_directory_mismatch"),
        (patched(ONE, END, 16, b"\2"), "zip_directory_mismatch"),
        (patched(ONE, END, 4, b"\1"), "zip_bad_header"),
        (patched(ONE, END, 20, b"\1"), "zip_no_end"),
        (made_zip({"a.json": b"1", "sub/a.json": b"2"}), "zip_duplicate"),
        (patched(ONE, CENTRAL, 38, struct.pack("<L", (stat.S_IFLNK | 0o777) << 16)), "zip_link"),
        (patched(ONE, CENTRAL, 38, struct.pack("<L", (stat.S_IFCHR | 0o600) << 16)), "zip_link"),
    ],
)
def test_each_fault_has_its_code(data: bytes, code: str) -> None:
    for pieces in (None, 1):
        assert verdict(walked(data, pieces)) == code


@pytest.mark.parametrize(
    "name",
    ["../a", "/etc/passwd", "a/../../b", "a\\b", "C:x", "c:/x", "a\0b", "..", ".", "a/./b", "a//b", "/"],
)
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    placeholder = "x" * len(name)
    data = made_zip({placeholder: b"{}"}).replace(placeholder.encode(), name.encode())
    assert verdict(walked(data)) == "zip_bad_name"


def test_a_name_that_is_not_the_utf8_it_claims_to_be_is_refused() -> None:
    data = made_zip({"é": b"{}"}).replace("é".encode(), b"\xc3\xc3")
    assert verdict(walked(data)) == "zip_bad_name"


def test_a_member_listed_but_absent_is_found() -> None:
    data = made_zip({"a.json": b"1", "b.json": b"2"})
    second = data.index(LOCAL, 4)
    directory = data.index(CENTRAL)
    without = data[:second] + data[directory:]
    assert verdict(walked(without)) == "zip_directory_mismatch"


def test_a_member_present_but_unlisted_is_found() -> None:
    data = made_zip({"a.json": b"1", "b.json": b"2"})
    directory, second_line = data.index(CENTRAL), data.index(CENTRAL, data.index(CENTRAL) + 4)
    end = data.index(END)
    count, size = b"\1\0\1\0", struct.pack("<LL", second_line - directory, directory)
    without = data[:second_line] + data[end : end + 8] + count + size + b"\0\0"
    assert verdict(walked(without)) == "zip_directory_mismatch"


def test_a_directory_in_another_order_is_no_fault() -> None:
    data = made_zip({"a.json": b"1", "b.json": b"2"})
    first = data.index(CENTRAL)
    second, end = data.index(CENTRAL, first + 4), data.index(END)
    turned = data[:first] + data[second:end] + data[first:second] + data[end:]
    assert verdict(walked(turned)) is None


def test_a_member_listed_twice_is_found() -> None:
    data = made_zip({"a.json": b"1", "b.json": b"2"})
    first = data.index(CENTRAL)
    second, end = data.index(CENTRAL, first + 4), data.index(END)
    twice = data[:first] + data[first:second] * 2 + data[end:]
    assert verdict(walked(twice)) == "zip_directory_mismatch"


# ---------------------------------------------------------------- limits


def test_a_bomb_is_stopped_long_before_its_end() -> None:
    data = made_zip({"bomb": bytes(200 << 20)})
    limits = replace(LIMITS, max_ratio=100.0, ratio_floor_bytes=1 << 20)
    walk = walked(data, 4096, limits)
    assert verdict(walk) == "zip_ratio"
    assert walk.inflated_bytes < 4 << 20


def test_a_small_zip_is_not_refused_for_its_ratio() -> None:
    assert verdict(walked(made_zip({"zeros": bytes(1 << 20)}))) is None


@pytest.mark.parametrize("streamed", [False, True])
def test_a_member_beyond_the_bound_is_refused_whatever_its_header_says(streamed: bool) -> None:
    data = made_zip({"big": bytes(3 << 20)}, streamed=streamed)
    walk = walked(data, None, replace(LIMITS, max_member_bytes=1 << 20))
    assert verdict(walk) == "zip_member_too_large"
    assert walk.inflated_bytes < 2 << 20


def test_a_member_that_inflates_past_its_stated_size_is_stopped_there() -> None:
    data = patched(made_zip({"lie": bytes(50 << 20)}), LOCAL, 22, struct.pack("<L", 10))
    walk = walked(data)
    assert verdict(walk) == "zip_bad_data"
    assert walk.inflated_bytes < 1 << 20


def test_too_many_entries_are_refused() -> None:
    data = made_zip({f"{number}": b"" for number in range(11)})
    assert verdict(walked(data, None, replace(LIMITS, max_entries=10))) == "zip_too_many"
    assert verdict(walked(data, None, replace(LIMITS, max_entries=11))) is None


# ---------------------------------------------------------------- inspectors


class Picky:
    """Wants JSON; dislikes the word bad."""

    def wants(self, name: str) -> bool:
        return name.endswith(".json")

    def member(self, name: str, data: bytes) -> str | None:
        if b"bad" in data:
            raise FilingdError("it says bad")
        return data.decode()

    def facts(self) -> Mapping[str, Any]:
        return {}


@pytest.mark.parametrize("pieces", [None, 1, 7])
@pytest.mark.parametrize("streamed", [False, True])
def test_the_inspector_gets_whole_members_in_any_pieces(pieces: int | None, streamed: bool) -> None:
    data = made_zip({"a.json": b"abc" * 400, "b.pdf": b"bad", "c.json": b""}, streamed=streamed)
    walk = _fed(ZipWalk(LIMITS, Picky()), data, pieces)
    assert verdict(walk) is None
    assert [m.note for m in walk.members] == ["abc" * 400, None, ""]


def test_a_refusing_inspector_ends_the_walk() -> None:
    walk = _fed(ZipWalk(LIMITS, Picky()), made_zip({"a.json": b"bad"}), None)
    assert verdict(walk) == "inspect_failed"


def test_writing_to_a_pipe_gives_zips_with_descriptors() -> None:
    """What the streamed zips of this module are: their headers carry no sizes."""
    pipe = Unseekable()
    with zipfile.ZipFile(pipe, "w") as archive:
        archive.writestr("a", b"x")
    assert struct.unpack_from("<H", pipe.data, 6)[0] & 8
