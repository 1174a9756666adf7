"""What `filingd doctor` books of its calls at KVK: all of them, in each month that may count them, in no lost ledger's place."""

from __future__ import annotations

import asyncio
import datetime as dt
import zoneinfo
from typing import TYPE_CHECKING

import pytest

from fakes.clock import FakeClock
from fakes.ledger import FakeLedger
from filingd.core.errors import StoreError
from filingd.core.layout import LEDGER_NAME
from filingd.core.ledger import TURN_MARGIN_S
from filingd.doctor_kvk import _Books
from filingd.lane_specs import kvk_rules
from filingd.settings import load

if TYPE_CHECKING:
    from pathlib import Path

    from filingd.registries.kvk.rules import KvkRules
    from filingd.settings import Settings

CONFIG = """
[store]
path = "store"
[kvk.keys.main]
key = "env:FILINGD_TEST_KVK"
budget_per_month_eur = 1.0
"""
TURN_AT = dt.datetime(2026, 12, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Amsterdam")).timestamp()


def settings_in(folder: Path) -> tuple[Settings, KvkRules]:
    """A configuration whose store is an empty folder."""
    (folder / "filingd.toml").write_text(CONFIG)
    (folder / "store").mkdir()
    settings = load(folder / "filingd.toml")
    assert settings.kvk is not None
    return settings, kvk_rules(settings.kvk)


async def test_a_call_that_is_answered_after_the_turn_of_the_month_counts_in_both(tmp_path: Path) -> None:
    _, rules = await asyncio.to_thread(settings_in, tmp_path)
    clock, kept = FakeClock(TURN_AT - TURN_MARGIN_S - 1), FakeLedger()
    books = _Books(kept, (), rules, clock)
    assert await books.reserve("main") is None
    await clock.sleep(2 * TURN_MARGIN_S + 2)
    await books.settle("main")
    booked = {month: (each.spent_calls, each.reserved_calls) for (_, month), each in kept.kept.items()}
    assert booked == {"2026-11": (1, 0), "2026-12": (1, 0)}


async def test_a_ledger_is_begun_where_none_was_and_goes_on_from_there(tmp_path: Path) -> None:
    settings, rules = await asyncio.to_thread(settings_in, tmp_path)
    clock = FakeClock()
    for calls in (1, 2):
        books = await _Books.opened(settings, rules, clock, asked_before=calls > 1)
        assert await books.reserve("main") is None
        await books.settle("main")
        assert [each.spent_calls for each in books._spendings.values()] == [calls]
        await books.close()


async def test_a_ledger_that_was_lost_is_not_begun_anew_in_silence(tmp_path: Path) -> None:
    settings, rules = await asyncio.to_thread(settings_in, tmp_path)
    with pytest.raises(StoreError, match="put a copy of it back"):
        await _Books.opened(settings, rules, FakeClock(), asked_before=True)
    assert not await asyncio.to_thread((settings.store.path / LEDGER_NAME).exists)
