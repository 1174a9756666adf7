"""Each fault as a client without opinions sees it."""

from __future__ import annotations

import asyncio
import email.utils
import io
import json
import time
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from filingd.sandbox.clock import parse_instant
from filingd.sandbox.faults import rules_from
from support.raw_http import REFERENCES, Reply, ask, standard_headers
from support.sandbox import InProcessSandbox

if TYPE_CHECKING:
    from filingd.sandbox.server import Sandbox

DAY = "/extracts/batch/2026-11-19/references"
DOCUMENTS = "/extracts/batch/2026-11-19/accountingData"


def arm(sandbox: Sandbox, effect: dict[str, Any], **match: Any) -> None:
    sandbox.world.faults.add(rules_from({"effect": effect, "match": match}))


async def get(sandbox: Sandbox, path: str = DAY, **more: Any) -> Reply:
    return await ask(sandbox.base_url, path, **more)


def last_outcome(sandbox: Sandbox) -> str:
    return sandbox.journal.entries({})[-1].outcome


async def outcome_of(sandbox: Sandbox, wanted: str) -> None:
    """Wait until the last request has that outcome."""
    async with asyncio.timeout(5):
        while last_outcome(sandbox) != wanted:
            await asyncio.sleep(0.005)


# --- refusals before an answer ---


async def test_a_connection_can_be_reset_as_soon_as_it_is_accepted(sandbox: Sandbox) -> None:
    arm(sandbox, {"kind": "refuse_accept"}, times=1)
    reply = await get(sandbox)
    assert (reply.status, reply.reset) == (0, True)
    assert sandbox.journal.entries({}) == []
    assert (await get(sandbox)).status == 200


@pytest.mark.parametrize(("how", "reset"), [("rst", True), ("close", False)])
async def test_a_request_can_be_refused_without_a_byte(sandbox: Sandbox, how: str, reset: bool) -> None:
    arm(sandbox, {"kind": "refuse", "how": how})
    reply = await get(sandbox)
    assert (reply.head, reply.raw_body, reply.reset) == (b"", b"", reset)
    assert last_outcome(sandbox) == "refused"


async def test_a_closed_port_refuses_and_an_opened_one_serves_again(sandbox: Sandbox) -> None:
    await sandbox.set_listening(open_door=False)
    with pytest.raises(ConnectionRefusedError):
        await get(sandbox)
    await sandbox.set_listening(open_door=True)
    assert (await get(sandbox)).status == 200


# --- statuses ---


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_gateway_error_is_html(sandbox: Sandbox, status: int) -> None:
    arm(sandbox, {"kind": "status", "status": status})
    reply = await get(sandbox)
    assert reply.status == status
    assert reply.headers["server"] == "Microsoft-Azure-Application-Gateway/v2"
    assert f"<title>{status} ".encode() in reply.body


@pytest.mark.parametrize(("family", "key"), [(1, "statusCode"), (2, "title")])
async def test_an_error_can_come_from_the_two_other_families(sandbox: Sandbox, family: int, key: str) -> None:
    arm(sandbox, {"kind": "status", "status": 503, "family": family})
    reply = await get(sandbox)
    assert reply.status == 503
    assert key in json.loads(reply.body)


async def test_a_503_can_carry_retry_after(sandbox: Sandbox) -> None:
    arm(sandbox, {"kind": "status", "status": 503, "retry_after": "17"})
    assert (await get(sandbox)).headers["retry-after"] == "17"


async def test_a_429_has_retry_after_in_every_form(sandbox: Sandbox) -> None:
    seen = {}
    for form in ("seconds", "date", "garbage", "none"):
        sandbox.world.faults.clear()
        arm(sandbox, {"kind": "throttle", "seconds": 7, "retry_after": form})
        reply = await get(sandbox)
        assert reply.status == 429
        assert json.loads(reply.body)["message"] == "Rate limit is exceeded. Try again in 7 seconds."
        seen[form] = reply.headers.get("retry-after")
    assert seen["seconds"] == "7"
    moment = email.utils.parsedate_to_datetime(seen["date"] or "").timestamp()
    assert moment == pytest.approx(sandbox.world.clock.now() + 7, abs=1)
    assert seen["garbage"] == "soon, perhaps"
    assert seen["none"] is None


