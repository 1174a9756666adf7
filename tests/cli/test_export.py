"""`filingd export`: what leaves the store, as a process on a manifest and files made by hand."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from filingd.adapters.manifest_commands import ManifestWriter
from filingd.cli import export_line, find_report
from filingd.core.model import Change, Item, State, Version
from filingd.core.tombstones import Tombstone
from support import kvk
from support.daemon import DaemonConfig
from support.mirror import Said, filingd

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_795_000_000.0
LANE = "kvk/main/basisprofiel"
EMPTY: Mapping[str, Any] = {}


class Shop:
    """A store with records of KVK, without any daemon. The second company's own record is not held."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        accounts = {"main": {"budget_per_month_eur": 1.0}}
        section = kvk.section("http://127.0.0.1:9/api", watch={}, accounts=accounts)
        self.config = DaemonConfig(folder, "", "2026-11-01").change({"nbb": None, **section})
        self.config.write()
        self.root = self.config.store_path
        self.root.mkdir(parents=True, exist_ok=True)
        self.put(
            "69599084",
            "basisprofiel",
            {"indNonMailing": "Ja"},
            name="Dagobert",
            non_mailing=True,
            api_version="1.5.0",
        )
        self.put("69599084", "vestigingen", {"vestigingen": []}, names=["000038509504", "000038509520"])
        self.put("000038509504", "vestigingsprofiel", {"a": "één"}, kvk_number="69599084", name="Main")
        self.put(
            "000038509520",
            "vestigingsprofiel",
            {"indNonMailing": "Nee"},
            kvk_number="69599084",
            non_mailing=False,
        )
        self.put("68750110", "naamgeving", {"naam": "Donald"}, name="Donald", shielded=None)
        self.put(
            "857587973",
            "zoeken",
            {"resultaten": []},
            kvk_number=None,
            names=["68750110", "69599084"],
            totaal=2,
        )

    def put(self, number: str, part: str, body: Any, at: float = NOW, version: int = 1, **facts: Any) -> None:
        """Hold a record."""
        key = f"kvk/numbers/{number}/{part}"
        path = f"kvk/numbers/{number[:4]}/{number[4:7]}/{number}.{part}.json"
        data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_bytes(data)
        said = {"kvk_number": number, "non_mailing": None, "shielded": False, "name": None, **facts}
        digest = hashlib.sha256(data).digest()
        before = Item(key, LANE) if version == 1 else Item(key, LANE, State.STORED, version=version - 1)
        item = Item(
            key,
            LANE,
            State.STORED,
            due_at=None,
            size_bytes=len(data),
            sha256=digest,
            stored_at=at,
            version=version,
        )
        stored = Version(
            key, version, path, len(data), digest, at, "basisprofiel/x", "r", verified_at=at, facts=said
        )
        with self.writer() as writer:
            writer.record([Change(None, before)] if version == 1 else [])
            writer.record([Change(before.state, item, stored)])

    def writer(self) -> ManifestWriter:
        """The manifest, to be changed."""
        return ManifestWriter(self.root / "manifest.db", clock_now=lambda: NOW)

    def bury(self, *subjects: str, erased: bool = False) -> None:
        """Order something to be forgotten; nothing is erased."""
        with self.writer() as writer:
            writer.bury([Tombstone(subject, True, NOW, "request 7") for subject in subjects])
            if erased:
                writer.note_erased(subjects, NOW, EMPTY)

    def export(self, *given: str, code: int = 0) -> list[dict[str, Any]]:
        """The lines of an export."""
        said = self.run(*given)
        assert said.code == code, said.err
        lines = [json.loads(line) for line in said.out.splitlines()]
        for line in lines:
            jsonschema.validate(line, export_line.schema())
        return lines

    def run(self, *given: str, command: str = "export") -> Said:
        """The command."""
        return filingd(
            command, *given, "--config", str(self.config.path), environment=self.config.environment()
        )


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def keys(lines: list[dict[str, Any]]) -> list[str]:
    return [line["key"].removeprefix("kvk/numbers/") for line in lines]


