"""Where a ledger is begun, that is told; where lanes spent before, it is told as what it is: a loss."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from fakes.log import FakeLog
from fakes.manifest import FakeManifest
from filingd import app
from filingd.core import events
from filingd.core.errors import StoreError
from filingd.core.layout import LEDGER_NAME
from filingd.core.limits import LaneState
from filingd.settings import load

if TYPE_CHECKING:
    from pathlib import Path

    from filingd.settings import Settings

CONFIG = """
[store]
path = "store"
[kvk.keys.main]
key = "env:FILINGD_TEST_KVK"
budget_per_month_eur = 1.0
"""


def settings_in(folder: Path, text: str = CONFIG) -> Settings:
    """A configuration and the folder of its store."""
    (folder / "filingd.toml").write_text(text)
    (folder / "store").mkdir()
    return load(folder / "filingd.toml")


async def begin(settings: Settings, manifest: FakeManifest, *, may_be_lost: bool = False) -> FakeLog:
    """Open the ledger once."""
    log = FakeLog()
    async with app.opened_ledger(
        settings, app.registry_of(settings), manifest, log, may_be_lost=may_be_lost
    ) as ledger:
        assert ledger is not None
    return log


async def test_the_first_one_is_told_once(tmp_path: Path) -> None:
    settings = await asyncio.to_thread(settings_in, tmp_path)
    (line,) = (await begin(settings, FakeManifest())).of(events.LEDGER_BEGUN)
    assert "detail" not in line
    assert not (await begin(settings, FakeManifest())).of(events.LEDGER_BEGUN)


async def test_one_that_is_gone_although_lanes_spent_is_refused_with_the_remedy(tmp_path: Path) -> None:
    settings, manifest = await asyncio.to_thread(settings_in, tmp_path), FakeManifest()
    manifest.kept_lanes["kvk"] = LaneState("kvk", "boot", 9.0)
    with pytest.raises(StoreError, match="kvk made calls before") as refused:
        await begin(settings, manifest)
    assert "--begin-ledger" in str(refused.value)
    assert not await asyncio.to_thread((settings.store.path / LEDGER_NAME).exists)


async def test_one_that_is_gone_is_begun_anew_where_that_is_said_and_told_as_a_loss(tmp_path: Path) -> None:
    settings, manifest = await asyncio.to_thread(settings_in, tmp_path), FakeManifest()
    manifest.kept_lanes["kvk"] = LaneState("kvk", "boot", 9.0)
    (line,) = (await begin(settings, manifest, may_be_lost=True)).of(events.LEDGER_BEGUN)
    assert "kvk made calls before" in line["detail"]


async def test_without_an_account_there_is_no_ledger(tmp_path: Path) -> None:
    settings = await asyncio.to_thread(
        settings_in,
        tmp_path,
        '[store]\npath = "store"\n[nbb]\nsince = 2026-01-01\n[nbb.products.extract]\nkeys = ["env:X"]\n',
    )
    registry = await asyncio.to_thread(app.registry_of, settings)
    async with app.opened_ledger(settings, registry, FakeManifest(), FakeLog()) as ledger:
        assert ledger is None
    assert not await asyncio.to_thread((tmp_path / "store" / "ledger.db").exists)
