"""When a day may be sealed, what keeps it open, and when it is looked at again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from filingd.core.model import Holding, Judgement, State
from filingd.core.seal import seal_text
from filingd.registries.nbb import sealing
from registries.nbb_cases import (
    DATASETS,
    DAY_S,
    FRIDAY,
    HOUR_S,
    SUNDAY,
    agreeing_day,
    at_age,
    files,
    holding,
    listing,
    member,
    rules,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from filingd.registries.nbb.rules import NbbRules

GROUP = f"nbb/authentic/{FRIDAY.isoformat()}"
NOW = at_age(FRIDAY, 1)
FILINGS = {"2026-00000001": "m01-f", "2026-00000002": "m87-f", "2026-00000003": "m02-f-p"}
A, B, P = FILINGS


def judge(
    holdings: Mapping[str, Holding],
    now: float = NOW,
    configured: NbbRules | None = None,
    twin: str | None = None,
) -> Judgement:
    return sealing.judge(configured or rules(), GROUP, holdings, now, twin)


def day(**changes: Holding) -> dict[str, Holding]:
    return agreeing_day(FRIDAY, FILINGS, NOW) | changes


def digest_of_references(holdings: Mapping[str, Holding]) -> bytes:
    version = holdings["references"].version
    assert version is not None
    assert version.content_digest is not None
    return version.content_digest


def empty(dataset: str, **more: Any) -> Holding:
    return holding(FRIDAY, dataset, state=State.EMPTY, **more)


# ------------------------------------------------------------------------------------------------- complete days


def test_a_day_in_full_agreement_is_sealed_with_its_facts() -> None:
    judgement = judge(day())
    assert (judgement.reasons, judgement.refetch) == ((), ())
    assert judgement.facts == {
        "day": "2026-11-20",
        "fingerprint": digest_of_references(day()).hex(),
        "filings": 3,
        "pdf_only": 1,
        "counts": {"references": 3, "json": 2, "xbrl": 2, "pdf": 3},
        "missing_by_model": {"json": 1, "xbrl": 1, "pdf": 0},
        "unexplained": {},
    }


def test_the_facts_end_up_in_day_json_and_are_equal_after_a_round_trip() -> None:
    judgement = judge(day())
    seal = json.loads(seal_text(GROUP, judgement.facts, day(), NOW))
    assert {name: seal[name] for name in judgement.facts} == judgement.facts
    for dataset in DATASETS:
        assert seal["items"][dataset]["route"] == f"extract/{dataset}"
        assert len(seal["items"][dataset]["sha256"]) == 64


def test_an_empty_day_is_sealed() -> None:
    judgement = judge({dataset: empty(dataset) for dataset in DATASETS})
    assert judgement.reasons == ()
    assert judgement.facts["filings"] == 0
    assert judgement.facts["counts"] == dict.fromkeys(DATASETS, 0)


def test_empty_days_are_alike_and_have_no_fingerprint() -> None:
    assert judge({dataset: empty(dataset) for dataset in DATASETS}).facts["fingerprint"] is None


def test_a_day_with_the_filings_of_another_day_stays_open_and_is_fetched_again_whole() -> None:
    judgement = judge(day(), twin="nbb/authentic/2026-11-19")
    assert judgement.reasons == ("references: the same filings as 2026-11-19, which is sealed with them",)
    assert {key for key, _ in judgement.refetch} == {f"{GROUP}/{dataset}" for dataset in DATASETS}


def test_a_day_of_pdf_filings_is_sealed_without_json_and_xbrl() -> None:
    filings = dict.fromkeys(FILINGS, "m02-f-p")
    holdings = agreeing_day(FRIDAY, filings) | {"json": empty("json"), "xbrl": empty("xbrl")}
    judgement = judge(holdings)
    assert judgement.reasons == ()
    assert judgement.facts["missing_by_model"] == {"json": 3, "xbrl": 3, "pdf": 0}


def test_a_recheck_under_way_does_not_open_a_day() -> None:
    assert judge(day(json=holding(FRIDAY, "json", files([A, B], "json"), State.RECHECKING))).reasons == ()


def test_asking_again_for_an_empty_day_does_not_open_it() -> None:
    holdings = {dataset: empty(dataset) for dataset in DATASETS}
    holdings["references"] = holding(FRIDAY, "references", state=State.REASKING)
    assert judge(holdings).reasons == ()


def test_a_pdf_filing_that_has_json_after_all_is_welcome() -> None:
    judgement = judge(day(json=holding(FRIDAY, "json", files(FILINGS, "json"))))
    assert judgement.reasons == ()
    assert judgement.facts["missing_by_model"]["json"] == 0


@pytest.mark.parametrize("name", ["{ref}-reference.json", "2026-11-20/{ref}.json"])
def test_other_styles_of_names_agree_too(name: str) -> None:
    assert judge(day(references=holding(FRIDAY, "references", listing(FILINGS, name)))).reasons == ()


def test_only_the_configured_datasets_are_needed() -> None:
    configured = rules(datasets=("references", "json"))
    holdings = {name: held for name, held in day().items() if name in configured.datasets}
    judgement = judge(holdings, configured=configured)
    assert judgement.reasons == ()
    assert judgement.facts["counts"] == {"references": 3, "json": 2}


# ------------------------------------------------------------------------------------------------- the table of disagreement


@pytest.mark.parametrize(
    ("dataset", "held", "reason"),
    [
        ("json", [A], f"json: 1 listed but not in the zip: {B}"),
        ("xbrl", [B], f"xbrl: 1 listed but not in the zip: {A}"),
        ("json", [], f"json: 2 listed but not in the zip: {A}, {B}"),
        ("pdf", [A, B], f"pdf: 1 listed but not in the zip: {P}"),  # `-p` explains no missing PDF
        ("pdf", [P], f"pdf: 2 listed but not in the zip: {A}, {B}"),
        ("json", [A, B, "2026-9"], "json: 1 in the zip but not listed: 2026-9"),
        ("pdf", [A, B, P, "2026-9"], "pdf: 1 in the zip but not listed: 2026-9"),
        ("json", [A, B, B], f"json: 1 in the zip more than once: {B}"),
    ],
)
def test_each_disagreement_keeps_the_day_open_and_names_the_filing(
    dataset: str, held: list[str], reason: str
) -> None:
    judgement = judge(day(**{dataset: holding(FRIDAY, dataset, files(held, dataset), stored_at=NOW)}))
    assert judgement.reasons == (reason,)
    assert judgement.facts["unexplained"] == {dataset: int(reason.split()[1])}
    assert {key.rpartition("/")[2] for key, _ in judgement.refetch} == {dataset, "references"}


def test_missing_and_extra_filings_are_both_named() -> None:
    judgement = judge(day(json=holding(FRIDAY, "json", files([A, "2026-9"], "json"))))
    assert judgement.reasons == (
        f"json: 1 listed but not in the zip: {B}",
        "json: 1 in the zip but not listed: 2026-9",
    )
    assert judgement.facts["unexplained"] == {"json": 2}


def test_a_long_list_names_five_and_counts_all() -> None:
    filings = {f"2026-{number:08}": "m01-f" for number in range(12)}
    judgement = judge(agreeing_day(FRIDAY, filings) | {"json": holding(FRIDAY, "json")})
    named = ", ".join(sorted(filings)[:5])
    assert judgement.reasons == (f"json: 12 listed but not in the zip: {named}, …",)


@pytest.mark.parametrize("name", ["readme.txt", "2026-00000001.pdf", "2026-00000001x.json"])
def test_a_member_that_fits_no_filing_keeps_the_day_open(name: str) -> None:
    members = (*files([A, B], "json"), member(name))
    assert judge(day(json=holding(FRIDAY, "json", members))).reasons == (
        f"json: 1 members that fit no filing: {name}",
    )


def test_a_zip_of_the_wrong_dataset_never_seals_a_day() -> None:
    judgement = judge(day(pdf=holding(FRIDAY, "pdf", files(FILINGS, "json"))))
    assert judgement.reasons[0].startswith("pdf: 3 listed but not in the zip")


def test_a_references_member_without_a_filing_keeps_the_day_open() -> None:
    members = (*listing(FILINGS), member("terms.txt"))
    assert judge(day(references=holding(FRIDAY, "references", members))).reasons == (
        "references: 1 members without a filing: terms.txt",
    )


def test_folders_in_a_zip_are_nothing() -> None:
    members = (member("2026-11-20/"), *files([A, B], "json"))
    judgement = judge(day(json=holding(FRIDAY, "json", members)))
    assert judgement.reasons == ()
    assert judgement.facts["counts"]["json"] == 2


# ------------------------------------------------------------------------------------------------- empty, yet not


def test_empty_references_with_stored_documents_do_not_seal() -> None:
    judgement = judge(day(references=empty("references", nothing_at=NOW - DAY_S)))
    assert [reason.split(":")[0] for reason in judgement.reasons] == ["json", "xbrl", "pdf"]
    assert {key.rpartition("/")[2] for key, _ in judgement.refetch} == set(DATASETS)


@pytest.mark.parametrize("dataset", ["json", "xbrl", "pdf"])
def test_an_empty_dataset_with_filings_listed_for_it_does_not_seal_and_is_asked_for_again(
    dataset: str,
) -> None:
    judgement = judge(day(**{dataset: empty(dataset, nothing_at=NOW - DAY_S)}))
    assert len(judgement.reasons) == 1
    assert judgement.reasons[0].startswith(f"{dataset}: ")
    assert f"{GROUP}/{dataset}" in dict(judgement.refetch)


def test_one_filing_of_another_model_breaks_a_day_of_pdf_filings() -> None:
    judgement = judge(day(json=empty("json"), xbrl=empty("xbrl")))
    assert judgement.facts["unexplained"] == {"json": 2, "xbrl": 2}


# ------------------------------------------------------------------------------------------------- not all there


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("state", [State.DUE, State.ACTIVE, State.ABSENT, State.QUARANTINED])
def test_a_dataset_that_is_not_settled_keeps_the_day_open_with_its_reason(dataset: str, state: State) -> None:
    judgement = judge(day(**{dataset: holding(FRIDAY, dataset, state=state, reason="stalled")}))
    assert judgement.reasons == (f"{dataset}: {state.name.lower()} (stalled)",)
    assert judgement.refetch == ()


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_dataset_that_is_not_planned_keeps_the_day_open(dataset: str) -> None:
    holdings = day()
    del holdings[dataset]
    assert judge(holdings).reasons == (f"{dataset}: not planned yet",)


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_file_that_cannot_be_read_keeps_the_day_open(dataset: str) -> None:
    holdings = day()
    holdings[dataset] = replace(holdings[dataset], members=None)
    assert judge(holdings).reasons == (f"{dataset}: stored, but its file cannot be read",)


def test_a_day_whose_folder_was_lost_does_not_pass_for_an_empty_one() -> None:
    assert len(judge({name: replace(held, members=None) for name, held in day().items()}).reasons) == 4


def test_a_body_without_a_record_keeps_the_day_open() -> None:
    holdings = day()
    holdings["pdf"] = replace(holdings["pdf"], version=None)
    assert judge(holdings).reasons == ("pdf: stored, but there is no record of the body",)


def test_without_references_no_day_is_sealed() -> None:
    configured = rules(datasets=("json", "pdf"))
    assert judge(day(), configured=configured).reasons[0].startswith("references: not asked for")


def test_nothing_known_is_not_nothing_missing() -> None:
    assert len(judge({}).reasons) == 4


# ------------------------------------------------------------------------------------------------- another look

MISMATCH = {"json": holding(FRIDAY, "json", files([A], "json"), stored_at=NOW)}


def looks(configured: NbbRules, count: int) -> list[float]:
    """When a day that never agrees is looked at again, from the moment its bodies were stored."""
    now, instants = NOW, []
    for _ in range(count):
        refetch = judge(day(**MISMATCH), now, configured).refetch
        if not refetch:
            break
        assert len({at for _, at in refetch}) == 1
        now = refetch[0][1]
        instants.append((now - NOW) / HOUR_S)
    return instants


def test_looks_come_at_the_configured_steps_and_then_at_doubling_intervals() -> None:
    assert looks(rules(), 8) == [1, 6, 24, 48, 96, 192, 384, 768]


def test_steps_may_be_configured_in_any_order() -> None:
    assert looks(rules(mismatch_retry_s=(DAY_S, HOUR_S)), 3) == [1, 24, 48]


def test_without_steps_there_is_no_other_look() -> None:
    assert looks(rules(mismatch_retry_s=()), 3) == []


def test_looks_end_with_the_last_window() -> None:
    only_extract = rules("extract")
    assert looks(only_extract, 20) == [1, 6, 24, 48, 96, 192, 384, 768]  # at 33 days; the next would be at 65


def test_a_new_body_begins_the_steps_anew_for_all_suspects() -> None:
    now = NOW + 20 * DAY_S
    late = holding(FRIDAY, "references", listing(FILINGS), stored_at=now)
    judgement = judge(day(references=late, json=empty("json", nothing_at=NOW)), now)
    assert dict(judgement.refetch) == {
        f"{GROUP}/json": now + HOUR_S,
        f"{GROUP}/references": now + HOUR_S,
    }


@given(
    stored_ago_s=st.floats(-10 * DAY_S, 900 * DAY_S),
    steps=st.lists(st.floats(0.5, 100 * DAY_S), min_size=1, max_size=5),
)
def test_another_look_never_lies_in_the_past(stored_ago_s: float, steps: list[float]) -> None:
    now = at_age(FRIDAY, 50)
    stored_at = now - stored_ago_s
    holdings = agreeing_day(FRIDAY, FILINGS, stored_at)
    holdings["json"] = holding(FRIDAY, "json", files([A], "json"), stored_at=stored_at)
    for _, at in judge(holdings, now, rules(mismatch_retry_s=tuple(steps))).refetch:
        assert at > now


# ------------------------------------------------------------------------------------------------- any day

MODELS = st.sampled_from(["m01-f", "m87-f", "m02-f-p", "m900-p", "?"])
REFERENCES = [f"2026-{number:08}" for number in range(8)]


@given(
    filings=st.dictionaries(st.sampled_from(REFERENCES), MODELS),
    held=st.fixed_dictionaries(
        {name: st.sets(st.sampled_from(REFERENCES)) for name in ("json", "xbrl", "pdf")}
    ),
)
def test_a_day_is_sealed_exactly_when_every_zip_holds_what_the_list_demands(
    filings: dict[str, str], held: dict[str, set[str]]
) -> None:
    holdings = {"references": holding(SUNDAY, "references", listing(filings))}
    holdings |= {name: holding(SUNDAY, name, files(sorted(refs), name)) for name, refs in held.items()}
    demanded = {ref for ref, model in filings.items() if not model.endswith("-p")}
    agrees = held["pdf"] == filings.keys() and all(
        demanded <= held[name] <= filings.keys() for name in ("json", "xbrl")
    )
    judgement = sealing.judge(rules(), f"nbb/authentic/{SUNDAY}", holdings, NOW)
    assert (not judgement.reasons) == agrees
    assert bool(judgement.facts["unexplained"]) != agrees
    assert json.loads(json.dumps(judgement.facts)) == judgement.facts