def test_every_record_is_a_line_with_its_body_and_its_evidence(shop: Shop) -> None:
    lines = shop.export()
    assert keys(lines) == [
        "000038509504/vestigingsprofiel", "000038509520/vestigingsprofiel", "68750110/naamgeving",
        "69599084/basisprofiel", "69599084/vestigingen", "857587973/zoeken",
    ]  # fmt: skip
    (line,) = (line for line in lines if line["part"] == "basisprofiel")
    data = (shop.root / line["path"]).read_bytes()
    assert line == {
        "registry": "kvk", "key": "kvk/numbers/69599084/basisprofiel", "number": "69599084", "part": "basisprofiel",
        "name": "Dagobert", "non_mailing": True, "shielded": False, "api_version": "1.5.0", "version": 1,
        "fetched_at": "2026-11-18T11:06:40.000Z", "verified_at": "2026-11-18T11:06:40.000Z", "path": line["path"],
        "size_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "body": {"indNonMailing": "Ja"},
    }  # fmt: skip


def test_the_non_mailing_indicator_stands_on_every_line(shop: Shop) -> None:
    said = {
        line["key"].removeprefix("kvk/numbers/"): line["non_mailing"] for line in shop.export("--no-body")
    }
    assert said == {
        "000038509504/vestigingsprofiel": True,  # as its company says
        "000038509520/vestigingsprofiel": False,  # its own word
        "68750110/naamgeving": None,  # nobody says: the record of the company is not held
        "69599084/basisprofiel": True,
        "69599084/vestigingen": True,
        "857587973/zoeken": True,  # as one of its companies says
    }


def test_a_body_of_several_lines_stays_one_line(shop: Shop) -> None:
    shop.put("90001354", "basisprofiel", b'\xef\xbb\xbf{\r\n "naam": "a\\nb"\n}\n')
    (line,) = shop.export("90001354")
    assert line["body"] == {"naam": "a\nb"}


def test_a_number_brings_what_its_records_name(shop: Shop) -> None:
    assert keys(shop.export("69599084")) == [
        "69599084/basisprofiel", "69599084/vestigingen", "000038509520/vestigingsprofiel", "000038509504/vestigingsprofiel",
    ]  # fmt: skip
    assert keys(shop.export("000038509504", "--no-body")) == ["000038509504/vestigingsprofiel"]
    said = shop.run("12345678", "69599084")
    assert (said.code, len(said.out.splitlines())) == (1, 4)
    assert "Of 12345678 nothing is held." in said.err


def test_parts_registries_and_bodies_can_be_left_out(shop: Shop) -> None:
    lines = shop.export("--part", "basisprofiel", "--part", "zoeken", "--registry", "kvk", "--no-body")
    assert [line["part"] for line in lines] == ["basisprofiel", "zoeken"]
    assert not any("body" in line or "seq" in line for line in lines)
    assert shop.run("--registry", "nbb").code == 3


def test_since_tells_what_was_stored_after_an_event_or_an_instant_once(shop: Shop) -> None:
    everything = shop.run("--since", "0")
    assert len(everything.out.splitlines()) == 6
    head = int(everything.err.rpartition("--since ")[2].rstrip(".\n"))
    assert shop.export("--since", str(head)) == []
    later = NOW + 3600.0
    for version in (2, 3):
        shop.put("68750110", "naamgeving", {"naam": f"Donald {version}"}, at=later, version=version)
    (line,) = shop.export("--since", str(head))
    assert (line["version"], line["body"], line["seq"]) == (3, {"naam": "Donald 3"}, head + 2)
    assert shop.export("--since", str(head), "69599084") == []
    assert keys(shop.export("--since", "2026-11-18T12:00Z")) == ["68750110/naamgeving"]
    assert len(shop.export("--since", "2026-11-18T11:00Z")) == 6


@pytest.mark.parametrize("erased", [False, True])
def test_what_is_forgotten_is_never_exported_not_even_before_it_is_erased(shop: Shop, erased: bool) -> None:
    shop.bury("69599084", erased=erased)
    lines = shop.export("--since", "0")
    assert "69599084/basisprofiel" not in keys(lines)
    assert "69599084/vestigingen" not in keys(lines)
    assert shop.export("69599084") == []


def test_a_record_that_names_what_is_being_erased_waits_until_it_is(shop: Shop) -> None:
    rows = {"resultaten": [{"kvkNummer": "69599084"}, {"kvkNummer": "68750110"}]}
    shop.put("859123455", "zoeken", rows, names=["69599084", "68750110"])
    assert "859123455/zoeken" in keys(shop.export("--no-body"))
    shop.bury("69599084")
    assert "859123455/zoeken" not in keys(shop.export("--no-body"))
    assert "69599084" not in shop.run("859123455").out


