"""The files that ship: what they say is what the code does, and nothing is left out."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import msgspec
import pytest

from filingd.registries.kvk.operations import DEFAULT_PATHS
from filingd.registries.nbb.routes import DEFAULT_OPERATIONS
from filingd.settings import Settings, load, parse, schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CONFIG = Path(__file__).resolve().parent.parent / "config"
FIRST, DEMO, KVK_TEST = CONFIG / "filingd.toml", CONFIG / "demo.toml", CONFIG / "kvk-test.toml"
# What has to be filled in has no default that the file could agree with.
TO_FILL_IN = {"nbb.since", "nbb.products.extract.keys", "nbb.products.authentic-archive.keys"}
SECTION_NAME = "clients"  # stands for any name an operator may give a section
# Subscriptions few have: their whole sections are commented.
OPTIONAL = (
    "kvk.",
    "nbb.paths.",
    f"nbb.watch.{SECTION_NAME}.",
    *(f"nbb.products.{name}." for name in ("improved", "improved-archive", "authentic-query")),
)


EXAMPLES = ("nbb.paths.", f"kvk.watch.{SECTION_NAME}.refresh.")  # of these the file shows some


def _leaves(table: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{at}{name}.")
        else:
            yield f"{at}{name}", value


def _options(
    entry: Mapping[str, Any], parts: Mapping[str, Any], at: str = ""
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every option of the schema: dotted key and its entry."""
    if isinstance(named := entry.get("additionalProperties"), dict):
        yield from _options(named, parts, f"{at}.{SECTION_NAME}")
        return
    refs = [each["$ref"] for each in (entry, *entry.get("anyOf", ())) if "$ref" in each]
    if not refs:
        yield at, entry
    for ref in refs:
        for name, inner in parts[ref.rpartition("/")[2]]["properties"].items():
            yield from _options(inner, parts, f"{at}.{name}".lstrip("."))


def _uncommented(text: str) -> str:
    """The file with every `# option = value` and `# [section]` switched on."""
    return re.sub(r"^# ((?:[a-z_]+ = |\[)\S.*)$", r"\1", text, flags=re.MULTILINE)


SCHEMA = schema()
OPTIONS = dict(_options(SCHEMA, SCHEMA["$defs"]))
SHIPPED = dict(_leaves(tomllib.loads(FIRST.read_text(encoding="utf-8"))))
WITH_ALL = {
    key.replace("kvk.keys.main.", f"kvk.keys.{SECTION_NAME}."): value
    for key, value in _leaves(tomllib.loads(_uncommented(FIRST.read_text(encoding="utf-8"))))
}


def test_the_shipped_configuration_loads_as_it_is() -> None:
    assert load(FIRST).nbb is not None


def test_it_still_loads_with_every_example_switched_on() -> None:
    assert (
        parse(_uncommented(FIRST.read_text(encoding="utf-8")), FIRST).http.contact == "mailto:ops@example.org"
    )


def test_every_option_of_the_schema_is_mentioned_in_its_own_section() -> None:
    mentioned = {key for key in WITH_ALL if not key.startswith(EXAMPLES)}
    expected = {key for key in OPTIONS if not key.startswith(EXAMPLES)}
    assert mentioned == expected
    assert {key for key in OPTIONS if key.startswith("nbb.paths.")} >= {
        key for key in WITH_ALL if key.startswith("nbb.paths.")
    }
    for product, dataset in DEFAULT_OPERATIONS:
        assert any(key.startswith(f"nbb.paths.{product}.{dataset}.") for key in WITH_ALL)


@pytest.mark.parametrize("key", sorted(set(SHIPPED) - TO_FILL_IN))
def test_what_is_written_there_is_the_default(key: str) -> None:
    default = OPTIONS[key]["default"]
    one, other = _alone(key, SHIPPED[key]), _alone(key, default)
    assert one == other


