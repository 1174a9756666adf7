"""What the bodies of KVK say, whatever shape their links and whatever order their rows have; and when two say the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.registries.kvk.payloads import (
    PayloadError,
    content_digest,
    faults_in,
    read_page,
    read_profile,
)
from registries.kvk_cases import (
    BODIES,
    BRANCH,
    COMPANY,
    OTHER_BRANCH,
    OTHER_COMPANY,
    RSIN,
    address,
    basisprofiel,
    branch,
    links,
    naamgeving,
    results,
    row,
    vestigingen,
)


def facts(part: str, body: object, number: str | None = None) -> dict[str, Any]:
    asked_for = number or (BRANCH if part == "vestigingsprofiel" else COMPANY)
    return dict(read_profile(part, asked_for, json.dumps(body).encode()))


# ------------------------------------------------------------------------------------------------- profiles


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            "basisprofiel",
            {
                "name": "Voorbeeld Molenbouw B.V.",
                "kvk_number": COMPANY,
                "non_mailing": True,
                "shielded": False,
            },
        ),
        ("eigenaar", {"name": None, "kvk_number": COMPANY, "non_mailing": None, "shielded": False}),
        (
            "hoofdvestiging",
            {"name": "Wiekenwerk", "kvk_number": COMPANY, "non_mailing": None, "shielded": False},
        ),
        (
            "vestigingsprofiel",
            {"name": "Wiekenwerk", "kvk_number": COMPANY, "non_mailing": None, "shielded": False},
        ),
        (
            "naamgeving",
            {
                "name": "Stichting Voorbeeldtuin",
                "kvk_number": COMPANY,
                "non_mailing": None,
                "shielded": False,
            },
        ),
        (
            "vestigingen",
            {
                "name": None,
                "kvk_number": COMPANY,
                "non_mailing": None,
                "shielded": False,
                "names": [BRANCH, OTHER_BRANCH],
            },
        ),
    ],
)
def test_each_part_says_whose_it_is_and_what_may_be_done_with_it(part: str, expected: dict[str, Any]) -> None:
    assert facts(part, BODIES[part]) == expected


@pytest.mark.parametrize("part", BODIES)
def test_one_known_field_is_enough(part: str) -> None:
    kept = next(iter(BODIES[part].items()))
    assert facts(part, dict([kept]))["shielded"] is False


@pytest.mark.parametrize(
    ("text", "says"), [("Ja", True), ("Nee", False), ("JA", True), ("", None), (None, None), (True, None)]
)
def test_the_non_mailing_indicator_is_what_it_says_and_nothing_else(text: object, says: bool | None) -> None:
    assert facts("vestigingsprofiel", branch(indNonMailing=text))["non_mailing"] is says


def test_fields_that_nobody_knows_are_no_fault() -> None:
    assert facts("basisprofiel", basisprofiel(nieuwVeld={"a": [1]})) == facts("basisprofiel", basisprofiel())


def test_a_company_without_branches_may_list_none_in_any_way() -> None:
    for body in (vestigingen(), {"kvkNummer": COMPANY}, {"kvkNummer": COMPANY, "vestigingen": None}):
        assert facts("vestigingen", body)["names"] == []


def test_branches_without_a_number_are_passed_over() -> None:
    assert (
        facts("vestigingen", vestigingen(BRANCH) | {"vestigingen": [{}, None, {"vestigingsnummer": "x"}]})[
            "names"
        ]
        == []
    )


@pytest.mark.parametrize(
    ("part", "body"),
    [
        ("basisprofiel", basisprofiel(kvkNummer=OTHER_COMPANY)),
        ("vestigingen", vestigingen() | {"kvkNummer": OTHER_COMPANY}),
        ("naamgeving", naamgeving() | {"kvkNummer": OTHER_COMPANY}),
        ("hoofdvestiging", branch(kvkNummer=OTHER_COMPANY)),
        ("vestigingsprofiel", branch(OTHER_BRANCH)),
    ],
)
def test_a_body_about_another_number_is_refused(part: str, body: object) -> None:
    with pytest.raises(PayloadError, match="was asked for"):
        facts(part, body)


@pytest.mark.parametrize("part", BODIES)
@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b"1", b'"a"', b"{", b"\xff", b"{}", b'{"links":[]}', b'{"title":"x"}']
)
def test_what_is_no_profile_is_refused_in_words(part: str, data: bytes) -> None:
    with pytest.raises(PayloadError, match=r"\.$"):
        read_profile(part, COMPANY, data)


def test_an_error_under_a_200_is_named() -> None:
    with pytest.raises(PayloadError, match="IPD1003"):
        facts("basisprofiel", {"fout": [{"code": "IPD1003"}]})


FIELDS = ["kvkNummer", "naam", "vestigingen", "resultaten", "totaal", "indAfgeschermd", "fout", "x"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(FIELDS), inner),
)


@given(JSON)
def test_whatever_json_arrives_is_read_or_refused(value: object) -> None:
    data = json.dumps(value).encode()
    for read in (read_page, lambda one: read_profile("vestigingen", COMPANY, one)):
        try:
            read(data)
        except PayloadError:
            continue
    faults_in(data)
    assert content_digest(data) is not None


# ------------------------------------------------------------------------------------------------- results


@pytest.mark.parametrize("hal", [False, True])
def test_rows_of_results_are_told_by_number_branch_and_type(hal: bool) -> None:
    rows = [
        row(COMPANY, BRANCH, "hoofdvestiging", hal=hal),
        row(COMPANY, hal=hal),
        row(OTHER_COMPANY, hal=hal),
        row(COMPANY, hal=hal),
    ]
    assert read_page(json.dumps(results(rows, 4711, hal=hal)).encode()) == {
        "totaal": 4711,
        "rows": [[COMPANY, BRANCH, "hoofdvestiging"], [COMPANY, "", "rechtspersoon"], [OTHER_COMPANY, "", "rechtspersoon"],
                 [COMPANY, "", "rechtspersoon"]],
        "names": [COMPANY, OTHER_COMPANY],
    }  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        {"resultaten": []}, {"totaal": "5", "resultaten": []}, {"totaal": -1}, {"totaal": True},
        {"totaal": 1, "resultaten": {}}, {"totaal": 1, "resultaten": [None]}, {"totaal": 1, "resultaten": [{}]},
        {"totaal": 1, "resultaten": [{"kvkNummer": "123456789"}]}, {"fout": [{"code": "IPD5200"}]},
    ],
)  # fmt: skip
def test_what_is_no_page_of_results_is_refused(body: object) -> None:
    with pytest.raises(PayloadError, match=r"\.$"):
        read_page(json.dumps(body).encode())


def test_no_rows_may_be_left_out() -> None:
    assert read_page(b'{"totaal": 0}') == {"totaal": 0, "rows": [], "names": []}


# ------------------------------------------------------------------------------------------------- the same content


def turned(value: object, order: Any) -> object:
    """The same content in another order of keys and rows."""
    if isinstance(value, dict):
        names = list(value)
        order.shuffle(names)
        return {name: turned(value[name], order) for name in names}
    if isinstance(value, list):
        rows = [turned(one, order) for one in value]
        order.shuffle(rows)
        return rows
    return value


BODIES_AND_PAGES = [
    *BODIES.values(),
    results([row(), row(OTHER_COMPANY), row(COMPANY, BRANCH, "hoofdvestiging")]),
]


@given(st.sampled_from(BODIES_AND_PAGES), st.randoms(use_true_random=False))
def test_order_says_nothing(body: object, order: Any) -> None:
    assert content_digest(json.dumps(turned(body, order), indent=1).encode()) == content_digest(
        json.dumps(body).encode()
    )


def digest(body: object) -> bytes | None:
    return content_digest(json.dumps(body).encode())


def test_links_of_either_shape_say_nothing_at_any_level() -> None:
    without = {name: value for name, value in branch().items() if name != "links"}
    assert digest(branch()) == digest(branch(hal=True)) == digest(without)
    assert (
        digest(basisprofiel())
        == digest(basisprofiel(hal=True))
        == digest(basisprofiel(**links("self", "more")))
    )
    assert digest(results([row()])) == digest(results([row(hal=True)], hal=True))
    assert digest(results([row()])) == digest(
        results([row()]) | {"volgende": "https://kvk.example.invalid/2"}
    )


def test_runs_of_blanks_in_a_full_address_say_nothing() -> None:
    assert digest(branch(adressen=[address(blanks=" " * 30)])) == digest(branch(adressen=[address()]))
    assert digest(branch(eersteHandelsnaam="Wieken  werk")) != digest(branch(eersteHandelsnaam="Wieken werk"))


@pytest.mark.parametrize(
    "change",
    [
        {"indNonMailing": "Ja"},
        {"eersteHandelsnaam": "Ander"},
        {"adressen": [address("Ja")]},
        {"rsin": RSIN},
        {"websites": []},
    ],
)
def test_whatever_else_changes_is_another_content(change: dict[str, Any]) -> None:
    assert digest(branch(**change)) != digest(branch())


def test_a_row_that_comes_twice_is_not_one_that_comes_once() -> None:
    assert digest(results([row(), row()], 2)) != digest(results([row()], 2))


@pytest.mark.parametrize("data", [b"", b"{", b"<html>"])
def test_what_is_no_json_has_no_digest(data: bytes) -> None:
    assert content_digest(data) is None


# ------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("data", "codes"),
    [
        (b'{"fout":[{"code":"IPD0005","omschrijving":"x"}]}', ["IPD0005"]),
        (b'\xef\xbb\xbf{"fout":[{"code":"IPD0005"}]}', ["IPD0005"]),
        (b'{"meldingen":{"fout":[{"code":"IPD0005"},{"code":"IPD1002"}]}}', ["IPD0005", "IPD1002"]),
        (b'{"fout":{"code":"IPD0005"}}', ["IPD0005"]),
        (b'{"fout":[{"code":" ipd0005 "}]}', ["IPD0005"]),
        (b'{"fout":[{"omschrijving":"x"},null,{"code":5},{"code":"IPD0005"}]}', ["IPD0005"]),
        (b'{"fout":[{"code":"IPD0005"},{"co', ["IPD0005"]),
        (b'{"code":"IPD0005"}', []),
        (b'{"fout":[]}', []),
        (b"", []),
        (b"<html>IPD0005</html>", []),
        (b"Rate limit", []),
        (b"[1]", []),
    ],
)
def test_codes_are_found_at_top_level_and_in_messages(data: bytes, codes: list[str]) -> None:
    assert [fault.code for fault in faults_in(data)] == codes
