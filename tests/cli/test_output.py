"""What a command does when standard output or the machine refuses: one sentence, a stable exit code, no traceback."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from filingd.adapters.manifest_commands import ManifestWriter
from filingd.cli import root
from filingd.cli.machine_faults import fault_of_the_machine
from filingd.core.errors import DiskFaultError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

FULL = Path("/dev/full")
CONFIG = """
[store]
path = "store"
[nbb]
base_url = "http://127.0.0.1:9"
since = 2026-11-01
[nbb.products.extract]
keys = ["env:FILINGD_TEST_EXTRACT"]
"""
COMMANDS = [
    "--help", "--version", "status --help", "status", "status --json", "status --schema", "plan", "plan --json",
    "items list", "items list --json", "config schema", "config check", "config check --json", "log schema",
    "changes", "changes --schema", "find --schema",
]  # fmt: skip


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    config = tmp_path / "filingd.toml"
    config.write_text(CONFIG)
    (tmp_path / "store").mkdir()
    ManifestWriter(tmp_path / "store" / "manifest.db", clock_now=lambda: 0.0).close()
    return {**os.environ, "FILINGD_CONFIG": str(config), "FILINGD_TEST_EXTRACT": "1" * 32}


@pytest.fixture
def pipe_without_reader() -> Iterator[int]:
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def called(command: str, environment: dict[str, str], **how: Any) -> subprocess.CompletedProcess[str]:
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
    return subprocess.run(
        [sys.executable, "-m", "filingd", *command.split()],
        text=True, check=False, timeout=60, env=environment, **streams,
    )  # fmt: skip


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_standard_output_is_one_sentence_and_exit_code_1(
    command: str, environment: dict[str, str]
) -> None:
    with FULL.open("w") as full:
        done = called(command, environment, stdout=full)
    assert done.returncode == ExitCode.FAILED
    assert done.stderr == (
        "filingd: standard output cannot be written: No space left on device. Send it elsewhere, or make room there.\n"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_went_away_ends_a_command_quietly_with_exit_code_141(
    command: str, environment: dict[str, str], pipe_without_reader: int
) -> None:
    done = called(command, environment, stdout=pipe_without_reader)
    assert (done.returncode, done.stderr) == (ExitCode.PIPE_CLOSED, "")


def test_an_answer_that_was_told_is_told_whole(environment: dict[str, str]) -> None:
    done = called("status --json", environment)
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    assert done.stdout.startswith('{"format":1,')
    assert done.stdout.endswith("}\n")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("console", ["json", "pretty"])
@pytest.mark.parametrize("is_gone", [True, False])
def test_a_daemon_outlasts_a_console_that_refuses_and_ends_in_order(
    environment: dict[str, str], pipe_without_reader: int, console: str, is_gone: bool
) -> None:
    config = Path(environment["FILINGD_CONFIG"])
    config.write_text(CONFIG.replace("2026-11-01", "2100-01-01"))  # nothing to do: it is idle at once
    command = f"run --until-idle --console {console}"
    with FULL.open("w") as full:
        done = called(command, environment, stdout=pipe_without_reader if is_gone else full)
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    log = config.parent / "store" / "log" / "filingd.jsonl"
    assert '"event":"daemon.stopped"' in log.read_text("utf-8")


def test_a_command_without_standard_output_does_its_work(environment: dict[str, str]) -> None:
    call = f"import os, sys; os.close(1); os.execv({sys.executable!r}, [{sys.executable!r}, '-m', 'filingd', 'plan'])"
    done = subprocess.run([sys.executable, "-c", call], env=environment, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (ExitCode.OK, b"")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_the_exit_code_remains_when_standard_error_refuses_too(environment: dict[str, str]) -> None:
    with FULL.open("w") as full:
        assert called("nonsense", environment, stderr=full).returncode == ExitCode.USAGE
        assert called("status", environment, stdout=full, stderr=full).returncode == ExitCode.FAILED


def test_a_terminal_that_cannot_show_a_letter_gets_its_number(environment: dict[str, str]) -> None:
    command = "status --rehearse-at 2026-11-30T12:00+01:00"
    done = called(command, {**environment, "PYTHONIOENCODING": "latin-1"})
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    assert "\\u2026 and 14 more" in done.stdout


# ------------------------------------------------------------------------------------------ too many open files


def test_a_limit_of_open_files_is_told_with_its_remedy_and_is_no_defect(environment: dict[str, str]) -> None:
    def allow_few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (6, 6))

    done = called("sandbox --port 0 --admin-port 0", environment, preexec_fn=allow_few)
    assert done.returncode == ExitCode.UNAVAILABLE
    assert "may have no more than 6 files open" in done.stderr
    assert "`ulimit -n 1024`" in done.stderr
    assert "LimitNOFILE=1024" in done.stderr
    assert "defect" not in done.stderr


def test_a_full_table_of_open_files_is_the_fault_of_the_machine() -> None:
    told = fault_of_the_machine(OSError(errno.ENFILE, os.strerror(errno.ENFILE)))
    assert told is not None
    assert "fs.file-max" in str(told)


def test_the_limit_is_found_behind_the_error_that_it_caused() -> None:
    refused = DiskFaultError("The disk refused to open x: Too many open files. Check the file system.")
    refused.__cause__ = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    assert "LimitNOFILE" in str(fault_of_the_machine(refused))
    assert fault_of_the_machine(OSError(errno.EIO, "input/output error")) is None


def test_what_is_nobody_elses_fault_is_still_owned_up_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(root.root, "main", broken)
    assert root.run(["status"]) == ExitCode.FAILED
    assert "filingd: a defect: ZeroDivisionError()" in capsys.readouterr().err
