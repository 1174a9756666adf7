"""Keys: read from where they are, never printed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from filingd.adapters.secrets import Keyring, KeyUnreadableError, read_key
from filingd.core.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

KEY, OTHER = "1" * 32, "2" * 32


def _file(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return f"file:{path}"


def test_a_key_is_read_from_a_credential_a_variable_or_a_file(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    _file(
        credentials / "nbb-1", f"{KEY}\n", 0o444
    )  # systemd guards the folder; the mode of its files is its business
    environment = {"CREDENTIALS_DIRECTORY": str(credentials), "SECRET": f"  {OTHER}\r\n"}
    from_file = _file(tmp_path / "key", "abcdefgh-key\n")
    ring = Keyring(["credential:nbb-1", "env:SECRET", from_file], environment)
    assert ring.value("credential:nbb-1") == KEY
    assert ring.value("env:SECRET") == OTHER
    assert ring.value(from_file) == "abcdefgh-key"
    assert ring.values() == {KEY, OTHER, "abcdefgh-key"}
    assert ring.problems() == {}


@pytest.mark.parametrize(
    ("environment", "reference", "said"),
    [
        ({}, "env:SECRET", "no variable of that name"),
        ({"SECRET": " \n"}, "env:SECRET", "the key is empty"),
        ({"SECRET": "short"}, "env:SECRET", "5 characters cannot be a key"),
        ({"SECRET": "x" * 5000}, "env:SECRET", "5000 characters cannot be a key"),
        ({"SECRET": f"{KEY}\n{OTHER}"}, "env:SECRET", "Put one key there"),
        ({"SECRET": "kéykéykéy"}, "env:SECRET", "Put one key there"),
        ({}, "credential:nbb-1", r"LoadCredential=nbb-1:"),
        ({"CREDENTIALS_DIRECTORY": "/nonexistent"}, "credential:nbb-1", "does not exist"),
        ({}, "file:/nonexistent/key", "does not exist"),
        ({}, "file:/", "cannot be read"),
    ],
)
def test_a_key_that_cannot_be_read_says_where_and_what_to_do(
    environment: dict[str, str], reference: str, said: str
) -> None:
    ring = Keyring([reference], environment)
    with pytest.raises(KeyUnreadableError, match=said) as caught:
        ring.value(reference)
    assert reference in str(caught.value)
    assert caught.value.exit_code is ExitCode.CONFIG
    assert KEY not in str(caught.value)
    assert ring.values() == set()


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o644, 0o666])
def test_a_file_that_everybody_may_read_or_change_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, mode: int
) -> None:
    reference = _file(tmp_path / "key", KEY, mode)
    with pytest.raises(KeyUnreadableError, match=f"chmod o-rwx {tmp_path}/key"):
        Keyring([reference], {}).value(reference)


def test_a_file_that_the_group_may_read_is_accepted(tmp_path: Path) -> None:
    reference = _file(tmp_path / "key", KEY, 0o640)
    assert Keyring([reference], {}).value(reference) == KEY


def test_one_unreadable_key_does_not_hide_the_others() -> None:
    ring = Keyring(["env:A", "env:B"], {"B": KEY})
    assert ring.value("env:B") == KEY
    assert list(ring.problems()) == ["env:A"]


def test_a_replaced_key_is_used_after_a_refresh_and_the_old_one_stays_redacted(tmp_path: Path) -> None:
    reference = _file(tmp_path / "key", KEY)
    ring = Keyring([reference], {})
    _file(tmp_path / "key", OTHER)
    assert ring.value(reference) == KEY
    ring.refresh()
    assert ring.value(reference) == OTHER
    assert ring.values() == {KEY, OTHER}


def test_a_key_that_went_away_is_gone_after_a_refresh(tmp_path: Path) -> None:
    reference = _file(tmp_path / "key", KEY)
    ring = Keyring([reference], {})
    (tmp_path / "key").unlink()
    ring.refresh()
    with pytest.raises(KeyUnreadableError, match="does not exist"):
        ring.value(reference)
    assert KEY in ring.values()


def test_a_ring_shows_where_keys_are_and_never_what_they_are() -> None:
    ring = Keyring(["env:A"], {"A": KEY})
    for shown in (repr(ring), str(ring), f"{ring}", "%s" % ring):  # noqa: UP031 - each way of showing counts
        assert "env:A" in shown
        assert KEY not in shown
    assert not hasattr(ring, "__dict__")


def test_a_reference_of_another_ring_is_refused() -> None:
    with pytest.raises(KeyUnreadableError, match="env:B is not in the configuration"):
        Keyring(["env:A"], {"A": KEY}).value("env:B")


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILINGD_TEST_KEY", KEY)
    assert Keyring(["env:FILINGD_TEST_KEY"]).value("env:FILINGD_TEST_KEY") == os.environ["FILINGD_TEST_KEY"]


def test_a_pipe_in_place_of_a_key_file_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "key"
    os.mkfifo(pipe, 0o600)
    with pytest.raises(KeyUnreadableError, match="is no file"):
        read_key(f"file:{pipe}", {})
