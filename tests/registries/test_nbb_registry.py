"""NBB as one registry: the names on disk, and that it keeps the port."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd import ports
from filingd.core.model import Answer, ResponseHead, Throttled
from filingd.registries.nbb.families import AUTHENTIC
from filingd.registries.nbb.registry import NbbRegistry
from registries.nbb_cases import DATASETS, EXTRACT, FRIDAY, at_age, attempt_by, item_for, rules

if TYPE_CHECKING:
    import datetime as dt

REGISTRY = NbbRegistry([rules()])


def test_it_is_a_registry() -> None:
    registry: ports.Registry = REGISTRY
    assert registry.roots == ("nbb",)
    for name, method in inspect.getmembers(ports.Registry, inspect.isfunction):
        if not name.startswith("_"):
            ours = inspect.signature(getattr(NbbRegistry, name))
            assert list(ours.parameters) == list(inspect.signature(method).parameters)


def test_each_subscription_is_a_lane() -> None:
    assert [lane.name for lane in REGISTRY.lanes()] == ["nbb/extract", "nbb/authentic-archive"]


def test_the_parts_are_bound_to_the_rules() -> None:
    now = at_age(FRIDAY, 1)
    assert REGISTRY.expected(now)[-1] == AUTHENTIC.key_for(FRIDAY, "pdf")
    assert len(REGISTRY.plan(now, {})) == len(REGISTRY.expected(now))
    busy = Answer(ResponseHead(429, {"retry-after": "5"}))
    assert REGISTRY.interpret(item_for(FRIDAY), attempt_by(EXTRACT), busy, {}, now) == Throttled("rate", 5.0)
    judgement = REGISTRY.judge(f"nbb/authentic/{FRIDAY}", {}, now)
    assert judgement is not None
    assert len(judgement.reasons) == 4


def test_only_references_are_looked_into() -> None:
    for dataset in DATASETS:
        plan = REGISTRY.body_plan(AUTHENTIC.key_for(FRIDAY, dataset))
        assert plan.accept == {"zip", "empty_zip", "empty"}
        assert (plan.inspector is not None) == (dataset == "references")


def test_a_body_lies_under_year_month_and_day() -> None:
    target = REGISTRY.target("nbb/authentic/2026-11-20/json")
    assert target == "nbb/authentic/2026/11/2026-11-20/json.zip"


@given(day=st.dates(), dataset=st.sampled_from(DATASETS))
def test_target_and_key_are_inverse(day: dt.date, dataset: str) -> None:
    key = AUTHENTIC.key_for(day, dataset)
    assert REGISTRY.key_of(REGISTRY.target(key)) == key


@pytest.mark.parametrize(
    "target",
    [
        "nbb/authentic/2026/11/2026-11-20/day.json",
        "nbb/authentic/2026/11/2026-11-20/SHA256SUMS",
        "nbb/authentic/2026/11/2026-11-20/other.zip",
        "nbb/authentic/2026/11/2026-11-20/json.zip.part",
        "nbb/authentic/2026/11/2026-11-20/json.v1.zip",
        "nbb/authentic/2026/10/2026-11-20/json.zip",
        "nbb/authentic/2025/11/2026-11-20/json.zip",
        "nbb/authentic/2026/13/2026-13-20/json.zip",
        "nbb/authentic/2026/02/2026-02-30/json.zip",
        "nbb/authentic/2026/11/2026-11-20/json.zip\n",
        "nbb/authentic/\u0662026/11/2026-11-20/json.zip",
        "versions/nbb/authentic/2026/11/2026-11-20/json.zip",
        "nbb/improved/2026/11/2026-11-20/pdf.zip",
        "nbb/invented/2026/11/2026-11-20/json.zip",
        "",
    ],
)
def test_no_other_file_passes_for_a_body(target: str) -> None:
    assert REGISTRY.key_of(target) is None
