"""What the bodies of KVK say (KVK reference, sections 4, 6, 7 and 18), and when two of them say the same.

Everything may be missing, and what nobody knows is no fault: only a body in which nothing is known, or that is about another
number, is refused. Links come in two shapes, change with KVK's releases and are never followed: they count for nothing.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from filingd.core.errors import FilingdError
from filingd.registries.kvk.numbers import BRANCH_DIGITS, KVK_DIGITS
from filingd.registries.kvk.operations import (
    BASISPROFIEL,
    EIGENAAR,
    HOOFDVESTIGING,
    NAAMGEVING,
    VESTIGINGEN,
    VESTIGINGSPROFIEL,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LINKS = frozenset({"links", "_links", "vorige", "volgende"})
_FULL_ADDRESS = "volledigAdres"  # its runs of blanks differ between products (section 18.6)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CODE_IN_TEXT = re.compile(rb'"code"\s*:\s*"(IPD[0-9]{1,6})"')
_MOST_FAULTS = 20
TYPES = ("hoofdvestiging", "nevenvestiging", "rechtspersoon")

# Where an object was whose number is forgotten (see `forgetting`): rows still add up, and nobody takes the body for damaged.
LEFT_OUT: Mapping[str, Any] = {"forgotten": True}

_BRANCH_FIELDS = frozenset(
    {
        "vestigingsnummer", "kvkNummer", "rsin", "indNonMailing", "formeleRegistratiedatum", "materieleRegistratie",
        "statutaireNaam", "eersteHandelsnaam", "indHoofdvestiging", "indCommercieleVestiging", "handelsnamen",
        "voltijdWerkzamePersonen", "totaalWerkzamePersonen", "deeltijdWerkzamePersonen", "adressen", "websites",
        "sbiActiviteiten",
    }
)  # fmt: skip
_KNOWN_FIELDS: Mapping[str, frozenset[str]] = {
    BASISPROFIEL: frozenset(
        {
            "kvkNummer", "indNonMailing", "naam", "formeleRegistratiedatum", "materieleRegistratie",
            "totaalWerkzamePersonen", "statutaireNaam", "handelsnamen", "sbiActiviteiten", "_embedded",
        }
    ),
    EIGENAAR: frozenset(
        {"rsin", "rechtsvorm", "uitgebreideRechtsvorm", "datumUitschrijving", "adressen", "websites"}
    ),
    HOOFDVESTIGING: _BRANCH_FIELDS,
    VESTIGINGSPROFIEL: _BRANCH_FIELDS,
    VESTIGINGEN: frozenset(
        {
            "kvkNummer", "aantalCommercieleVestigingen", "aantalNietCommercieleVestigingen", "totaalAantalVestigingen",
            "vestigingen",
        }
    ),
    NAAMGEVING: frozenset(
        {"kvkNummer", "rsin", "statutaireNaam", "naam", "ookGenoemd", "startdatum", "einddatum", "vestigingen"}
    ),
}  # fmt: skip
_NAME_FIELD: Mapping[str, str] = {
    BASISPROFIEL: "naam",
    NAAMGEVING: "naam",
    HOOFDVESTIGING: "eersteHandelsnaam",
    VESTIGINGSPROFIEL: "eersteHandelsnaam",
}


class PayloadError(FilingdError):
    """A body is not what it should be."""


class Fault(NamedTuple):
    """One entry of a `fout` list: KVK's code, and its words."""

    code: str
    text: str


# ------------------------------------------------------------------------------------------------- errors


def faults_in(data: bytes) -> tuple[Fault, ...]:
    """The faults an answer speaks of: `fout` at top level or in `meldingen` (section 4). A page or a text has none."""
    try:
        decoded = msgspec.json.decode(data.removeprefix(_BYTE_ORDER_MARK))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = _CODE_IN_TEXT.findall(data)  # such as one that was cut
        return tuple(Fault(code.decode("ascii"), "") for code in found[:_MOST_FAULTS])
    return tuple(_faults(decoded))[:_MOST_FAULTS]


def _faults(decoded: object) -> Iterator[Fault]:
    if not isinstance(decoded, dict):
        return
    faults = decoded.get("fout")
    for fault in faults if isinstance(faults, list) else [faults]:
        if isinstance(fault, dict) and isinstance(fault.get("code"), str) and fault["code"].strip():
            text = fault.get("omschrijving")
            yield Fault(fault["code"].strip().upper(), text if isinstance(text, str) else "")
    yield from _faults(decoded.get("meldingen"))


# ------------------------------------------------------------------------------------------------- content


def content_digest(data: bytes) -> bytes | None:
    """A digest that is the same for the same content, whatever the order of keys and rows, the links, and the blanks in full
    addresses (sections 18.1, 18.2 and 18.6); None if it is no JSON."""
    try:
        decoded = _decoded(data)
    except PayloadError:
        return None
    return hashlib.sha256(_canonical_text(decoded)).digest()


def _canonical_text(value: object) -> bytes:
    return msgspec.json.encode(_canonical(value), order="sorted")


