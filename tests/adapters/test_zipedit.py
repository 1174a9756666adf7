"""Members taken out of zips: what stays is there to the byte, what goes leaves no byte, and the walk finds nothing wrong."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filingd.adapters.zipedit import ZipEdit, edit_of, line_at, listing_of
from filingd.adapters.zipwalk import CENTRAL_HEADER, ZipRefusedError, ZipWalk
from filingd.core.model import ZipLimits
from support.scrubs import Without
from support.zips import made_zip

LIMITS = ZipLimits()
NAMES = [f"2026-0000000{number}.xbrl" for number in range(8)] + ["sub/2026-00000009.json", "odd name é.bin"]


def edited(data: bytes, scrub: Without) -> bytes | None:
    edit = edit_of(lambda at, count: data[at : at + count], len(data), scrub)
    return b"".join(edit.parts()) if edit is not None else None


def walked(data: bytes) -> list[str]:
    walk = ZipWalk(LIMITS)
    walk.feed(memoryview(data))
    walk.finish()
    if walk.wants_directory:
        sizes = {
            e.header_at: e.packed_bytes
            for e in listing_of(lambda at, n: data[at : at + n], len(data)).entries
        }
        walk = ZipWalk(LIMITS, known_sizes=sizes)
        walk.feed(memoryview(data))
        walk.finish()
    assert walk.refusal is None, walk.refusal
    return [member.name for member in walk.members]


def contents(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert opened.testzip() is None
        return {name: opened.read(name) for name in opened.namelist() if not name.endswith("/")}


def extents(data: bytes) -> dict[str, bytes]:
    """The bytes from each local header to the next."""
    listing = listing_of(lambda at, count: data[at : at + count], len(data))
    return {entry.name: data[entry.header_at : entry.end_at] for entry in listing.entries}


MEMBERS = st.dictionaries(st.sampled_from(NAMES), st.binary(max_size=300), min_size=1)
SHAPES = st.fixed_dictionaries(
    {
        "method": st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
        "streamed": st.booleans(),
        "force_zip64": st.booleans(),
        # With an end record of its own in the comment `zipfile` itself does not find the zip's.
        "comment": st.binary(max_size=20).filter(lambda comment: b"PK\x05\x06" not in comment),
        "folders": st.sampled_from([(), ("sub/",)]),
    }
)


@settings(max_examples=300, deadline=None)
@given(members=MEMBERS, shape=SHAPES, draw=st.data())
def test_whatever_is_taken_out_the_rest_is_as_it_was_to_the_byte(
    members: dict[str, bytes], shape: dict[str, object], draw: st.DataObject
) -> None:
    data = made_zip(members, **shape)  # type: ignore[arg-type]
    gone = draw.draw(st.sets(st.sampled_from(sorted(members)), min_size=1))
    left = edited(data, Without(gone))
    assert left is not None
    kept = {name: body for name, body in members.items() if name not in gone}
    assert contents(left) == kept
    assert sorted(walked(left)) == sorted(kept)
    before, after = extents(data), extents(left)
    assert after == {name: body for name, body in before.items() if name not in gone}
    with zipfile.ZipFile(io.BytesIO(left)) as opened:
        assert opened.comment == shape["comment"]
    for name in gone:
        assert name.encode() not in left


@settings(max_examples=200, deadline=None)
@given(members=MEMBERS, shape=SHAPES, anew=st.binary(max_size=2000), draw=st.data())
def test_a_member_with_other_content_keeps_its_name_and_time_and_all_others_their_bytes(
    members: dict[str, bytes], shape: dict[str, object], anew: bytes, draw: st.DataObject
) -> None:
    data = made_zip(members, **shape)  # type: ignore[arg-type]
    changed = draw.draw(st.sampled_from(sorted(members)))
    left = edited(data, Without((), {changed: anew}))
    assert left is not None
    assert contents(left) == {**members, changed: anew}
    assert sorted(walked(left)) == sorted(members)
    before, after = extents(data), extents(left)
    assert {n: b for n, b in after.items() if n != changed} == {
        n: b for n, b in before.items() if n != changed
    }
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(io.BytesIO(left)) as new:
        assert new.getinfo(changed).date_time == old.getinfo(changed).date_time
        assert new.getinfo(changed).compress_type == old.getinfo(changed).compress_type


@settings(max_examples=200, deadline=None)
@given(members=MEMBERS, shape=SHAPES, order=st.randoms(use_true_random=False), draw=st.data())
def test_taking_out_one_after_the_other_is_as_taking_out_both(
    members: dict[str, bytes], shape: dict[str, object], order: object, draw: st.DataObject
) -> None:
    data = made_zip(members, **shape)  # type: ignore[arg-type]
    gone = draw.draw(st.lists(st.sampled_from(sorted(members)), unique=True, min_size=1))
    left = data
    for name in gone:
        left = edited(left, Without({name})) or b""
    assert left == edited(data, Without(gone))


def test_nothing_to_take_out_is_said_without_reading_a_member() -> None:
    data = made_zip({"a.xbrl": b"a", "b.xbrl": b"b"})
    assert edited(data, Without({"c.xbrl"})) is None


def test_a_directory_in_another_order_than_the_data_stays_in_its_order() -> None:
    data = made_zip({"a": b"a" * 50, "b": b"b" * 50, "c": b"c" * 50})
    listing = listing_of(lambda at, count: data[at : at + count], len(data))
    turned = b"".join(entry.line for entry in reversed(listing.entries))
    odd = data[: listing.directory_at] + turned + listing.tail
    left = edited(odd, Without({"b"}))
    assert left is not None
    assert [entry.name for entry in listing_of(lambda at, n: left[at : at + n], len(left)).entries] == [
        "c",
        "a",
    ]
    assert walked(left) == ["a", "c"]


def test_offsets_beyond_32_bits_stand_in_the_zip64_field_and_stay_there() -> None:
    line = _line(extra=struct.pack("<HHQ", 1, 8, 5 << 32), offset=0xFFFFFFFF)
    moved = line_at(line, 77)
    assert struct.unpack_from("<L", moved, 42) == (0xFFFFFFFF,)
    assert _offset_of(moved) == 77
    assert len(moved) == len(line)
    far = line_at(line, (4 << 32) + 5)
    assert (_offset_of(far), len(far)) == ((4 << 32) + 5, len(line))


def test_an_offset_that_grows_beyond_32_bits_gets_a_zip64_field_behind_what_was_there() -> None:
    bare = line_at(_line(extra=b"", offset=1), 6 << 32)
    assert _offset_of(bare) == 6 << 32
    sizes = struct.pack("<HHQQ", 1, 16, 10, 20)
    both = line_at(
        _line(extra=b"\x99\x99\x01\x00x" + sizes, offset=1, size=0xFFFFFFFF, packed=0xFFFFFFFF), 6 << 32
    )
    assert both.endswith(b"\x99\x99\x01\x00x" + struct.pack("<HHQQQ", 1, 24, 10, 20, 6 << 32) + b"comment")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-30],
        lambda data: data.replace(b"PK\x01\x02", b"PK\x09\x09"),
        lambda data: b"junk" + data,
        lambda data: b"",
        lambda data: b"no zip at all",
    ],
)
def test_what_cannot_be_read_is_refused(spoil: object) -> None:
    data = spoil(made_zip({"a": b"a", "b": b"b"}))  # type: ignore[operator]
    with pytest.raises(ZipRefusedError):
        edited(data, Without({"a"}))


def test_a_wanted_member_that_is_damaged_is_refused_and_never_judged() -> None:
    body = zlib.compress(b"x" * 100)
    data = bytearray(made_zip({"a": body}, method=zipfile.ZIP_STORED))
    data[data.index(body) + 3] ^= 0xFF
    with pytest.raises(ZipRefusedError, match="zip_bad_crc"):
        edited(bytes(data), Without((), {"a": b"new"}))


def test_traces_say_how_many_members_and_bytes_go() -> None:
    data = made_zip({"a": b"a" * 500, "b": b"b"}, method=zipfile.ZIP_STORED)
    edit = edit_of(lambda at, count: data[at : at + count], len(data), Without({"a"}))
    assert isinstance(edit, ZipEdit)
    assert edit.traces.members == 1
    assert len(data) - len(b"".join(edit.parts())) == edit.traces.size_bytes


def _line(extra: bytes, offset: int, size: int = 3, packed: int = 3) -> bytes:
    head = CENTRAL_HEADER.pack(
        b"PK\x01\x02", 45, 45, 0, 0, 0, 0, 0, packed, size, 1, len(extra), 7, 0, 0, 0, offset
    )
    return head + b"a" + extra + b"comment"


def _offset_of(line: bytes) -> int:
    fields = CENTRAL_HEADER.unpack_from(line)
    if fields[16] != 0xFFFFFFFF:
        return int(fields[16])
    extra = line[46 + fields[10] : 46 + fields[10] + fields[11]]
    return int(struct.unpack("<Q", extra[-8:])[0])