async def test_a_quota_is_a_403_in_json_and_the_gateway_a_403_in_html(sandbox: Sandbox) -> None:
    arm(sandbox, {"kind": "throttle", "status": 403, "seconds": 60}, times=1)
    arm(sandbox, {"kind": "waf"}, skip=1)
    quota, waf = await get(sandbox), await get(sandbox)
    assert (quota.status, waf.status) == (403, 403)
    assert json.loads(quota.body)["message"].startswith("Out of call volume quota.")
    assert waf.body.startswith(b"<html>")


async def test_a_key_can_die_at_an_instant(sandbox: Sandbox) -> None:
    arm(sandbox, {"kind": "unauthorized"}, from_at="2026-11-20T13:00", slot="primary")
    assert (await get(sandbox)).status == 200
    sandbox.world.clock.set(parse_instant("2026-11-20T13:00"))
    assert (await get(sandbox)).status == 401
    assert (await get(sandbox, key="2" * 32)).status == 200


async def test_a_key_can_be_echoed_in_headers_and_in_the_text_of_whatever_is_no_zip(sandbox: Sandbox) -> None:
    key = "2" * 32
    whole = await get(sandbox, key=key)
    arm(sandbox, {"kind": "echo_key", "headers": {"X-Sent": "it is {key}", "ETag": '"{key}"'}})
    echoing = await get(sandbox, key=key)
    assert (echoing.headers["x-sent"], echoing.headers["etag"]) == (f"it is {key}", f'"{key}"')
    assert echoing.body == whole.body
    for effect in (
        {"kind": "status", "status": 500, "family": 1},
        {"kind": "status", "status": 500, "family": 2},
        {"kind": "replace", "body": "json_error"},
    ):
        arm(sandbox, effect, times=1)
        reply = await get(sandbox, key=key)
        assert json.loads(reply.body)["subscriptionKey"] == key
        assert reply.headers["x-sent"] == f"it is {key}"
    for effect in ({"kind": "status", "status": 502}, {"kind": "replace", "body": "text"}):
        arm(sandbox, effect, times=1)
        assert key.encode() in (await get(sandbox, key=key)).body[:100]
    arm(sandbox, {"kind": "replace", "body": "empty"}, times=1)
    assert (await get(sandbox, key=key)).body == b""


async def test_headers_alone_can_echo_the_key(sandbox: Sandbox) -> None:
    arm(sandbox, {"kind": "echo_key", "in_text": False})
    arm(sandbox, {"kind": "unauthorized"})
    reply = await get(sandbox)
    assert (reply.status, reply.headers["x-subscription-key"]) == (401, "1" * 32)
    assert "1" * 32 not in reply.body.decode()


@pytest.mark.parametrize("status", [301, 302, 307])
async def test_a_redirect_points_elsewhere_and_has_no_body(sandbox: Sandbox, status: int) -> None:
    arm(sandbox, {"kind": "redirect", "status": status, "location": "http://127.0.0.1:9/elsewhere"})
    reply = await get(sandbox)
    assert (reply.status, reply.headers["location"], reply.body) == (
        status,
        "http://127.0.0.1:9/elsewhere",
        b"",
    )


# --- silence and slowness ---


async def test_a_stall_before_the_head_is_silence_until_the_client_goes(sandbox: Sandbox) -> None:
    arm(sandbox, {"kind": "stall"})
    reply = await get(sandbox, patience_s=0.2)
    assert (reply.head, reply.silent) == (b"", True)
    await outcome_of(sandbox, "client_closed")


async def test_a_stall_in_the_body_stops_after_just_so_many_bytes(sandbox: Sandbox) -> None:
    sandbox.world.settings.framing = "length"
    arm(sandbox, {"kind": "stall", "where": "body", "after_bytes": 1234})
    reply = await get(sandbox, patience_s=0.3)
    assert (reply.status, len(reply.raw_body), reply.silent) == (200, 1234, True)
    await outcome_of(sandbox, "client_closed")
    assert sandbox.journal.entries({})[-1].body_bytes == 1234


async def test_a_stall_of_some_seconds_ends_and_the_body_is_whole(sandbox: Sandbox) -> None:
    whole = (await get(sandbox)).body
    arm(sandbox, {"kind": "stall", "where": "body", "after_bytes": 0, "seconds": 0.2})
    started_s = time.monotonic()
    assert (await get(sandbox)).body == whole
    assert time.monotonic() - started_s >= 0.2


async def test_a_drip_keeps_its_rate(sandbox: Sandbox) -> None:
    whole = (await get(sandbox)).body
    arm(sandbox, {"kind": "drip", "bytes_per_s": len(whole) * 4})
    started_s = time.monotonic()
    assert (await get(sandbox)).body == whole
    assert 0.24 <= time.monotonic() - started_s < 2.0


