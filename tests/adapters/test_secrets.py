"""Keys: read from where they are, never printed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from filingd.adapters.secrets import Keyring, KeyUnreadableError, read_key
from filingd.core.errors import ExitCode
from filingd.core.keys import KeyReading

if TYPE_CHECKING:
    from collections.abc import Callable
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
        ({}, "file:/", "is no file"),
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


def _pipe_instead(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _written(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (os.unlink, "does not exist"),
    "empty": (_written(""), "is empty"),
    "cut": (_written("123"), "cannot be a key"),
    "two keys": (_written(f"{OTHER}\n{OTHER}"), "one key there, alone"),
    "open to everybody": (lambda path: path.chmod(0o644), "chmod o-rwx"),
    "a folder": (_folder_instead, "is no file"),
    "a pipe": (_pipe_instead, "is no file"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_key_that_cannot_be_read_any_more_stays_in_use_and_the_reason_is_told(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "key"
    reference = _file(path, KEY)
    ring = Keyring([reference], {})
    spoil, said = SPOILT[name]
    spoil(path)
    assert ring.is_outdated()
    reading = ring.refresh()
    assert (set(reading.changed), set(reading.kept)) == (set(), {reference})
    assert said in reading.problems[reference]
    assert ring.problems() == reading.problems
    assert ring.value(reference) == KEY
    assert not ring.is_outdated(), "what was looked at is no news"


def test_a_key_that_was_never_read_and_still_cannot_be_is_no_key(tmp_path: Path) -> None:
    reference = f"file:{tmp_path / 'key'}"
    ring = Keyring([reference], {})
    assert ring.refresh().kept == set()
    with pytest.raises(KeyUnreadableError, match="does not exist"):
        ring.value(reference)
    _file(tmp_path / "key", KEY)
    assert ring.is_outdated()
    assert ring.refresh() == KeyReading(frozenset({reference}), {}, frozenset())


# ------------------------------------------------------------------------------------------ noticing an exchange


def _in_place(path: Path) -> None:
    path.write_text(OTHER)


def _renamed_into_place(path: Path) -> None:
    new = path.with_name("new")
    _file(new, OTHER)
    new.replace(path)


def _as_old_as_the_former(path: Path) -> None:
    """As `cp -p` and unpacked archives do: of the same size and age."""
    before = path.stat()
    _renamed_into_place(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("exchange", [_in_place, _renamed_into_place, _as_old_as_the_former])
def test_an_exchanged_file_is_noticed_however_it_was_exchanged(
    tmp_path: Path, exchange: Callable[[Path], None]
) -> None:
    reference = _file(tmp_path / "key", KEY)
    ring = Keyring([reference], {})
    assert not ring.is_outdated()
    exchange(tmp_path / "key")
    assert ring.is_outdated()
    assert ring.refresh().changed == {reference}
    assert ring.value(reference) == OTHER


@pytest.mark.parametrize("is_link_itself", [True, False])
def test_an_exchanged_folder_of_credentials_is_noticed(tmp_path: Path, is_link_itself: bool) -> None:
    """systemd puts another folder in the place of the first, under the same name; some managers exchange a link."""
    for name, key in (("one", KEY), ("two", OTHER)):
        (tmp_path / name).mkdir()
        _file(tmp_path / name / "nbb-1", key, 0o400)
    folder = tmp_path / "credentials"
    if is_link_itself:
        folder.symlink_to("one")
    else:
        (tmp_path / "one").rename(folder)
    ring = Keyring(["credential:nbb-1"], {"CREDENTIALS_DIRECTORY": str(folder)})
    assert ring.value("credential:nbb-1") == KEY
    if is_link_itself:
        (tmp_path / "link").symlink_to("two")
        (tmp_path / "link").replace(folder)
    else:
        folder.rename(tmp_path / "old")
        (tmp_path / "two").rename(folder)
    assert ring.is_outdated()
    assert ring.refresh().changed == {"credential:nbb-1"}
    assert ring.value("credential:nbb-1") == OTHER


def test_a_touched_file_with_the_same_key_is_read_and_is_no_change(tmp_path: Path) -> None:
    reference = _file(tmp_path / "key", KEY)
    ring = Keyring([reference], {})
    _file(tmp_path / "key", KEY + "\n")
    assert ring.is_outdated()
    assert ring.refresh() == KeyReading(frozenset(), {}, frozenset())


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


@pytest.mark.parametrize("source", ["file", "credential"])
@pytest.mark.parametrize("mode", [0o600, 0o644])
@pytest.mark.parametrize("has_writer", [False, True])
def test_a_pipe_in_place_of_a_key_file_is_refused_at_once_and_not_read_from(
    tmp_path: Path, source: str, mode: int, has_writer: bool
) -> None:
    pipe = tmp_path / "key"
    os.mkfifo(pipe, mode)
    reference = f"file:{pipe}" if source == "file" else "credential:key"
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK) if has_writer else -1
    if has_writer:
        writer = os.open(pipe, os.O_WRONLY)
        os.write(writer, KEY.encode())
    with pytest.raises(KeyUnreadableError, match="is no file"):
        read_key(reference, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    if has_writer:
        assert os.read(reader, 100) == KEY.encode(), "what somebody else waits for is still there"
        os.close(reader)
        os.close(writer)


def test_a_key_that_a_registry_gives_to_everybody_has_a_name() -> None:
    ring = Keyring(["public:library"], {}, {"library": KEY})
    assert ring.value("public:library") == KEY
    assert ring.values() == {KEY}, "it is taken out of texts like any other"
    (problem,) = Keyring(["public:museum"], {}, {"library": KEY}).problems().values()
    assert "There are: public:library." in problem
