"""`filingd watch` where several registries are configured: whose list a number is for, and saved searches."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from filingd.cli import watch_report
from filingd.cli.root import run
from filingd.core.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

BELGIAN, DUTCH, BRANCH, RSIN = "0999000129", "98000001", "000038509504", "859123455"
BOTH = """
[store]
path = "store"
[nbb]
since = 2026-11-01
[nbb.products.authentic-query]
keys = ["env:A"]
[kvk.keys.main]
key = "env:B"
budget_per_month_eur = 1
[kvk.watch.molens]
parts = ["naamgeving"]
"""


class Desk:
    """A configuration, and commands upon it in this process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], text: str = BOTH) -> None:
        self.folder = folder
        self.config = folder / "filingd.toml"
        self.config.write_text(text)
        self._capsys = capsys

    def __call__(self, command: str, *arguments: str) -> int:
        code = run(["watch", command, "--config", str(self.config), *arguments])
        self.out, self.err = self._capsys.readouterr()
        return code

    def lines(self, name: str) -> list[str]:
        return (self.folder / name).read_text().splitlines()

    @property
    def json(self) -> dict[str, Any]:
        found = dict(json.loads(self.out))
        jsonschema.validate(found, watch_report.schema())
        return found


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, capsys)


def test_each_number_goes_to_the_list_of_its_registry(desk: Desk) -> None:
    assert desk("add", "0999.000.129", DUTCH, BRANCH, RSIN) == ExitCode.OK
    assert desk.lines("watchlists/watchlist.csv") == [BELGIAN]
    assert desk.lines("kvk-watchlists/watchlist.csv") == [DUTCH, BRANCH, RSIN]
    assert desk("remove", BELGIAN, BRANCH) == ExitCode.OK
    assert desk.lines("watchlists/watchlist.csv") == []
    assert desk.lines("kvk-watchlists/watchlist.csv") == [DUTCH, RSIN]


def test_a_number_that_is_whole_for_one_registry_alone_is_its_number_unless_told(desk: Desk) -> None:
    could_be_both = "999.000.129"  # an RSIN as it stands; an enterprise number without its zero
    assert desk("add", could_be_both) == ExitCode.OK
    assert desk.lines("kvk-watchlists/watchlist.csv") == ["999000129"]
    assert desk("add", "--registry", "nbb", could_be_both) == ExitCode.OK
    assert desk.lines("watchlists/watchlist.csv") == [BELGIAN]


def test_the_name_of_a_list_tells_its_registry(desk: Desk) -> None:
    assert desk("import", "--list", "clients", _file(desk, f"{DUTCH}\n")) == ExitCode.USAGE
    assert "--registry nbb or --registry kvk" in desk.err
    assert desk("add", "--registry", "kvk", "--list", "clients", DUTCH) == ExitCode.OK
    assert desk("import", "--list", "clients", _file(desk, f"{BRANCH},a branch\n")) == ExitCode.OK
    assert desk.lines("kvk-watchlists/clients.csv") == [DUTCH, f"{BRANCH},a branch"]


def test_a_registry_that_is_not_configured_is_told(desk: Desk) -> None:
    assert desk("add", "--registry", "cvr", DUTCH) == ExitCode.CONFIG
    assert "There are: nbb, kvk." in desk.err


def test_numbers_that_lack_zeros_are_repaired_and_told_with_file_and_line(desk: Desk) -> None:
    source = _file(desk, "number;name\n9800001;short\n12x;none\n")
    assert desk("import", "--registry", "kvk", "--list", "clients", source) == ExitCode.FAILED
    assert desk.lines("kvk-watchlists/clients.csv") == ["09800001,short"]
    assert f"{source}, line 2: 9800001: Zeros were put in front" in desk.err
    assert f"{source}, line 3: 12x" in desk.err


def test_a_number_that_is_added_by_hand_and_lacks_zeros_is_told_as_well(desk: Desk) -> None:
    assert desk("add", "--registry", "kvk", "9800001", DUTCH) == ExitCode.OK
    assert desk.lines("kvk-watchlists/watchlist.csv") == ["09800001", DUTCH]
    assert desk.err == (
        "9800001: Zeros were put in front: it counts as the KVK number 09800001. Write it so.\n"
    )


# ------------------------------------------------------------------------------------------ searches


def test_a_search_is_saved_shown_and_removed(desk: Desk) -> None:
    assert desk("add", "--search", "molens", "naam=molen", "plaats=Utrecht", "type=hoofdvestiging", "type=rechtspersoon",
                "inclusiefInactieveRegistraties=true") == ExitCode.OK  # fmt: skip
    assert desk.lines("kvk-watchlists/molens.toml") == [
        'naam = "molen"', 'plaats = "Utrecht"', 'type = ["hoofdvestiging", "rechtspersoon"]',
        "inclusiefInactieveRegistraties = true",
    ]  # fmt: skip
    assert desk("list", "--json") == ExitCode.OK
    (search,) = desk.json["searches"]
    assert (search["name"], search["registry"], search["cells"]) == ("molens", "kvk", 0)
    assert "naam molen" in search["search"]
    assert any("naamgeving" in word for word in search["terms"]), "the terms of [kvk.watch.molens]"
    assert desk("list") == ExitCode.OK
    assert "not asked yet" in desk.out
    assert desk("remove", "--search", "molens") == ExitCode.OK
    assert not (desk.folder / "kvk-watchlists/molens.toml").exists()
    assert desk("remove", "--search", "molens") == ExitCode.FAILED
    assert "There is no saved search molens. There are: none." in desk.err


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (["actief=true"], "actief"),
        (["naam=a", "postcode=1234AB"], "postcode"),
        (["naam"], "is no FIELD=VALUE"),
        (["naam=molen", "split=gemeente"], "split"),
        ([], ""),
    ],
)
def test_what_kvk_would_refuse_is_refused_before_a_call_is_spent(
    desk: Desk, fields: list[str], said: str
) -> None:
    assert desk("add", "--search", "molens", *fields) != ExitCode.OK
    assert said in desk.err
    assert not (desk.folder / "kvk-watchlists" / "molens.toml").exists()


def test_a_search_is_imported_from_its_file(desk: Desk) -> None:
    path = desk.folder / "found.toml"
    path.write_text('naam = "molen"\nsplit = ["type"]\n')
    assert desk("import", str(path), "--list", "molens") == ExitCode.OK
    assert desk.lines("kvk-watchlists/molens.toml") == ['naam = "molen"', 'split = ["type"]']
    path.write_text("naam = \n")
    assert desk("import", str(path), "--list", "molens") == ExitCode.FAILED
    assert "This is not TOML" in desk.err
    assert desk.lines("kvk-watchlists/molens.toml") == ['naam = "molen"', 'split = ["type"]']


def test_where_only_the_bank_is_configured_nothing_can_be_searched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(tmp_path, capsys, BOTH.partition("[kvk.keys.main]")[0])
    assert desk("add", "--search", "molens", "naam=molen") == ExitCode.FAILED
    assert "This registry knows no searches." in desk.err


def _file(desk: Desk, text: str) -> str:
    path = desk.folder / "export.csv"
    path.write_text(text)
    return str(path)
