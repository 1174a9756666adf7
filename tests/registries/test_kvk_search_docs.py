"""docs/saved-searches.md speaks of every field, and its examples are searches."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from filingd.registries.kvk import query, searches
from filingd.registries.kvk.searches import search_of

TEXT = (Path(__file__).parents[2] / "docs" / "saved-searches.md").read_text()
TABLED = {found[1] for found in re.finditer(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)}


def test_every_field_and_every_axis_stands_in_a_table() -> None:
    assert {*query.PARAMETERS, *searches._VALUES_OF} == TABLED


def test_the_first_fields_are_those_of_which_one_has_to_be_there() -> None:
    rows = [found[1] for found in re.finditer(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)]
    assert set(rows[: len(query._CRITERIA)]) == set(query._CRITERIA)


@pytest.mark.parametrize("example", re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL))
def test_an_example_is_a_search(example: str) -> None:
    search = search_of(tomllib.loads(example))
    assert [axis.name for axis in search.split] == ["type", "straatnaam"]


@pytest.mark.parametrize("values", re.findall(r"^\| `(\w+)` \| `(\w+ = \[.*?\])`", TEXT, re.MULTILINE))
def test_the_values_of_an_axis_are_written_as_the_table_says(values: tuple[str, str]) -> None:
    axis, written = values
    listed = tomllib.loads(written)
    (field,) = listed
    assert (
        search_of({"naam": "x", "split": [axis], field: [*listed[field], "1234AB 1"]}).split[0].name == axis
    )
