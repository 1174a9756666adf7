"""`filingd sandbox` refuses what it cannot do, in words, before it serves anything."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from filingd.cli.root import run
from filingd.core.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("option", ["--port", "--admin-port"])
@pytest.mark.parametrize("port", ["99999", "65536", "-1"])
def test_a_port_that_does_not_exist_is_a_usage_error_that_tells_the_range(
    option: str, port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sandbox", option, port]) == ExitCode.USAGE
    assert f"Invalid value for '{option}': {port} is not in the range 0<=x<=65535" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "other"), [("--port", "--admin-port"), ("--admin-port", "--port")])
def test_a_port_in_use_is_named_with_the_option_that_chooses_another(
    option: str, other: str, taken_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sandbox", other, "0", option, str(taken_port)]) == ExitCode.UNAVAILABLE
    assert capsys.readouterr().err == (
        f"filingd: Port {taken_port} on 127.0.0.1 is in use. Choose another with {option}, or 0 for a free one.\n"
    )


@pytest.mark.parametrize("rate", ["-1", "inf"])
def test_a_clock_that_runs_backwards_or_without_end_is_a_usage_error(
    rate: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sandbox", "--clock-rate", rate]) == ExitCode.USAGE
    assert "--clock-rate" in capsys.readouterr().err
