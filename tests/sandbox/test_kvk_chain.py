"""The order of KVK's checks, its errors, keys, limits and headers (KVK reference, sections 1 to 5 and 15.2)."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from filingd.core.errors import ConfigError
from filingd.sandbox.clock import parse_instant
from filingd.sandbox.faults import Rule, rules_from
from filingd.sandbox.journal import calls_by_path, summarize
from filingd.sandbox.settings import settings_from
from support.kvk_http import API, HAL, TEST, code_of, get, zoeken
from support.sandbox import KVK_KEYS, KVK_PUBLIC_TEST_KEY, InProcessSandbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from filingd.sandbox.server import Sandbox

PROFILE = f"{TEST}/v1/basisprofielen/69599084"
BRANCH = f"{TEST}/v1/vestigingsprofielen/000038509504"
NAMING = f"{TEST}/v1/naamgevingen/kvknummer/69599084"
SEARCH = zoeken(TEST, kvkNummer="69599084")
EVERY_OPERATION = [
    SEARCH, PROFILE, f"{PROFILE}/eigenaar", f"{PROFILE}/hoofdvestiging", f"{PROFILE}/vestigingen", BRANCH, NAMING,
]  # fmt: skip


@pytest.fixture
async def kvk() -> AsyncIterator[Sandbox]:
    """A sandbox with few seeded companies; its clock stands still."""
    async with InProcessSandbox(kvk={"companies": 60, "crowd_companies": 0}) as running:
        yield running


def add_rule(sandbox: Sandbox, effect: dict[str, Any], **match: Any) -> None:
    sandbox.world.faults.add(rules_from({"effect": effect, "match": match}))


# --- the chain ---


@pytest.mark.parametrize("path", EVERY_OPERATION)
async def test_every_operation_answers_with_the_headers_that_were_recorded(kvk: Sandbox, path: str) -> None:
    reply = await get(kvk.base_url, path)
    assert reply.status == 200
    assert reply.head.startswith(b"HTTP/1.1 200 \r\n")  # the reason is empty
    assert reply.headers["api-version"] == ("2.1.0" if "zoeken" in path else "1.5.0")
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["server"] == "unknown"
    assert reply.headers["x-frame-options"] == "DENY"
    assert "retry-after" not in reply.headers
    assert "etag" not in reply.headers


@pytest.mark.parametrize(
    ("path", "more", "status", "code"),
    [
        (f"{TEST}/v9/zoeken", {"key": "wrong"}, 404, ""),  # route before key
        (f"{TEST}/v2/zoeken?x=1", {"key": "wrong", "accept": "text/html"}, 401, ""),  # key before all else
        (f"{TEST}/v2/zoeken?x=1", {"accept": "text/html"}, 406, ""),  # Accept before parameters
        (f"{TEST}/v1/basisprofielen/12345678?x=1", {}, 400, "IPD1999"),  # parameters before data
        (f"{TEST}/v1/basisprofielen/12345678", {}, 404, "IPD0005"),
    ],
)
async def test_the_first_check_that_fails_answers(
    kvk: Sandbox, path: str, more: dict[str, Any], status: int, code: str
) -> None:
    reply = await get(kvk.base_url, path, **more)
    assert (reply.status, code_of(reply)) == (status, code)
    assert "api-version" not in reply.headers


async def test_a_product_outside_the_contract_is_forbidden_before_its_accept_is_looked_at() -> None:
    key = {"key": "l7xx-zoeken-only", "products": ["zoeken"]}
    async with InProcessSandbox(kvk={"companies": 0, "keys": {"poor": key}}) as sandbox:
        assert (await get(sandbox.base_url, SEARCH, key="l7xx-zoeken-only")).status == 200
        forbidden = await get(sandbox.base_url, PROFILE, key="l7xx-zoeken-only", accept="text/html")
        assert forbidden.status == 403


async def test_the_public_key_opens_the_test_base_alone(kvk: Sandbox) -> None:
    seeded = "/v1/basisprofielen/98000001"
    assert (await get(kvk.base_url, PROFILE, key=KVK_PUBLIC_TEST_KEY)).status == 200
    assert (await get(kvk.base_url, API + seeded, key=KVK_PUBLIC_TEST_KEY)).status == 401
    assert (await get(kvk.base_url, API + seeded, key="")).status == 401
    for key in KVK_KEYS.values():
        assert (await get(kvk.base_url, API + seeded, key=key)).status == 200


@pytest.mark.parametrize(("variant", "start"), [("empty", b""), ("fout", b'{"fout"'), ("html", b"<!DOCTYPE")])
async def test_the_body_of_a_401_is_as_the_knob_says(variant: str, start: bytes) -> None:
    async with InProcessSandbox(kvk={"companies": 0, "unauthorized_body": variant}) as sandbox:
        reply = await get(sandbox.base_url, PROFILE, key="wrong")
    assert reply.status == 401
    assert reply.body.startswith(start)
    assert bool(reply.body) == (variant != "empty")


async def test_a_key_is_revoked_and_another_added_while_it_runs(kvk: Sandbox) -> None:
    assert kvk.world.keys.revoke("kvk", "public-test") == 1
    assert (await get(kvk.base_url, PROFILE)).status == 401
    kvk.world.keys.add("kvk", "l7xx-new", "new")
    assert (await get(kvk.base_url, PROFILE, key="l7xx-new")).status == 200


async def test_a_key_of_the_other_registry_opens_nothing(kvk: Sandbox) -> None:
    assert (await get(kvk.base_url, PROFILE, key="1" * 32)).status == 401


# --- numbers and parameters ---


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"{TEST}/v1/basisprofielen/1234567", 400, "IPD0004"),
        (f"{TEST}/v1/basisprofielen/1234567/vestigingen", 400, "IPD0004"),
        (f"{TEST}/v1/naamgevingen/kvknummer/x", 400, "IPD0004"),
        (f"{TEST}/v1/vestigingsprofielen/12345678", 400, "IPD0006"),
        (f"{TEST}/v1/vestigingsprofielen/665544332211", 404, "IPD0007"),
        (f"{TEST}/v1/naamgevingen/kvknummer/90004333", 404, "IPD0005"),
        (f"{TEST}/v1/naamgevingen/69599084", 404, ""),  # without its segment
        (f"{TEST}/v1/basisprofielen/90000749/hoofdvestiging", 404, "IPD0005"),
        (f"{TEST}/v1/basisprofielen/90004973", 500, "IPD9999"),
        (f"{TEST}/v1/basisprofielen/90002903", 404, "IPD1002"),
        (f"{TEST}/v1/basisprofielen/69599084?geoData=perhaps", 400, "IPD1999"),
        (f"{TEST}/v1/basisprofielen/69599084/vestigingen?geoData=true", 400, "IPD1999"),
        (zoeken(TEST, kvkNummer="90004333"), 404, "IPD5200"),
        (zoeken(TEST, kvkNummer="1234567"), 400, "IPD0004"),
        (zoeken(TEST, vestigingsnummer="12345678"), 400, "IPD0006"),
        (zoeken(TEST, rsin="12"), 400, "IPD0010"),
        (zoeken(TEST, rsin="123456782"), 404, "IPD5200"),
        (zoeken(TEST, rsin="123456783"), 404, "IPD5200"),
        (zoeken(TEST, naam="test", type="filiaal"), 404, "IPD5203"),
        (zoeken(TEST, naam="test", actief="Ja"), 400, "IPD1999"),
        (zoeken(TEST, naam="test", resultatenPerPagina=101), 400, "IPD1999"),
        (zoeken(TEST, naam="test", pagina=0), 400, "IPD1999"),
        (zoeken(TEST, naam=""), 400, "IPD1999"),
        (zoeken(TEST, naam=["a", "b"]), 400, "IPD1999"),
        (zoeken(TEST, huisnummer=1), 400, "IPD1999"),
        (zoeken(TEST, postcode="1234AB"), 400, "IPD1999"),
        (zoeken(TEST, postcode="1234 AB", huisnummer=1), 400, "IPD1999"),
        (zoeken(TEST, postbusnummer=45), 400, "IPD1999"),
        (zoeken(TEST, postcode="1034WL", huisnummer=17, huisletter="MM"), 400, "IPD1999"),
        (zoeken(TEST), 400, "IPD1998"),
        (zoeken(TEST, naam="bestaatniet"), 404, "IPD5200"),
    ],
)
async def test_what_is_wrong_is_told_by_its_code(kvk: Sandbox, path: str, status: int, code: str) -> None:
    reply = await get(kvk.base_url, path, accept=HAL)
    assert (reply.status, code_of(reply)) == (status, code)
    if code:
        assert reply.headers["content-type"] == "application/json"


async def test_invalid_parameters_are_named_in_brackets(kvk: Sandbox) -> None:
    reply = await get(kvk.base_url, zoeken(TEST, naam="test", straat="x", plats="y"))
    text = json.loads(reply.body)["fout"][0]["omschrijving"]
    assert text == "De volgende opgegeven parameter(s) is(zijn) ongeldig: [straat, plats]"


async def test_recorded_error_texts_are_served_word_for_word(kvk: Sandbox) -> None:
    gone = await get(kvk.base_url, f"{TEST}/v1/basisprofielen/12345678")
    assert gone.body == (
        b'{"fout":[{"code":"IPD0005","omschrijving":'
        b'"Op basis van het KVK-nummer 12345678 kan het product niet worden geleverd."}]}'
    )
    short = await get(kvk.base_url, f"{TEST}/v1/vestigingsprofielen/12345678")
    assert short.body == (
        b'{"fout":[{"code":"IPD0006","omschrijving":"Het vestigingsnummer 12345678 is niet valide."}]}'
    )
    assert short.headers["connection"] == "close"


async def test_what_nobody_has_measured_is_a_knob() -> None:
    knobs = {"companies": 0, "failing_rsin": "400", "no_criteria": "404", "no_branches": "empty-list"}
    async with InProcessSandbox(kvk=knobs | {"deregistered_profile": "200"}) as sandbox:
        assert code_of(await get(sandbox.base_url, zoeken(TEST, rsin="123456783"))) == "IPD0010"
        assert code_of(await get(sandbox.base_url, zoeken(TEST))) == "IPD5200"
        empty = await get(sandbox.base_url, f"{TEST}/v1/basisprofielen/90000749/vestigingen")
        assert json.loads(empty.body)["vestigingen"] == []
        ended = json.loads((await get(sandbox.base_url, f"{TEST}/v1/basisprofielen/96354429")).body)
    assert ended["materieleRegistratie"]["datumEinde"] == "20241231"
    assert ended["_embedded"]["eigenaar"]["datumUitschrijving"] == "20241231"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"companys": 1}, "companys"),
        ({"companies": 2_000_000}, "kvk.companies = 2000000"),
        ({"inactive_share": 2}, "kvk.inactive_share = 2"),
        ({"erroneous_numbers": {"90004973": "oops"}}, "'oops'"),
    ],
)
def test_a_wrong_knob_is_named_with_its_value(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings_from({"kvk": fields})


def test_knobs_of_kvk_are_laid_over_the_present_ones_one_by_one() -> None:
    first = settings_from({"kvk": {"gzip": True}})
    second = settings_from({"kvk": {"companies": 3}}, first)
    assert (second.kvk.gzip, second.kvk.companies) == (True, 3)


# --- limits ---


async def test_calls_above_the_rate_are_refused_and_do_not_count() -> None:
    async with InProcessSandbox(kvk={"companies": 0, "calls_per_s": 5}) as sandbox:
        replies = [await get(sandbox.base_url, PROFILE) for _ in range(8)]
        statuses = [reply.status for reply in replies]
        assert statuses[:5] == [200] * 5
        assert 503 in statuses[5:]
        refused = replies[statuses.index(503)]
        assert refused.body.startswith(b"Rate limit and/or quota exceeded.")
        assert refused.headers["content-type"] == "text/plain"
        assert "retry-after" not in refused.headers


async def test_the_months_quota_is_per_key_and_opens_with_the_calendar_month_in_amsterdam() -> None:
    limits = {
        "companies": 0,
        "calls_per_month": 2,
        "over_limit_status": 429,
        "over_limit_retry_after": "seconds",
    }
    async with InProcessSandbox(clock="2026-11-30T23:59:00", kvk=limits) as sandbox:
        assert [(await get(sandbox.base_url, PROFILE)).status for _ in range(2)] == [200, 200]
        refused = await get(sandbox.base_url, PROFILE)
        assert (refused.status, refused.headers["retry-after"]) == (429, "60")
        assert b"Quota" in refused.body
        assert (await get(sandbox.base_url, PROFILE, key=KVK_KEYS["main"])).status == 200  # another key
        sandbox.world.clock.advance(60)
        assert (await get(sandbox.base_url, PROFILE)).status == 200
        granted = sandbox.world.kvk.quota.report()
    assert granted == {"main": {"2026-11": 1}, "public-test": {"2026-11": 2, "2026-12": 1}}


async def test_a_quota_may_be_shared_by_all_keys_and_count_paid_calls_only() -> None:
    limits = {"companies": 0, "calls_per_month": 1, "quota_scope": "all", "quota_counts": "paid"}
    async with InProcessSandbox(kvk=limits) as sandbox:
        assert [(await get(sandbox.base_url, SEARCH)).status for _ in range(3)] == [200, 200, 200]
        assert (await get(sandbox.base_url, PROFILE)).status == 200
        assert (await get(sandbox.base_url, PROFILE, key=KVK_KEYS["main"])).status == 503


# --- faults ---


async def test_a_temporary_state_passes_after_so_many_answers(kvk: Sandbox) -> None:
    add_rule(kvk, {"kind": "ipd", "code": "IPD1003"}, number="69599084", operation="basisprofiel", times=2)
    replies = [await get(kvk.base_url, PROFILE) for _ in range(3)]
    assert [code_of(reply) for reply in replies] == ["IPD1003", "IPD1003", ""]
    assert [reply.status for reply in replies] == [404, 404, 200]
    assert (await get(kvk.base_url, NAMING)).status == 200


async def test_a_registry_of_which_every_call_ends_in_404(kvk: Sandbox) -> None:
    add_rule(kvk, {"kind": "ipd"})
    codes = [code_of(await get(kvk.base_url, path)) for path in EVERY_OPERATION]
    assert codes == ["IPD5200", *["IPD0005"] * 4, "IPD0007", "IPD0005"]


async def test_a_code_nobody_has_seen_beside_another_and_nested(kvk: Sandbox) -> None:
    add_rule(kvk, {"kind": "ipd", "code": "IPD4711", "status": 422, "others": ["IPD1002"], "nested": True})
    reply = await get(kvk.base_url, PROFILE)
    assert reply.status == 422
    codes = [entry["code"] for entry in json.loads(reply.body)["meldingen"]["fout"]]
    assert codes == ["IPD1002", "IPD4711"]


@pytest.mark.parametrize(
    ("effect", "status", "content_type", "body"),
    [
        ({"kind": "ipd", "code": "IPD9999"}, 500, "application/json", b'{"fout"'),
        ({"kind": "status", "status": 500}, 500, "text/html", b"<!DOCTYPE"),
        ({"kind": "status", "status": 500, "family": 2}, 500, "application/json", b'{"fout"'),
        ({"kind": "exactly", "status": 500, "content_type": ""}, 500, "", b""),
        (
            {"kind": "throttle", "status": 503, "of": "quota"},
            503,
            "text/plain",
            b"Rate limit and/or quota exceeded. See reason below.\r\nReason: Quota",
        ),
        ({"kind": "throttle", "status": 503}, 503, "text/plain", b"Rate limit and/or quota"),
        ({"kind": "replace", "body": "html"}, 200, "text/html", b"<!DOCTYPE"),
        ({"kind": "head", "content_type": "text/html"}, 200, "text/html", b'{"kvkNummer"'),
        ({"kind": "unauthorized"}, 401, "", b""),
    ],
)
async def test_a_rule_answers_in_place_of_the_profile(
    kvk: Sandbox, effect: dict[str, Any], status: int, content_type: str, body: bytes
) -> None:
    add_rule(kvk, effect, registry="kvk", operation="basisprofiel")
    for _ in range(2):  # it is sticky
        reply = await get(kvk.base_url, PROFILE)
        assert reply.status == status
        assert reply.headers.get("content-type", "") == content_type
        assert reply.body.startswith(body)
    assert (await get(kvk.base_url, NAMING)).status == 200


@pytest.mark.parametrize(
    ("form", "pattern"), [("seconds", "7"), ("date", "Fri, 20 Nov 2026 11:30:07 GMT"), ("none", None)]
)
async def test_a_throttling_tells_its_pause_in_either_form_or_not_at_all(
    kvk: Sandbox, form: str, pattern: str | None
) -> None:
    add_rule(kvk, {"kind": "throttle", "seconds": 7, "retry_after": form})
    reply = await get(kvk.base_url, PROFILE)
    assert (reply.status, reply.headers.get("retry-after")) == (429, pattern)


async def test_a_rule_that_only_one_registry_knows_leaves_the_other_alone(kvk: Sandbox) -> None:
    add_rule(kvk, {"kind": "empty"})
    assert (await get(kvk.base_url, PROFILE)).status == 200
    assert kvk.world.faults.report()[0]["matched"] == 0
    with pytest.raises(ConfigError, match="unknown registry 'kvkk'"):
        kvk.world.faults.add(
            [Rule(effect=rules_from({"effect": {"kind": "ipd"}})[0].effect, match=_match("kvkk"))]
        )


def _match(registry: str) -> Any:
    return rules_from({"effect": {"kind": "ipd"}, "match": {"registry": registry}})[0].match


async def test_a_body_is_cut_or_has_a_wrong_length(kvk: Sandbox) -> None:
    add_rule(kvk, {"kind": "cut", "how": "short"}, operation="basisprofiel")
    reply = await get(kvk.base_url, PROFILE)
    assert len(reply.body) < int(reply.headers["content-length"])
    assert kvk.journal.entries({})[-1].outcome == "cut"


# --- headers ---


async def test_the_gateway_leaks_the_key_in_headers_if_it_is_told_to() -> None:
    async with InProcessSandbox(kvk={"companies": 0, "leaks_key": True, "repeated_hsts": True}) as sandbox:
        reply = await get(sandbox.base_url, PROFILE)
        refused = await get(sandbox.base_url, f"{TEST}/v1/basisprofielen/12345678")
    assert KVK_PUBLIC_TEST_KEY in reply.headers["apiauthzdetails"]
    assert KVK_PUBLIC_TEST_KEY in refused.headers["apiauthzdetails"]
    assert reply.head.lower().count(b"strict-transport-security:") == 2


async def test_bodies_are_packed_for_who_can_unpack_them_and_their_length_counts_packed_bytes() -> None:
    async with InProcessSandbox(kvk={"companies": 0, "gzip": True}) as sandbox:
        plain = await get(sandbox.base_url, PROFILE)
        packed = await get(sandbox.base_url, PROFILE, headers={"Accept-Encoding": "gzip, deflate"})
        error = await get(
            sandbox.base_url, f"{TEST}/v1/basisprofielen/12345678", headers={"Accept-Encoding": "gzip"}
        )
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) == len(packed.body) < len(plain.body)
    assert gzip.decompress(packed.body) == plain.body
    assert b"IPD0005" in gzip.decompress(error.body)


@pytest.mark.parametrize(
    ("variant", "status", "start"),
    [
        ("404-html", 404, b"<!DOCTYPE"),
        ("404-empty", 404, b""),
        ("404-json", 404, b"{"),
        ("410-html", 410, b"<!DOCTYPE"),
    ],
)
async def test_a_retired_version_is_gone_for_every_call_of_it(
    variant: str, status: int, start: bytes
) -> None:
    gone = {"companies": 0, "retired_paths": ["/v2/zoeken*"], "retired_answer": variant}
    async with InProcessSandbox(kvk=gone) as sandbox:
        reply = await get(sandbox.base_url, SEARCH)
        assert (reply.status, code_of(reply)) == (status, "")
        assert reply.body.startswith(start)
        assert (await get(sandbox.base_url, PROFILE)).status == 200
    v1 = await _status_of_v1()
    assert v1 == 404


async def _status_of_v1() -> int:
    async with InProcessSandbox(kvk={"companies": 0}) as sandbox:
        return (await get(sandbox.base_url, f"{TEST}/v1/zoeken?handelsnaam=test")).status


# --- the journal ---


async def test_the_journal_counts_calls_by_operation_key_and_month(kvk: Sandbox) -> None:
    kvk.world.clock.set(parse_instant("2026-10-31T23:59:59+01:00"))
    await get(kvk.base_url, PROFILE)
    kvk.world.clock.advance(1)
    for path in (PROFILE, SEARCH, BRANCH):
        await get(kvk.base_url, path, key=KVK_KEYS["main"])
    await get(kvk.base_url, PROFILE, key="nobody")
    entries = kvk.journal.entries({"registry": "kvk"})
    facts = summarize(entries, 1.0)
    assert facts["by_operation"] == {"basisprofiel": 3, "zoeken": 1, "vestigingsprofiel": 1}
    assert facts["by_key_and_month"] == {
        "kvk/public-test": {"2026-10": {"calls": 1, "paid_calls": 1}},
        "kvk/main": {"2026-11": {"calls": 3, "paid_calls": 2}},
        "unknown": {"2026-11": {"calls": 1, "paid_calls": 1}},
    }
    assert calls_by_path(entries) == {PROFILE: 3, f"{TEST}/v2/zoeken": 1, BRANCH: 1}
    assert [entry.number for entry in entries] == [
        "69599084",
        "69599084",
        "69599084",
        "000038509504",
        "69599084",
    ]


async def test_no_key_reaches_the_journal(kvk: Sandbox) -> None:
    await get(kvk.base_url, PROFILE)
    await get(kvk.base_url, f"{TEST}/v2/zoeken?apikey={KVK_PUBLIC_TEST_KEY}")
    written = msgspec.json.encode(kvk.journal.entries({}))
    assert KVK_PUBLIC_TEST_KEY.encode() not in written
    assert [entry.key_in_url for entry in kvk.journal.entries({})] == [False, True]
