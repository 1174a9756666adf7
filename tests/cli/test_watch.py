"""`filingd watch`: lists edited by command, beside a daemon and without one, and what is shown of the companies in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from filingd.cli import watch_report
from filingd.cli.root import run
from filingd.core.errors import ExitCode
from support.daemon import PRODUCTS
from support.mirror import Mirror, filingd, mirrors

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent.parent
ALFA, BETA, GAMMA = "0999000129", "0999000228", "0999000327"
BAD = "0999.000.128"


class Desk:
    """A configuration, and commands upon it in this process."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.config = folder / "filingd.toml"
        self.lists = folder / "watchlists"
        self.config.write_text(
            '[store]\npath = "store"\n[nbb]\nsince = 2026-11-01\n[nbb.products.extract]\nkeys = ["env:E"]\n'
        )
        self._capsys = capsys

    def __call__(self, *arguments: str) -> int:
        self.code = run(["watch", arguments[0], "--config", str(self.config), *arguments[1:]])
        self.out, self.err = self._capsys.readouterr()
        return self.code

    def text(self, name: str = "watchlist") -> str:
        return (self.lists / f"{name}.csv").read_text()

    def write(self, text: str, name: str = "watchlist") -> Path:
        self.lists.mkdir(exist_ok=True)
        path = self.lists / f"{name}.csv"
        path.write_text(text)
        return path

    @property
    def json(self) -> dict[str, Any]:
        found = dict(json.loads(self.out))
        jsonschema.validate(found, watch_report.schema())
        return found


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, capsys)


# ------------------------------------------------------------------------------------------ add, import, remove


def test_the_first_company_makes_a_list(desk: Desk) -> None:
    assert desk("add", "0999.000.129", "--note", "ALFA NV") == ExitCode.OK
    assert desk.text() == f"{ALFA},ALFA NV\n"
    assert "1 added" in desk.out


def test_good_numbers_are_added_and_bad_ones_are_told(desk: Desk) -> None:
    assert desk("add", "BE 0999.000.129", BAD, "999000228", ALFA) == ExitCode.FAILED
    assert desk.text() == f"{ALFA}\n{BETA}\n"
    assert desk.err == (
        f"{BAD}: Its check digits do not fit: a number that begins with 09990001 ends in 29. "
        "Look it up and correct it.\n"
    )


def test_adding_again_changes_nothing(desk: Desk) -> None:
    path = desk.write(f"# mine\n{ALFA}\n")
    inode = path.stat().st_ino
    assert desk("add", ALFA) == ExitCode.OK
    assert "0 added" in desk.out
    assert "1 were in it already" in desk.out
    assert path.stat().st_ino == inode


def test_among_several_lists_one_has_to_be_named(desk: Desk) -> None:
    desk.write(f"{ALFA}\n", "clients")
    desk.write(f"{BETA}\n", "others")
    assert desk("add", GAMMA) == ExitCode.USAGE
    assert "clients, others" in desk.err
    assert desk("add", "--list", "others", GAMMA) == ExitCode.OK
    assert desk.text("others") == f"{BETA}\n{GAMMA}\n"


@pytest.mark.parametrize("name", ["../evil", "a/b", ".hidden", "", "a b"])
def test_no_name_of_a_list_leads_out_of_the_folder(desk: Desk, name: str) -> None:
    assert desk("add", "--list", name, ALFA) == ExitCode.USAGE
    assert not desk.lists.exists()


def test_a_file_is_imported_with_its_notes(desk: Desk, tmp_path: Path) -> None:
    source = tmp_path / "export.csv"
    source.write_bytes(
        f"number;name\r\n0999.000.129;ALFA\r\n{BAD};BAD\r\n{BETA};BETA\r\n{ALFA};again\r\n".encode()
    )
    assert desk("import", str(source), "--list", "clients") == ExitCode.FAILED
    assert desk.text("clients") == f"{ALFA},ALFA\n{BETA},BETA\n"
    assert desk.err.startswith(f"{source}, line 3: {BAD}: ")
    assert desk.err.count("\n") == 1, "a company that stands there twice is no fault"


