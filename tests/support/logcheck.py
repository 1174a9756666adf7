"""Whether a line of the status log keeps what the catalogue of events promises."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import jsonschema

from filingd.core import events

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def check_line(line: Mapping[str, Any]) -> None:
    """Raise AssertionError, with what to do, unless the line is one the catalogue describes."""
    name = line.get("event")
    assert name in events.CATALOGUE, f"the event {name!r} is not in filingd.core.events: add it there. {line}"
    for error in _validator(str(name)).iter_errors(dict(line)):
        where = ".".join(map(str, error.absolute_path)) or "the line"
        raise AssertionError(
            f"{name}: {where}: {error.message}. Mend it, or filingd.core.events. {dict(line)}"
        )


def check_event(name: str, level: str, facts: Mapping[str, Any]) -> None:
    """The same for what was handed to a `ports.Log`, before it became a line (JSON round trip included)."""
    plain = json.loads(json.dumps(dict(facts), default=str))
    check_line({"ts": "2026-11-20T11:00:00.000Z", "level": level, "event": name, **plain})


def check_file(path: Path) -> list[dict[str, Any]]:
    """Check every line of a log file; returns the lines."""
    lines = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        check_line(line)
    return lines


@functools.cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    (one,) = (each for each in events.line_schema()["oneOf"] if each["title"] == name)
    return jsonschema.Draft202012Validator(one)
