"""What the composition root makes of the operator's settings."""

from __future__ import annotations

import datetime as dt
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from filingd import app
from filingd.core.errors import ConfigError, ExitCode
from filingd.settings import Settings, parse

if TYPE_CHECKING:
    from filingd.adapters.secrets import Keyring
    from filingd.ports import Registry

CONFIG = """
[nbb]
since = 2026-10-01
first_try_from = "{first}"
first_try_until = "{last}"
[nbb.products.extract]
keys = ["env:A_KEY"]
"""


def configured(store: str, first: str = "05:30", last: str = "06:30") -> Settings:
    text = f'[store]\npath = "{store}"\n[http]\ncontact = "mailto:ops@example.invalid"\n'
    return parse(text + CONFIG.format(first=first, last=last), Path("/etc/filingd/filingd.toml"))


TWO_KEYS = """
[kvk.keys.main]
key = "env:FILINGD_TEST_FIRST"
budget_per_month_eur = 1.0
[kvk.keys.second]
key = "file:{file}"
budget_per_month_eur = 1.0
"""
KEY = "l7xx0123456789abcdef0123456789abcdef"


def two_keys(folder: Path, monkeypatch: pytest.MonkeyPatch, second: str) -> tuple[Registry, Keyring]:
    """Two accounts: the key of one stands in the environment, that of the other in a file."""
    monkeypatch.setenv("FILINGD_TEST_FIRST", KEY)
    (folder / "key").write_text(second)
    (folder / "key").chmod(0o600)
    text = f'[store]\npath = "{folder / "store"}"\n' + TWO_KEYS.format(file=folder / "key")
    registry = app.registry_of(parse(text, folder / "filingd.toml"))
    return registry, app.keyring_of(registry)


def test_two_accounts_with_one_key_are_refused_and_the_key_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, keyring = two_keys(tmp_path, monkeypatch, f"{KEY}\n")
    with pytest.raises(ConfigError, match="one and the same key") as refused:
        app.check_keys_apart(registry, keyring)
    said = str(refused.value)
    assert refused.value.exit_code == ExitCode.CONFIG
    assert all(name in said for name in ("kvk/main", "kvk/second", "env:FILINGD_TEST_FIRST", str(tmp_path)))
    assert KEY not in said


@pytest.mark.parametrize("second", [KEY[::-1], ""])
def test_two_accounts_with_keys_of_their_own_are_not_and_one_that_cannot_be_read_is_told_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: str
) -> None:
    app.check_keys_apart(*two_keys(tmp_path, monkeypatch, second))


def first_try_at(settings: Settings) -> dt.time:
    assert settings.nbb is not None
    return app.nbb_rules(settings, settings.nbb)[0].first_try_at


def test_each_installation_has_its_own_moment_for_a_new_day_and_keeps_it() -> None:
    moments = [first_try_at(configured(f"/var/lib/filingd-{number}")) for number in range(200)]
    assert moments == [first_try_at(configured(f"/var/lib/filingd-{number}")) for number in range(200)]
    assert dt.time(5, 30) <= min(moments) < max(moments) <= dt.time(6, 30)
    assert len(set(moments)) > 40, "spread over the hour"


def test_an_installation_is_told_by_its_store_not_by_the_name_of_its_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = configured(str(tmp_path))
    moments = set()
    for name in ("3f9c1b2a7d40", "c0ffee123456"):
        monkeypatch.setattr(socket, "gethostname", lambda name=name: name)
        moments.add(first_try_at(settings))
    assert len(moments) == 1


@pytest.mark.parametrize("hour", ["05:00", "05:59", "23:59"])
def test_the_same_hour_twice_is_that_hour(hour: str) -> None:
    assert first_try_at(configured("/var/lib/filingd", hour, hour)) == dt.time.fromisoformat(hour)
