"""Records of a test environment and of production never share a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.store import FakeStore
from filingd import origins
from filingd.core.errors import ExitCode, StoreError
from filingd.core.layout import ORIGINS_NAME
from filingd.settings import Settings, parse

PRODUCTION, TEST = "https://api.kvk.nl/api", "https://api.kvk.nl/test/api"


def configured(base_url: str) -> Settings:
    text = (
        '[store]\npath = "/var/lib/filingd"\n[http]\ncontact = "mailto:ops@example.invalid"\n'
        f'[kvk]\nbase_url = "{base_url}"\n[kvk.keys.main]\nkey = "env:A_KEY"\nbudget_per_month_eur = 1.0\n'
    )
    return parse(text, Path("/etc/filingd/filingd.toml"))


async def test_the_first_run_writes_where_the_records_come_from_and_the_next_agrees() -> None:
    store = FakeStore()
    await origins.claim(store, configured(TEST))
    written = store.published[ORIGINS_NAME]
    assert TEST.encode() in written
    await origins.claim(store, configured(TEST))
    assert store.published[ORIGINS_NAME] == written


@pytest.mark.parametrize(("first", "then"), [(TEST, PRODUCTION), (PRODUCTION, TEST)])
async def test_a_store_of_one_refuses_the_other_and_says_what_to_do(first: str, then: str) -> None:
    store = FakeStore()
    await origins.claim(store, configured(first))
    with pytest.raises(StoreError) as caught:
        await origins.claim(store, configured(then))
    assert caught.value.exit_code is ExitCode.STORE
    said = str(caught.value)
    assert f"[kvk] base_url is {then}, and the store /var/lib/filingd holds records of {first}." in said
    assert "set [store] path to another one" in said


async def test_a_sandbox_is_the_same_on_another_port_and_not_with_another_path() -> None:
    store = FakeStore()
    await origins.claim(store, configured("http://127.0.0.1:4000/api"))
    await origins.claim(store, configured("http://127.0.0.1:5000/api"))
    for other in ("http://127.0.0.1:5000/test/api", PRODUCTION):
        with pytest.raises(StoreError):
            await origins.claim(store, configured(other))


async def test_a_file_that_cannot_be_understood_is_said() -> None:
    store = FakeStore()
    store.published[ORIGINS_NAME] = b"{"
    with pytest.raises(StoreError, match="cannot be understood"):
        await origins.claim(store, configured(TEST))