def _canonical(value: object, key: str = "") -> object:
    if isinstance(value, dict):
        return {name: _canonical(inner, name) for name, inner in value.items() if name not in _LINKS}
    if isinstance(value, list):
        return sorted(
            (_canonical(inner) for inner in value), key=lambda one: msgspec.json.encode(one, order="sorted")
        )
    if key == _FULL_ADDRESS and isinstance(value, str):
        return " ".join(value.split())
    return value


# ------------------------------------------------------------------------------------------------- profiles


def read_profile(part: str, number: str, data: bytes) -> Mapping[str, Any]:
    """The facts of a profile that was asked for by a number (sections 7.2 to 7.5).

    `name`, `kvk_number`, `non_mailing` (None: it does not say), `shielded` (whether an address is), and of `vestigingen` the
    numbers of its branches as `names`.

    Raises:
        PayloadError: it is no JSON object, nothing in it is known, or it is about another number.
    """
    body = _object(data)
    if body == LEFT_OUT:
        return {"left_out": 1}
    known = _KNOWN_FIELDS[part] & body.keys()
    if not known:
        raise PayloadError(_nothing_known(part, body))
    own_field, digits = _own_number(part)
    own = _number(body.get(own_field), digits)
    if own is not None and own != number:
        raise PayloadError(f"It is about {own}, and {number} was asked for.")
    is_branch = part == VESTIGINGSPROFIEL
    facts = {
        "name": _text(body.get(_NAME_FIELD.get(part, ""))),
        "kvk_number": _number(body.get("kvkNummer"), KVK_DIGITS) if is_branch else number,
        "non_mailing": _yes_or_no(body.get("indNonMailing")),
        "shielded": _is_shielded(body),
    }
    return {**facts, "names": _branches(body)} if part == VESTIGINGEN else facts


def _own_number(part: str) -> tuple[str, int]:
    return ("vestigingsnummer", BRANCH_DIGITS) if part == VESTIGINGSPROFIEL else ("kvkNummer", KVK_DIGITS)


def _branches(body: Mapping[str, Any]) -> list[str]:
    rows = body.get("vestigingen")
    found = (_number(row.get("vestigingsnummer"), BRANCH_DIGITS) for row in _objects(rows))
    return sorted({number for number in found if number is not None})


def _is_shielded(value: object) -> bool:
    if isinstance(value, list):
        return any(_is_shielded(inner) for inner in value)
    if not isinstance(value, dict):
        return False
    flags = (value.get("indAfgeschermd"), value.get("indAdresAfgeschermd"))
    return any(_yes_or_no(flag) for flag in flags) or any(_is_shielded(inner) for inner in value.values())


# ------------------------------------------------------------------------------------------------- search results


def read_page(data: bytes) -> Mapping[str, Any]:
    """The facts of a page of search results (section 6).

    `totaal`; `rows`, each KVK number, branch number (or empty) and type, as often as they stand there; `names`, the KVK numbers
    of the rows, each once; `left_out`, how many rows were taken out because they are of a forgotten number.

    Raises:
        PayloadError: it is no page of results, or a row has no KVK number.
    """
    body = _object(data)
    total = _count(body.get("totaal"))
    results = body.get("resultaten", [])
    if total is None or not isinstance(results, list):
        raise PayloadError(_nothing_known("page of results", body))
    kept = [row for row in results if row != LEFT_OUT]
    rows = [_row(row) for row in kept]
    facts = {"totaal": total, "rows": rows, "names": list(dict.fromkeys(row[0] for row in rows))}
    return {**facts, "left_out": len(results) - len(kept)} if len(kept) < len(results) else facts


def _row(row: object) -> list[str]:
    found = row if isinstance(row, dict) else {}
    number = _number(found.get("kvkNummer"), KVK_DIGITS)
    if number is None:
        raise PayloadError("A row of the results has no KVK number.")
    branch = _number(found.get("vestigingsnummer"), BRANCH_DIGITS)
    return [number, branch or "", _text(found.get("type")) or ""]


# ------------------------------------------------------------------------------------------------- values


def _decoded(data: bytes) -> object:
    try:
        return msgspec.json.decode(data.removeprefix(_BYTE_ORDER_MARK))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError(f"It is not JSON ({error}).") from error


def _object(data: bytes) -> dict[str, Any]:
    decoded = _decoded(data)
    if not isinstance(decoded, dict):
        raise PayloadError("It holds no object.")
    return decoded


def _nothing_known(what: str, body: Mapping[str, Any]) -> str:
    faults = ", ".join(fault.code for fault in _faults(body))
    if faults:
        return f"It is no {what} but an error: {faults}."
    fields = ", ".join(list(body)[:5]) or "no field at all"
    return f"It parses, but nothing of a {what} is in it ({fields}). KVK may have changed the format."


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object, digits: int) -> str | None:
    """A number with its zeros; None if it is none. KVK writes text; a JSON number would lack them."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not (text.isascii() and text.isdigit()) or len(text) > digits:
        return None
    return text.zfill(digits)


def _count(value: object) -> int | None:
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return value if is_integer and isinstance(value, int) and value >= 0 else None


def _yes_or_no(value: object) -> bool | None:
    """KVK writes `Ja` and `Nee`."""
    words: Mapping[str, bool] = {"ja": True, "nee": False}
    return words.get(value.strip().lower()) if isinstance(value, str) else None
