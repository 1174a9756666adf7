"""A record as it leaves the store: a line of `filingd export`.

Fields may be added; they are never renamed or removed.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from filingd.cli.schemas import markdown_of, schema_of
from filingd.cli.schemas import says as _says

if TYPE_CHECKING:
    from filingd.core.model import Version

_PREAMBLE = """\
# filingd export

JSON Lines: one record a line, in the order of their keys (with `--since NUMBER`: in the order in which they were stored).
Fields may be added; they are never renamed or removed. `filingd export --schema` prints the JSON Schema of a line.

```
filingd export --registry kvk --part basisprofiel | jq -r 'select(.non_mailing != true) | [.number, .name] | @tsv'
filingd export 69599084                      # a company and its branches
filingd export --since 1234                  # what was stored after event 1234 of `filingd changes`
filingd export --no-body > index.jsonl
```

**`non_mailing` stands on every line.** Where it is true, the address may not be used for unsolicited post or sales at the
door: carry it along wherever the record goes. It is null only where the registry did not say, also not in the record of the
company that is held: then ask it before you write to anybody.

What an operator had forgotten is never exported, whether it is erased already or not: a record that still names something
that is being erased comes with a later export. Searches themselves are not exported: they serve to find numbers, and the
registry says that they may be incomplete.

The last line on standard error says how many records were exported, and with which `--since` the next export goes on where
this one ended. What became of a record that is no longer held (`lost`, `forgotten`, `older_removed`) is told by `filingd
changes`.
"""


class ExportLine(Struct, frozen=True):
    """One record."""

    registry: Annotated[str, _says("its registry, such as kvk")]
    key: Annotated[str, _says("the item, such as kvk/numbers/69599084/basisprofiel")]
    number: Annotated[str, _says("the number it was asked for by, in plain form")]
    part: Annotated[str, _says("what it is, such as basisprofiel")]
    name: Annotated[str | None, _says("the name it gives; null if it gives none")]
    non_mailing: Annotated[
        bool | None,
        _says(
            "whether the address may not be used for unsolicited post; of a record that does not say it, as the record of "
            "its company says, or, of search results, as that of any company in them says. null: nobody says"
        ),
    ]
    shielded: Annotated[bool | None, _says("whether an address in it is shielded; null if it does not say")]
    api_version: Annotated[str | None, _says("the version of the API that served it, if it said so")]
    version: Annotated[int, _says("which body of the item it is, from 1")]
    fetched_at: Annotated[str, _says("when it was stored, UTC: 2026-11-20T11:00:00.123Z")]
    verified_at: Annotated[
        str | None, _says("when it was last compared with what the registry says, or with its checksum, UTC")
    ]
    path: Annotated[str, _says("where it lies, relative to the store")]
    size_bytes: Annotated[int, _says("its size as it lies there")]
    sha256: Annotated[str, _says("its SHA-256 as it lies there, hexadecimal")]
    seq: Annotated[
        int | UnsetType, _says("with --since NUMBER: the event of `filingd changes` that tells of it")
    ] = UNSET
    body: Annotated[
        dict[str, Any] | list[Any] | UnsetType,
        _says("the record as it was served; line ends in it are blanks. Absent with --no-body"),
    ] = UNSET


def line_of(
    version: Version, number: str, non_mailing: bool | None, seq: int | None, body: bytes | None
) -> bytes:
    """The line of a stored record, with its end; `body` None leaves it out."""
    facts = version.facts
    line = ExportLine(
        version.key.partition("/")[0],
        version.key,
        number,
        version.key.rpartition("/")[2],
        facts.get("name"),
        non_mailing,
        facts.get("shielded"),
        facts.get("api_version"),
        version.number,
        _iso(version.stored_at),
        _iso(version.verified_at) if version.verified_at is not None else None,
        version.path,
        version.size_bytes,
        version.sha256.hex(),
        UNSET if seq is None else seq,
        UNSET if body is None else msgspec.Raw(_on_one_line(body)),  # type: ignore[arg-type]  # encoded already
    )
    return msgspec.json.encode(line) + b"\n"


def _on_one_line(body: bytes) -> bytes:
    """JSON has no line end within a text: outside of it, a blank is the same."""
    return body.removeprefix(b"\xef\xbb\xbf").strip().replace(b"\r", b" ").replace(b"\n", b" ")


def _iso(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a line."""
    return schema_of(ExportLine, "one line of filingd export")


def as_markdown() -> str:
    """The text of docs/export-json.md."""
    return f"{_PREAMBLE}\n{markdown_of(schema())}"


if __name__ == "__main__":
    print(as_markdown(), end="")
