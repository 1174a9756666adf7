from __future__ import annotations

from typing import Any

import pytest

from filingd.core.errors import ConfigError
from filingd.sandbox.faults import STAGE_OF_FAMILY, STAGES, FaultBook, Stage, Subject, rules_from


def book(*rules: dict[str, Any]) -> FaultBook:
    made = FaultBook()
    made.add(rules_from(list(rules)))
    return made


def subject(**fields: Any) -> Subject:
    return Subject(
        **{
            "at": 1000.0,
            "registry": "nbb",
            "product": "extract",
            "dataset": "json",
            "date": "2026-11-19",
            "slot": "primary",
            **fields,
        }
    )


def felt(made: FaultBook, count: int, stage: Stage = "body", **fields: Any) -> list[int]:
    """Which of `count` like requests feel something, counted from 1."""
    return [number for number in range(1, count + 1) if made.claim(stage, subject(**fields))]


def test_a_rule_without_a_match_means_every_request() -> None:
    assert felt(book({"effect": {"kind": "cut"}}), 3) == [1, 2, 3]


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({"times": 2}, [1, 2]),
        ({"nth": 3}, [3]),
        ({"skip": 2}, [3, 4, 5, 6]),
        ({"skip": 1, "times": 2}, [2, 3]),
        ({"product": "extract", "dataset": "json"}, [1, 2, 3, 4, 5, 6]),
        ({"dataset": "pdf"}, []),
        ({"date": "2026-11-1?"}, [1, 2, 3, 4, 5, 6]),
        ({"date": "2026-10-*"}, []),
        ({"slot": "secondary"}, []),
        ({"from_at": 1000.5}, []),
        ({"until_at": 1000.0}, []),
        ({"share": 0.0}, []),
    ],
)
def test_counts_globs_and_times_choose_the_requests(match: dict[str, Any], expected: list[int]) -> None:
    assert felt(book({"effect": {"kind": "cut"}, "match": match}), 6) == expected


def test_a_share_is_near_its_number_and_the_same_each_time() -> None:
    rule = {"effect": {"kind": "cut"}, "match": {"share": 0.3}, "id": "bursts"}
    first = felt(book(rule), 1000)
    assert first == felt(book(rule), 1000)
    assert 250 < len(first) < 350


def test_counters_move_only_for_requests_that_match_and_reach_the_stage() -> None:
    made = book({"effect": {"kind": "cut"}, "match": {"dataset": "json", "nth": 2}})
    assert not made.claim("body", subject(dataset="pdf"))
    assert not made.claim("lookup", subject())
    assert felt(made, 3) == [2]
    assert (made.report()[0]["matched"], made.report()[0]["applied"]) == (3, 1)


def test_rules_add_up_and_can_be_taken_away_one_by_one() -> None:
    made = book(
        {"effect": {"kind": "cut"}, "id": "a"}, {"effect": {"kind": "drip", "bytes_per_s": 5}, "id": "b"}
    )
    assert len(made.claim("body", subject())) == 2
    assert made.remove("a")
    assert not made.remove("a")
    assert len(made.claim("body", subject())) == 1
    made.clear()
    assert made.report() == []


def test_a_status_is_met_where_its_family_of_bodies_comes_from() -> None:
    for family, stage in STAGE_OF_FAMILY.items():
        made = book({"effect": {"kind": "status", "status": 503, "family": family}})
        assert [name for name in sorted({*STAGES.values()}) if made.claim(name, subject())] == [stage]


def test_a_mutation_is_a_fact_and_is_not_counted() -> None:
    made = book(
        {"effect": {"kind": "mutate", "change": "removed"}, "match": {"date": "2026-11-19", "from_at": 900}}
    )
    assert made.claim("lookup", subject()) == []
    assert len(made.mutations(subject())) == len(made.mutations(subject())) == 1
    assert made.mutations(subject(at=800.0)) == []
    assert made.report()[0]["matched"] == 0


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"effect": {"kind": "explode"}}, "explode"),
        ({"effect": {"kind": "cut", "hwo": "reset"}}, "hwo"),
        ({"effect": {"kind": "damage", "damage": "moths"}}, "moths"),
        ({"effect": {"kind": "cut"}, "match": {"product": "extracts"}}, "unknown product 'extracts'"),
        ({"effect": {"kind": "cut"}, "match": {"prodcut": "x"}}, "prodcut"),
        ({"effect": {"kind": "mutate", "change": "added"}, "match": {"times": 1}}, "match.times"),
        ({"effect": {"kind": "refuse_accept"}, "match": {"dataset": "pdf"}}, "match.dataset"),
        ({"match": {}}, "effect"),
    ],
)
def test_a_wrong_rule_is_refused_with_what_is_wrong(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        book(rule)


def test_replacing_with_a_wrong_rule_keeps_the_old_ones() -> None:
    made = book({"effect": {"kind": "cut"}})
    with pytest.raises(ConfigError):
        made.replace(rules_from([{"effect": {"kind": "cut"}, "match": {"product": "nonsense"}}]))
    assert len(made.report()) == 1
