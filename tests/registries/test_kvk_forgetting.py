"""What of KVK's bodies is of a forgotten number: its own records, its branches, its rows in lists of others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.core.catalogue import NOTHING_FORGOTTEN, Forgotten
from filingd.core.kinds import examine_document
from filingd.core.model import Stored
from filingd.registries.kvk.forgetting import is_forgotten, scrub, subject_of
from registries.kvk_cases import (
    BODIES,
    BRANCH,
    COMPANY,
    OTHER_BRANCH,
    OTHER_COMPANY,
    RSIN,
    basisprofiel,
    branch,
    item,
    naamgeving,
    page,
    registry,
    results,
    row,
    verdict,
    vestigingen,
)
from registries.kvk_cases import (
    given as given_body,
)

OF_COMPANY = Forgotten(enterprises=frozenset({COMPANY}))
OF_RSIN = Forgotten(enterprises=frozenset({RSIN}))
OF_BRANCH = Forgotten(references=frozenset({BRANCH}))
PAGE = page("molens-12345678").key
MARK = {"forgotten": True}


def scrubbed(key: str, forgotten: Forgotten, body: object) -> tuple[Any, set[str]]:
    """What is left of a body (None: all of it), and what was found."""
    made = scrub(key, forgotten)
    assert made is not None
    left = made.document(json.dumps(body).encode())
    return None if left is None else json.loads(left), set(made.found)


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        (COMPANY, (COMPANY, True)),
        ("9900 00.11", (COMPANY, True)),
        (RSIN, (RSIN, True)),
        ("859123456", None),  # fails its check: it may be a number of another registry
        (BRANCH, (BRANCH, False)),
        ("0403101811", None),  # a Belgian number, not a branch that lacks two zeros
        ("403101811", None),
        ("1012345", None),
        ("2026-00999001", None),
        ("ACME", None),
        ("", None),
    ],
)
def test_what_an_operator_means_is_told_by_its_whole_length(
    text: str, subject: tuple[str, bool] | None
) -> None:
    assert subject_of(text) == subject
    assert registry().subject_of(text) == subject


@pytest.mark.parametrize(
    ("key", "forgotten", "gone"),
    [
        (f"kvk/numbers/{COMPANY}/basisprofiel", OF_COMPANY, True),
        (f"kvk/numbers/{COMPANY}/vestigingen", OF_COMPANY, True),
        (f"kvk/numbers/{OTHER_COMPANY}/basisprofiel", OF_COMPANY, False),
        (f"kvk/numbers/{BRANCH}/vestigingsprofiel", OF_COMPANY, False),  # until it is learned whose it is
        (f"kvk/numbers/{BRANCH}/vestigingsprofiel", OF_BRANCH, True),
        (f"kvk/numbers/{COMPANY}/hoofdvestiging", OF_BRANCH, False),
        (f"kvk/numbers/{RSIN}/zoeken", OF_RSIN, True),
        (PAGE, OF_COMPANY, False),
    ],
)
def test_an_item_goes_as_a_whole_if_its_key_names_the_number(
    key: str, forgotten: Forgotten, gone: bool
) -> None:
    assert is_forgotten(key, forgotten) is gone


def test_as_long_as_nothing_is_forgotten_no_body_is_looked_at() -> None:
    assert scrub(PAGE, NOTHING_FORGOTTEN) is None
    assert scrub("nbb/authentic/2026-11-20/json", OF_COMPANY) is None


# ------------------------------------------------------------------------------------------------- what bodies tell


@pytest.mark.parametrize("forgotten", [OF_COMPANY, Forgotten(references=frozenset({COMPANY}))])
@pytest.mark.parametrize("part", BODIES)
def test_the_records_of_a_company_go_and_tell_its_branches(part: str, forgotten: Forgotten) -> None:
    number = BRANCH if part == "vestigingsprofiel" else COMPANY
    left, found = scrubbed(f"kvk/numbers/{number}/{part}", forgotten, BODIES[part])
    branches = {"eigenaar": set(), "vestigingen": {BRANCH, OTHER_BRANCH}}.get(part, {BRANCH})
    assert left == MARK
    assert found == branches


@pytest.mark.parametrize("part", ["basisprofiel", "eigenaar", "naamgeving"])
def test_an_rsin_that_is_forgotten_takes_its_company_along(part: str) -> None:
    left, found = scrubbed(f"kvk/numbers/{COMPANY}/{part}", OF_RSIN, BODIES[part])
    assert left == MARK
    assert COMPANY in found


@pytest.mark.parametrize("body", [branch(rsin=RSIN), branch(kvkNummer=COMPANY, rsin=RSIN)])
def test_a_branch_that_tells_a_forgotten_rsin_goes(body: dict[str, Any]) -> None:
    left, found = scrubbed(f"kvk/numbers/{BRANCH}/vestigingsprofiel", OF_RSIN, body)
    assert left == MARK
    assert {COMPANY, BRANCH} <= found


def test_a_branch_that_is_forgotten_goes_out_of_the_lists_of_its_company_which_stays() -> None:
    left, found = scrubbed(f"kvk/numbers/{COMPANY}/vestigingen", OF_BRANCH, vestigingen(BRANCH, OTHER_BRANCH))
    assert [one["vestigingsnummer"] for one in left["vestigingen"]] == [OTHER_BRANCH]
    assert found == set()
    left, found = scrubbed(f"kvk/numbers/{COMPANY}/naamgeving", OF_BRANCH, naamgeving(BRANCH, OTHER_BRANCH))
    assert [one["vestigingsnummer"] for one in left["vestigingen"]] == [OTHER_BRANCH]
    left, found = scrubbed(f"kvk/numbers/{COMPANY}/basisprofiel", OF_BRANCH, basisprofiel())
    assert set(left["_embedded"]) == {"eigenaar"}
    assert left["naam"] == basisprofiel()["naam"]
    assert scrubbed(f"kvk/numbers/{COMPANY}/hoofdvestiging", OF_BRANCH, branch()) == (MARK, set())


@pytest.mark.parametrize("key", [PAGE, f"kvk/numbers/{RSIN}/zoeken"])
def test_rows_of_a_forgotten_company_leave_a_mark_and_tell_its_branches(key: str) -> None:
    rows = [row(OTHER_COMPANY), row(COMPANY, BRANCH, "hoofdvestiging"), row(COMPANY)]
    left, found = scrubbed(key, OF_COMPANY, results(rows, 3))
    assert left["resultaten"] == [row(OTHER_COMPANY), MARK, MARK]
    assert left["totaal"] == 3
    assert found == {BRANCH}


def test_a_row_of_a_forgotten_branch_goes_alone() -> None:
    rows = [row(COMPANY, BRANCH, "hoofdvestiging"), row(COMPANY)]
    assert scrubbed(PAGE, OF_BRANCH, results(rows)) == (
        results(rows) | {"resultaten": [MARK, row(COMPANY)]},
        set(),
    )


def test_what_is_of_others_stays_as_it_is() -> None:
    for key, body in (
        (PAGE, results([row(OTHER_COMPANY)])),
        (f"kvk/numbers/{OTHER_COMPANY}/eigenaar", BODIES["eigenaar"]),
    ):
        assert scrubbed(key, OF_COMPANY, body) == (None, set())


@pytest.mark.parametrize("data", [b"", b"<html>", b"[1]", b'{"resultaten"', b"\xff"])
def test_what_cannot_be_read_is_told_by_the_number_alone(data: bytes) -> None:
    made = scrub(PAGE, OF_COMPANY)
    assert made is not None
    assert made.document(data) is None
    assert made.names(data + b' "99000011" ') is True
    assert made.names(data + b' "990000110" 199000011') is False
    assert (made.is_hidden_in("zip"), made.is_hidden_in("other")) == (True, False)


# ------------------------------------------------------------------------------------------------- what is left


@pytest.mark.parametrize(
    ("key", "body"),
    [
        (PAGE, results([row(COMPANY), row(OTHER_COMPANY)])),
        (f"kvk/numbers/{COMPANY}/hoofdvestiging", branch()),
        (f"kvk/numbers/{COMPANY}/basisprofiel", basisprofiel()),
        (f"kvk/numbers/{COMPANY}/vestigingen", vestigingen(BRANCH)),
    ],
)
def test_what_is_left_is_sound_and_scrubbing_it_again_changes_nothing(key: str, body: object) -> None:
    for forgotten in (OF_COMPANY, OF_BRANCH):
        made = scrub(key, forgotten)
        assert made is not None
        left = made.document(json.dumps(body).encode())
        if left is None:
            continue
        assert made.document(left) is None
        assert examine_document(left, registry().body_plan(key)).problem is None


def test_what_is_left_of_a_branch_that_is_gone_is_compared_and_not_taken_for_damaged() -> None:
    of, wanted = registry(), item("hoofdvestiging")
    answer = given_body(of, wanted, MARK)
    assert answer.body is not None
    assert answer.body.facts == {"left_out": 1}
    assert isinstance(verdict(of, wanted, answer), Stored)


ROWS = st.lists(
    st.builds(row, st.sampled_from([COMPANY, OTHER_COMPANY]), st.sampled_from(["", BRANCH, OTHER_BRANCH])),
    max_size=8,
)


@given(ROWS, st.sampled_from([OF_COMPANY, OF_BRANCH, OF_RSIN]))
def test_nothing_of_what_is_forgotten_is_left_and_everything_else_is(
    rows: list[Any], forgotten: Forgotten
) -> None:
    gone = forgotten.enterprises | forgotten.references
    left, _ = scrubbed(PAGE, forgotten, results(rows))
    kept = [one for one in rows if one["kvkNummer"] not in gone and one.get("vestigingsnummer") not in gone]
    if left is None:
        assert kept == rows
        return
    assert [one for one in left["resultaten"] if one != MARK] == kept
    assert len(left["resultaten"]) == len(rows)
    made = scrub(PAGE, forgotten)
    assert made is not None
    assert not made.names(json.dumps(left).encode())