async def test_latency_comes_from_a_rule_and_from_the_settings(sandbox: Sandbox) -> None:
    sandbox.world.settings.latency_ms = 60
    arm(sandbox, {"kind": "latency", "ms": 90})
    started_s = time.monotonic()
    assert (await get(sandbox)).status == 200
    assert time.monotonic() - started_s >= 0.15


# --- broken transfers ---


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_reset_in_the_middle_delivers_half_and_then_rst(sandbox: Sandbox, framing: str) -> None:
    whole = (await get(sandbox)).body
    sandbox.world.settings.framing = "length" if framing == "length" else "chunked"
    arm(sandbox, {"kind": "cut", "how": "reset", "after_bytes": 2000})
    reply = await get(sandbox)
    assert reply.reset
    assert reply.body == whole[:2000]
    assert last_outcome(sandbox) == "reset"


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_short_body_keeps_its_promise_of_more(sandbox: Sandbox, framing: str) -> None:
    whole = (await get(sandbox)).body
    arm(sandbox, {"kind": "cut", "how": "short", "after_share": 0.5})
    arm(sandbox, {"kind": "head", "framing": framing})
    reply = await get(sandbox)
    assert not reply.reset
    assert reply.body == whole[: len(whole) // 2]
    if framing == "length":
        assert int(reply.headers["content-length"]) == len(whole)
    else:
        assert not reply.ended_in_chunks
    assert last_outcome(sandbox) == "cut"


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_a_clean_cut_is_good_http_around_half_a_zip(sandbox: Sandbox, framing: str) -> None:
    whole = (await get(sandbox)).body
    arm(sandbox, {"kind": "cut", "how": "clean", "after_bytes": 3000})
    arm(sandbox, {"kind": "head", "framing": framing})
    reply = await get(sandbox)
    assert reply.body == whole[:3000]
    if framing == "length":
        assert reply.headers["content-length"] == "3000"
    else:
        assert reply.ended_in_chunks
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(io.BytesIO(reply.body))


@pytest.mark.parametrize("delta", [100, -100])
async def test_a_wrong_length_is_declared_and_the_whole_body_sent(sandbox: Sandbox, delta: int) -> None:
    whole = (await get(sandbox)).body
    arm(sandbox, {"kind": "head", "framing": "length"})
    arm(sandbox, {"kind": "length", "delta_bytes": delta})
    reply = await get(sandbox)
    assert int(reply.headers["content-length"]) == len(whole) + delta
    assert reply.raw_body == whole


# --- bad bodies ---


@pytest.mark.parametrize("kind", ["crc", "bitflip"])
async def test_a_corrupted_member_arrives_in_a_zip_that_opens(sandbox: Sandbox, kind: str) -> None:
    arm(sandbox, {"kind": "damage", "damage": kind, "member": 2})
    archive = zipfile.ZipFile(io.BytesIO((await get(sandbox)).body))
    with pytest.raises((zipfile.BadZipFile, zlib.error)):
        archive.read(archive.namelist()[2])
    archive.read(archive.namelist()[1])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("zip_slip", "../evil.json"),
        ("absolute", "/evil.json"),
        ("backslash", "..\\evil.json"),
        ("drive", "C:evil.json"),
    ],
)
async def test_an_evil_member_arrives(sandbox: Sandbox, kind: str, name: str) -> None:
    arm(sandbox, {"kind": "damage", "damage": kind})
    archive = zipfile.ZipFile(io.BytesIO((await get(sandbox)).body))
    assert archive.infolist()[-1].orig_filename == name


async def test_damage_of_a_member_beyond_the_last_wraps_round(sandbox: Sandbox) -> None:
    arm(sandbox, {"kind": "damage", "damage": "crc", "member": 1000})
    archive = zipfile.ZipFile(io.BytesIO((await get(sandbox)).body))
    assert archive.testzip() is not None


@pytest.mark.parametrize(
    ("body", "start", "content_type"),
    [
        ("json_error", b'{"statusCode":500', "application/json"),
        ("html", b"<html>", "text/html"),
        ("text", b"No data", "text/plain"),
        ("empty", b"", None),
    ],
)
async def test_a_200_can_hold_something_else(
    sandbox: Sandbox, body: str, start: bytes, content_type: str | None
) -> None:
    arm(sandbox, {"kind": "replace", "body": body})
    reply = await get(sandbox)
    assert reply.status == 200
    assert reply.body.startswith(start)
    assert reply.headers.get("content-type") == content_type


