"""Which free call shows that a key of KVK works, and what its answer says."""

from __future__ import annotations

import json

import pytest

from filingd.core.checkup import Outcome, is_well
from filingd.core.model import Answer
from filingd.registries.kvk import probes
from filingd.registries.kvk.operations import DEFAULT_PATHS
from registries.kvk_cases import RULES, fault, results, row, said

PAGE = said(200, json.dumps(results([row()])).encode())


def found(answer: Answer) -> dict[str, Outcome]:
    """What is found with one key, by the kind of check."""
    rules = RULES
    probe = probes.probes(rules)[0]
    return {one.check: one.outcome for one in probes.findings(rules, [(probe, probes.read(answer))])}


def test_each_key_is_tried_once_by_a_search_which_is_free() -> None:
    made = probes.probes(RULES)
    assert [(one.account, one.key_name) for one in made] == [
        ("main", "credential:kvk"),
        ("second", "credential:kvk-2"),
    ]
    for one in made:
        assert one.url.startswith(f"{RULES.base_url}{DEFAULT_PATHS['zoeken']}?")
        assert "resultatenPerPagina=1" in one.url
        assert not any(
            path.partition("{")[0] in one.url for part, path in DEFAULT_PATHS.items() if part != "zoeken"
        )


@pytest.mark.parametrize("answer", [PAGE, said(200, b'{"totaal": 0}'), fault("IPD5200")])
def test_results_and_none_of_them_show_that_key_and_path_are_right(answer: Answer) -> None:
    assert found(answer) == {"key": Outcome.OK, "path": Outcome.OK}


def test_a_refused_key_is_a_problem_and_says_where_to_put_the_right_one() -> None:
    probe = probes.probes(RULES)[0]
    (finding,) = probes.findings(RULES, [(probe, probes.read(said(401)))])
    assert (finding.outcome, finding.subject) == (Outcome.PROBLEM, "kvk/main (credential:kvk)")
    assert "[kvk.keys.main]" in finding.remedy


@pytest.mark.parametrize("answer", [said(404), said(404, b"<html>"), said(410)])
def test_a_path_that_is_gone_is_a_problem_of_the_path_alone(answer: Answer) -> None:
    assert found(answer) == {"key": Outcome.SKIPPED, "path": Outcome.PROBLEM}


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (said(403, b"nee"), Outcome.PROBLEM),
        (said(429), Outcome.REMARK),
        (said(500), Outcome.PROBLEM),
        (said(503, b"Rate limit"), Outcome.PROBLEM),
        (fault("IPD9999", 500), Outcome.PROBLEM),
        (fault("IPD1999", 400), Outcome.PROBLEM),
        (fault("IPD1003", 404), Outcome.PROBLEM),
        (Answer(transfer_reason="connect_failed"), Outcome.PROBLEM),
        (Answer(transfer_reason="tls_failed", detail="self-signed"), Outcome.PROBLEM),
        (Answer(transfer_reason="stalled"), Outcome.PROBLEM),
        (Answer(), Outcome.PROBLEM),
    ],
)
def test_whatever_else_is_said_is_told_as_the_services_own(answer: Answer, outcome: Outcome) -> None:
    assert found(answer) == {"key": Outcome.SKIPPED, "service": outcome}


@pytest.mark.parametrize("body", [b"", b"<html>Welkom</html>", b"{}", b'{"fout":[{"code":"IPD1003"}]}'])
def test_a_200_that_is_no_page_is_told(body: bytes) -> None:
    assert found(said(200, body))["service"] is Outcome.PROBLEM


def test_the_same_trouble_is_told_once_for_all_keys() -> None:
    tried = [(probe, probes.read(said(500))) for probe in probes.probes(RULES)]
    findings = probes.findings(RULES, tried)
    assert [one.check for one in findings] == ["key", "key", "service"]
    assert not is_well(findings)
