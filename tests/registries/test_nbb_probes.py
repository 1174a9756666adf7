"""Probes: the fewest calls for all keys and paths, and what each answer says of both."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.core.checkup import Outcome, is_well
from filingd.core.model import Answer, ResponseHead
from filingd.registries.nbb import probes
from filingd.registries.nbb.probes import Probe, Reading
from filingd.registries.nbb.routes import DEFAULT_OPERATIONS

TODAY = dt.date(2026, 11, 20)
BASE = "https://bank.example/"
NAMES = ("env:ONE", "env:TWO")
PRODUCTS = sorted({product for product, _ in DEFAULT_OPERATIONS})


def answer(status: int, text: bytes = b"") -> Answer:
    return Answer(ResponseHead(status, {}), error_body=text)


@given(product=st.sampled_from(PRODUCTS), keys=st.lists(st.integers(0, 4), unique=True, max_size=4))
def test_every_key_and_every_path_is_used_and_no_call_could_be_left_out(
    product: str, keys: list[int]
) -> None:
    paths = {operation.path for (owner, _), operation in DEFAULT_OPERATIONS.items() if owner == product}
    made = probes.probes(product, DEFAULT_OPERATIONS, BASE, keys, TODAY)
    assert len(made) == (max(len(paths), len(keys)) if keys else 0)
    if keys:
        assert {probe.template for probe in made} == paths
        assert {probe.key_number for probe in made} == set(keys)


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_probe_asks_for_what_its_operation_does_not_offer_by_a_whole_url(product: str) -> None:
    for probe in probes.probes(product, DEFAULT_OPERATIONS, BASE, [0, 1], TODAY):
        offered = {operation.accept for (owner, _), operation in DEFAULT_OPERATIONS.items()
                   if owner == product and operation.path == probe.template}  # fmt: skip
        assert probe.accept not in offered
        assert "{" not in probe.url
        assert probe.url.startswith("https://bank.example/")
        assert "//" not in probe.url.removeprefix("https://")


NO_PATH = b'{ "statusCode": 404, "message": "Resource not found" }'
QUOTA = (
    b'{ "statusCode": 403, "message": "Out of call volume quota. Quota will be replenished in 01:30:00." }'
)
PAGE = b"<html><title>403 Forbidden</title>Microsoft-Azure-Application-Gateway/v2</html>"

ANSWERS = [
    (answer(415), True, True, None),
    (answer(406), True, True, None),
    (answer(404, b'{"title":"WebService Problem"}'), True, True, None),
    (answer(404), True, True, None),
    (answer(400), True, True, None),
    (answer(200), True, True, None),
    (answer(204), True, True, None),
    (answer(401), False, True, None),
    (answer(403, b'{"message": "revoked"}'), False, True, None),
    (answer(404, NO_PATH), None, False, None),
    (answer(429), True, True, "patience"),
    (answer(403, QUOTA), True, True, "1.5 hours"),
    (answer(403, PAGE), None, None, "firewall"),
    (answer(404, PAGE), None, None, "404"),
    (answer(500), None, None, "500"),
    (answer(502, PAGE), None, None, "502"),
    (answer(418), None, None, "418"),
    (Answer(transfer_reason="connect_failed", detail="refused"), None, None, "no connection"),
    (Answer(transfer_reason="tls_failed"), None, None, "certificate"),
    (Answer(transfer_reason="redirected"), None, None, "redirect"),
    (Answer(transfer_reason="head_timeout"), None, None, "idle timeout"),
    (Answer(transfer_reason="bad_response"), None, None, "bad response"),
]


@pytest.mark.parametrize(("given_answer", "key", "path", "trouble"), ANSWERS)
def test_what_an_answer_says(
    given_answer: Answer, key: bool | None, path: bool | None, trouble: str | None
) -> None:
    reading = probes.read("extract", given_answer)
    assert (reading.key_is_good, reading.path_is_known) == (key, path)
    assert (reading.trouble is None) == (trouble is None)
    if reading.trouble is not None:
        assert trouble is not None
        assert trouble in reading.trouble.detail
        assert reading.trouble.remedy


def probe(path: str, key: int) -> Probe:
    return Probe("extract", path, f"https://bank.example{path}", "application/json", key)


def test_a_key_whose_path_is_wrong_is_asked_for_once_more_by_one_that_is_right() -> None:
    tried = [(probe("/wrong", 0), Reading(None, False)), (probe("/right", 1), Reading(True, True))]
    (again,) = probes.second_probes(tried)
    assert (again.template, again.key_number) == ("/right", 0)
    assert probes.second_probes([*tried, (again, Reading(True, True))]) == []
    assert probes.second_probes(tried[:1]) == [], "no path is right"


def test_findings_tell_keys_paths_and_each_trouble_once() -> None:
    trouble = probes.read("extract", answer(502)).trouble
    tried = [
        (probe("/wrong", 0), Reading(None, False)),
        (probe("/right", 1), Reading(False, True)),
        (probe("/right", 0), Reading(True, True)),
        (probe("/third", 0), Reading(None, None, trouble)),
        (probe("/third", 1), Reading(None, None, trouble)),
    ]
    found = {(each.check, each.subject): each.outcome for each in probes.findings("extract", NAMES, tried)}
    assert found == {
        ("key", "nbb/extract key 1 (env:ONE)"): Outcome.OK,
        ("key", "nbb/extract key 2 (env:TWO)"): Outcome.PROBLEM,
        ("path", "nbb/extract /wrong"): Outcome.PROBLEM,
        ("path", "nbb/extract /right"): Outcome.OK,
        ("path", "nbb/extract /third"): Outcome.SKIPPED,
        ("service", "extract"): Outcome.PROBLEM,
    }
    assert not is_well(probes.findings("extract", NAMES, tried))
