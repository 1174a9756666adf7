"""What happens to a company while the sandbox runs shows in every answer about it, and can be undone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from filingd.core.errors import ConfigError
from filingd.sandbox.kvk.register import Change, NewAddress
from filingd.sandbox.settings import settings_from
from support.kvk_http import API, code_of, get, zoeken
from support.sandbox import InProcessSandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from filingd.sandbox.kvk.register import Register
    from filingd.sandbox.server import Sandbox

SPECIAL, CROWDED = "99000011", "98000299"  # held, and made on demand


@pytest.fixture
async def kvk() -> AsyncIterator[Sandbox]:
    async with InProcessSandbox(kvk={"companies": 300, "crowd_companies": 5}) as running:
        yield running


def register(sandbox: Sandbox) -> Register:
    return sandbox.world.kvk.registers["api"]


async def main_address(sandbox: Sandbox, number: str) -> dict[str, Any]:
    reply = await get(sandbox.base_url, f"{API}/v1/basisprofielen/{number}")
    return dict(json.loads(reply.body)["_embedded"]["hoofdvestiging"]["adressen"][0])


async def total(sandbox: Sandbox, **parameters: Any) -> int:
    reply = await get(sandbox.base_url, zoeken(**parameters))
    return int(json.loads(reply.body)["totaal"]) if reply.status == 200 else 0


@pytest.mark.parametrize("number", [SPECIAL, CROWDED])
async def test_a_company_that_moves_is_found_in_its_new_town_only(kvk: Sandbox, number: str) -> None:
    before = await main_address(kvk, number)
    moved = {"plaats": "Nieuwdorp", "straatnaam": "Verhuisweg", "type": "hoofdvestiging"}
    old = {"plaats": before["plaats"], "straatnaam": before["straatnaam"], "type": "hoofdvestiging"}
    old_total = await total(kvk, **old)
    register(kvk).change(number, Change(address=NewAddress(street="Verhuisweg", town="Nieuwdorp")))
    assert (await main_address(kvk, number))["plaats"] == "Nieuwdorp"
    assert await total(kvk, **moved) == 1
    assert await total(kvk, **old) == old_total - 1
    assert register(kvk).undo(number)
    assert await main_address(kvk, number) == before
    assert (await total(kvk, **moved), await total(kvk, **old)) == (0, old_total)


@pytest.mark.parametrize("number", [SPECIAL, CROWDED])
async def test_a_company_that_becomes_shielded_loses_its_address_everywhere(
    kvk: Sandbox, number: str
) -> None:
    street = (await main_address(kvk, number))["straatnaam"]
    register(kvk).change(number, Change(is_shielded=True))
    company = register(kvk).company(number)
    assert company is not None
    assert company.is_shielded
    paths = [
        f"/v1/basisprofielen/{number}{part}" for part in ("", "/eigenaar", "/hoofdvestiging", "/vestigingen")
    ]
    paths += [f"/v1/vestigingsprofielen/{branch.number}" for branch in company.branches]
    for path in paths:
        assert street.encode() not in (await get(kvk.base_url, API + path)).body
    assert (await main_address(kvk, number))["indAfgeschermd"] == "Ja"


@pytest.mark.parametrize("number", [SPECIAL, CROWDED])
async def test_a_company_that_is_deregistered_leaves_searches_and_profiles(kvk: Sandbox, number: str) -> None:
    register(kvk).change(number, Change(deregistered_on="20261120"))
    assert code_of(await get(kvk.base_url, f"{API}/v1/basisprofielen/{number}")) == "IPD0005"
    assert await total(kvk, kvkNummer=number) == 0
    assert await total(kvk, kvkNummer=number, inclusiefInactieveRegistraties="true") > 0
    kvk.world.apply(settings_from({"kvk": {"deregistered_profile": "200"}}, kvk.world.settings))
    reply = await get(kvk.base_url, f"{API}/v1/basisprofielen/{number}")
    assert json.loads(reply.body)["materieleRegistratie"]["datumEinde"] == "20261120"


async def test_a_mark_a_name_and_a_branch_change(kvk: Sandbox) -> None:
    register(kvk).change(
        SPECIAL, Change(is_non_mailing=False, name="Andersgeheten B.V.", closed_branch="990900000022")
    )
    whole = json.loads((await get(kvk.base_url, f"{API}/v1/basisprofielen/{SPECIAL}")).body)
    assert (whole["indNonMailing"], whole["naam"]) == ("Nee", "Andersgeheten B.V.")
    assert code_of(await get(kvk.base_url, f"{API}/v1/vestigingsprofielen/990900000022")) == "IPD0007"
    rows = json.loads((await get(kvk.base_url, zoeken(naam="molenbouw"))).body)["resultaten"]
    assert {row["vervallenNaam"] for row in rows} == {"Voorbeeld Molenbouw B.V."}


@pytest.mark.parametrize("number", [SPECIAL, CROWDED])
async def test_a_number_may_become_unknown(kvk: Sandbox, number: str) -> None:
    register(kvk).change(number, Change(is_unknown=True))
    assert code_of(await get(kvk.base_url, f"{API}/v1/basisprofielen/{number}")) == "IPD0005"
    assert await total(kvk, kvkNummer=number, inclusiefInactieveRegistraties="true") == 0
    assert register(kvk).changed() == [number]


async def test_other_knobs_leave_what_happened_and_another_population_forgets_it(kvk: Sandbox) -> None:
    register(kvk).change(SPECIAL, Change(is_non_mailing=False))
    kvk.world.apply(settings_from({"kvk": {"gzip": True}}, kvk.world.settings))
    assert register(kvk).changed() == [SPECIAL]
    kvk.world.apply(settings_from({"kvk": {"companies": 10}}, kvk.world.settings))
    assert register(kvk).changed() == []


def test_nothing_happens_to_a_company_that_does_not_exist() -> None:
    from filingd.sandbox.kvk.register import make_registers
    from filingd.sandbox.kvk.seeded import Population

    empty = make_registers(Population(1, 0, 0, 0.0, 0.0, 0.0, 0.0))["api"]
    with pytest.raises(ConfigError, match="98000000 is unknown"):
        empty.change("98000000", Change(is_shielded=True))
