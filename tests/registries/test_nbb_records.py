"""The record of a single filing: asked for where the references of a day do not say whose it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from filingd.core.kinds import examine_document
from filingd.core.model import (
    Answer,
    Attempt,
    Deferral,
    Failed,
    LaneSpec,
    Nothing,
    ResponseHead,
    Stored,
    Version,
)
from filingd.registries.nbb.registry import NbbRegistry
from registries.nbb_cases import FRIDAY, at_age, rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filingd.core.model import Member

REGISTRY = NbbRegistry([rules()], LaneSpec("nbb/authentic-query", 1.0))
NOW = at_age(FRIDAY, 1)
REFERENCE, NUMBER = "2026-00999001", "0999000129"
KEY = f"nbb/records/{REFERENCE}/reference"
RECORD = (
    b'{"ReferenceNumber":"2026-00999001","DepositDate":"2026-06-24","EnterpriseNumber":"0999000129",'
    b'"EnterpriseName":"VOORBEELD ALFA","ModelType":"m87-f"}'
)


class Body:
    """A stored file that is no zip."""

    members: Sequence[Member] = ()

    def read(self, member: Member | None = None) -> bytes:
        assert member is None
        return RECORD


def test_a_parked_filing_is_asked_for_by_its_reference_with_the_key_of_the_authentic_query() -> None:
    item = REGISTRY.resolving(REFERENCE, NOW)
    assert item is not None
    assert (item.key, item.lane, item.due_at) == (KEY, "nbb/authentic-query", NOW)
    attempt = REGISTRY.request(item, NOW)
    assert isinstance(attempt, Attempt)
    assert attempt.url == f"https://ws.example.invalid/authentic/deposit/{REFERENCE}/reference"
    assert ("Accept", "application/json") in attempt.headers
    assert attempt.is_document


def test_without_that_subscription_nothing_is_asked() -> None:
    registry = NbbRegistry([rules()])
    assert registry.resolving(REFERENCE, NOW) is None
    item = REGISTRY.resolving(REFERENCE, NOW)
    assert item is not None
    assert isinstance(registry.request(item, NOW), Deferral)


@pytest.mark.parametrize("reference", ["2026-1/..", "x", "", "2026-00999001 "])
def test_what_cannot_be_a_reference_is_never_asked_for(reference: str) -> None:
    assert REGISTRY.resolving(reference, NOW) is None


@pytest.mark.parametrize(
    ("status", "data", "verdict"),
    [
        (200, RECORD, Stored),
        (200, b'{"statusCode":500,"message":"try again"}', Failed),
        (
            404,
            b'{"violations":[{"messageKey":"reference.number.not.found","defaultMessage":"No deposit found"}]}',
            Nothing,
        ),
    ],
)
def test_an_answer_counts_if_it_speaks_of_the_filing(status: int, data: bytes, verdict: type) -> None:
    item = REGISTRY.resolving(REFERENCE, NOW)
    assert item is not None
    attempt = REGISTRY.request(item, NOW)
    assert isinstance(attempt, Attempt)
    head = ResponseHead(status, {})
    body = examine_document(data, attempt.body) if status == 200 else None
    answer = Answer(head, body, b"" if body else data)
    assert isinstance(REGISTRY.interpret(item, attempt, answer, {}, NOW), verdict)


def test_the_record_says_whose_the_filing_is() -> None:
    version = Version(
        KEY, 1, REGISTRY.target(KEY), len(RECORD), b"\x01" * 32, NOW, "authentic-query/record", "r-1"
    )
    contribution = REGISTRY.contribution(version, Body())
    assert contribution is not None
    (filing,) = contribution.filings
    assert (filing.reference, filing.enterprise) == (REFERENCE, NUMBER)
    assert (contribution.source.family, contribution.source.published_on) == ("nbb/authentic", None)


def test_its_place_is_found_from_its_key_and_back() -> None:
    assert REGISTRY.target(KEY) == "nbb/records/2026/00999/2026-00999001.reference.json"
    assert REGISTRY.key_of(REGISTRY.target(KEY)) == KEY
    assert REGISTRY.key_of("nbb/records/2026/00998/2026-00999001.reference.json") is None
    assert REGISTRY.judge(KEY.rpartition("/")[0], {}, NOW) is None
    item = REGISTRY.resolving(REFERENCE, NOW)
    assert item is not None
    assert REGISTRY.recheck_at(item, NOW) is None