def test_a_file_that_is_not_what_was_stored_is_left_out_and_told(shop: Shop) -> None:
    (shop.root / "kvk/numbers/6875/011/68750110.naamgeving.json").write_bytes(b'{"naam": "Somebody"}')
    said = shop.run()
    assert (said.code, len(said.out.splitlines())) == (1, 5)
    assert "68750110.naamgeving.json is not what was stored" in said.err
    assert "verify --repair" in said.err


def test_a_reader_that_has_seen_enough_does_no_harm(shop: Shop) -> None:
    for number in range(70_000_000, 70_000_900):
        shop.put(str(number), "basisprofiel", {"a": "x" * 500})
    command = [sys.executable, "-m", "filingd", "export", "--config", str(shop.config.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["registry"] == "kvk"
        process.stdout.close()
        assert process.wait(30) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_without_a_manifest_it_says_so(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    (shop.root / "manifest.db").unlink()
    assert shop.run().code == 4


def test_the_page_about_the_lines_is_as_the_lines_are() -> None:
    """To mend it: `python -m filingd.cli.export_line > docs/export-json.md`."""
    assert (ROOT / "docs/export-json.md").read_text(encoding="utf-8") == export_line.as_markdown()


# ------------------------------------------------------------------------------------------ find, cat, changes


def test_a_number_finds_its_records_and_those_of_its_branches(shop: Shop) -> None:
    said = shop.run("69599084", "--json", command="find")
    assert said.code == 0, said.err
    jsonschema.validate(said.json, find_report.schema())
    assert (said.json["understood_as"], len(said.json["records"])) == ("number", 4)
    text = shop.run("69599084", command="find").out.splitlines()
    assert text[0] == "69599084  Dagobert"
    assert text[1].endswith(
        "kvk/numbers/6959/908/69599084.basisprofiel.json  no unsolicited post (non-mailing)"
    )


@pytest.mark.parametrize("number", ["12345678", "69599084", "000000000001"])
def test_a_number_of_which_nothing_is_held_or_that_is_forgotten_is_not_found(shop: Shop, number: str) -> None:
    shop.bury("69599084")
    said = shop.run(number, command="find")
    assert (said.code, said.out) == (1, "")
    assert f"Nothing is held of {number}." in said.err


def test_the_body_of_an_item_is_written_to_the_byte(shop: Shop) -> None:
    said = shop.run("kvk/numbers/000038509504/vestigingsprofiel", command="cat")
    assert (said.code, said.out) == (0, '{"a": "één"}')
    path = shop.folder / "out.json"
    assert shop.run("kvk/numbers/69599084/basisprofiel", "--output", str(path), command="cat").code == 0
    assert json.loads(path.read_bytes()) == {"indNonMailing": "Ja"}


@pytest.mark.parametrize(
    ("given", "code", "told"),
    [
        ("kvk/numbers/12345678/basisprofiel", 1, "no such item is known"),
        ("kvk/numbers/69599084/basisprofiel", 1, "is forgotten"),
        ("kvk/numbers/68750110/naamgeving", 1, "is not what was stored"),
        ("2026-00999001", 2, "Say which document of 2026-00999001 with --format"),
    ],
)
def test_what_is_not_held_or_not_sound_is_not_written(shop: Shop, given: str, code: int, told: str) -> None:
    shop.bury("69599084")
    path = shop.root / "kvk/numbers/6875/011/68750110.naamgeving.json"
    path.write_bytes(path.read_bytes().replace(b"Donald", b"Donold"))
    said = shop.run(given, command="cat")
    assert (said.code, said.out) == (code, "")
    assert told in said.err


def test_the_feed_says_of_a_record_what_whoever_uses_it_has_to_know(shop: Shop) -> None:
    told = [json.loads(line) for line in shop.run(command="changes").out.splitlines()]
    (line,) = (line for line in told if line.get("key") == "kvk/numbers/69599084/basisprofiel")
    assert line["facts"] == {"non_mailing": True, "shielded": False, "name": "Dagobert"}
