"""How the catalogue's values become rows and come back, byte for byte as they were.

Six million rows are kept small by columns without a type: what nearly always has one shape (a reference number, a date,
an enterprise number) is a number of a few bytes if it has that very shape, and the text itself if it has not. A member name
that follows from the rest of its row is not written at all.
"""

from __future__ import annotations

import datetime as dt
import functools
import json
import re
import zlib
from typing import TYPE_CHECKING, Any

import msgspec

from filingd.core.catalogue import DocumentPlace, Filing, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Row = tuple[Any, ...]
Packed = int | str | None

_REFERENCE = re.compile(r"[1-9][0-9]{3}-[0-9]{8}", re.ASCII)
_ENTERPRISE = re.compile(r"[0-9]{10}", re.ASCII)
_RUNNING_NUMBERS = 10**8
_WHOLE_FILE = ""  # instead of a member's name; NULL is the name that follows from the row
_SIGN_BIT, _TWO_TO_32 = 1 << 31, 1 << 32  # a CRC is kept with a sign: four bytes instead of six

FILING_COLUMNS = (
    "reference", "source_id", "ordinal", "enterprise", "name_id", "traits_id", "deposit_date", "exercise_start",
    "exercise_end", "improvement_date", "member", "row", "unknown",
)  # fmt: skip
PLACE_COLUMNS = (
    "reference", "source_id", "ordinal", "kind_id", "variant_id", "byte_offset", "packed_bytes", "size_bytes",
    "method", "crc32", "member",
)  # fmt: skip
SOURCE_COLUMNS = ("id", "key", "version", "path", "family_id", "published_on")


# ------------------------------------------------------------------------------------------------- single values


def pack_reference(reference: str) -> int | str:
    """`2026-00458736` as a number; any other reference as it is."""
    if _REFERENCE.fullmatch(reference) is None:
        return reference
    return int(reference[:4]) * _RUNNING_NUMBERS + int(reference[5:])


def unpack_reference(packed: int | str) -> str:
    """The inverse of `pack_reference`."""
    if isinstance(packed, str):
        return packed
    year, number = divmod(packed, _RUNNING_NUMBERS)
    return f"{year}-{number:08d}"


def pack_enterprise(enterprise: str | None) -> Packed:
    """Ten digits as a number; anything else as it is."""
    if enterprise is None or _ENTERPRISE.fullmatch(enterprise) is None:
        return enterprise
    return int(enterprise)


def unpack_enterprise(packed: Packed) -> str | None:
    """The inverse of `pack_enterprise`."""
    return f"{packed:010d}" if isinstance(packed, int) else packed


@functools.lru_cache(maxsize=8192)
def pack_date(text: str | None) -> Packed:
    """A date in its one ISO form as the number of its day; anything else as it is."""
    if text is None or len(text) != len("2026-11-20"):
        return text
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        return text
    return day.toordinal() if day.isoformat() == text else text


@functools.lru_cache(maxsize=8192)
def unpack_date(packed: Packed) -> str | None:
    """The inverse of `pack_date`."""
    return dt.date.fromordinal(packed).isoformat() if isinstance(packed, int) else packed


def pack_references(references: Iterable[int | str]) -> bytes:
    """The packed references an item speaks of, each once, as the steps between them."""
    distinct = set(references)
    numbers = sorted(one for one in distinct if isinstance(one, int))
    texts = sorted(one for one in distinct if isinstance(one, str))
    steps = [after - before for before, after in zip([0, *numbers], numbers, strict=False)]
    return zlib.compress(msgspec.msgpack.encode((steps, texts)), 1)


def unpack_references(body: bytes) -> list[int | str]:
    """The inverse of `pack_references`, in order."""
    steps, texts = msgspec.msgpack.decode(zlib.decompress(body), type=tuple[list[int], list[str]])
    found: list[int | str] = []
    number = 0
    for step in steps:
        number += step
        found.append(number)
    return found + list[int | str](texts)


# ------------------------------------------------------------------------------------------------- traits


