"""The order of checks, the bodies of refusals, and the windows (NBB reference, sections 5, 6 and 12.1)."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from support.raw_http import KEY, REFERENCES, Reply, ask, standard_headers
from support.sandbox import InProcessSandbox

if TYPE_CHECKING:
    from filingd.sandbox.server import Sandbox

DAY = "/extracts/batch/2026-11-19/references"
DOCUMENTS = "/extracts/batch/2026-11-19/accountingData"
ARCHIVE_DAY = "/authentic-archive/2026-10-01/references"


def names(reply: Reply) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(reply.body)).namelist()


async def get_sandbox_status(sandbox: Sandbox, path: str, **more: Any) -> int:
    return (await ask(sandbox.base_url, path, **more)).status


# --- what is served ---


async def test_the_four_datasets_of_a_day_hold_the_same_filings_but_for_pdf_only_ones() -> None:
    async with InProcessSandbox(pdf_only_share=0.3) as sandbox:
        asked = [(DAY, "json"), (DOCUMENTS, "jsonxbrl"), (DOCUMENTS, "xbrl"), (DOCUMENTS, "pdf")]
        replies = [
            await ask(sandbox.base_url, path, accept=f"application/x.zip+{kind}") for path, kind in asked
        ]
    stems = [{name.split(".")[0] for name in names(reply)} for reply in replies]
    references, as_json, as_xbrl, as_pdf = stems
    assert references == as_pdf
    assert as_json == as_xbrl < references
    listed = {
        name.split(".")[0]: json.loads(zipfile.ZipFile(io.BytesIO(replies[0].body)).read(name))
        for name in names(replies[0])
    }
    assert {ref for ref, row in listed.items() if row["modelType"].endswith("-p")} == references - as_json
    assert [name.rpartition(".")[2] for name in (names(reply)[0] for reply in replies)] == [
        "json", "json", "xbrl", "pdf",
    ]  # fmt: skip


async def test_both_keys_of_a_product_open_it(sandbox: Sandbox) -> None:
    assert await get_sandbox_status(sandbox, DAY, key="1" * 32) == 200
    assert await get_sandbox_status(sandbox, DAY, key="2" * 32) == 200
    assert await get_sandbox_status(sandbox, ARCHIVE_DAY, key="3" * 32) == 200
    assert await get_sandbox_status(sandbox, ARCHIVE_DAY, key="4" * 32) == 200


async def test_extract_and_archive_give_the_same_bytes_for_the_same_day(sandbox: Sandbox) -> None:
    first = await ask(sandbox.base_url, "/extracts/batch/2026-10-22/references")
    second = await ask(sandbox.base_url, "/authentic-archive/2026-10-22/references", key="3" * 32)
    assert first.status == second.status == 200
    assert first.body == second.body


async def test_the_same_seed_gives_the_same_bytes_in_two_sandboxes_and_another_seed_others() -> None:
    bodies = []
    for seed in (1, 1, 2):
        async with InProcessSandbox(seed=seed, public_url="http://127.0.0.1:8480") as sandbox:
            bodies.append((await ask(sandbox.base_url, DAY)).body)
    assert bodies[0] == bodies[1] != bodies[2]


# --- order of checks: each request fails at two neighbouring checks, and the earlier one answers ---

BAD_AGENT = {"User-Agent": "python-requests/2.32"}
TODAY = "/extracts/batch/2026-11-20/references"
OUTSIDE = "/extracts/batch/2026-01-05/references"


@pytest.mark.parametrize(
    ("path", "more", "status"),
    [
        ("/nowhere", {"headers": BAD_AGENT}, 403),  # gateway before route
        ("/nowhere", {"key": None}, 404),  # route before key
        (TODAY, {"key": "f" * 32}, 401),  # key before parameters
        (DAY, {"key": "f" * 32, "accept": "text/html"}, 401),  # key before Accept
        (TODAY, {"accept": "text/html"}, 400),  # parameters before Accept
        (OUTSIDE, {"accept": "text/html"}, 415),  # Accept before lookup
        (OUTSIDE, {}, 404),
        (DAY, {}, 200),
    ],
)
async def test_the_first_check_that_fails_answers(
    sandbox: Sandbox, path: str, more: dict[str, Any], status: int
) -> None:
    assert await get_sandbox_status(sandbox, path, **more) == status


async def test_the_rate_limit_stands_between_key_and_parameters() -> None:
    async with InProcessSandbox(limits={"extract": {"calls": 1, "window_s": 60}}) as sandbox:
        assert await get_sandbox_status(sandbox, TODAY) == 400  # uses the one call
        assert await get_sandbox_status(sandbox, TODAY) == 429
        assert await get_sandbox_status(sandbox, TODAY, key="f" * 32) == 401
        assert await get_sandbox_status(sandbox, ARCHIVE_DAY, key="3" * 32) == 200  # another product


# --- gateway ---


@pytest.mark.parametrize(
    "agent",
    [None, "", "python-requests/2.32.3", "Python-urllib/3.11", "Python/3.11 aiohttp/3.14.5", "Mozilla/5.0"],
)
async def test_default_user_agents_meet_the_gateways_html(sandbox: Sandbox, agent: str | None) -> None:
    reply = await ask(sandbox.base_url, DAY, headers={"User-Agent": agent})
    assert reply.status == 403
    assert reply.headers["server"] == "Microsoft-Azure-Application-Gateway/v2"
    assert reply.headers["content-type"].startswith("text/html")
    assert b"<h1>403 Forbidden</h1>" in reply.body
    assert b"Microsoft-Azure-Application-Gateway/v2" in reply.body
    assert 200 <= len(reply.body) <= 600


@pytest.mark.parametrize(
    "agent", ["curl/8.5.0", "PostmanRuntime/7.43", "acme-loader/1.4 (+mailto:ops@example.invalid)"]
)
async def test_named_user_agents_pass(sandbox: Sandbox, agent: str) -> None:
    assert await get_sandbox_status(sandbox, DAY, headers={"User-Agent": agent}) == 200


# --- route ---


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/extracts/2026-11-19/references"),  # the batch segment is missing
        ("GET", "/authentic-archive/batch/2026-10-01/references"),  # and here it is too many
        ("GET", "/extracts/batch/2026-11-19/reference"),
        ("GET", "/extracts/batch/2026-11-19/references/"),
        ("GET", "/authentic/legalEntity/0999000129/reference"),
        ("GET", "/authentic/deposit/2026-00000001/references"),
        ("GET", "/authentic/2026-11-19/references"),
        ("GET", "/improved/batch/2026-11-19/references"),  # the last segment is missing
        ("GET", "/improved-archive/2026-10-01/references/improved"),  # and here it is too many
        ("GET", "/improved-archive/batch/2026-10-01/references"),
        ("POST", DAY),
        ("DELETE", DAY),
    ],
)
async def test_an_undefined_path_or_verb_is_not_found_in_the_words_of_api_management(
    sandbox: Sandbox, method: str, path: str
) -> None:
    reply = await ask(sandbox.base_url, path, method=method)
    assert reply.status == 404
    assert json.loads(reply.body) == {"statusCode": 404, "message": "Resource not found"}


# --- key ---


async def test_a_missing_and_an_invalid_key_are_told_apart(sandbox: Sandbox) -> None:
    missing = await ask(sandbox.base_url, DAY, key=None)
    invalid = await ask(sandbox.base_url, DAY, key="f" * 32)
    assert json.loads(missing.body) == {
        "statusCode": 401,
        "message": "Access denied due to missing subscription key. Make sure to include subscription key when "
        "making requests to an API.",
    }
    assert json.loads(invalid.body) == {
        "statusCode": 401,
        "message": "Access denied due to invalid subscription key. Make sure to provide a valid key for an active "
        "subscription.",
    }
    challenge = f'AzureApiManagementKey realm="{sandbox.base_url}/extracts",name="{KEY}",type="header"'
    assert missing.headers["www-authenticate"] == invalid.headers["www-authenticate"] == challenge


@pytest.mark.parametrize("status", [401, 403])
async def test_the_key_of_another_product_is_refused_with_the_chosen_status(status: int) -> None:
    async with InProcessSandbox(wrong_product_status=status) as sandbox:
        reply = await ask(sandbox.base_url, DAY, key="3" * 32)
    assert reply.status == status
    assert b"invalid subscription key" in reply.body


async def test_a_key_in_the_query_string_opens_nothing_and_is_noticed(sandbox: Sandbox) -> None:
    reply = await ask(sandbox.base_url, f"{DAY}?subscription-key={'1' * 32}", key=None)
    seen = sandbox.journal.entries({})[0]
    assert reply.status == 401
    assert seen.key_in_url
    assert "1" * 32 not in seen.query


# --- rate and quota ---


async def test_a_rate_limit_says_when_to_come_back() -> None:
    async with InProcessSandbox(limits={"extract": {"calls": 2, "window_s": 30}}) as sandbox:
        replies = [await ask(sandbox.base_url, DAY) for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    wait = replies[2].headers["retry-after"]
    assert 28 <= int(wait) <= 30
    assert json.loads(replies[2].body) == {
        "statusCode": 429,
        "message": f"Rate limit is exceeded. Try again in {wait} seconds.",
    }


async def test_a_quota_is_kept_on_the_sandboxs_own_clock() -> None:
    limits = {"extract": {"quota_calls": 1, "quota_window_s": 5025}}
    async with InProcessSandbox(limits=limits) as sandbox:
        assert await get_sandbox_status(sandbox, DAY) == 200
        refused = await ask(sandbox.base_url, DAY)
        sandbox.world.clock.advance(5026)
        assert await get_sandbox_status(sandbox, DAY) == 200
    assert refused.status == 403
    assert refused.headers["retry-after"] == "5025"
    assert (
        json.loads(refused.body)["message"]
        == "Out of call volume quota. Quota will be replenished in 01:23:45."
    )


# --- parameters and Accept ---


@pytest.mark.parametrize(
    ("date", "status"),
    [("2026-11-20", 400), ("2026-11-21", 400), ("2026-13-01", 400), ("20261119", 400), ("yesterday", 400)],
)
async def test_today_the_future_and_nonsense_are_bad_requests(
    sandbox: Sandbox, date: str, status: int
) -> None:
    reply = await ask(sandbox.base_url, f"/extracts/batch/{date}/references")
    assert reply.status == status
    problem = json.loads(reply.body)
    assert reply.headers["content-type"].startswith("application/problem+json")
    assert set(problem) == {"title", "status", "path", "timestamp", "violations"}
    assert problem["path"] == f"/batch/{date}/references"  # without the product
    assert problem["timestamp"] == "20-11-2026 11:30:00"  # UTC
    assert set(problem["violations"][0]) == {"field", "messageKey", "defaultMessage"}


async def test_the_unmeasured_statuses_are_knobs() -> None:
    fields: dict[str, Any] = {
        "status_today": 404,
        "status_future": 422,
        "status_malformed": 404,
        "status_out_of_window": 400,
    }
    async with InProcessSandbox(**fields) as sandbox:
        assert await get_sandbox_status(sandbox, TODAY) == 404
        assert await get_sandbox_status(sandbox, "/extracts/batch/2027-01-01/references") == 422
        assert await get_sandbox_status(sandbox, "/extracts/batch/x/references") == 404
        assert await get_sandbox_status(sandbox, OUTSIDE) == 400


@pytest.mark.parametrize(("request_id", "status"), [(None, 400), ("", 400), ("one", 400)])
async def test_a_strict_registry_wants_a_request_id(request_id: str | None, status: int) -> None:
    async with InProcessSandbox(strict_request_id=True) as sandbox:
        assert await get_sandbox_status(sandbox, DAY, headers={"X-Request-Id": request_id}) == status
        assert await get_sandbox_status(sandbox, DAY) == 200
        sandbox.world.settings.strict_request_id = False
        assert await get_sandbox_status(sandbox, DAY, headers={"X-Request-Id": request_id}) == 200


@pytest.mark.parametrize(
    "accept",
    [None, "", "*/*", "application/json", "application/zip", f"{REFERENCES}, application/json", f"{REFERENCES};q=1",
     "application/x.zip+jsonxbrl"],
)  # fmt: skip
async def test_anything_but_the_one_media_type_is_415(sandbox: Sandbox, accept: str | None) -> None:
    reply = await ask(sandbox.base_url, DAY, accept=accept)
    assert reply.status == 415
    assert json.loads(reply.body)["status"] == 415


# --- windows ---


@pytest.mark.parametrize(
    ("clock", "date", "status"),
    [
        ("2026-11-20T04:59:59", "2026-11-19", 404),  # not published yet
        ("2026-11-20T05:00:00", "2026-11-19", 200),
        ("2026-03-30T04:59:59", "2026-03-27", 200),
        ("2026-10-26T04:59:59+01:00", "2026-10-23", 200),
        ("2026-11-20T12:00:00", "2026-10-21", 200),  # age 30
        ("2026-11-20T12:00:00", "2026-10-20", 404),  # age 31
        ("2026-11-20T23:59:59", "2026-10-21", 200),
        ("2026-11-21T00:00:00", "2026-10-21", 404),  # the window closes at midnight in Brussels
        ("2026-03-27T23:30:00", "2026-02-25", 200),
        ("2026-10-25T23:30:00+01:00", "2026-09-25", 200),  # a day of 25 hours does not make it older
        ("2026-10-25T23:30:00+01:00", "2026-09-24", 404),
    ],
)
async def test_the_extract_serves_ages_one_to_thirty(clock: str, date: str, status: int) -> None:
    async with InProcessSandbox(clock=clock) as sandbox:
        assert await get_sandbox_status(sandbox, f"/extracts/batch/{date}/references") == status


@pytest.mark.parametrize(
    ("publication", "still_closed", "open_at"),
    [
        ("2026-03-28", "2026-03-29T02:59:59Z", "2026-03-29T03:00:00Z"),  # clocks went forward that night
        ("2026-10-24", "2026-10-25T03:59:59Z", "2026-10-25T04:00:00Z"),  # and back
        ("2026-07-01", "2026-07-02T02:59:59Z", "2026-07-02T03:00:00Z"),
        ("2026-12-01", "2026-12-02T03:59:59Z", "2026-12-02T04:00:00Z"),
    ],
)
async def test_a_day_opens_at_five_in_brussels_also_when_the_clocks_change(
    publication: str, still_closed: str, open_at: str
) -> None:
    async with InProcessSandbox(clock=still_closed, filings_on={publication: 3}) as sandbox:
        path = f"/extracts/batch/{publication}/references"
        assert await get_sandbox_status(sandbox, path) == 404
        sandbox.world.clock.advance(1)
        assert sandbox.world.clock.now() == pytest.approx(_at(open_at), abs=0.01)
        assert await get_sandbox_status(sandbox, path) == 200


def _at(text: str) -> float:
    from filingd.sandbox.clock import parse_instant

    return parse_instant(text)


@pytest.mark.parametrize(
    ("date", "status"),
    [("2026-10-23", 200), ("2026-10-26", 404), ("2023-11-20", 200), ("2023-11-17", 404), ("2026-11-18", 404)],
)
async def test_the_archive_serves_from_28_days_to_three_years(
    sandbox: Sandbox, date: str, status: int
) -> None:
    path = f"/authentic-archive/{date}/references"
    assert await get_sandbox_status(sandbox, path, key="3" * 32) == status


async def test_windows_are_knobs() -> None:
    async with InProcessSandbox(extract_max_age_days=10, archive_min_age_days=31, archive_years=1) as sandbox:
        assert await get_sandbox_status(sandbox, "/extracts/batch/2026-11-09/references") == 404
        assert (
            await get_sandbox_status(sandbox, "/authentic-archive/2026-10-22/references", key="3" * 32) == 404
        )
        assert (
            await get_sandbox_status(sandbox, "/authentic-archive/2025-11-18/references", key="3" * 32) == 404
        )
        assert (
            await get_sandbox_status(sandbox, "/authentic-archive/2025-11-20/references", key="3" * 32) == 200
        )


async def test_the_archives_edge_can_be_moved() -> None:
    path = "/authentic-archive/2023-11-17/references"
    async with InProcessSandbox(archive_edge_shift_days=3) as sandbox:
        assert await get_sandbox_status(sandbox, path, key="3" * 32) == 200
    async with InProcessSandbox(archive_edge_shift_days=2) as sandbox:
        assert await get_sandbox_status(sandbox, path, key="3" * 32) == 404


async def test_one_connection_serves_many_requests(sandbox: Sandbox) -> None:
    connector = aiohttp.TCPConnector(limit=1)
    opened = []
    tracing = aiohttp.TraceConfig()

    async def count(*_: object) -> None:
        opened.append(1)

    tracing.on_connection_create_end.append(count)
    async with aiohttp.ClientSession(connector=connector, trace_configs=[tracing]) as session:
        for path, accept in [(DAY, REFERENCES), (TODAY, REFERENCES), (DAY, "text/html"), (DAY, REFERENCES)]:
            async with session.get(sandbox.base_url + path, headers=standard_headers(accept=accept)) as reply:
                await reply.read()
    assert [entry.status for entry in sandbox.journal.entries({})] == [200, 400, 415, 200]
    assert len(opened) == 1


async def test_not_yet_nothing_there_and_outside_cannot_be_told_apart() -> None:
    async with InProcessSandbox(clock="2026-11-20T04:00", filings_on={"2026-11-17": 0}) as sandbox:
        replies = [
            await ask(sandbox.base_url, f"/extracts/batch/{date}/references")
            for date in ("2026-11-19", "2026-11-17", "2026-01-05")
        ]
    problems = [json.loads(reply.body) for reply in replies]
    assert [problem.pop("status") for problem in problems] == [404, 404, 404]
    assert len({problem["violations"][0]["messageKey"] for problem in problems}) == 1


async def test_a_single_day_can_be_published_late() -> None:
    late = {"2026-11-19": "2026-11-21T10:00+01:00"}
    async with InProcessSandbox(published_at=late) as sandbox:
        assert await get_sandbox_status(sandbox, DAY) == 404
        sandbox.world.clock.set(_at("2026-11-21T10:00+01:00"))
        assert await get_sandbox_status(sandbox, DAY) == 200


# --- what the day holds ---


async def test_late_additions_appear_after_their_time_in_every_dataset() -> None:
    fields: dict[str, Any] = {"late_share": 0.5, "late_after_s": 3600.0, "pdf_only_share": 0.0}
    async with InProcessSandbox(clock="2026-11-20T05:30", **fields) as sandbox:
        early = [
            await ask(sandbox.base_url, DAY),
            await ask(sandbox.base_url, DOCUMENTS, accept="application/x.zip+pdf"),
        ]
        sandbox.world.clock.advance(3600)
        late = [
            await ask(sandbox.base_url, DAY),
            await ask(sandbox.base_url, DOCUMENTS, accept="application/x.zip+pdf"),
        ]
    for before, after in zip(early, late, strict=True):
        assert set(names(before)) < set(names(after))
        assert names(before)


@pytest.mark.parametrize(
    ("variant", "status", "members"),
    [
        ("404", 404, None),
        ("204", 204, None),
        ("200-empty", 200, None),
        ("empty-zip", 200, 0),
        ("dirs-only", 200, 2),
    ],
)
async def test_an_empty_day_has_five_faces(variant: str, status: int, members: int | None) -> None:
    async with InProcessSandbox(empty_day=variant) as sandbox:
        reply = await ask(sandbox.base_url, "/extracts/batch/2026-11-15/references")  # a Sunday
    assert reply.status == status
    if members is None:
        assert reply.status == 404 or reply.body == b""
    else:
        assert all(name.endswith("/") for name in names(reply))
        assert len(names(reply)) == members


async def test_a_day_of_pdf_filings_alone_has_references_and_pdfs_and_no_json() -> None:
    async with InProcessSandbox(pdf_only_share=1.0) as sandbox:
        assert await get_sandbox_status(sandbox, DAY) == 200
        assert await get_sandbox_status(sandbox, DOCUMENTS, accept="application/x.zip+pdf") == 200
        assert await get_sandbox_status(sandbox, DOCUMENTS, accept="application/x.zip+jsonxbrl") == 404


async def test_the_casing_flips_between_two_days() -> None:
    async with InProcessSandbox(casing_flips={"2026-11-18": "pascal", "2026-11-19": "mixed"}) as sandbox:
        rows = {}
        for day in ("17", "18", "19"):
            archive = zipfile.ZipFile(
                io.BytesIO((await ask(sandbox.base_url, f"/extracts/batch/2026-11-{day}/references")).body)
            )
            rows[day] = [json.loads(archive.read(name)) for name in archive.namelist()]
    assert all("referenceNumber" in row for row in rows["17"])
    assert all("ReferenceNumber" in row for row in rows["18"])
    assert {"referenceNumber" in row for row in rows["19"]} == {True, False}


async def test_members_can_carry_a_suffix_and_a_folder() -> None:
    async with InProcessSandbox(reference_names="suffixed", zip_folder="batch/") as sandbox:
        found = names(await ask(sandbox.base_url, DAY))
    assert all(name.startswith("batch/2026-") and name.endswith("-reference.json") for name in found)


# --- shape of the answer ---


@pytest.mark.parametrize("descriptors", [True, False])
async def test_a_zip_comes_in_chunks_or_with_its_length(descriptors: bool) -> None:
    async with InProcessSandbox(zip_descriptors=descriptors) as sandbox:
        chunked = await ask(sandbox.base_url, DAY)
        sandbox.world.settings.framing = "length"
        plain = await ask(sandbox.base_url, DAY)
    assert chunked.chunked
    assert chunked.ended_in_chunks
    assert "content-length" not in chunked.headers
    assert int(plain.headers["content-length"]) == len(plain.raw_body)
    assert chunked.body == plain.body


@pytest.mark.parametrize(
    ("content_type", "seen"),
    [("echo", REFERENCES), ("application/octet-stream", "application/octet-stream"), ("", None)],
)
async def test_the_content_type_is_a_knob(content_type: str, seen: str | None) -> None:
    async with InProcessSandbox(content_type=content_type, content_disposition=True) as sandbox:
        reply = await ask(sandbox.base_url, DAY)
    assert reply.headers.get("content-type") == seen
    assert reply.headers["content-disposition"] == 'attachment; filename="2026-11-19-references.zip"'


async def test_a_large_day_is_streamed_with_the_bytes_it_would_have_had_in_memory() -> None:
    async with InProcessSandbox(public_url="http://127.0.0.1:1") as sandbox:
        held = await ask(sandbox.base_url, DAY)
    async with InProcessSandbox(public_url="http://127.0.0.1:1", stream_above_bytes=0) as sandbox:
        streamed = await ask(sandbox.base_url, DAY)
        sandbox.world.settings.framing = "length"
        measured = await ask(sandbox.base_url, DAY)
    assert held.body == streamed.body == measured.body
    assert int(measured.headers["content-length"]) == len(held.body)
