"""What the sandbox serves as KVK, the registry reads; and what changes with a release alone is no change to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from filingd.registries.kvk import payloads
from support.kvk_http import API, TEST, get, zoeken
from support.sandbox import InProcessSandbox

if TYPE_CHECKING:
    from filingd.sandbox.server import Sandbox

RELEASES = ("2025-08", "2025-12", "2026-02", "2026-08")
FEW: dict[str, Any] = {
    "companies": 25,
    "crowd_companies": 0,
    "public_url": "http://127.0.0.1:1",
    "calls_per_s": 0,
}


def _paths_of(sandbox: Sandbox) -> list[tuple[str, str, str]]:
    """Part, number and path of everything that can be asked about the companies of both bases."""
    paths = []
    for base, prefix in (("api", API), ("test", TEST)):
        register = sandbox.world.kvk.registers[base]  # type: ignore[index]
        for number in register.numbers(32):
            company = register.company(number)
            assert company is not None
            profile = f"{prefix}/v1/basisprofielen/{number}"
            paths += [("basisprofiel", number, f"{profile}?geoData=true")]
            paths += [
                (part, number, f"{profile}/{part}") for part in ("eigenaar", "hoofdvestiging", "vestigingen")
            ]
            paths += [("naamgeving", number, f"{prefix}/v1/naamgevingen/kvknummer/{number}")]
            paths += [
                ("vestigingsprofiel", branch.number, f"{prefix}/v1/vestigingsprofielen/{branch.number}")
                for branch in company.branches[:3]
            ]
    return paths


async def _bodies(release: str) -> dict[tuple[str, str, str], bytes]:
    async with InProcessSandbox(kvk=FEW | {"release": release}) as sandbox:
        replies = {asked: await get(sandbox.base_url, asked[2]) for asked in _paths_of(sandbox)}
    return {asked: reply.body for asked, reply in replies.items() if reply.status == 200}


async def test_every_profile_is_read_and_says_the_same_in_every_release() -> None:
    first, *others = [await _bodies(release) for release in RELEASES]
    parts = {asked[0] for asked in first}
    assert parts == {
        "basisprofiel",
        "eigenaar",
        "hoofdvestiging",
        "vestigingen",
        "naamgeving",
        "vestigingsprofiel",
    }
    for (part, number, path), body in first.items():
        facts = payloads.read_profile(part, number, body)
        assert facts, path
    for other in others:
        assert set(other) == set(first)
        assert any(other[asked] != body for asked, body in first.items())
        for asked, body in first.items():
            assert payloads.content_digest(other[asked]) == payloads.content_digest(body), asked


@pytest.mark.parametrize("release", RELEASES)
async def test_a_page_of_results_is_read_in_every_release(release: str) -> None:
    async with InProcessSandbox(kvk=FEW | {"release": release}) as sandbox:
        reply = await get(sandbox.base_url, zoeken(naam="voorbeeld", resultatenPerPagina=100))
        truth = sandbox.world.kvk.registers["api"]
    facts = payloads.read_page(reply.body)
    assert facts["totaal"] == len(facts["rows"]) > 5
    assert all(truth.company(row[0]) for row in facts["rows"])


async def test_a_shielded_company_is_read_as_one() -> None:
    async with InProcessSandbox(kvk=FEW) as sandbox:
        body = (await get(sandbox.base_url, f"{TEST}/v1/basisprofielen/90001354")).body
        open_body = (await get(sandbox.base_url, f"{TEST}/v1/basisprofielen/68750110")).body
    assert payloads.read_profile("basisprofiel", "90001354", body)["shielded"] is True
    assert payloads.read_profile("basisprofiel", "68750110", open_body)["shielded"] is False
