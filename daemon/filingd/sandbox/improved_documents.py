"""The two documents of an improvement: its reference object and its JSON (NBB reference, sections 6.6 and 7).

A document holds the complete set of rubrics, those that were corrected and those that were not, after all
improvements up to that one. Figures read out of a PDF come with participating interests as well and keep their
currency; everything else is in euro.
"""

from __future__ import annotations

import dataclasses
import random
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from filingd.sandbox.dice import die, share
from filingd.sandbox.documents import accounting_object, in_casing, reference_in_pascal, rubrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from filingd.sandbox.documents import Casing
    from filingd.sandbox.generator import Filing
    from filingd.sandbox.improvements import Improvement, Kind, Part
    from filingd.sandbox.settings import SandboxSettings

LABELS: dict[tuple[Kind, Part], str] = {
    ("Pdf_extracted", ""): "ocr-authentic",
    ("Euro_converted", ""): "euro-authentic",
    ("Corrected", "AA"): "aa-corrected",
    ("Corrected", "SB"): "sb-corrected",
}
_EUROS = {
    "USD": Decimal("0.9217"),
    "GBP": Decimal("1.1683"),
    "CHF": Decimal("1.0541"),
    "BEF": Decimal("0.024789"),
}
_DATA_TYPES = {"AA": ("met:am1", "met:am2"), "SB": ("met:dec1", "met:int4")}
_CORRECTED_SHARE = 0.06


def label(improvement: Improvement, settings: SandboxSettings) -> str:
    """What stands behind the reference number in a member's name."""
    number = die(settings.seed, "label")
    day, index = improvement.slot
    if share(number, day.toordinal(), index) < settings.improved_unknown_label_share:
        return settings.improved_unknown_label
    return LABELS.get((improvement.kind, improvement.part), settings.improved_both_label)


def reference_object(
    improvement: Improvement, filing: Filing, casing: Casing, public_url: str, settings: SandboxSettings
) -> dict[str, Any]:
    """The reference of the filing with what was made of it; one line if both parts are corrected."""
    both = improvement.part == "AA+SB"
    said = settings.improved_both_data if both else improvement.part
    changes = {
        "DataVersion": improvement.kind,
        "ImprovementDate": improvement.finalised_on.isoformat(),
        "CorrectedData": said or None,
    }
    return in_casing(reference_in_pascal(filing, public_url) | changes, casing)


def accounting_json(applied: Sequence[Improvement], filing: Filing) -> bytes:
    """The document after the improvements applied, of which the last one is the one that is asked for."""
    filing = dataclasses.replace(filing, revision=applied[-1].revision)
    entity = accounting_object(filing)
    taken = ["ReferenceNumber", "EnterpriseName", "LegalForm"]
    content = {key: entity[key] for key in taken} | {"Rubrics": _improved_rubrics(applied, filing)}
    if applied[-1].kind == "Pdf_extracted":
        content["ParticipatingInterests"] = entity["ParticipatingInterests"]
    return msgspec.json.format(msgspec.json.encode(content), indent=1)


def _improved_rubrics(applied: Sequence[Improvement], filing: Filing) -> list[dict[str, str]]:
    rows = rubrics(filing)
    if applied[-1].kind != "Pdf_extracted":
        rows = [_in_euro(row, filing.currency) for row in rows]
    for improvement in applied:
        if improvement.kind == "Corrected":
            rng = random.Random(f"{filing.source}/improved/{improvement.nth}")
            rows = _corrected(rows, improvement.part, rng)
    return rows


def _in_euro(row: dict[str, str], currency: str) -> dict[str, str]:
    if currency == "EUR" or row["DataType"] not in _DATA_TYPES["AA"]:
        return row
    return row | {"Value": str((Decimal(row["Value"]) * _EUROS[currency]).quantize(Decimal("0.01")))}


def _corrected(rows: list[dict[str, str]], part: Part, rng: random.Random) -> list[dict[str, str]]:
    """The rows with some of that part's figures replaced, at least one of each part."""
    changed = dict(enumerate(rows))
    for name in part.split("+"):
        eligible = [number for number, row in changed.items() if row["DataType"] in _DATA_TYPES[name]]
        for number in rng.sample(eligible, max(1, int(len(eligible) * _CORRECTED_SHARE))):
            changed[number] = rows[number] | {"Value": _other_value(rows[number]["Value"], rng)}
    return list(changed.values())


def _other_value(value: str, rng: random.Random) -> str:
    """Another value of the same sign and number of decimals."""
    step = Decimal(1).scaleb(-len(value.partition(".")[2]))
    more = step * rng.randrange(1, 90_000)
    return str(Decimal(value) - more if value.startswith("-") else Decimal(value) + more)
