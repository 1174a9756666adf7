"""Short ways to say things about KVK in tests. All companies, persons and addresses are made up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from filingd.core.kinds import examine_document
from filingd.core.model import Answer, Attempt, Item, ResponseHead, State
from filingd.registries.kvk import profiles, searches
from filingd.registries.kvk.operations import PARTS
from filingd.registries.kvk.registry import KvkRegistry
from filingd.registries.kvk.rules import KvkAccount, KvkRules
from filingd.registries.kvk.terms import KvkTerms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filingd.core.model import Verdict
    from filingd.core.watchlist import SavedSearch

DAY_S = 86_400.0
HOUR_S = 3600.0
NOW = 1_780_000_000.0
BASE = "https://kvk.example.invalid/api"
COMPANY, BRANCH, OTHER_BRANCH, RSIN = "99000011", "990900000011", "990900000022", "859123455"
OTHER_COMPANY = "99000038"
MAIN, SECOND = KvkAccount("main", "credential:kvk"), KvkAccount("second", "credential:kvk-2")
RULES = KvkRules(BASE, (MAIN, SECOND))
EVERYTHING = KvkTerms.of(PARTS, 30 * DAY_S, "main")


def registry(
    watched: Mapping[str, KvkTerms] | None = None,
    saved: Mapping[str, SavedSearch] | None = None,
    **changes: Any,
) -> KvkRegistry:
    """The registry with these numbers (one of each kind, with all their parts, if none are named) and searches."""
    made = KvkRegistry(replace(RULES, **changes))
    (companies,) = made.companies
    companies.follow(
        dict.fromkeys([COMPANY, BRANCH, RSIN], EVERYTHING) if watched is None else watched, saved or {}
    )
    return made


def item(part: str = "basisprofiel", number: str = COMPANY, state: State = State.ACTIVE, **more: Any) -> Item:
    return Item(profiles.key_for(number, part), "kvk/main/basisprofiel", state, **more)


def page(
    folder: str, cell: str = searches.WHOLE, number: int = 1, state: State = State.ACTIVE, **more: Any
) -> Item:
    return Item(searches.key_for(folder, cell, number), "kvk/main/zoeken", state, **more)


def asked(of: KvkRegistry, wanted: Item) -> Attempt:
    attempt = of.request(wanted, NOW)
    assert isinstance(attempt, Attempt)
    return attempt


def said(status: int, body: bytes = b"", **headers: str) -> Answer:
    """An answer that is no body; header names are written with underscores."""
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return Answer(ResponseHead(status, named), error_body=body)


def fault(code: str, status: int = 404, text: str = "Voorbeeldtekst.", *, nested: bool = False) -> Answer:
    found: dict[str, Any] = {"fout": [{"code": code, "omschrijving": text}]}
    return said(status, json.dumps({"meldingen": found} if nested else found).encode())


def given(of: KvkRegistry, wanted: Item, body: object, version: str = "1.5.0") -> Answer:
    """A 200 with this body, as the engine examines it."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = ResponseHead(200, {"api-version": version})
    return Answer(head, body=examine_document(data, of.body_plan(wanted.key), len(data)))


def verdict(of: KvkRegistry, wanted: Item, answer: Answer, now: float = NOW) -> Verdict:
    return of.interpret(wanted, asked(of, wanted), answer, {}, now)


# ------------------------------------------------------------------------------------------------- bodies


def links(*rels: str, hal: bool = False) -> dict[str, Any]:
    if hal:
        return {"_links": {rel: {"href": f"{BASE}/{rel}"} for rel in rels}}
    return {"links": [{"rel": rel, "href": f"{BASE}/{rel}"} for rel in rels]}


def address(shielded: str = "Nee", blanks: str = " ") -> dict[str, Any]:
    return {
        "type": "bezoekadres",
        "indAfgeschermd": shielded,
        "volledigAdres": f"Proefkade 12 a{blanks}1234AB Testdam",
        "straatnaam": "Proefkade",
        "huisnummer": 12,
        "postcode": "1234AB",
        "plaats": "Testdam",
        "land": "Nederland",
    }


def branch(number: str = BRANCH, *, hal: bool = False, **more: Any) -> dict[str, Any]:
    return {
        "vestigingsnummer": number,
        "kvkNummer": COMPANY,
        "formeleRegistratiedatum": "20190304",
        "materieleRegistratie": {"datumAanvang": "20190200"},
        "eersteHandelsnaam": "Wiekenwerk",
        "indHoofdvestiging": "Ja",
        "indCommercieleVestiging": "Ja",
        "adressen": [address()],
        **links("self", "basisprofiel", hal=hal),
        **more,
    }


def basisprofiel(*, hal: bool = False, **more: Any) -> dict[str, Any]:
    return {
        "kvkNummer": COMPANY,
        "indNonMailing": "Ja",
        "naam": "Voorbeeld Molenbouw B.V.",
        "formeleRegistratiedatum": "20190304",
        "handelsnamen": [{"naam": "Wiekenwerk", "volgorde": 1}, {"naam": "Voorbeeld", "volgorde": 0}],
        **links("self", "vestigingen", hal=hal),
        "_embedded": {
            "hoofdvestiging": branch(hal=hal),
            "eigenaar": {
                "rsin": RSIN,
                "rechtsvorm": "BeslotenVennootschap",
                **links("self", "basisprofiel", hal=hal),
            },
        },
        **more,
    }


def vestigingen(*numbers: str, shielded: str = "Nee", **more: Any) -> dict[str, Any]:
    rows = [
        {
            "vestigingsnummer": number,
            "kvkNummer": COMPANY,
            "eersteHandelsnaam": "Wiekenwerk",
            "indAdresAfgeschermd": shielded,
            **links("vestigingsprofiel"),
        }
        for number in numbers
    ]
    return {"kvkNummer": COMPANY, "totaalAantalVestigingen": len(rows), "vestigingen": rows, **more}


def naamgeving(*numbers: str) -> dict[str, Any]:
    rows = [{"vestigingsnummer": number, "naam": "Proeftuin Noord", **links("self")} for number in numbers]
    return {"kvkNummer": COMPANY, "rsin": RSIN, "naam": "Stichting Voorbeeldtuin", "vestigingen": rows}


BODIES: Mapping[str, Any] = {
    "basisprofiel": basisprofiel(),
    "eigenaar": {"rsin": RSIN, "rechtsvorm": "BeslotenVennootschap"},
    "hoofdvestiging": branch(),
    "vestigingen": vestigingen(BRANCH, OTHER_BRANCH),
    "naamgeving": naamgeving(BRANCH),
    "vestigingsprofiel": branch(),
}


def row(
    company: str = COMPANY, number: str = "", kind: str = "rechtspersoon", *, hal: bool = False
) -> dict[str, Any]:
    own = {"vestigingsnummer": number} if number else {}
    where = {"binnenlandsAdres": {"type": "postadres", "plaats": "Testdam"}}
    return {
        "kvkNummer": company,
        **own,
        "naam": "Voorbeeld",
        "type": kind,
        "adres": where,
        **links("basisprofiel", hal=hal),
    }


def results(
    rows: Sequence[Mapping[str, Any]], total: int | None = None, *, hal: bool = False
) -> dict[str, Any]:
    return {
        "pagina": 1,
        "resultatenPerPagina": 100,
        "totaal": len(rows) if total is None else total,
        "resultaten": list(rows),
        **links("self", hal=hal),
    }
