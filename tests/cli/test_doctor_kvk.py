"""`filingd doctor` and KVK: each key is tried by a search, which is free, is booked, and costs nothing else."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cli.test_doctor import ask, pool
from e2e.kvk_rig import BUDGET, KvkRig
from filingd.adapters.ledger_reader import LedgerReader
from filingd.core.layout import LEDGER_NAME
from support.mirror import filingd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.rig import SandboxPool

pytestmark = pytest.mark.slow
__all__ = ["pool"]

ROOT = Path(__file__).resolve().parents[2]
SUBJECT = "kvk/main (env:FILINGD_TEST_KVK_MAIN)"


@pytest.fixture
def make(tmp_path: Path, pool: SandboxPool) -> Iterator[Callable[..., KvkRig]]:
    made: list[KvkRig] = []

    def one(**fields: object) -> KvkRig:
        made.append(KvkRig(tmp_path, pool, **fields))  # type: ignore[arg-type]
        return made[-1]

    yield one
    for each in made:
        each.rig.close()


def test_each_key_is_tried_once_by_a_search_and_nothing_is_paid_for(make: Callable[..., KvkRig]) -> None:
    kvk = make(accounts={"main": BUDGET, "second": BUDGET})
    told = ask(kvk.rig)
    assert (told.code, told.of("problem"), told.of("skipped")) == (0, [], [])
    keys = [("key", f"kvk/{name} (env:FILINGD_TEST_KVK_{name.upper()})") for name in ("main", "second")]
    assert [found for found in told.of("ok") if found[0] in ("key", "path")] == [
        *keys,
        ("path", "kvk /v2/zoeken"),
    ]
    journal = kvk.rig.journal()
    assert [entry["path"].split("?")[0] for entry in journal] == ["/api/v2/zoeken"] * 2
    with LedgerReader(kvk.store.root / LEDGER_NAME) as reader:
        spendings = reader.spendings()
    assert [(each.account, each.spent_calls, each.spent_microeur) for each in spendings] == [
        ("kvk/main", 1, 0),
        ("kvk/second", 1, 0),
    ], "booked, although nobody has worked there yet"


def test_its_calls_are_booked_where_a_daemon_books_and_none_is_made_that_may_not_be(
    make: Callable[..., KvkRig],
) -> None:
    kvk = make(
        accounts={"main": {**BUDGET, "calls_per_month": 3}}, watch={"clients": {"parts": ["basisprofiel"]}}
    )
    (number,) = kvk.companies(1)
    kvk.follow("clients", [number])
    kvk.run()
    assert booked(kvk) == (1, 20_000)
    for calls in (2, 3):
        assert ask(kvk.rig).of("ok").count(("key", SUBJECT)) == 1
        assert booked(kvk) == (calls, 20_000)
    told = ask(kvk.rig)
    assert told.of("skipped") == [("key", SUBJECT), ("clock", "registry")]
    assert booked(kvk) == (3, 20_000)
    assert len(kvk.rig.journal()) == 3


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"paths": {"zoeken": "/v1/zoeken"}}, ("path", "kvk /v1/zoeken")),
        ({"revoked": True}, ("key", "kvk/main (env:FILINGD_TEST_KVK_MAIN)")),
    ],
)
def test_what_is_wrong_is_told_apart(
    make: Callable[..., KvkRig], wrong: dict[str, Any], problem: tuple[str, str]
) -> None:
    fields = {name: value for name, value in wrong.items() if name != "revoked"}
    kvk = make(accounts={"main": BUDGET}, **fields)
    if "revoked" in wrong:
        kvk.admin.revoke_key("kvk", "main")
    told = ask(kvk.rig)
    assert told.code == 1
    assert told.of("problem") == [problem]


def test_without_calls_and_without_a_registry_it_says_so(make: Callable[..., KvkRig]) -> None:
    kvk = make(accounts={"main": BUDGET})
    told = ask(kvk.rig, "--offline")
    assert told.of("skipped") == [("calls", "kvk")]
    assert kvk.rig.journal() == []


def booked(kvk: KvkRig) -> tuple[int, int]:
    """Calls and millionths of a euro that are booked on the first account."""
    with LedgerReader(kvk.store.root / LEDGER_NAME) as reader:
        (spending,) = reader.spendings()
    assert (spending.account, spending.reserved_calls) == ("kvk/main", 0)
    return spending.spent_calls, spending.spent_microeur


def test_nothing_is_wrong_with_the_profile_for_the_test_environment(
    make: Callable[..., KvkRig], tmp_path: Path
) -> None:
    kvk = make(base="test")
    kvk.admin.clock_set(time.time())  # the profile knows of no rehearsal
    text = (ROOT / "config" / "kvk-test.toml").read_text(encoding="utf-8")
    profile = tmp_path / "profile" / "kvk-test.toml"
    profile.parent.mkdir()
    shutil.copytree(ROOT / "config" / "kvk-test-watchlists", profile.parent / "kvk-test-watchlists")
    profile.write_text(text.replace("https://api.kvk.nl/test/api", kvk.rig.sandbox.kvk_test_base_url))
    said = filingd("doctor", "--config", str(profile))
    assert said.code == 0, said.out
    assert "kvk/test (public:kvk-test): the registry accepts it" in said.out
    assert {entry["is_paid"] for entry in kvk.rig.journal()} == {False}
    assert filingd("config", "check", "--config", str(profile)).code == 0
