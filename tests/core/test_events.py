"""The catalogue of events keeps its own promises."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import jsonschema
import pytest

from filingd.core import events
from support.logcheck import check_event, check_line

SOURCE = Path(events.__file__).resolve().parent.parent
LINE = {"ts": "2026-11-20T11:00:00.123Z", "level": "error", "event": events.ITEM_LOST, "key": "nbb/a/b/c"}


def test_the_schema_of_a_line_is_itself_sound() -> None:
    jsonschema.Draft202012Validator.check_schema(events.line_schema())


@pytest.mark.parametrize("spec", events.CATALOGUE.values(), ids=lambda spec: spec.name)
def test_every_event_is_described_in_full(spec: events.Spec) -> None:
    assert re.fullmatch(r"[a-z]+(\.[a-z]+(_[a-z]+)*)?", spec.name)
    assert set(spec.levels) <= set(events.LEVELS)
    assert spec.when.endswith(".")
    names = [fact.name for fact in spec.facts]
    assert len(set(names)) == len(names)
    assert not set(names) & set(events.RESERVED)
    assert all(fact.meaning and re.fullmatch(r"[a-z][a-z0-9_]*", fact.name) for fact in spec.facts)


def test_every_event_has_a_constant_of_its_name() -> None:
    for name in events.CATALOGUE:
        assert getattr(events, name.replace(".", "_").upper()) == name


def test_a_line_that_conforms_passes() -> None:
    check_line(LINE)
    jsonschema.validate(LINE, events.line_schema())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"event": "item.exploded"}, "not in filingd.core.events"),
        ({"colour": "red"}, "colour"),
        ({"key": 7}, "key"),
        ({"level": "info"}, "level"),
        ({"ts": "2026-11-20 11:00:00"}, "ts"),
        ({"key": None}, "key"),
    ],
)
def test_a_line_that_does_not_conform_is_refused(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_line({**LINE, **change})


def test_a_missing_fact_is_refused_unless_it_is_optional() -> None:
    with pytest.raises(AssertionError, match="free_bytes"):
        check_event(events.ROOM_LOW, "error", {"keep_free_bytes": 1})
    check_event(events.ROOM_LOW, "error", {"keep_free_bytes": 1, "free_bytes": 0, "detail": None})


def _written_events() -> list[tuple[str, str, str, set[str | None]]]:
    """Every call in the program that names an event: where, which, at what level ("" if chosen at run time), which facts."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
                continue
            first = node.args[0]
            is_event = isinstance(first, ast.Attribute) and isinstance(first.value, ast.Name)
            if is_event and first.value.id == "events" and node.func.attr in events.LEVELS:  # type: ignore[attr-defined]
                where = f"{path.name}:{node.lineno}"
                found.append((where, first.attr, node.func.attr, {each.arg for each in node.keywords}))  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize("call", _written_events(), ids=lambda call: f"{call[0]} {call[1]}")
def test_every_event_the_program_writes_keeps_to_the_catalogue(
    call: tuple[str, str, str, set[str | None]],
) -> None:
    where, constant, level, facts = call
    spec = events.CATALOGUE[getattr(events, constant)]
    known = {fact.name for fact in spec.facts}
    required = {fact.name for fact in spec.facts if not fact.is_optional}
    assert level in spec.levels, f"{where} writes {spec.name} as {level}"
    assert facts - {None} <= known, f"{where}: facts that are not in the catalogue"
    assert None in facts or required <= facts, f"{where}: required facts are missing"


def test_every_event_of_the_catalogue_is_written_somewhere() -> None:
    package = Path(events.__file__).parents[1]
    code = "\n".join(file.read_text() for file in package.rglob("*.py") if file != Path(events.__file__))
    named = {
        name: value
        for name, value in vars(events).items()
        if isinstance(value, str) and value in events.CATALOGUE
    }
    assert len(named) == len(events.CATALOGUE)
    assert [name for name in named if f"events.{name}" not in code] == []
