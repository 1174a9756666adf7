"""The shapes of KVK's answers, held against recorded ones where there are any, and the cases of section 15.2."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from filingd.sandbox.kvk.fictitious import MANY_BRANCHES
from filingd.sandbox.settings import settings_from
from support.kvk_http import API, HAL, TEST, code_of, get, zoeken
from support.sandbox import InProcessSandbox, samples_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from filingd.sandbox.server import Sandbox

SAMPLES = samples_folder() / "kvk"
FEW = {"companies": 40, "crowd_companies": 0}
HEADERS_OF_ANY_SERVER = {"date", "content-length", "content-encoding"}
recorded = pytest.mark.skipif(
    not SAMPLES.is_dir(), reason="no recorded answers; set FILINGD_SAMPLES to a folder that has some"
)


@pytest.fixture
async def kvk() -> AsyncIterator[Sandbox]:
    async with InProcessSandbox(kvk=FEW) as running:
        yield running


async def body_of(sandbox: Sandbox, path: str, **more: Any) -> dict[str, Any]:
    reply = await get(sandbox.base_url, path, **more)
    assert reply.status == 200, reply.body
    return dict(json.loads(reply.body))


async def profile(sandbox: Sandbox, number: str, part: str = "", base: str = TEST) -> dict[str, Any]:
    return await body_of(sandbox, f"{base}/v1/basisprofielen/{number}{part}")


def shape(value: Any) -> Any:
    """Names in their order and kinds of values; of a list the shape of its first element."""
    if isinstance(value, dict):
        return [(name, shape(inner)) for name, inner in value.items()]
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def fields_of(value: Any, path: str = "") -> set[tuple[str, str]]:
    """Every field with its kind, wherever it stands."""
    if isinstance(value, dict):
        return {found for name, inner in value.items() for found in fields_of(inner, f"{path}.{name}")}
    if isinstance(value, list):
        return {found for inner in value for found in fields_of(inner, f"{path}[]")}
    return {(path, "float" if isinstance(value, int | float) else type(value).__name__)}


# --- against recordings ---


@recorded
@pytest.mark.parametrize(
    ("sample", "release", "path"),
    [
        ("of-basisprofielen-69599084-200-2025-08-15", "2025-08", "/v1/basisprofielen/69599084"),
        ("of-basisprofielen-69599084-200-2025-12-22", "2025-12", "/v1/basisprofielen/69599084"),
        ("of-basisprofielen-90000749-200-2026-08-20", "2026-08", "/v1/basisprofielen/90000749"),
        ("of-vestigingsprofielen-000038509504-200-2026-02-05", "2026-02", "/v1/vestigingsprofielen/000038509504"),
        ("of-zoeken-kvkNummer-69599084-200-2025-08-15", "2025-08", "/v2/zoeken?kvkNummer=69599084"),
        ("of-zoeken-kvkNummer-69599084-200-2025-12-22", "2025-12", "/v2/zoeken?kvkNummer=69599084"),
        ("of-zoeken-rsin-992760562-200-2025-12-22", "2025-12", "/v2/zoeken?rsin=992760562"),
        (
            "of-zoeken-vestigingsnummer-990000541921-200-2025-12-22", "2025-12",
            "/v2/zoeken?vestigingsnummer=990000541921",
        ),
    ],
)  # fmt: skip
async def test_a_release_answers_in_the_shape_and_order_that_were_recorded_of_it(
    sample: str, release: str, path: str
) -> None:
    was = json.loads((SAMPLES / f"{sample}.json").read_text())
    async with InProcessSandbox(kvk=FEW | {"release": release}) as sandbox:
        reply = await get(sandbox.base_url, TEST + path, accept=HAL)
        base_url = sandbox.base_url
    assert reply.headers["content-type"] == HAL
    served = json.loads(reply.body)
    assert shape(served) == shape(was)
    assert _links(served, base_url) == _links(was, "https://api.kvk.nl")


def _links(value: Any, base_url: str) -> list[str]:
    """Every link after scheme and host, in order."""
    return [text.removeprefix(base_url) for text in _texts(value) if text.startswith(base_url)]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


@recorded
@pytest.mark.parametrize(
    ("sample", "path"),
    [
        ("minvws-basisprofiel-90006623", "/v1/basisprofielen/90006623?geoData=true"),
        ("minvws-vestigingsprofiel-990064773193", "/v1/vestigingsprofielen/990064773193?geoData=true"),
        ("anonymised-kvkconnect-vestigingen", "/v1/basisprofielen/90003942/vestigingen"),
    ],
)
async def test_no_field_of_a_recording_is_missing_or_of_another_kind(sample: str, path: str) -> None:
    was = fields_of(json.loads((SAMPLES / f"{sample}.json").read_text()))
    async with InProcessSandbox(kvk=FEW | {"release": "2026-02"}) as sandbox:
        served = fields_of(await body_of(sandbox, TEST + path))
    letter = {entry for entry in was if entry[0].endswith(".huisletter")}  # not of that house
    assert was - served <= letter
    assert {name for name, _ in served - was} <= {".vestigingen[].kvkNummer"}


@recorded
async def test_no_header_is_sent_that_was_not_recorded_with_its_status() -> None:
    recordings = json.loads((SAMPLES / "_of-response-headers.json").read_text()).values()
    paths = {
        200: "/v1/basisprofielen/69599084",
        400: "/v1/vestigingsprofielen/12",
        404: "/v1/basisprofielen/12345678",
    }
    async with InProcessSandbox(kvk=FEW | {"leaks_key": True}) as sandbox:
        for status, path in paths.items():
            known = {
                name.lower()
                for entry in recordings
                if entry["status"] == status
                for headers in entry["response_headers_per_recording"]
                for name in headers
            }
            reply = await get(sandbox.base_url, TEST + path)
            assert reply.status == status
            assert set(reply.headers) - HEADERS_OF_ANY_SERVER <= known
            unsent = HEADERS_OF_ANY_SERVER | {"keep-alive"}  # the connection is closed by the client
            assert {name for name in known if not name.startswith("_")} - unsent <= set(reply.headers)


# --- link shapes ---


@pytest.mark.parametrize(
    ("knobs", "accept", "of_profile", "of_search"),
    [
        ({"release": "2026-08"}, "application/json", "_links", "links"),
        ({"release": "2026-08"}, HAL, "_links", "_links"),
        ({"release": "2026-02"}, HAL, "links", "_links"),
        ({"release": "2025-12"}, HAL, "links", "links"),
        ({"links": "accept"}, HAL, "_links", "_links"),
        ({"links": "accept"}, "application/json", "links", "links"),
        ({"links": "arrays"}, HAL, "links", "links"),
        ({"links": "objects"}, "application/json", "_links", "_links"),
    ],
)
async def test_links_take_the_shape_of_release_and_accept_at_every_level(
    knobs: dict[str, Any], accept: str, of_profile: str, of_search: str
) -> None:
    async with InProcessSandbox(kvk=FEW | knobs) as sandbox:
        profile = await body_of(sandbox, f"{TEST}/v1/basisprofielen/69599084", accept=accept)
        search = await body_of(sandbox, zoeken(TEST, kvkNummer="69599084"), accept=accept)
    for level in (profile, profile["_embedded"]["eigenaar"], profile["_embedded"]["hoofdvestiging"]):
        assert {name for name in level if name.endswith("links")} == {of_profile}
    for level in (search, *search["resultaten"]):
        assert {name for name in level if name.endswith("links")} == {of_search}
    assert isinstance(profile[of_profile], list if of_profile == "links" else dict)


async def test_links_stay_on_the_base_that_was_called(kvk: Sandbox) -> None:
    for base in (API, TEST):
        reply = await get(kvk.base_url, f"{base}/v1/basisprofielen/99000011")
        links = [text for text in _texts(json.loads(reply.body)) if text.startswith("http")]
        assert links
        assert all(link.startswith(f"{kvk.base_url}{base}/v1/") for link in links)


async def test_every_link_leads_to_an_answer(kvk: Sandbox) -> None:
    start = await get(kvk.base_url, zoeken(API, naam="voorbeeld", resultatenPerPagina=100))
    links = {text for text in _texts(json.loads(start.body)) if text.startswith("http")}
    for link in list(links):
        reply = await get(kvk.base_url, link.removeprefix(kvk.base_url))
        if "/v1/" in link:
            links |= {text for text in _texts(json.loads(reply.body)) if text.startswith("http")}
    profiles = sorted(link.removeprefix(kvk.base_url) for link in links if "/v1/" in link)
    assert len(profiles) > 40
    assert {(await get(kvk.base_url, path)).status for path in profiles} == {200}


async def test_nothing_is_ever_null_but_the_ids_of_a_po_box(kvk: Sandbox) -> None:
    for number in (
        *kvk.world.kvk.registers["test"].numbers(100),
        *kvk.world.kvk.registers["api"].numbers(30),
    ):
        base = TEST if kvk.world.kvk.registers["test"].company(number) else API
        reply = await get(kvk.base_url, f"{base}/v1/basisprofielen/{number}?geoData=true")
        if reply.status == 200:
            empty = {name for name, kind in fields_of(json.loads(reply.body)) if kind == "NoneType"}
            assert all(".geoData." in name for name in empty)


# --- cases ---


async def test_a_sole_trader_has_no_rsin_anywhere(kvk: Sandbox) -> None:
    assert "rsin" not in json.dumps(await profile(kvk, "69599084"))
    assert "statutaireNaam" not in await profile(kvk, "69599084")


async def test_a_company_with_branches_lists_them_and_each_has_a_profile(kvk: Sandbox) -> None:
    listed = await profile(kvk, "68750110", "/vestigingen")
    assert (listed["totaalAantalVestigingen"], listed["aantalCommercieleVestigingen"]) == (2, 2)
    assert [entry["indHoofdvestiging"] for entry in listed["vestigingen"]] == ["Ja", "Nee"]
    for entry in listed["vestigingen"]:
        branch = await body_of(kvk, f"{TEST}/v1/vestigingsprofielen/{entry['vestigingsnummer']}")
        assert (branch["kvkNummer"], branch["rsin"]) == ("68750110", "857587973")


async def test_68750110_is_another_company_in_production(kvk: Sandbox) -> None:
    names = [(await profile(kvk, "68750110", base=base))["naam"] for base in (API, TEST)]
    assert len(set(names)) == 2


async def test_a_legal_person_without_branch_has_its_address_with_the_owner(kvk: Sandbox) -> None:
    whole = await profile(kvk, "90000749")
    assert set(whole["_embedded"]) == {"eigenaar"}
    assert whole["_embedded"]["eigenaar"]["adressen"][0]["plaats"] == "Dordrecht"
    assert "vestigingen" not in whole["_links"]
    assert "adressen" not in (await profile(kvk, "68750110"))["_embedded"]["eigenaar"]
    for part in ("/hoofdvestiging", "/vestigingen"):
        assert code_of(await get(kvk.base_url, f"{TEST}/v1/basisprofielen/90000749{part}")) == "IPD0005"


async def test_a_shielded_address_shows_its_town_and_no_more(kvk: Sandbox) -> None:
    address = (await profile(kvk, "90001354"))["_embedded"]["hoofdvestiging"]["adressen"][0]
    assert address["indAfgeschermd"] == "Ja"
    assert not {"straatnaam", "huisnummer", "postcode", "volledigAdres"} & set(address)
    listed = (await profile(kvk, "90001354", "/vestigingen"))["vestigingen"][0]
    assert listed["indAdresAfgeschermd"] == "Ja"
    assert "volledigAdres" not in listed


async def test_an_address_abroad_has_parts_of_its_own(kvk: Sandbox) -> None:
    address = (await profile(kvk, "99000020"))["_embedded"]["hoofdvestiging"]["adressen"][0]
    assert address["straatHuisnummer"] == "Example Road 7"
    assert address["land"] == "Verenigd Koninkrijk"
    assert not {"straatnaam", "postcode", "plaats"} & set(address)


async def test_a_po_box_has_a_street_and_no_place_on_the_map(kvk: Sandbox) -> None:
    whole = await body_of(kvk, f"{TEST}/v1/basisprofielen/99000029?geoData=true")
    address = whole["_embedded"]["hoofdvestiging"]["adressen"][0]
    assert (address["straatnaam"], address["postbusnummer"]) == ("Postbus", 100)
    assert address["geoData"]["addresseerbaarObjectId"] is None
    assert (address["geoData"]["gpsLatitude"], address["geoData"]["rijksdriehoekX"]) == (0.0, 0.0)


async def test_coordinates_come_only_when_they_are_asked_for(kvk: Sandbox) -> None:
    plain = json.dumps(await profile(kvk, "69599084"))
    capital = await body_of(kvk, f"{TEST}/v1/basisprofielen/69599084?geoData=True")
    assert "geoData" not in plain
    assert capital["_embedded"]["hoofdvestiging"]["adressen"][0]["geoData"]["gpsLatitude"] > 50


async def test_dates_have_zeros_for_what_is_unknown(kvk: Sandbox) -> None:
    assert (await profile(kvk, "99000011"))["materieleRegistratie"] == {"datumAanvang": "20190200"}
    other = await body_of(kvk, f"{TEST}/v1/vestigingsprofielen/990900000022")
    assert other["materieleRegistratie"] == {"datumAanvang": "20200000"}
    foreign = (await profile(kvk, "99000020"))["_embedded"]["hoofdvestiging"]
    assert foreign["materieleRegistratie"] == {"datumAanvang": "00000000"}


async def test_a_company_that_never_told_lacks_activities_and_workers(kvk: Sandbox) -> None:
    text = json.dumps(await profile(kvk, "99000045")) + json.dumps(
        await profile(kvk, "99000045", "/hoofdvestiging")
    )
    assert "sbiActiviteiten" not in text
    assert "WerkzamePersonen" not in text


async def test_the_non_mailing_mark_travels_with_company_and_branch(kvk: Sandbox) -> None:
    assert (await profile(kvk, "69599084"))["indNonMailing"] == "Ja"
    assert (await body_of(kvk, f"{TEST}/v1/vestigingsprofielen/000038509504"))["indNonMailing"] == "Ja"
    assert (await profile(kvk, "68750110"))["indNonMailing"] == "Nee"


async def test_a_thousand_branches_come_in_one_body(kvk: Sandbox) -> None:
    listed = await profile(kvk, "90006577", "/vestigingen")
    numbers = {entry["vestigingsnummer"] for entry in listed["vestigingen"]}
    assert listed["totaalAantalVestigingen"] == len(numbers) == MANY_BRANCHES == 1000


async def test_one_address_has_other_runs_of_spaces_in_another_product(kvk: Sandbox) -> None:
    first = (await profile(kvk, "69599084"))["_embedded"]["hoofdvestiging"]["adressen"][0]["volledigAdres"]
    second = (await body_of(kvk, f"{TEST}/v1/vestigingsprofielen/000038509504"))["adressen"][0][
        "volledigAdres"
    ]
    assert first != second
    assert first.split() == second.split()


async def test_naming_knows_branches_that_do_no_trade(kvk: Sandbox) -> None:
    naming = await body_of(kvk, f"{TEST}/v1/naamgevingen/kvknummer/99000038")
    assert (naming["ookGenoemd"], naming["startdatum"]) == ("De Proeftuin", "20110500")
    shop, garden = naming["vestigingen"]
    assert "handelsnamen" in shop
    assert (garden["naam"], garden["ookGenoemd"]) == ("Proeftuin Noord", "Noordtuin")
    assert "handelsnamen" not in garden


async def test_a_number_may_begin_with_zeros(kvk: Sandbox) -> None:
    assert (await profile(kvk, "00990012"))["kvkNummer"] == "00990012"
    assert (await get(kvk.base_url, f"{TEST}/v1/basisprofielen/990012")).status == 400


# --- seeded companies ---


async def test_the_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    bodies = []
    for seed in (1, 1, 2):
        same = FEW | {"public_url": "http://127.0.0.1:1"}
        async with InProcessSandbox(seed=seed, kvk=same) as sandbox:
            paths = [f"{API}/v1/basisprofielen/{98000000 + place}" for place in range(10)]
            bodies.append([(await get(sandbox.base_url, path)).body for path in paths])
    assert bodies[0] == bodies[1] != bodies[2]


async def test_numbers_beyond_the_population_are_unknown_until_it_grows() -> None:
    async with InProcessSandbox(kvk={"companies": 10, "crowd_companies": 2}) as sandbox:
        path = f"{API}/v1/basisprofielen/98000400"
        assert (await get(sandbox.base_url, path)).status == 404
        grown = sandbox.world.settings
        sandbox.world.apply(settings_from({"kvk": {"companies": 100_000, "inactive_share": 0.0}}, grown))
        assert (await get(sandbox.base_url, path)).status == 200
        assert (await get(sandbox.base_url, f"{API}/v1/basisprofielen/98099999")).status == 200
