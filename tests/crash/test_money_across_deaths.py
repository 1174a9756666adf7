"""SIGKILL while calls are paid for: the ledger is never below what the registry counted, and its quota never exceeded.

The registry's own journal and its own count of the month are the judges. `FILINGD_SOAK_KILLS` as in test_deaths_at_random.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from crash.test_deaths_at_random import DEATHS
from e2e.rig import Rig
from filingd.app import KILL_VARIABLE
from filingd.core import steps
from support import kvk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.rig import SandboxPool

pytestmark = pytest.mark.slow

KILLED = -9
PRICE_MICROEUR = 20_000
FREE = "zoeken"
PARTS = ["basisprofiel", "eigenaar", "hoofdvestiging", "naamgeving"]
NUMBERS = 24
QUOTA = 70  # of the 96 calls for all parts of all numbers, and those of the search
DEATHS_A_SEED = 5
SEEDS = range(1, DEATHS // 80 + 1)
LATEST_S = 0.6
END_WITHIN_S = 60.0
LONGEST_START_S = 20.0


class Spent(NamedTuple):
    """Calls and money, as somebody counts them."""

    calls: int
    microeur: int


class Shop:
    """A daemon that pays for what it asks, and those who count."""

    def __init__(self, rig: Rig, *, quota: int, concurrency: int) -> None:
        self.rig = rig
        self.deaths = 0
        rig.admin.kvk(calls_per_month=quota, companies=200, crowd_companies=10)
        limits = {"calls_per_month": quota, "budget_per_month_eur": 1000.0, "price_per_call_eur": 0.02}
        section = kvk.section(
            rig.sandbox.kvk_base_url,
            watch={"numbers": {"parts": PARTS}, "molens": {"parts": []}},
            accounts={"main": limits},
            concurrency=concurrency,
        )
        rig.config.change(section)
        rig.config.changes["nbb"] = None
        kvk.write_list(rig.config.folder, "numbers", rig.admin.kvk_companies(NUMBERS))
        kvk.write_search(rig.config.folder, "molens", naam="molen")

    def run(self, kill_at: str | None = None, kill_after_s: float | None = None) -> bool:
        """One life of the daemon; whether it was killed. Whatever happened, nobody is owed more than the ledger says."""
        self.rig.admin.clock_advance(
            LONGEST_START_S
        )  # its clock begins when it has started: never before the last one's
        environment = {KILL_VARIABLE: kill_at} if kill_at else {}
        with self.rig.daemon(until="idle", environment=environment) as daemon:
            if kill_after_s is not None:
                daemon.wait_for("daemon.started")
                time.sleep(kill_after_s)  # a moment that means nothing: whatever it hits has to hold
                daemon.process.kill()
            ended = daemon.wait(END_WITHIN_S)
        assert ended.code in (0, KILLED), ended.stderr
        self.deaths += ended.code == KILLED
        self.check()
        return ended.code == KILLED

    def check(self) -> None:
        """What holds at every moment at which nothing runs."""
        booked, counted = self.booked(), self.counted()
        assert booked.calls >= counted.calls, f"{self.deaths} deaths: {booked} is less than {counted}"
        assert booked.microeur >= counted.microeur, f"{self.deaths} deaths: {booked} is less than {counted}"
        assert not [entry for entry in self.journal() if entry["status"] in (429, 503)], (
            "the quota was exceeded"
        )

    def booked(self) -> Spent:
        """What the ledger says, read without filingd."""
        path = self.rig.store.root / "ledger.db"
        if not path.exists():
            return Spent(0, 0)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            row = connection.execute(
                "SELECT coalesce(sum(spent_calls + reserved_calls), 0), "
                "coalesce(sum(spent_microeur + reserved_microeur), 0) FROM spendings WHERE month = '2026-11'"
            ).fetchone()
        return Spent(*row)

    def counted(self) -> Spent:
        """What the registry saw arrive."""
        asked = self.journal()
        paid = sum(FREE not in entry["path"] for entry in asked)
        return Spent(len(asked), paid * PRICE_MICROEUR)

    def journal(self) -> list[dict[str, Any]]:
        """Every request that arrived."""
        return self.rig.journal()

    def granted(self) -> int:
        """What the registry counts against the month."""
        return sum(calls for months in self.rig.admin.kvk_granted().values() for calls in months.values())


@pytest.fixture
def make_shop(
    tmp_path_factory: pytest.TempPathFactory, sandbox_pool: SandboxPool
) -> Iterator[Callable[..., Shop]]:
    rigs: list[Rig] = []

    def make(*, quota: int = QUOTA, concurrency: int = 4) -> Shop:
        rigs.append(Rig(tmp_path_factory.mktemp("shop"), sandbox_pool, since="2026-11-19"))
        return Shop(rigs[-1], quota=quota, concurrency=concurrency)

    yield make
    for rig in rigs:
        rig.check_manners()
        rig.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_moment_it_dies_at_the_ledger_covers_what_was_asked_and_the_quota_holds(
    make_shop: Callable[..., Shop], seed: int
) -> None:
    chance, shop = random.Random(seed), make_shop()
    shop.rig.admin.add_fault({"kind": "latency", "ms": 30})  # so that calls are under way when it dies
    while shop.deaths < DEATHS_A_SEED and die(shop, chance):
        pass
    while shop.run():
        raise AssertionError("nobody killed it")
    booked, counted = shop.booked(), shop.counted()
    assert booked.calls == QUOTA, "the month is used up to the last call"
    assert booked.calls - counted.calls <= shop.deaths * 4, "no more is lost than was under way at the deaths"
    assert shop.granted() <= counted.calls, (
        "a call that was cut off before it was counted is in nobody's bill"
    )


def die(shop: Shop, chance: random.Random) -> bool:
    """One run with a death in it, unless it ends before; whether it was killed."""
    match chance.choice(["step", "step", "anything", "moment"]):
        case "step":
            return shop.run(kill_at=f"{chance.choice(steps.SPEND_STEPS)}:{chance.randint(1, 12)}")
        case "anything":
            return shop.run(kill_at=f"*:{chance.randint(1, 60)}")
        case _:
            return shop.run(kill_after_s=chance.uniform(0.0, LATEST_S))


def test_a_death_between_booking_and_sending_costs_exactly_the_call_that_was_booked(
    make_shop: Callable[..., Shop],
) -> None:
    shop = make_shop(quota=200, concurrency=1)
    for number in (1, 7):
        assert shop.run(kill_at=f"{steps.CALL_RESERVED}:{number}")
    assert not shop.run()
    assert shop.booked().calls == shop.counted().calls + 2
    assert shop.counted().calls == shop.granted()


def test_deaths_with_nothing_under_way_leave_ledger_and_journal_equal(make_shop: Callable[..., Shop]) -> None:
    shop = make_shop(quota=200, concurrency=1)
    for step in (f"{steps.CALL_ANSWERED}:1", f"{steps.CALL_ANSWERED}:9"):
        assert shop.run(kill_at=step), step
        assert shop.booked() == shop.counted(), step
    assert not shop.run()
    assert shop.booked() == shop.counted()
    assert shop.counted().calls == shop.granted()


def test_a_run_that_is_out_of_calls_ends_idle_and_a_larger_setting_goes_on(
    make_shop: Callable[..., Shop],
) -> None:
    shop = make_shop(quota=20)
    assert not shop.run()
    assert shop.booked() == shop.counted()
    assert shop.counted().calls == 20
    shop.rig.admin.kvk(calls_per_month=1000)
    assert not shop.run()
    assert shop.counted().calls == 20, "the registry would allow more, the operator does not"
    shop.rig.config.changes["kvk"]["keys"]["main"]["calls_per_month"] = 1000
    assert not shop.run()
    assert shop.booked() == shop.counted()
    assert shop.counted().calls > 60
