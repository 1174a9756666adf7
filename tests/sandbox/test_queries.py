"""The query operations of both families on the wire (NBB reference, sections 1, 5 and 6), and their agreement with the zips."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from filingd.sandbox.faults import rules_from
from filingd.sandbox.routes import KINDS_IN_PATH
from support.raw_http import Reply, ask
from support.sandbox import KEYS, InProcessSandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from filingd.sandbox.generator import Filing
    from filingd.sandbox.improvements import Improvement
    from filingd.sandbox.server import Sandbox

QUERY, IMPROVED = KEYS["authentic-query"][0], KEYS["improved"][0]
ROWS = "application/json"
ACCEPT = {"json": "application/x.jsonxbrl", "xbrl": "application/x.xbrl", "pdf": "application/pdf"}
ZIPPED = ("jsonxbrl", "xbrl", "pdf")
THURSDAY = dt.date(2026, 11, 19)
UNTIL = dt.date(2026, 11, 20)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with InProcessSandbox(scale=0.05, pdf_only_share=0.1, corrected_share=0.1, correction_share=0.1,
                                foreign_currency_share=0.02, document_scale=0.02) as running:  # fmt: skip
        yield running


async def get(sandbox: Sandbox, path: str, accept: str = ROWS, key: str = QUERY, **more: Any) -> Reply:
    return await ask(sandbox.base_url, path, accept=accept, key=key, **more)


async def rows(sandbox: Sandbox, path: str, key: str = QUERY) -> list[dict[str, Any]]:
    reply = await get(sandbox, path, key=key)
    assert reply.status == 200, reply.body
    return list(json.loads(reply.body))


def filings(sandbox: Sandbox, day: dt.date = THURSDAY) -> list[Filing]:
    return list(sandbox.world.days.generator.filings(day))


def on_time(sandbox: Sandbox) -> list[Filing]:
    return [filing for filing in filings(sandbox) if not filing.late]


def improved(sandbox: Sandbox, count: int = 25) -> list[Improvement]:
    back = [THURSDAY - dt.timedelta(days=n) for n in range(count)]
    return [entry for day in back for entry in sandbox.world.days.improver.on_day(day)]


def reference(sandbox: Sandbox, entry: Improvement) -> str:
    return sandbox.world.days.generator.filing(*entry.slot).reference_number


def members(reply: Reply) -> dict[str, bytes]:
    assert reply.status == 200, reply.body
    archive = zipfile.ZipFile(io.BytesIO(reply.body))
    return {name: archive.read(name) for name in archive.namelist()}


def violation(reply: Reply) -> dict[str, str]:
    assert reply.headers["content-type"].startswith("application/problem+json")
    problem = json.loads(reply.body)
    assert problem["status"] == reply.status
    return dict(problem["violations"][0])


def of_company(filing: Filing) -> str:
    return f"/authentic/legalEntity/{filing.company.number}/references"


def document(name: str) -> str:
    return f"/authentic/deposit/{name}/accountingData"


# --- authentic: by enterprise number ---


async def test_a_companys_references_are_a_bare_array_in_pascal_case_and_in_no_order(
    sandbox: Sandbox,
) -> None:
    ordered = 0
    for filing in on_time(sandbox)[:12]:
        found = await rows(sandbox, of_company(filing))
        assert {row["EnterpriseNumber"] for row in found} == {filing.company.number}
        assert all(len(row) == 19 for row in found)
        assert filing.reference_number in {row["ReferenceNumber"] for row in found}
        ends = [row["ExerciseDates"]["endDate"] for row in found]
        ordered += ends == sorted(ends) or ends == sorted(ends, reverse=True)
        assert len({(row["LegalForm"], json.dumps(row["Address"])) for row in found}) == 1
    assert ordered < 6


async def test_a_company_without_its_number_in_the_days_zip_has_it_in_a_query() -> None:
    async with InProcessSandbox(missing_enterprise_share=1.0) as running:
        filing = filings(running)[0]
        zipped = members(await ask(running.base_url, "/extracts/batch/2026-11-19/references"))
        row = json.loads((await get(running, f"/authentic/deposit/{filing.reference_number}/reference")).body)
    assert all("enterpriseNumber" not in json.loads(text) for text in zipped.values())
    assert row["EnterpriseNumber"] == filing.company.number


async def test_the_year_is_that_of_the_end_of_the_exercise_and_other_parameters_are_ignored(
    sandbox: Sandbox,
) -> None:
    path = of_company(on_time(sandbox)[0])
    everything = await rows(sandbox, path)
    ends = sorted({row["ExerciseDates"]["endDate"][:4] for row in everything})
    one = await rows(sandbox, f"{path}?year={ends[-1]}")
    assert one
    assert {row["ExerciseDates"]["endDate"][:4] for row in one} == {ends[-1]}
    assert len(one) < len(everything)
    assert await rows(sandbox, f"{path}?fiscalYear={ends[-1]}&page=2") == everything
    assert (await get(sandbox, f"{path}?year=1950")).status == 404


async def test_the_list_reaches_back_further_than_three_years(sandbox: Sandbox) -> None:
    years = {
        row["DepositDate"][:4]
        for filing in on_time(sandbox)[:15]
        for row in await rows(sandbox, of_company(filing))
    }
    assert min(years) < "2005"


async def test_a_number_nobody_has_is_not_found_or_an_empty_array() -> None:
    cases: list[tuple[dict[str, Any], int, bytes | None]] = [
        ({}, 404, None),
        ({"no_references": "empty-array"}, 200, b"[]"),
    ]
    for fields, status, body in cases:
        async with InProcessSandbox(**fields) as running:
            for path, key in (
                ("/authentic/legalEntity/0403101811/references", QUERY),
                ("/improved/legalEntity/0403101811/references/improved", IMPROVED),
            ):
                reply = await get(running, path, key=key)
                assert reply.status == status
                assert body is None or reply.body == body
                assert body is not None or violation(reply)["defaultMessage"] == "No deposit found"


@pytest.mark.parametrize(
    "number", ["BE0403101811", "0403.101.811", "403101811", "04031018111", "2403101811", "040310181x"]
)
@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/authentic/legalEntity/{}/references", QUERY),
        ("/improved/legalEntity/{}/references/improved", IMPROVED),
    ],
)
async def test_a_malformed_enterprise_number_is_400(
    sandbox: Sandbox, path: str, key: str, number: str
) -> None:
    reply = await get(sandbox, path.format(number), key=key)
    assert reply.status == 400
    assert violation(reply)["field"] == "enterprise"


async def test_a_malformed_year_or_reference_or_kind_is_400(sandbox: Sandbox) -> None:
    assert (await get(sandbox, "/authentic/legalEntity/0403101811/references?year=26")).status == 400
    assert (await get(sandbox, "/authentic/deposit/2026/reference")).status == 400
    assert (await get(sandbox, document("BE-00000001"), ACCEPT["json"])).status == 400
    path = "/improved/deposit/2026-00000001/accountingData/improved/ocr"
    assert (await get(sandbox, path, ACCEPT["json"], IMPROVED)).status == 400


async def test_a_filing_is_listed_from_the_hour_its_day_opens_and_a_late_one_later() -> None:
    async with InProcessSandbox(
        clock="2026-11-20T04:59", late_share=0.5, late_after_s=3600.0, correction_share=0.0
    ) as running:
        early = next(filing for filing in filings(running) if not filing.late)
        late = next(filing for filing in filings(running) if filing.late)
        seen = []
        for minutes in (0, 1, 60):
            running.world.clock.advance(60 * minutes)
            listed = [
                await get(running, f"/authentic/deposit/{filing.reference_number}/reference")
                for filing in (early, late)
            ]
            seen.append([reply.status for reply in listed])
    assert seen == [[404, 404], [200, 404], [200, 200]]


# --- authentic: by reference number ---


async def test_a_reference_is_one_object_and_the_one_of_the_list(sandbox: Sandbox) -> None:
    filing = on_time(sandbox)[0]
    one = json.loads((await get(sandbox, f"/authentic/deposit/{filing.reference_number}/reference")).body)
    assert one in await rows(sandbox, of_company(filing))


@pytest.mark.parametrize("kind", ["json", "xbrl", "pdf"])
async def test_a_single_document_has_the_bytes_of_the_days_zip(sandbox: Sandbox, kind: str) -> None:
    zipped = members(
        await ask(
            sandbox.base_url,
            "/extracts/batch/2026-11-19/accountingData",
            accept=f"application/x.zip+{kind.replace('json', 'jsonxbrl')}",
        )
    )
    for filing in on_time(sandbox)[:8]:
        reply = await get(sandbox, document(filing.reference_number), ACCEPT[kind])
        name = f"{filing.reference_number}.{kind}"
        assert (reply.status == 200) == (name in zipped)
        assert reply.status != 200 or reply.body == zipped[name]
        assert reply.status != 200 or reply.headers["content-type"] == ACCEPT[kind]


async def test_a_pdf_filing_has_no_json_in_the_words_of_the_backend_and_its_pdf_is_there(
    sandbox: Sandbox,
) -> None:
    filing = next(filing for filing in on_time(sandbox) if filing.pdf_only)
    reply = await get(sandbox, document(filing.reference_number), ACCEPT["json"])
    assert reply.status == 404
    assert violation(reply) == {
        "field": "Reference Number not found",
        "messageKey": "reference.number.not.found.json",
        "defaultMessage": "pdf model has no published json xbrl",
    }
    assert json.loads(reply.body)["path"] == f"/deposit/{filing.reference_number}/accountingData"
    assert (await get(sandbox, document(filing.reference_number), ACCEPT["xbrl"])).status == 404
    assert (await get(sandbox, document(filing.reference_number), ACCEPT["pdf"])).body.startswith(b"%PDF-")


async def test_old_filings_have_the_formats_of_their_time(sandbox: Sandbox) -> None:
    generator = sandbox.world.days.generator
    known = [filing for number in generator.numbers(300) for filing in generator.filings_of(number, UNTIL)]
    for year, expected in (
        (1990, []),
        (2003, ["pdf"]),
        (2012, ["xbrl", "pdf"]),
        (2023, ["json", "xbrl", "pdf"]),
    ):
        filing = next(
            filing
            for filing in known
            if filing.deposited_on.year == year and filing.structured is (year != 1990)
        )
        served = [
            kind
            for kind, accept in ACCEPT.items()
            if (await get(sandbox, document(filing.reference_number), accept)).status == 200
        ]
        assert served == expected, year


async def test_an_unknown_reference_has_no_deposit(sandbox: Sandbox) -> None:
    for path, accept in (
        ("/authentic/deposit/2026-99999999/reference", ROWS),
        (document("2026-99999999"), ACCEPT["json"]),
    ):
        reply = await get(sandbox, path, accept)
        assert reply.status == 404
        assert violation(reply)["messageKey"].startswith("reference.number.not.found")
        assert violation(reply)["defaultMessage"] == "No deposit found"


async def test_a_gap_without_a_reason_is_a_404_under_a_url_or_without_one() -> None:
    async with InProcessSandbox(unexplained_gap_share=1.0, pdf_only_share=0.0) as running:
        urls = set()
        for filing in on_time(running)[:12]:
            row = json.loads(
                (await get(running, f"/authentic/deposit/{filing.reference_number}/reference")).body
            )
            urls.add(row["AccountingDataURL"] is None)
            assert (await get(running, document(filing.reference_number), ACCEPT["json"])).status == 404
    assert urls == {True, False}


async def test_the_same_seed_gives_the_same_answers_in_two_sandboxes_and_another_seed_others() -> None:
    answers = []
    for seed in (1, 1, 2):
        async with InProcessSandbox(
            seed=seed, public_url="http://127.0.0.1:8480", scale=0.05, pdf_only_share=0.0
        ) as running:
            number = running.world.days.generator.numbers(3)[2]
            listed = await get(running, f"/authentic/legalEntity/{number}/references")
            name = on_time(running)[0].reference_number
            kinds = [await get(running, document(name), accept) for accept in ACCEPT.values()]
            assert {reply.status for reply in (listed, *kinds)} == {200}
            answers.append([listed.body, *(reply.body for reply in kinds)])
    assert answers[0] == answers[1]
    assert all(first != second for first, second in zip(answers[0], answers[2], strict=True))


# --- improved ---


async def test_the_improvements_of_a_filing_and_of_its_company_are_arrays_of_lines(sandbox: Sandbox) -> None:
    twice = next(entry for entry in improved(sandbox) if entry.nth == 1)
    name = reference(sandbox, twice)
    of_filing = await rows(sandbox, f"/improved/deposit/{name}/references/improved", IMPROVED)
    assert len(of_filing) == 2
    assert {row["ReferenceNumber"] for row in of_filing} == {name}
    number = of_filing[0]["EnterpriseNumber"]
    of_enterprise = await rows(sandbox, f"/improved/legalEntity/{number}/references/improved", IMPROVED)
    assert [row for row in of_enterprise if row["ReferenceNumber"] == name] == of_filing
    assert {row["DataVersion"] for row in of_enterprise} <= set(KINDS_IN_PATH.values())
    year = of_filing[0]["ExerciseDates"]["endDate"][:4]
    assert of_filing[0] in await rows(
        sandbox, f"/improved/legalEntity/{number}/references/improved?year={year}", IMPROVED
    )
    assert (
        await get(sandbox, f"/improved/legalEntity/{number}/references/improved?year=1970", key=IMPROVED)
    ).status == 404


async def test_the_latest_document_of_a_kind_has_the_bytes_of_its_days_zip(sandbox: Sandbox) -> None:
    paths = {kind: path for path, kind in KINDS_IN_PATH.items()}
    seen = set()
    for entry in improved(sandbox):
        later = [
            other
            for other in sandbox.world.days.improver.of_filing(
                sandbox.world.days.generator.filing(*entry.slot)
            )
            if other.nth > entry.nth
        ]
        if entry.kind in seen or any(other.kind == entry.kind for other in later):
            continue
        seen.add(entry.kind)
        name = reference(sandbox, entry)
        single = await get(
            sandbox,
            f"/improved/deposit/{name}/accountingData/improved/{paths[entry.kind]}",
            ACCEPT["json"],
            IMPROVED,
        )
        zipped = members(
            await get(
                sandbox,
                f"/improved/batch/{entry.finalised_on}/accountingData/improved",
                "application/x.zip+jsonxbrl",
                IMPROVED,
            )
        )
        assert single.body in [body for member, body in zipped.items() if member.startswith(name)]
    assert seen == set(KINDS_IN_PATH.values())


async def test_a_kind_that_was_not_made_of_a_filing_is_not_found(sandbox: Sandbox) -> None:
    entry = next(entry for entry in improved(sandbox) if entry.kind == "Corrected" and entry.nth == 0)
    path = f"/improved/deposit/{reference(sandbox, entry)}/accountingData/improved/euro_converted"
    assert (await get(sandbox, path, ACCEPT["json"], IMPROVED)).status == 404


async def test_an_extraction_without_a_line_has_a_document_all_the_same() -> None:
    async with InProcessSandbox(pdf_only_share=0.5, unlisted_extraction_share=1.0, scale=0.05) as running:
        name = reference(running, next(entry for entry in improved(running) if entry.kind == "Pdf_extracted"))
        path = f"/improved/deposit/{name}"
        assert (await get(running, f"{path}/references/improved", key=IMPROVED)).status == 404
        assert (
            await get(running, f"{path}/accountingData/improved/pdf_extracted", ACCEPT["json"], IMPROVED)
        ).status == 200


async def test_an_improvement_is_there_from_five_on_the_day_after_it_was_finalised() -> None:
    async with InProcessSandbox(corrected_share=0.3, scale=0.05) as running:
        entry = next(entry for entry in improved(running, 1) if entry.kind == "Corrected" and entry.nth == 0)
        path = f"/improved/deposit/{reference(running, entry)}/accountingData/improved/corrected"
        running.world.clock.set(running.world.days.opens_at(THURSDAY) - 1)
        assert (await get(running, path, ACCEPT["json"], IMPROVED)).status == 404
        running.world.clock.advance(1)
        assert (await get(running, path, ACCEPT["json"], IMPROVED)).status == 200


@pytest.mark.parametrize("dataset", ["references", "accountingData"])
async def test_improved_zips_follow_the_windows_of_the_authentic_ones(dataset: str) -> None:
    accept = "application/x.zip+json" if dataset == "references" else "application/x.zip+jsonxbrl"
    archive_key = KEYS["improved-archive"][0]
    expected = {
        "2026-11-19": (200, 404),
        "2026-10-21": (200, 200),
        "2026-10-20": (404, 200),
        "2023-11-20": (404, 200),
        "2023-11-17": (404, 404),
    }
    async with InProcessSandbox(corrected_share=0.3, scale=0.05) as running:
        for date, statuses in expected.items():
            recent = await get(running, f"/improved/batch/{date}/{dataset}/improved", accept, IMPROVED)
            old = await get(running, f"/improved-archive/{date}/{dataset}", accept, archive_key)
            assert (recent.status, old.status) == statuses, date
        both = "2026-10-22"  # inside both windows
        recent = await get(running, f"/improved/batch/{both}/{dataset}/improved", accept, IMPROVED)
        assert (
            recent.body
            == (await get(running, f"/improved-archive/{both}/{dataset}", accept, archive_key)).body
        )
        running.world.clock.set(running.world.days.opens_at(THURSDAY) - 1)
        assert (
            await get(running, f"/improved/batch/2026-11-19/{dataset}/improved", accept, IMPROVED)
        ).status == 404
        assert (
            await get(running, f"/improved/batch/2026-11-20/{dataset}/improved", accept, IMPROVED)
        ).status == 400


# --- the chain of checks, for every operation ---

OPERATIONS = [
    ("authentic-query", "/authentic/legalEntity/0999000129/references", ROWS),
    ("authentic-query", "/authentic/deposit/2026-00000001/reference", ROWS),
    ("authentic-query", "/authentic/deposit/2026-00000001/accountingData", ACCEPT["pdf"]),
    ("extract", "/extracts/batch/2026-11-19/references", "application/x.zip+json"),
    ("extract", "/extracts/batch/2026-11-19/accountingData", "application/x.zip+pdf"),
    ("authentic-archive", "/authentic-archive/2026-10-01/references", "application/x.zip+json"),
    ("authentic-archive", "/authentic-archive/2026-10-01/accountingData", "application/x.zip+xbrl"),
    ("improved", "/improved/legalEntity/0999000129/references/improved", ROWS),
    ("improved", "/improved/deposit/2026-00000001/references/improved", ROWS),
    ("improved", "/improved/deposit/2026-00000001/accountingData/improved/corrected", ACCEPT["json"]),
    ("improved", "/improved/batch/2026-11-19/references/improved", "application/x.zip+json"),
    ("improved", "/improved/batch/2026-11-19/accountingData/improved", "application/x.zip+jsonxbrl"),
    ("improved-archive", "/improved-archive/2026-10-01/references", "application/x.zip+json"),
    ("improved-archive", "/improved-archive/2026-10-01/accountingData", "application/x.zip+jsonxbrl"),
]


@pytest.mark.parametrize(("product", "path", "accept"), OPERATIONS)
async def test_every_operation_has_the_three_families_of_errors_in_the_order_of_the_chain(
    sandbox: Sandbox, product: str, path: str, accept: str
) -> None:
    first, second = KEYS[product]
    stranger = next(keys[0] for name, keys in KEYS.items() if name != product)
    gateway = await get(sandbox, path, "text/html", "f" * 32, headers={"User-Agent": "python-requests/2"})
    assert (gateway.status, gateway.headers["server"]) == (403, "Microsoft-Azure-Application-Gateway/v2")
    for wrong in (None, "f" * 32, stranger):
        refused = await get(sandbox, path, "text/html", wrong)  # type: ignore[arg-type]
        assert refused.status == json.loads(refused.body)["statusCode"] == 401
    for key in (first, second):
        assert (await get(sandbox, path, accept, key)).status in (200, 404)
        unsupported = await get(sandbox, path, "text/html", key)
        assert unsupported.status == 415
        assert violation(unsupported)["field"] == "Accept"
    rest = (
        path.replace("0999000129", "0.9")
        .replace("2026-00000001", "x")
        .replace("2026-11-19", "x")
        .replace("2026-10-01", "x")
    )
    assert (await get(sandbox, rest, "text/html", first)).status == 400  # parameters before Accept
    assert (await get(sandbox, path + "/more", accept, None)).status == 404  # type: ignore[arg-type]


@pytest.mark.parametrize(("product", "path", "accept"), OPERATIONS)
async def test_every_operation_offers_its_own_media_types_alone(
    sandbox: Sandbox, product: str, path: str, accept: str
) -> None:
    known = {
        *ACCEPT.values(),
        ROWS,
        "application/x.zip+json",
        *(f"application/x.zip+{kind}" for kind in ZIPPED),
    }
    served = {other for other in known if (await get(sandbox, path, other, KEYS[product][0])).status != 415}
    if not path.endswith("accountingData") or product.startswith("improved"):
        assert served == {accept}
    else:
        assert served == (
            set(ACCEPT.values()) if "deposit" in path else {f"application/x.zip+{kind}" for kind in ZIPPED}
        )
    wrong = "application/x.zip+json" if "deposit" in path or "legalEntity" in path else ROWS
    assert (await get(sandbox, path, wrong, KEYS[product][0])).status == 415


async def test_a_revoked_key_closes_its_product_and_its_sibling_still_opens_it(sandbox: Sandbox) -> None:
    for product, path, accept in OPERATIONS:
        sandbox.world.keys.add(product, KEYS[product][0], "primary")
        assert sandbox.world.keys.revoke(product, "primary") == 1
        assert (await get(sandbox, path, accept, KEYS[product][0])).status == 401
        assert (await get(sandbox, path, accept, KEYS[product][1])).status in (200, 404)


# --- removal and mutation ---


async def test_a_removed_filing_is_gone_from_answers_lists_and_zips_from_its_instant_on(
    sandbox: Sandbox,
) -> None:
    entry = next(
        entry
        for entry in improved(sandbox)
        if entry.nth == 0 and entry.listed and entry.finalised_on >= dt.date(2026, 10, 26)
    )
    filing = sandbox.world.days.generator.filing(*entry.slot)
    kind = next(path for path, name in KINDS_IN_PATH.items() if name == entry.kind)
    name = filing.reference_number
    archived = (dt.date(2026, 11, 20) - filing.published_on).days >= 28
    batch = (
        f"/authentic-archive/{filing.published_on}/references"
        if archived
        else f"/extracts/batch/{filing.published_on}/references"
    )
    batch_key = KEYS["authentic-archive" if archived else "extract"][0]

    async def presence() -> list[bool]:
        company = await get(sandbox, of_company(filing))
        zips = [
            await get(sandbox, batch, "application/x.zip+json", batch_key),
            await get(
                sandbox,
                f"/improved/batch/{entry.finalised_on}/references/improved",
                "application/x.zip+json",
                IMPROVED,
            ),
            await get(
                sandbox,
                f"/improved/batch/{entry.finalised_on}/accountingData/improved",
                "application/x.zip+jsonxbrl",
                IMPROVED,
            ),
        ]
        singles = [
            await get(sandbox, f"/authentic/deposit/{name}/reference"),
            await get(sandbox, document(name), ACCEPT["pdf"]),
            await get(sandbox, f"/improved/deposit/{name}/references/improved", key=IMPROVED),
            await get(
                sandbox, f"/improved/deposit/{name}/accountingData/improved/{kind}", ACCEPT["json"], IMPROVED
            ),
        ]
        listed = company.status == 200 and name.encode() in company.body
        zipped = [reply.status == 200 and any(name in member for member in members(reply)) for reply in zips]
        return [listed, *zipped, *(reply.status == 200 for reply in singles)]

    sandbox.world.removals.add(name, sandbox.world.clock.now() + 60)
    assert await presence() == [True] * 8
    sandbox.world.clock.advance(60)
    assert await presence() == [False] * 8
    sandbox.world.removals.undo(name)
    assert await presence() == [True] * 8


@pytest.mark.parametrize("change", ["figures", "removed", "added"])
async def test_a_changed_day_looks_the_same_in_its_zip_and_in_queries(sandbox: Sandbox, change: str) -> None:
    path = "/extracts/batch/2026-11-19/accountingData"
    before = members(await ask(sandbox.base_url, path, accept="application/x.zip+jsonxbrl"))
    rule = {"effect": {"kind": "mutate", "change": change, "member": 2}, "match": {"date": "2026-11-1[9]"}}
    sandbox.world.faults.add(rules_from(rule))
    after = members(await ask(sandbox.base_url, path, accept="application/x.zip+jsonxbrl"))
    assert before != after
    for name in before.keys() | after.keys():
        single = await get(sandbox, document(name.removesuffix(".json")), ACCEPT["json"])
        assert (single.body if single.status == 200 else None) == after.get(name)
    generator = sandbox.world.days.generator
    touched = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    for name in touched:
        slot = generator.locate(name.removesuffix(".json"))
        assert slot is not None
        reply = await get(sandbox, of_company(generator.filing(*slot)))
        assert (name.removesuffix(".json").encode() in reply.body) == (name in after)


@pytest.mark.parametrize("member", [0, 1])
async def test_a_change_of_the_json_alone_always_meets_a_filing_that_has_json(member: int) -> None:
    path = "/extracts/batch/2026-11-18/accountingData"
    async with InProcessSandbox(scale=0.05, pdf_only_share=0.7) as running:
        before = members(await ask(running.base_url, path, accept="application/x.zip+jsonxbrl"))
        change = {"kind": "mutate", "change": "removed", "member": member}
        running.world.faults.add(rules_from({"effect": change, "match": {"dataset": "json"}}))
        after = members(await ask(running.base_url, path, accept="application/x.zip+jsonxbrl"))
        (gone,) = before.keys() - after.keys()
        assert (await get(running, document(gone.removesuffix(".json")), ACCEPT["json"])).body == before[gone]


@pytest.mark.parametrize("change", ["figures", "removed", "added"])
async def test_an_improved_day_changes_too_and_the_query_with_it(sandbox: Sandbox, change: str) -> None:
    day = next(entry.finalised_on for entry in improved(sandbox) if entry.listed and entry.nth == 0)
    path = f"/improved/batch/{day}/accountingData/improved"
    before = members(await get(sandbox, path, "application/x.zip+jsonxbrl", IMPROVED))
    rule = {
        "effect": {"kind": "mutate", "change": change},
        "match": {"date": str(day), "product": "improved*"},
    }
    sandbox.world.faults.add(rules_from(rule))
    reply = await get(sandbox, path, "application/x.zip+jsonxbrl", IMPROVED)
    after = {} if reply.status == 404 else members(reply)
    different = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert len(different) == 1
    assert (len(after) - len(before)) == {"figures": 0, "removed": -1, "added": 1}[change]
    if change == "added":
        name = different.pop()[:13]
        single = await get(
            sandbox, f"/improved/deposit/{name}/accountingData/improved/corrected", ACCEPT["json"], IMPROVED
        )
        assert single.body in after.values()


# --- faults and journal ---


@pytest.mark.parametrize(
    ("match", "felt"),
    [
        ({"reference": "2026-*"}, [False, True, True]),
        ({"enterprise": "0999*"}, [True, False, False]),
        ({"operation": "deposit*"}, [False, True, True]),
        ({"operation": "depositAccountingData", "dataset": "pdf"}, [False, False, True]),
        ({"product": "authentic-query"}, [True, True, True]),
        ({"product": "improved"}, [False, False, False]),
        ({"date": "2026-*"}, [False, False, False]),
        ({"reference": "2025-*"}, [False, False, False]),
    ],
)
async def test_rules_choose_queries_by_reference_and_enterprise_number_too(
    sandbox: Sandbox, match: dict[str, Any], felt: list[bool]
) -> None:
    filing = on_time(sandbox)[1]
    sandbox.world.faults.add(rules_from({"effect": {"kind": "status", "status": 503}, "match": match}))
    name = filing.reference_number
    asked = [
        (of_company(filing), ROWS),
        (f"/authentic/deposit/{name}/reference", ROWS),
        (document(name), ACCEPT["pdf"]),
    ]
    assert [(await get(sandbox, path, accept)).status == 503 for path, accept in asked] == felt


@pytest.mark.parametrize(
    ("effect", "seen"),
    [
        ({"kind": "cut", "how": "short"}, "cut"),
        ({"kind": "cut", "how": "reset"}, "reset"),
        ({"kind": "replace", "body": "html"}, "completed"),
        ({"kind": "empty", "variant": "204"}, "completed"),
        ({"kind": "drip", "bytes_per_s": 1e6}, "completed"),
        ({"kind": "head", "framing": "length"}, "completed"),
        ({"kind": "throttle"}, "completed"),
        ({"kind": "refuse"}, "refused"),
        ({"kind": "shape", "fields": "renamed"}, "completed"),
    ],
)
async def test_a_query_can_be_made_to_fail_as_a_zip_can(
    sandbox: Sandbox, effect: dict[str, Any], seen: str
) -> None:
    path = of_company(on_time(sandbox)[0])
    good = await get(sandbox, path)
    sandbox.world.faults.add(rules_from({"effect": effect}))
    bad = await get(sandbox, path)
    async with asyncio.timeout(5):
        while sandbox.journal.entries({})[-1].outcome == "open":
            await asyncio.sleep(0.005)
    assert sandbox.journal.entries({})[-1].outcome == seen
    assert bad.head != good.head or bad.body != good.body or effect["kind"] == "drip"


async def test_the_journal_tells_of_which_filing_or_company_a_query_was(sandbox: Sandbox) -> None:
    filing = on_time(sandbox)[0]
    await get(sandbox, of_company(filing) + "?year=2025")
    await get(sandbox, document(filing.reference_number), ACCEPT["xbrl"])
    first, second = sandbox.journal.entries({"product": "authentic-query"})
    assert (first.operation, first.enterprise, first.reference, first.query) == (
        "legalEntityReferences",
        filing.company.number,
        "",
        "year=2025",
    )
    assert (second.operation, second.reference, second.dataset) == (
        "depositAccountingData",
        filing.reference_number,
        "xbrl",
    )
    assert sandbox.journal.entries({"reference": filing.reference_number}) == [second]
