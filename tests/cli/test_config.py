"""`filingd config` and `filingd log`, as an operator calls them."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from filingd.cli import options
from filingd.cli.log import as_markdown
from filingd.cli.root import run
from filingd.core.errors import ConfigError, ExitCode

ROOT = Path(__file__).resolve().parents[2]
KEY = "1" * 32
SOUND = """
[nbb]
since = 2024-01-01
[nbb.products.extract]
keys = ["env:EXTRACT_1", "env:EXTRACT_2"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "filingd.toml"
    path.write_text(SOUND, encoding="utf-8")
    return path


def test_check_says_what_is_configured_and_that_keys_are_there_without_printing_them(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EXTRACT_1", KEY)
    monkeypatch.setenv("EXTRACT_2", "2" * 32)
    assert run(["config", "check", "--config", str(file)]) == ExitCode.OK
    said = capsys.readouterr().out
    assert f"{file} is sound." in said
    assert "https://ws.cbso.nbb.be, since 2024-01-01" in said
    assert "authentic: references, json, xbrl, pdf" in said
    assert "improved" not in said
    assert "extract: 1 calls/s, burst 1, 1 at once" in said
    assert "env:EXTRACT_1: present" in said
    assert KEY not in said
    assert "authentic-archive is not configured: days older than about a month cannot be had" in said


def test_check_fails_with_3_when_a_key_is_missing_and_says_which(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EXTRACT_1", KEY)
    monkeypatch.delenv("EXTRACT_2", raising=False)
    assert run(["config", "check", "--config", str(file)]) == ExitCode.CONFIG
    said = capsys.readouterr().out
    assert "env:EXTRACT_1: present" in said
    assert "env:EXTRACT_2: missing (env:EXTRACT_2: the environment has no variable" in said


def test_check_cannot_see_a_systemd_credential_from_a_shell_and_does_not_fail_for_it(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(SOUND.replace('"env:EXTRACT_1", "env:EXTRACT_2"', '"credential:nbb-1"'), encoding="utf-8")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert run(["config", "check", "--config", str(file)]) == ExitCode.OK
    assert "credential:nbb-1: unknown (systemd hands it over" in capsys.readouterr().out
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert run(["config", "check", "--config", str(file)]) == ExitCode.CONFIG
    (tmp_path / "nbb-1").write_text(KEY)
    assert run(["config", "check", "--config", str(file)]) == ExitCode.OK


def test_check_as_json_is_for_programs(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EXTRACT_1", KEY)
    monkeypatch.delenv("EXTRACT_2", raising=False)
    assert run(["config", "check", "--config", str(file), "--json"]) == ExitCode.CONFIG
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert [key["state"] for key in report["nbb"]["products"]["extract"]["keys"]] == ["present", "missing"]


OF_KVK = """
[kvk]
watchlists = "lists"
[kvk.keys.main]
key = "env:KVK_MAIN"
budget_per_month_eur = 50.0
[kvk.keys.poor]
key = "public:kvk-test"
budget_per_month_eur = 0.01
[kvk.watch.clients]
parts = ["basisprofiel", "vestigingen"]
[kvk.watch.gone]
"""


def test_check_tells_of_kvk_alone_what_its_keys_may_spend_and_what_is_odd(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(OF_KVK, encoding="utf-8")
    (file.parent / "lists").mkdir()
    (file.parent / "lists" / "clients.csv").write_text("69599084\n")
    monkeypatch.setenv("KVK_MAIN", f"l7xx{KEY}")
    assert run(["config", "check", "--config", str(file)]) == ExitCode.OK
    said = capsys.readouterr().out
    assert f"{file} is sound." in said
    assert (
        "main: at most 300,000 calls and 50.00 EUR a month (Europe/Amsterdam), 2,500 of them at 0.02 EUR"
        in said
    )
    assert "env:KVK_MAIN: present" in said
    assert "public:kvk-test: present" in said
    assert "clients: basisprofiel, vestigingen" in said
    assert "note: kvk.keys.poor: its budget buys no call that costs anything" in said
    assert "public:kvk-test opens nothing but KVK's test environment" in said
    assert "kvk.watch.gone: there is neither gone.csv nor gone.toml" in said
    assert "kvk.watch.clients:" not in said
    assert KEY not in said
    monkeypatch.delenv("KVK_MAIN")
    assert run(["config", "check", "--config", str(file), "--json"]) == ExitCode.CONFIG
    report = json.loads(capsys.readouterr().out)
    assert {name: key["state"] for name, key in report["kvk"]["keys"].items()} == {
        "main": "missing",
        "poor": "present",
    }


def test_the_profile_for_the_test_environment_is_sound(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "check", "--config", str(ROOT / "config" / "kvk-test.toml")]) == ExitCode.OK
    notes = [line for line in capsys.readouterr().out.splitlines() if "note: kvk" in line]
    assert notes == []


def test_check_remarks_that_a_first_day_in_the_future_means_an_idle_mirror(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EXTRACT_1", KEY)
    monkeypatch.setenv("EXTRACT_2", "2" * 32)
    file.write_text(SOUND.replace("2024-01-01", "2100-12-31"), encoding="utf-8")
    assert run(["config", "check", "--config", str(file)]) == ExitCode.OK
    assert (
        "note: nbb.since = 2100-12-31 lies in the future: nothing is mirrored until 2101-01-01"
        in capsys.readouterr().out
    )


def test_check_reports_every_problem_on_standard_error_without_a_traceback(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(SOUND.replace("since", "sinc").replace("env:EXTRACT_1", KEY), encoding="utf-8")
    assert run(["config", "check", "--config", str(file)]) == ExitCode.CONFIG
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"filingd: {file} has 2 problems:\n")
    assert "did you mean `since`?" in err
    assert "Traceback" not in err
    assert KEY not in err


def test_the_configuration_can_be_named_in_the_environment(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(options.CONFIG_VARIABLE, str(file))
    run(["config", "check"])
    assert str(file) in capsys.readouterr().out


def test_the_folder_a_command_is_started_in_does_not_decide(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(options.CONFIG_VARIABLE, raising=False)
    monkeypatch.chdir(file.parent)
    run(["config", "check"])
    said = "".join(capsys.readouterr())
    assert str(options.DEFAULT_CONFIG) in said
    assert str(file) not in said


def test_schema_describes_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "schema"]) == ExitCode.OK
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$defs"]["StoreSettings"]["properties"]["keep_free"]["default"] == "5 GiB"


def test_init_writes_the_shipped_configuration_which_then_passes_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "first.toml"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert run(["config", "init", "--path", str(path)]) == ExitCode.OK
    assert f"filingd config check --config {path}" in capsys.readouterr().out
    assert path.read_text(encoding="utf-8") == (ROOT / "config/filingd.toml").read_text(encoding="utf-8")
    assert run(["config", "check", "--config", str(path)]) == ExitCode.OK


def test_init_never_touches_a_file_that_is_there(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "init", "--path", str(file)]) == ExitCode.CONFIG
    assert "exists already and was left alone" in capsys.readouterr().err
    assert file.read_text(encoding="utf-8") == SOUND


def test_init_says_what_to_do_when_the_folder_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["config", "init", "--path", str(tmp_path / "none" / "x.toml")]) == ExitCode.CONFIG
    assert "Make its folder, or name another file with --path" in capsys.readouterr().err


def test_a_configuration_that_does_not_ship_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"lacks nonsense\.toml"):
        options.shipped_config("nonsense.toml")


# ------------------------------------------------------------------------------------------ the log's schema


def test_log_schema_prints_the_schema_of_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["log", "schema"]) == ExitCode.OK
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    line = {"ts": "2026-11-20T11:00:00.123Z", "level": "error", "event": "item.lost", "key": "a/b"}
    jsonschema.validate(line, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**line, "more": 1}, schema)


def test_the_documentation_of_the_log_is_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    """To mend it: `filingd log schema --markdown > docs/status-log.md`."""
    assert run(["log", "schema", "--markdown"]) == ExitCode.OK
    printed = capsys.readouterr().out
    assert printed == as_markdown()
    assert (ROOT / "docs/status-log.md").read_text(encoding="utf-8") == printed