async def test_a_json_error_can_call_itself_a_zip(sandbox: Sandbox) -> None:
    arm(sandbox, {"kind": "replace", "body": "json_error", "content_type": REFERENCES})
    assert (await get(sandbox)).headers["content-type"] == REFERENCES


@pytest.mark.parametrize(
    ("variant", "status"), [("404", 404), ("204", 204), ("200-empty", 200), ("empty-zip", 200)]
)
async def test_a_full_day_can_be_answered_as_empty(sandbox: Sandbox, variant: str, status: int) -> None:
    arm(sandbox, {"kind": "empty", "variant": variant}, times=1)
    reply = await get(sandbox)
    assert reply.status == status
    assert len(reply.body) <= 300
    assert (await get(sandbox)).status == 200


@pytest.mark.parametrize("fields", ["renamed", "unknown"])
async def test_a_document_can_have_no_known_field(sandbox: Sandbox, fields: str) -> None:
    arm(sandbox, {"kind": "shape", "fields": fields})
    archive = zipfile.ZipFile(io.BytesIO((await get(sandbox)).body))
    row = json.loads(archive.read(archive.namelist()[0]))
    assert not {key.lower() for key in row} & {"referencenumber", "modeltype", "depositdate"}


async def test_one_request_can_have_another_shape_of_zip(sandbox: Sandbox) -> None:
    shape = {
        "kind": "shape",
        "casing": "pascal",
        "method": "stored",
        "zip64": "forced",
        "folder": "x/",
        "descriptors": False,
    }
    arm(sandbox, shape)
    data = (await get(sandbox)).body
    archive = zipfile.ZipFile(io.BytesIO(data))
    info = archive.infolist()[0]
    assert b"PK\x06\x06" in data
    assert (info.compress_type, info.filename[:2], info.flag_bits & 8) == (zipfile.ZIP_STORED, "x/", 0)
    assert "ReferenceNumber" in json.loads(archive.read(info))


async def test_a_huge_zip_has_the_days_own_members_and_the_size_it_declares(sandbox: Sandbox) -> None:
    sandbox.world.settings.framing = "length"
    arm(sandbox, {"kind": "huge", "total_bytes": 40_000_000}, dataset="pdf")
    reply = await get(sandbox, DOCUMENTS, accept="application/x.zip+pdf")
    references = zipfile.ZipFile(io.BytesIO((await get(sandbox)).body)).namelist()
    archive = zipfile.ZipFile(io.BytesIO(reply.body))
    assert len(reply.raw_body) == int(reply.headers["content-length"]) > 40_000_000
    assert [name[:13] for name in archive.namelist()] == [name[:13] for name in references]
    assert archive.testzip() is None


async def test_a_client_that_leaves_in_the_middle_is_noticed_and_costs_nothing_more(sandbox: Sandbox) -> None:
    arm(sandbox, {"kind": "huge", "total_bytes": 10**9}, dataset="pdf")
    host, _, port = sandbox.base_url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = [f"{name}: {value}" for name, value in standard_headers(accept="application/x.zip+pdf").items()]
    writer.write("\r\n".join([f"GET {DOCUMENTS} HTTP/1.1", "Host: x", *lines, "", ""]).encode())
    await reader.readexactly(1_000_000)
    writer.transport.abort()
    await outcome_of(sandbox, "client_closed")
    assert 900_000 < sandbox.journal.entries({})[-1].body_bytes < 50_000_000


@pytest.mark.parametrize(("change", "difference"), [("added", 1), ("removed", -1), ("figures", 0)])
async def test_a_past_day_can_change_from_an_instant_on(
    sandbox: Sandbox, change: str, difference: int
) -> None:
    before = (await get(sandbox)).body
    arm(sandbox, {"kind": "mutate", "change": change}, from_at="2026-11-20T14:00", date="2026-11-19")
    assert (await get(sandbox)).body == before
    sandbox.world.clock.set(parse_instant("2026-11-20T14:00"))
    after = (await get(sandbox)).body
    counts = [len(zipfile.ZipFile(io.BytesIO(data)).namelist()) for data in (before, after)]
    assert counts[1] - counts[0] == difference
    assert after != before
    assert (await get(sandbox)).body == after


# --- ranges over the wire ---


