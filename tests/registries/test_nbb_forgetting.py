"""What of the bank's bodies is of a forgotten filing or enterprise: by key, by name, by record, in lists and alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.core.catalogue import NOTHING_FORGOTTEN, Forgotten
from filingd.core.forgetting import Fate
from filingd.core.model import Member
from filingd.registries.nbb.forgetting import NbbScrub, is_forgotten, scrub, subject_of

REF, OTHER, FIRM = "2026-00999001", "2026-00999002", "0403101811"
OF_REF = Forgotten(references=frozenset({REF}))
OF_FIRM = Forgotten(enterprises=frozenset({FIRM}))


def record(reference: str = REF, number: str | None = "0202239951", **more: Any) -> dict[str, Any]:
    return {"ReferenceNumber": reference, "EnterpriseNumber": number, "ModelType": "m02-f", **more}


def member(name: str, note: str | None = None) -> Member:
    return Member(name, 0, 1, 1, 0, 8, note)


def fate(forgotten: Forgotten, name: str, told: Any, dataset: str = "references") -> tuple[Any, set[str]]:
    made = scrub(f"nbb/authentic/2026-11-20/{dataset}", forgotten)
    assert made is not None
    data = told if isinstance(told, bytes) else json.dumps(told).encode()
    return made.member(name, data if made.wants(name) else None), set(made.found)


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        (REF, (REF, False)),
        (f"  {REF} ", (REF, False)),
        ("0403.101.811", (FIRM, True)),
        ("BE 403101811", (FIRM, True)),
        ("0403101812", None),  # check digits
        ("ACME", None),
        ("", None),
        ("2026-", None),
    ],
)
def test_what_an_operator_means_is_told_by_its_shape(text: str, subject: tuple[str, bool] | None) -> None:
    assert subject_of(text) == subject


@pytest.mark.parametrize(
    ("key", "forgotten", "gone"),
    [
        (f"nbb/documents/{REF}/json", OF_REF, True),
        (f"nbb/improved-documents/{REF}/corrected", OF_REF, True),
        (f"nbb/documents/{OTHER}/json", OF_REF, False),
        (f"nbb/documents/{REF}/json", OF_FIRM, False),
        (f"nbb/enterprises/{FIRM}/references", OF_FIRM, True),
        (f"nbb/enterprises/{FIRM}/improved", OF_FIRM, True),
        (f"nbb/enterprises/{FIRM}/references", OF_REF, False),
        ("nbb/authentic/2026-11-20/json", OF_REF | OF_FIRM, False),
    ],
)
def test_items_of_one_filing_or_enterprise_go_as_a_whole(key: str, forgotten: Forgotten, gone: bool) -> None:
    assert is_forgotten(key, forgotten) is gone


@pytest.mark.parametrize(
    ("key", "has"),
    [
        ("nbb/authentic/2026-11-20/json", True),
        ("nbb/improved/2026-11-20/references", True),
        (f"nbb/enterprises/{FIRM}/references", True),
        (f"nbb/documents/{OTHER}/json", False),
        (f"nbb/improved-documents/{OTHER}/corrected", False),
    ],
)
def test_only_bodies_of_many_filings_are_looked_into(key: str, has: bool) -> None:
    assert (scrub(key, OF_REF) is not None) is has
    assert scrub(key, NOTHING_FORGOTTEN) is None


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        (f"{REF}.xbrl", True),
        (f"some/folder/{REF}.xbrl", True),
        (f"{REF}/", True),
        (f"{REF}/accounts.pdf", True),
        (f"{REF}-aa-ocr-authentic.json", True),
        (f"prefix-{REF}.pdf", True),
        (f"{OTHER}.xbrl", False),
        (f"{REF}1.xbrl", False),
        (f"1{REF}.xbrl", False),
        ("readme.txt", False),
    ],
)
def test_a_document_is_told_by_its_members_name(name: str, gone: bool) -> None:
    made = scrub("nbb/authentic/2026-11-20/xbrl", OF_REF)
    assert made is not None
    assert made.member(name, None) is (Fate.GONE if gone else Fate.KEPT)
    assert made.suspects(member(name)) is gone
    assert not made.wants(name), "no document is ever read"


@pytest.mark.parametrize("name", [f"{REF}.json", f"{REF}-reference.json", "all.json", f"{OTHER}.json"])
def test_a_record_is_told_by_its_reference_whatever_its_member_is_called(name: str) -> None:
    assert fate(OF_REF, name, record()) == (Fate.GONE, set())


def test_a_member_named_after_it_goes_even_if_nothing_in_it_is_understood() -> None:
    assert fate(OF_REF, f"{REF}.json", b"no json") == (Fate.GONE, set())
    assert fate(OF_REF, f"{OTHER}.json", b"no json") == (Fate.KEPT, set())


@pytest.mark.parametrize("number", [FIRM, "403101811", "BE 0403.101.811", 403101811])
def test_records_of_a_forgotten_enterprise_go_and_tell_their_references(number: Any) -> None:
    assert fate(OF_FIRM, f"{REF}.json", record(number=number)) == (Fate.GONE, {REF})
    assert fate(OF_FIRM | OF_REF, f"{REF}.json", record(number=number)) == (Fate.GONE, set())


def test_a_record_goes_out_of_its_list_and_the_others_stay_as_they_were_written() -> None:
    listed = b'\xef\xbb\xbf[{"ReferenceNumber": "%s",  "X": 1.50},\n {"ReferenceNumber":"%s"}, {"ReferenceNumber":"2026-3"}]'
    data = listed % (OTHER.encode(), REF.encode())
    left, _ = fate(OF_REF, "all.json", data)
    assert left == b'[{"ReferenceNumber": "%s",  "X": 1.50},\n{"ReferenceNumber":"2026-3"}]' % OTHER.encode()


def test_an_answer_about_another_enterprise_loses_the_record_alone() -> None:
    made = scrub("nbb/enterprises/0202239951/references", OF_REF)
    assert made is not None
    assert made.document(json.dumps([record()]).encode()) == b"[]"
    assert made.document(json.dumps([record(OTHER)]).encode()) is None
    assert made.document(b"no json") is None


RECORDS = st.lists(
    st.tuples(st.sampled_from([REF, OTHER, "2026-00000003"]), st.sampled_from([FIRM, "0202239951", None])),
    min_size=1,
    max_size=6,
)


@given(RECORDS)
def test_what_is_left_of_a_list_has_nothing_forgotten_in_it_and_all_else(
    drawn: list[tuple[str, str | None]],
) -> None:
    told = [record(reference, number, Row=row) for row, (reference, number) in enumerate(drawn)]
    kept = [one for one in told if one["ReferenceNumber"] != REF and one["EnterpriseNumber"] != FIRM]
    left, found = fate(OF_REF | OF_FIRM, "all.json", told)
    if kept == told:
        assert left is Fate.KEPT
    else:
        assert (json.loads(left) if left is not Fate.GONE else []) == kept
    assert found == {reference for reference, number in drawn if number == FIRM} - {REF}


def test_the_index_says_which_references_zips_have_to_be_read() -> None:
    of_ref, of_firm = NbbScrub(OF_REF, has_records=True), NbbScrub(OF_FIRM, has_records=True)
    assert of_ref.suspects(member("all.json", f"{OTHER} m02-f\n{REF} m02-f"))
    assert not of_ref.suspects(member("all.json", f"{OTHER} m02-f"))
    assert of_ref.suspects(member("all.json"))  # an index made anew has no notes
    assert of_firm.suspects(member(f"{OTHER}.json", f"{OTHER} m02-f")), "whose it is, only the record says"
    assert not of_firm.suspects(member("readme.txt"))


def test_what_cannot_be_read_is_judged_by_what_can_be_seen_of_it() -> None:
    documents, records = NbbScrub(OF_REF, has_records=False), NbbScrub(OF_REF, has_records=True)
    assert documents.names(b"PK\x03\x04...2026-00999001.xbrl...")
    assert not documents.names(b"PK\x03\x04...2026-009990012.xbrl...")
    assert (documents.is_hidden_in("zip"), records.is_hidden_in("zip"), records.is_hidden_in("html")) == (
        False, True, False,
    )  # fmt: skip


def test_all_records_of_an_answer_about_a_forgotten_enterprise_are_its_own() -> None:
    made = scrub(f"nbb/enterprises/{FIRM}/references", OF_FIRM)
    assert made is not None
    made.document(json.dumps([record(number=None), record(OTHER, number="0202239951")]).encode())
    assert set(made.found) == {REF, OTHER}
