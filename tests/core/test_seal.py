"""The seal of a day, for programs and for `sha256sum -c`."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from filingd.core.model import Holding, Item, State, Version
from filingd.core.seal import SEAL_FORMAT, iso, seal_text, sums_text

if TYPE_CHECKING:
    from pathlib import Path

GROUP = "nbb/authentic/2026-11-20"
STORED_AT = 1_795_323_605.25
BODIES = {"references": b"PK references", "pdf": b"PK pdf", "json": b"PK json"}
FACTS = {"day": "2026-11-20", "filings": 3, "counts": {"references": 3, "json": 2}, "unexplained": {}}


def stored(dataset: str, body: bytes, state: State = State.STORED, number: int = 1) -> Holding:
    key, digest = f"{GROUP}/{dataset}", hashlib.sha256(body).digest()
    path = f"nbb/authentic/2026/11/2026-11-20/{dataset}.zip"
    version = Version(
        key, number, path, len(body), digest, STORED_AT, f"extract/{dataset}", f"id-{dataset}", member_count=3
    )
    item = Item(key, "nbb/extract", state, size_bytes=len(body), sha256=digest, version=number)
    return Holding(item, version, ())


def empty(dataset: str) -> Holding:
    item = Item(
        f"{GROUP}/{dataset}",
        "nbb/extract",
        State.EMPTY,
        reason="only_pdf_filings",
        nothing_count=2,
        nothing_at=STORED_AT,
    )
    return Holding(item)


def a_day() -> dict[str, Holding]:
    return {name: stored(name, body) for name, body in BODIES.items()} | {"xbrl": empty("xbrl")}


def test_the_seal_says_counts_digests_routes_and_gaps() -> None:
    seal: dict[str, Any] = json.loads(seal_text(GROUP, FACTS, a_day(), STORED_AT))
    assert seal["format"] == SEAL_FORMAT
    assert seal["group"] == GROUP
    assert seal["sealed_at"] == "2026-11-22T05:00:05Z"
    assert {name: seal[name] for name in FACTS} == FACTS
    assert seal["items"]["json"] == {
        "state": "stored",
        "file": "json.zip",
        "size_bytes": 7,
        "sha256": hashlib.sha256(b"PK json").hexdigest(),
        "stored_at": "2026-11-22T05:00:05Z",
        "version": 1,
        "members": 3,
        "route": "extract/json",
        "request_id": "id-json",
    }


def test_an_empty_dataset_is_sealed_with_its_proof() -> None:
    seal = json.loads(seal_text(GROUP, FACTS, a_day(), STORED_AT))
    assert seal["items"]["xbrl"] == {
        "state": "empty",
        "reason": "only_pdf_filings",
        "asked": 2,
        "asked_since": "2026-11-22T05:00:05Z",
    }


def test_a_file_being_checked_again_is_still_in_the_seal() -> None:
    holdings = a_day() | {"json": stored("json", b"PK json", State.RECHECKING)}
    assert "  json.zip\n" in sums_text(holdings, "{}")
    assert json.loads(seal_text(GROUP, FACTS, holdings, STORED_AT))["items"]["json"]["state"] == "stored"


def test_what_is_not_stored_is_not_in_the_sums() -> None:
    lost = stored("json", b"PK json")
    holdings = a_day() | {
        "json": msgspec.structs.replace(lost, item=msgspec.structs.replace(lost.item, state=State.DUE))
    }
    text = sums_text(holdings, "{}")
    assert [line[66:] for line in text.splitlines()] == ["day.json", "pdf.zip", "references.zip"]


def test_instants_are_whole_seconds_in_utc() -> None:
    assert iso(0.0) == "1970-01-01T00:00:00Z"
    assert iso(1_795_323_605.999) == "2026-11-22T05:00:05Z"


@pytest.fixture
def sealed_folder(tmp_path: Path) -> Path:
    seal = seal_text(GROUP, FACTS | {"names": "Société Éléphant ünïcode"}, a_day(), STORED_AT)
    for name, body in BODIES.items():
        (tmp_path / f"{name}.zip").write_bytes(body)
    (tmp_path / "day.json").write_text(seal, encoding="utf-8")
    (tmp_path / "SHA256SUMS").write_text(sums_text(a_day(), seal), encoding="utf-8")
    return tmp_path


def sha256sum(folder: Path) -> subprocess.CompletedProcess[str]:
    binary = shutil.which("sha256sum")
    if binary is None:
        pytest.skip("there is no sha256sum on this system (GNU coreutils)")
    return subprocess.run(
        [binary, "--check", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=False
    )


def test_sha256sum_accepts_a_sealed_day(sealed_folder: Path) -> None:
    checked = sha256sum(sealed_folder)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.splitlines() == [
        "day.json: OK",
        "json.zip: OK",
        "pdf.zip: OK",
        "references.zip: OK",
    ]


@pytest.mark.parametrize("name", ["day.json", "json.zip", "pdf.zip", "references.zip"])
def test_sha256sum_finds_one_changed_byte_in_any_file(sealed_folder: Path, name: str) -> None:
    changed = bytearray((sealed_folder / name).read_bytes())
    changed[-1] ^= 1
    (sealed_folder / name).write_bytes(changed)
    checked = sha256sum(sealed_folder)
    assert checked.returncode == 1
    assert f"{name}: FAILED" in checked.stdout