def test_removing_takes_a_company_out_of_every_list_or_of_one(desk: Desk) -> None:
    desk.write(f"# mine\n{ALFA},x\n{BETA}\n", "clients")
    desk.write(f"0999.000.129\n{GAMMA}\n", "others")
    assert desk("remove", "--list", "others", GAMMA) == ExitCode.OK
    assert desk("remove", ALFA) == ExitCode.OK
    assert desk.text("clients") == f"# mine\n{BETA}\n"
    assert desk.text("others") == ""


def test_who_is_in_no_list_cannot_be_removed(desk: Desk) -> None:
    desk.write(f"{ALFA}\n")
    assert desk("remove", BETA, ALFA, BAD) == ExitCode.FAILED
    assert desk.text() == ""
    assert f"{BETA}: It is not in any list." in desk.err
    assert f"{BAD}: Its check digits" in desk.err


def test_a_list_that_cannot_be_written_is_told_in_a_sentence(desk: Desk) -> None:
    desk.lists.write_text("a file where the folder should be")
    assert desk("add", ALFA) == ExitCode.STORE
    assert "refused" in desk.err
    assert "Traceback" not in desk.err


# ------------------------------------------------------------------------------------------ list


def test_without_a_list_it_says_how_to_make_one(desk: Desk) -> None:
    assert desk("list") == ExitCode.OK
    assert "filingd watch add" in desk.out


def test_before_the_first_run_companies_are_not_planned_yet(desk: Desk) -> None:
    desk.write(f"{BETA}\n{ALFA},ALFA NV\n{BAD}\n", "clients")
    desk.write(f"{ALFA}\n", "others")
    assert desk("list", "--json") == ExitCode.OK
    found = desk.json
    assert found["company_count"] == 2
    assert [
        (each["number"], each["lists"], each["note"], each["answers"]) for each in found["companies"]
    ] == [
        (ALFA, ["clients", "others"], "ALFA NV", []),
        (BETA, ["clients"], "", []),
    ]
    (problem,) = found["problems"]
    assert "line 3" in problem
    (remark,) = found["remarks"]
    assert "authentic-query" in remark
    assert desk("list") == ExitCode.OK
    assert "note: Nothing is asked about companies" in desk.out


def test_one_list_some_numbers_and_at_most_so_many(desk: Desk) -> None:
    desk.write(f"{ALFA}\n{BETA}\n{GAMMA}\n", "clients")
    desk.write(f"{ALFA}\n", "others")
    assert desk("list", "--json", "--list", "others") == ExitCode.OK
    assert [each["number"] for each in desk.json["companies"]] == [ALFA]
    assert desk("list", "--json", "--limit", "2") == ExitCode.OK
    assert ([each["number"] for each in desk.json["companies"]], desk.json["more"]) == ([ALFA, BETA], True)
    assert desk("list", "--json", "999.000.327") == ExitCode.OK
    assert [each["number"] for each in desk.json["companies"]] == [GAMMA]
    assert desk("list", "--list", "nobody") == ExitCode.CONFIG
    assert "clients, others" in desk.err


def test_terms_are_shown_as_configured(desk: Desk) -> None:
    desk.config.write_text(
        desk.config.read_text()
        + '[nbb.watch.clients]\nrefresh_interval = "7 d"\ndocuments = ["pdf"]\nlatest = 3\nimproved = true\n'
    )
    desk.write(f"{ALFA}\n", "clients")
    assert desk("list") == ExitCode.OK
    assert "every 7 d, pdf, the latest 3, improved data" in desk.out
    assert desk("list", "--json") == ExitCode.OK
    (terms,) = desk.json["lists"]
    assert (terms["refresh_interval_s"], terms["documents"], terms["latest"]) == (7 * 86_400.0, ["pdf"], 3)