Traits = tuple[str | bool | None, ...]


def traits_of(filing: Filing) -> Traits:
    """What many filings have in common: there are a few thousand of them among millions of filings."""
    return (
        filing.model, filing.deposit_type, filing.language, filing.currency, filing.legal_form, filing.data_version,
        filing.corrected_data, filing.variant, filing.offers_document,
    )  # fmt: skip


def traits_text(traits: Traits) -> str:
    """The same as they are kept."""
    return json.dumps(traits, separators=(",", ":"))


# ------------------------------------------------------------------------------------------------- rows


def filing_row(
    filing: Filing, source_id: int, ordinal: int, name_id: int | None, traits_id: int, packed: int | str
) -> Row:
    """A row of `filings`; `packed` is the reference."""
    return (
        packed, source_id, ordinal, pack_enterprise(filing.enterprise), name_id, traits_id,
        pack_date(filing.deposit_date), pack_date(filing.exercise_start), pack_date(filing.exercise_end),
        pack_date(filing.improvement_date), _pack_member(filing.member, f"{filing.reference}.json"), filing.row,
        json.dumps(filing.unknown) if filing.unknown else None,
    )  # fmt: skip


def filing_from(row: Sequence[Any], name: str | None, traits: str) -> Filing:
    """A filing from its row, the name of its enterprise and its traits."""
    reference = unpack_reference(row[0])
    model, deposit_type, language, currency, form, data_version, corrected, variant, offers = json.loads(
        traits
    )
    return Filing(
        reference=reference, enterprise=unpack_enterprise(row[3]), enterprise_name=name,
        deposit_date=unpack_date(row[6]), exercise_start=unpack_date(row[7]), exercise_end=unpack_date(row[8]),
        model=model, deposit_type=deposit_type, language=language, currency=currency, legal_form=form,
        data_version=data_version, improvement_date=unpack_date(row[9]), corrected_data=corrected, variant=variant,
        offers_document=offers, unknown=json.loads(row[12]) if row[12] else {},
        member=_unpack_member(row[10], f"{reference}.json"), row=row[11],
    )  # fmt: skip


def place_row(
    place: DocumentPlace,
    source_id: int,
    ordinal: int,
    kind_id: int,
    variant_id: int | None,
    packed: int | str,
) -> Row:
    """A row of `places`; `packed` is the reference. What is stored has one size."""
    return (
        packed, source_id, ordinal, kind_id, variant_id, place.offset, place.packed_bytes,
        None if place.size_bytes == place.packed_bytes else place.size_bytes, place.method, _pack_crc(place.crc32),
        _pack_member(place.member, f"{place.reference}.{place.kind}"),
    )  # fmt: skip


def place_from(row: Sequence[Any], kind: str, variant: str | None) -> DocumentPlace:
    """A place from its row, its kind and its variant."""
    reference = unpack_reference(row[0])
    return DocumentPlace(
        reference=reference, kind=kind, size_bytes=row[6] if row[7] is None else row[7], variant=variant,
        member=_unpack_member(row[10], f"{reference}.{kind}"), offset=row[5], packed_bytes=row[6], method=row[8],
        crc32=_unpack_crc(row[9]),
    )  # fmt: skip


def source_from(row: Sequence[Any], family: str) -> Source:
    """A source from its row and the name of its family."""
    return Source(key=row[1], version=row[2], path=row[3], family=family, published_on=unpack_date(row[5]))


def _pack_member(name: str | None, usual: str) -> str | None:
    if name is None:
        return _WHOLE_FILE
    return None if name == usual else name


def _unpack_member(packed: str | None, usual: str) -> str | None:
    if packed is None:
        return usual
    return packed or None


def _pack_crc(crc32: int | None) -> int | None:
    return crc32 - _TWO_TO_32 if crc32 is not None and crc32 >= _SIGN_BIT else crc32


def _unpack_crc(packed: int | None) -> int | None:
    return packed + _TWO_TO_32 if packed is not None and packed < 0 else packed
