"""What the engine may rely on of any ledger: the same suite on the fake and on SQLite."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from fakes.ledger import FakeLedger
from filingd.adapters.ledger import SqliteLedger
from filingd.core.ledger import Spending

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from filingd.ports import Ledger

FULL = Spending("reg/main", "2026-11", 9, 180_000, 2, 40_000, 80, 1.5, 1_795_000_000.125, 2.25, 7, 140_000)


@pytest.fixture(params=["fake", "sqlite"])
async def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Ledger]:
    made: Ledger = (
        FakeLedger() if request.param == "fake" else await SqliteLedger.open(tmp_path / "ledger.db")
    )
    yield made
    await made.close()


async def test_a_new_ledger_knows_of_nothing(ledger: Ledger) -> None:
    assert list(await ledger.spendings()) == []


async def test_what_is_saved_is_read_back_to_the_last_field(ledger: Ledger) -> None:
    bare = Spending("reg/main", "2026-12")
    await ledger.save([bare, FULL])
    assert list(await ledger.spendings()) == [FULL, bare]


async def test_a_row_takes_the_place_of_the_one_of_its_account_and_month_alone(ledger: Ledger) -> None:
    other_account, other_month = replace(FULL, account="reg/other"), replace(FULL, month="2026-10")
    await ledger.save([FULL, other_account, other_month])
    later = replace(FULL, spent_calls=10, reserved_calls=1)
    await ledger.save([later])
    assert list(await ledger.spendings()) == [other_month, later, other_account]


async def test_saves_that_run_at_the_same_time_are_carried_out_in_their_order(ledger: Ledger) -> None:
    saves = [asyncio.create_task(ledger.save([replace(FULL, spent_calls=count)])) for count in range(200)]
    await asyncio.gather(*saves)
    assert [each.spent_calls for each in await ledger.spendings()] == [199]


async def test_saving_nothing_is_no_error(ledger: Ledger) -> None:
    await ledger.save([])
    assert list(await ledger.spendings()) == []


async def test_amounts_beyond_any_month_are_kept_exactly(ledger: Ledger) -> None:
    large = replace(FULL, spent_calls=2**40 + 1, spent_microeur=2**62 + 1)
    await ledger.save([large])
    assert list(await ledger.spendings()) == [large]