async def test_a_correct_range_gives_the_missing_end(sandbox: Sandbox) -> None:
    sandbox.world.settings.ranges = "correct"
    sandbox.world.settings.framing = "length"
    whole = await get(sandbox)
    etag = whole.headers["etag"]
    part = await get(sandbox, headers={"Range": "bytes=1000-", "If-Range": etag})
    assert (part.status, part.headers["etag"]) == (206, etag)
    assert part.headers["content-range"] == f"bytes 1000-{len(whole.body) - 1}/{len(whole.body)}"
    assert whole.body[:1000] + part.body == whole.body
    assert sandbox.journal.entries({})[-1].range == "bytes=1000-"


async def test_without_ranges_the_header_is_ignored_and_nothing_is_promised(sandbox: Sandbox) -> None:
    reply = await get(sandbox, headers={"Range": "bytes=1000-"})
    assert reply.status == 200
    assert not {"etag", "accept-ranges", "content-range"} & set(reply.headers)


async def test_the_lies_about_ranges_reach_the_client(sandbox: Sandbox) -> None:
    sandbox.world.settings.ranges = "correct"
    sandbox.world.settings.framing = "length"
    whole = await get(sandbox)
    resume = {"Range": "bytes=1000-", "If-Range": whole.headers["etag"]}
    replies: dict[str, Reply] = {}
    for mode in (
        "full_for_partial",
        "changed_etag",
        "always_416",
        "wrong_start",
        "wrong_total",
        "wrong_bytes",
    ):
        sandbox.world.faults.clear()
        arm(sandbox, {"kind": "ranges", "mode": mode})
        replies[mode] = await get(sandbox, headers=resume)
    rest = whole.body[1000:]
    assert (replies["full_for_partial"].status, replies["full_for_partial"].body) == (200, whole.body)
    assert replies["always_416"].status == 416
    assert replies["changed_etag"].headers["etag"] != whole.headers["etag"]
    assert replies["wrong_bytes"].status == replies["changed_etag"].status == 206
    assert len(replies["wrong_bytes"].body) == len(rest)
    assert replies["wrong_bytes"].body != rest
    assert replies["wrong_start"].body == whole.body[993:]
    assert replies["wrong_start"].headers["content-range"].startswith("bytes 993-")
    assert replies["wrong_total"].headers["content-range"].endswith(f"/{len(whole.body) + 1000}")
    assert replies["wrong_total"].body == rest


async def test_a_cut_transfer_can_be_resumed_to_the_whole(sandbox: Sandbox) -> None:
    sandbox.world.settings.ranges = "correct"
    whole = await get(sandbox)
    arm(sandbox, {"kind": "cut", "how": "reset", "after_bytes": 2500}, times=1)
    first = await get(sandbox)
    second = await get(
        sandbox, headers={"Range": f"bytes={len(first.body)}-", "If-Range": first.headers["etag"]}
    )
    assert first.reset
    assert first.body + second.body == whole.body


# --- the journal as the wire was ---


async def test_the_journal_holds_what_happened_and_no_key(sandbox: Sandbox) -> None:
    await get(sandbox)
    await get(sandbox, key="2" * 32)
    first, second = sandbox.journal.entries({})
    assert (first.product, first.operation, first.dataset, first.date) == (
        "extract", "references", "references", "2026-11-19",
    )  # fmt: skip
    assert (first.slot, second.slot) == ("primary", "secondary")
    assert first.key != second.key
    assert first.request_id != second.request_id
    assert first.body_bytes == second.body_bytes > 1000
    assert "1" * 32 not in repr(first)


async def test_requests_at_once_are_counted_and_requests_in_turn_are_not() -> None:
    async with InProcessSandbox(latency_ms=80) as sandbox:
        await asyncio.gather(*(get(sandbox) for _ in range(5)))
        await get(sandbox)
        from filingd.sandbox.journal import summarize

        entries = sandbox.journal.entries({})
        assert summarize(entries, 1.0)["max_concurrency"] == 5
        assert summarize(entries[5:], 1.0)["max_concurrency"] == 1


@pytest.mark.parametrize("how", ["whole", "clean", "short", "reset"])
async def test_a_polite_client_never_seems_to_ask_twice_at_once(sandbox: Sandbox, how: str) -> None:
    sandbox.world.settings.framing = "length"
    if how != "whole":
        arm(sandbox, {"kind": "cut", "how": how})
    for _ in range(60):
        await get(sandbox)
    assert max(entry.concurrency for entry in sandbox.journal.entries({})) == 1
