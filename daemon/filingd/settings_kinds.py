"""What the values of options are: types with the way they are written in a file, and the base of all sections."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from msgspec import Meta, Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filingd.core.watchlist import Terms

_DURATION_SCHEMA = {"type": "string", "pattern": r"^\s*(\d+(\.\d+)?\s*(ms|s|min|h|d)\s*)+$"}
_SIZE_SCHEMA = {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*([kKmMgGtT][iI]?)?[bB]\s*$"}
_KEY_SCHEMA = {
    "pattern": r"^(credential:[A-Za-z0-9._-]+|env:[A-Za-z_][A-Za-z0-9_]*|file:.+|public:[a-z0-9-]+)$"
}

_TEN_YEARS_S = 10 * 366 * 24 * 3600.0
_PEBIBYTE = 1024**5

Seconds = Annotated[
    float, Meta(gt=0, le=_TEN_YEARS_S, extra={"kind": "duration"}, extra_json_schema=_DURATION_SCHEMA)
]
SecondsOrNone = Annotated[
    float, Meta(ge=0, le=_TEN_YEARS_S, extra={"kind": "duration"}, extra_json_schema=_DURATION_SCHEMA)
]
ByteCount = Annotated[int, Meta(gt=0, le=_PEBIBYTE, extra={"kind": "size"}, extra_json_schema=_SIZE_SCHEMA)]
ByteCountOrNone = Annotated[
    int, Meta(ge=0, le=_PEBIBYTE, extra={"kind": "size"}, extra_json_schema=_SIZE_SCHEMA)
]
TimeOfDay = Annotated[
    dt.time,
    Meta(
        extra={"kind": "time_of_day"}, extra_json_schema={"format": None, "pattern": r"^\d\d:\d\d(:\d\d)?$"}
    ),
]
Day = Annotated[dt.date, Meta(extra={"kind": "date"})]
FilePath = Annotated[Path, Meta(extra={"kind": "path"})]
KeyReference = Annotated[str, Meta(extra={"kind": "key_reference"}, extra_json_schema=_KEY_SCHEMA)]
BaseUrl = Annotated[str, Meta(extra={"kind": "base_url"})]
ProxyUrl = Annotated[str, Meta(extra={"kind": "proxy_url"})]
Zone = Annotated[str, Meta(extra={"kind": "zone"})]
UserAgent = Annotated[str, Meta(extra={"kind": "user_agent"})]
Contact = Annotated[str, Meta(extra={"kind": "contact"})]
PathTemplate = Annotated[str, Meta(extra={"kind": "path_template"})]
DocumentPath = Annotated[str, Meta(extra={"kind": "document_path"})]
CompanyPath = Annotated[str, Meta(extra={"kind": "company_path"})]
ImprovedPath = Annotated[str, Meta(extra={"kind": "improved_path"})]
NumberPath = Annotated[str, Meta(extra={"kind": "number_path"})]
SearchPath = Annotated[str, Meta(extra={"kind": "search_path"})]
MediaType = Annotated[str, Meta(extra={"kind": "media_type"})]
Count = Annotated[int, Meta(ge=1, le=1_000_000_000)]
AgeDays = Annotated[int, Meta(ge=1, le=10_000)]


def says(text: str) -> Meta:
    return Meta(description=text)


class Section(Struct, frozen=True, forbid_unknown_fields=True):
    """Frozen, and refuses what it does not know."""


class WatchlistPlace(NamedTuple):
    """A folder of watchlists, the terms of each list by name, and those of a list without any."""

    path: Path
    terms: Mapping[str, Terms]
    default: Terms
