"""The JSON that commands print, described: as a JSON Schema for programs, as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def says(text: str) -> msgspec.Meta:
    """What a field means."""
    return msgspec.Meta(description=text)


def schema_of(report: type[msgspec.Struct], title: str) -> dict[str, Any]:
    """JSON Schema (2020-12) of a report."""
    (root,), parts = msgspec.json.schema_components([report], ref_template="#/$defs/{name}")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **root, "$defs": parts}


def markdown_of(schema: Mapping[str, Any]) -> str:
    """A table of fields for each kind of object in a schema."""
    lines: list[str] = []
    for name, part in schema["$defs"].items():
        lines += [f"## {name}", "", part["description"], "", "| field | type | meaning |", "|---|---|---|"]
        lines += _rows(part["properties"])
        lines.append("")
    return "\n".join(lines)


def _rows(properties: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, told in properties.items():
        yield f"| `{name}` | {_type(told)} | {told.get('description', '')} |"


def _type(told: Mapping[str, Any]) -> str:
    if "anyOf" in told:
        return " or ".join(_type(each) for each in told["anyOf"])
    if "$ref" in told:
        return str(told["$ref"]).rpartition("/")[2]
    if "enum" in told:
        return " or ".join(f"`{each}`" for each in told["enum"])
    if told["type"] == "array":
        return f"list of {_type(told['items'])}" if "items" in told else "list"
    if told["type"] == "object":
        return (
            f"object of {_type(told['additionalProperties'])}" if "additionalProperties" in told else "object"
        )
    return str(told["type"])