def test_the_page_in_the_documentation_is_what_the_program_says() -> None:
    """To mend it: `python -m filingd.cli.watch_report > docs/watch-list-json.md`."""
    assert (ROOT / "docs/watch-list-json.md").read_text(encoding="utf-8") == watch_report.as_markdown()


def test_the_schema_is_printed_and_valid(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["watch", "list", "--schema"]) == ExitCode.OK
    jsonschema.Draft202012Validator.check_schema(json.loads(capsys.readouterr().out))


# ------------------------------------------------------------------------------------------ a real mirror


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Mirror, str]]:
    """A mirror whose daemon followed a company that has filed often, and one that never did."""
    for mirror in mirrors(tmp_path_factory.mktemp("watched")):
        admin = mirror.sandbox.admin
        number = next(each for each in admin.companies(500) if len(admin.company(each)) >= 5)
        mirror.config.products = (*PRODUCTS, "authentic-query")
        mirror.config.write()
        said = filingd("watch", "add", "--config", str(mirror.config.path), number, "0403.101.811")
        assert said.code == 0, said.err
        with mirror.daemon(until="idle") as daemon:
            assert daemon.wait(60).code == 0
        yield mirror, number


@pytest.mark.slow
def test_what_is_known_of_a_company_is_shown(watched: tuple[Mirror, str]) -> None:
    mirror, number = watched
    said = filingd("watch", "list", "--config", str(mirror.config.path), "--json")
    assert said.code == 0, said.err
    nobody, company = sorted(said.json["companies"], key=lambda each: each["filings"])
    filings = mirror.sandbox.admin.company(number)
    wanted = sum(kind in each["formats"] for each in filings for kind in ("json", "pdf"))
    assert (company["number"], company["filings"]) == (number, len(filings))
    assert company["documents"] >= wanted
    assert company["documents_wanted"] == 0
    assert company["name"]
    (answer,) = company["answers"]
    assert answer["state"] == "stored"
    assert answer["came_at"] < answer["next_at"]
    (answer,) = nobody["answers"]
    assert (nobody["number"], answer["state"], nobody["documents"]) == ("0403101811", "empty", 0)
    text = filingd("watch", "list", "--config", str(mirror.config.path)).out
    assert f"{number}  {company['name']}" in text
    assert "references: empty, nothing known since" in text


@pytest.mark.slow
def test_status_and_plan_tell_of_the_companies(watched: tuple[Mirror, str]) -> None:
    mirror, _ = watched
    (lane,) = mirror.run("status", "--json").json["companies"]
    assert (lane["lane"], lane["companies"], lane["due"]) == ("nbb/authentic-query", 2, 0)
    assert lane["next_due_at"] > 0
    text = mirror.run("status").out
    assert "companies\n  nbb/authentic-query      2 followed, none due, next " in text
    found = mirror.run("plan", "--json").json["companies"]
    assert (found["followed"], found["lists"], found["problems"], found["remarks"]) == (
        2,
        {"watchlist": 2},
        0,
        [],
    )
    assert found["by_lane"]["nbb/authentic-query"]["companies"] == 2
    assert "companies       2 in 1 watchlist (filingd watch list)" in mirror.run("plan").out


@pytest.mark.slow
def test_without_a_key_plan_says_that_nothing_is_expected_of_companies(
    watched: tuple[Mirror, str], tmp_path: Path
) -> None:
    mirror, number = watched
    copied = mirror.copy(tmp_path)
    copied.config.products = PRODUCTS
    copied.config.change({"nbb": {"watch": {"watchlist": {"improved": True}}}}).write()
    (tmp_path / "watchlists").mkdir()
    (tmp_path / "watchlists" / "watchlist.csv").write_text(f"{number}\n{BAD}\n")
    found = copied.run("plan", "--json").json["companies"]
    assert (found["followed"], found["problems"]) == (1, 1)
    query, improved = found["remarks"]
    assert "[nbb.products.authentic-query]" in query
    assert "[nbb.products.improved]" in improved
    assert "Nothing is asked about companies" in copied.run("plan").out