def _alone(key: str, value: Any) -> Settings:
    """Settings with just this one option (and what has to be there), so that "60 s" and "1 min" compare as equal."""
    table: dict[str, Any] = {"nbb": {"since": "2024-01-01", "products": {"extract": {"keys": ["env:A"]}}}}
    *sections, name = key.split(".")
    place = table
    for section in sections:
        place = place.setdefault(section, {})
    if key.startswith("nbb.products.authentic-archive"):
        place["keys"] = ["env:B"]
    place[name] = value
    return parse(_toml(table), FIRST)


def _toml(table: Mapping[str, Any]) -> str:
    """Dotted keys do: `nbb.since = 2024-01-01`."""
    lines = []
    for key, value in _leaves(table):
        quoted = ".".join(f'"{part}"' for part in key.split("."))
        lines.append(f"{quoted} = {value if key.endswith('since') else json.dumps(value)}")
    return "\n".join(lines)


def test_options_without_a_default_are_the_commented_ones() -> None:
    without = {
        key for key, entry in OPTIONS.items() if entry.get("default") is None and not key.startswith(OPTIONAL)
    }
    assert without - TO_FILL_IN == {
        key for key in set(WITH_ALL) - set(SHIPPED) if not key.startswith(OPTIONAL)
    }


def test_every_option_has_a_meaning_in_the_schema() -> None:
    silent = [key for key, entry in OPTIONS.items() if not entry.get("description")]
    assert silent == []


KVK_DEFAULTS = sorted(
    key for key in WITH_ALL if key.startswith("kvk.") and OPTIONS.get(key, {}).get("default") is not None
)


@pytest.mark.parametrize("key", KVK_DEFAULTS)
def test_what_is_written_in_a_comment_is_the_default(key: str) -> None:
    assert WITH_ALL[key] == OPTIONS[key]["default"]


@pytest.mark.parametrize("part", sorted(DEFAULT_PATHS))
def test_the_paths_in_comments_are_the_ones_that_are_used(part: str) -> None:
    assert WITH_ALL[f"kvk.paths.{part}"] == DEFAULT_PATHS[part]


def test_the_profile_of_the_test_environment_is_ready() -> None:
    settings = load(KVK_TEST)
    assert settings.nbb is None
    assert settings.kvk is not None
    assert settings.kvk.base_url == "https://api.kvk.nl/test/api"
    assert settings.key_references == {"kvk/test": ("public:kvk-test",)}
    assert settings.kvk.watchlists == CONFIG / "kvk-test-watchlists"


@pytest.mark.parametrize("path", [FIRST, DEMO, KVK_TEST], ids=lambda path: path.name)
def test_the_shipped_files_conform_to_the_schema(path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    table = json.loads(json.dumps(tomllib.loads(path.read_text(encoding="utf-8")), default=str))
    jsonschema.validate(table, SCHEMA, format_checker=jsonschema.FormatChecker())


@pytest.mark.parametrize(
    "table",
    [
        {"store": {"keep_free": 5}}, {"http": {"idle_timeout": "soon"}}, {"nbb": {}}, {"extra": 1},
        {"nbb": {"since": "2024-01-01", "products": {"extract": {"keys": ["0" * 32]}}}},
        {"nbb": {"since": "2024-01-01", "products": {"extract": {"keys": []}}}},
    ],
)  # fmt: skip
def test_the_schema_refuses_what_the_program_refuses(table: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(table, SCHEMA)


def test_the_demo_rehearses_45_days_with_waits_of_seconds() -> None:
    nbb = load(DEMO).nbb
    assert nbb is not None
    assert (nbb.since.isoformat(), nbb.empty_confirmations, nbb.empty_interval_s) == ("2026-10-06", 2, 1.0)
    assert nbb.base_url == "http://127.0.0.1:8480"
    assert load(DEMO).store.path == CONFIG.parent / "demo-store"
    assert all(
        reference.startswith("env:FILINGD_DEMO_")
        for keys in load(DEMO).key_references.values()
        for reference in keys
    )


def test_settings_are_plain_frozen_values() -> None:
    settings = load(FIRST)
    with pytest.raises(AttributeError):
        settings.store.path = Path("/")  # type: ignore[misc]
    assert msgspec.structs.replace(settings) == settings
    assert hash(settings) == hash(load(FIRST))
