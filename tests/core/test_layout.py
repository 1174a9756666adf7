"""Where things lie, relative to the store."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.core import layout

TARGET = "nbb/authentic/2026/11/2026-11-20/json.zip"
PARTS = st.text(st.characters(codec="ascii", categories=("Ll", "Nd"), include_characters=".-"), min_size=1)


def test_a_seal_lies_beside_the_files_it_speaks_of() -> None:
    assert layout.folder_of(TARGET) == "nbb/authentic/2026/11/2026-11-20"
    assert layout.name_of(TARGET) == "json.zip"
    assert layout.beside(TARGET, layout.SEAL_NAME) == "nbb/authentic/2026/11/2026-11-20/day.json"
    assert layout.beside(TARGET, layout.SUMS_NAME) == "nbb/authentic/2026/11/2026-11-20/SHA256SUMS"


def test_what_lies_beside_a_file_at_the_top_stays_inside_the_store() -> None:
    assert layout.beside("json.zip", layout.SEAL_NAME) == "day.json"


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        (TARGET, "versions/nbb/authentic/2026/11/2026-11-20/json.v3.zip"),
        ("kvk/basisprofiel/69599084", "versions/kvk/basisprofiel/69599084.v3"),
        ("kvk/v1.2/69599084", "versions/kvk/v1.2/69599084.v3"),
        ("kvk/a.b.json", "versions/kvk/a.b.v3.json"),
        ("kvk/.hidden", "versions/kvk/.hidden.v3"),
        ("json.zip", "versions/json.v3.zip"),
    ],
)
def test_an_older_version_keeps_folder_name_and_extension(target: str, kept: str) -> None:
    assert layout.superseded(target, 3) == kept


@given(
    parts=st.lists(PARTS, min_size=1, max_size=4),
    other=st.lists(PARTS, min_size=1, max_size=4),
    numbers=st.tuples(st.integers(1, 99), st.integers(1, 99)),
)
def test_versions_of_one_file_never_share_a_place(
    parts: list[str], other: list[str], numbers: tuple[int, int]
) -> None:
    first, second = "/".join(parts), "/".join(other)
    kept = layout.superseded(first, numbers[0])
    assert kept.startswith("versions/")
    assert layout.folder_of(kept) == layout.beside("versions/x", layout.folder_of(first)).rstrip("/")
    assert (kept == layout.superseded(first, numbers[1])) == (numbers[0] == numbers[1])
    if layout.folder_of(first) != layout.folder_of(second):
        assert kept != layout.superseded(second, numbers[0])
