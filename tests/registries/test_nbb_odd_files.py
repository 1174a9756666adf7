"""Odd files that are kept by hand (tests/data/nbb): each says in one line why it is there and what has to come of it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from filingd.registries.nbb.filings import filings_in
from filingd.registries.nbb.payloads import PayloadError, ReferencesInspector

FOLDER = Path(__file__).resolve().parents[1] / "data" / "nbb"
FILES: dict[str, dict[str, Any]] = tomllib.loads((FOLDER / "files.toml").read_text("utf-8"))
UNDERSTOOD = sorted(name for name, told in FILES.items() if "filings" in told)
REFUSED = sorted(name for name, told in FILES.items() if "refused" in told)


def test_every_file_says_why_it_is_there_and_every_line_has_its_file() -> None:
    assert {path.name for path in FOLDER.glob("*.json")} == set(FILES)
    assert all(len(told["why"]) > 20 for told in FILES.values())
    assert set(UNDERSTOOD) | set(REFUSED) == set(FILES)


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_an_odd_file_is_understood_as_far_as_it_can_be(name: str) -> None:
    told = FILES[name]
    filings = filings_in((FOLDER / name).read_bytes(), name=name, member=name)
    assert len(filings) == len(told["filings"])
    for filing, wanted in zip(filings, told["filings"], strict=True):
        assert {field: getattr(filing, field) for field in wanted} == wanted
        assert (filing.enterprise is None) == told.get("parked", False)


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_it_passes_on_its_way_to_the_disk_as_well(name: str) -> None:
    inspector = ReferencesInspector()
    note = inspector.member(name, (FOLDER / name).read_bytes())
    assert note is not None
    assert [line.partition(" ")[0] for line in note.splitlines()] == [
        filing["reference"] for filing in FILES[name]["filings"]
    ]


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_understood_is_refused_in_words_and_not_counted(name: str) -> None:
    data = (FOLDER / name).read_bytes()
    with pytest.raises(PayloadError, match=FILES[name]["refused"]):
        filings_in(data, name=name, member=name)
    with pytest.raises(PayloadError):
        ReferencesInspector().member(name, data)
