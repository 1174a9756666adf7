"""Companies in the shapes of KVK's answers (KVK reference, sections 6 and 7). What is missing is left out, never null."""

from __future__ import annotations

import dataclasses
import zlib
from typing import TYPE_CHECKING, Any, Literal

from filingd.sandbox.kvk.searching import matched_address, matched_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from filingd.sandbox.kvk.registrations import Activity, Address, Branch, Company, Row
    from filingd.sandbox.kvk.searching import Criteria

LinkShape = Literal["arrays", "objects"]
Payload = dict[str, Any]
_WIDE_GAPS = {
    "basisprofiel": 33,
    "vestigingsprofiel": 25,
}  # runs of spaces in one address, by product (section 18.6)
_NO_GEO = {
    "addresseerbaarObjectId": None, "nummerAanduidingId": None, "gpsLatitude": 0.0, "gpsLongitude": 0.0,
    "rijksdriehoekX": 0.0, "rijksdriehoekY": 0.0, "rijksdriehoekZ": 0.0,
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Style:
    """How an answer is written: where links lead, their shape and place, and whether addresses have coordinates."""

    base_url: str  # scheme, host and prefix of the base that was called
    links: LinkShape = "arrays"
    links_first: bool = False
    embedded_first: bool = False
    with_geo: bool = False
    product: str = "basisprofiel"

    def linked(self, fields: Payload, links: Mapping[str, str], embedded: Payload | None = None) -> Payload:
        """The fields with links (relation to path after the base) in the shape of the release."""
        around: Payload = self._links({rel: self.base_url + path for rel, path in links.items()})
        inside: Payload = {"_embedded": embedded} if embedded is not None else {}
        if self.links_first:
            return around | fields | inside
        return fields | (inside | around if self.embedded_first else around | inside)

    def _links(self, links: Mapping[str, str]) -> Payload:
        if not links:
            return {}
        if self.links == "objects":
            return {"_links": {rel: {"href": href} for rel, href in links.items()}}
        return {"links": [{"rel": rel, "href": href} for rel, href in links.items()]}


def present(**fields: Any) -> Payload:
    """The fields that there are: not None, not an empty text, not an empty list."""
    return {name: value for name, value in fields.items() if value is not None and value not in ("", [], {})}


def yes_no(*, value: bool) -> str:
    """KVK's booleans."""
    return "Ja" if value else "Nee"


# --- shared parts ---


def _company_path(company: str, part: str = "") -> str:
    return f"/v1/basisprofielen/{company}{part}"


def _branch_path(branch: str) -> str:
    return f"/v1/vestigingsprofielen/{branch}"


def _registration(started_on: str, ended_on: str) -> Payload:
    return present(datumAanvang=started_on, datumEinde=ended_on)


def _names(names: Iterable[str]) -> list[Payload]:
    return [{"naam": name, "volgorde": order} for order, name in enumerate(names)]


def _activities(activities: Iterable[Activity]) -> list[Payload]:
    return [
        {"sbiCode": entry.code, "sbiOmschrijving": entry.text, "indHoofdactiviteit": yes_no(value=entry.is_main)}
        for entry in activities
    ]  # fmt: skip


def address_payload(address: Address, style: Style) -> Payload:
    """One address of a profile; a shielded one is reduced to its town."""
    shielded = yes_no(value=address.is_shielded)
    if address.is_shielded:
        return present(type=address.kind, indAfgeschermd=shielded, plaats=address.town, land="Nederland")
    if address.foreign is not None:
        abroad = address.foreign
        return present(
            type=address.kind, indAfgeschermd=shielded, volledigAdres=f"{abroad.street} {abroad.town} {abroad.country}",
            straatHuisnummer=abroad.street, postcodeWoonplaats=abroad.town, regio=abroad.region, land=abroad.country,
        )  # fmt: skip
    return present(
        type=address.kind, indAfgeschermd=shielded, volledigAdres=full_address(address, style.product),
        straatnaam=address.street, huisnummer=address.number or None, huisletter=address.letter,
        huisnummerToevoeging=address.addition, postcode=address.postcode, postbusnummer=address.po_box or None,
        plaats=address.town, land="Nederland", geoData=_geo(address) if style.with_geo else None,
    )  # fmt: skip


def full_address(address: Address, product: str) -> str:
    """The address in one line, with the spaces of that product."""
    house = f" {address.number}" if address.number else f" {address.po_box}" if address.po_box else ""
    letter = f" {address.letter}" if address.letter else ""
    gap = " " * _WIDE_GAPS.get(product, 1) if address.letter else " "
    return f"{address.street}{house}{letter}{gap}{address.postcode} {address.town}"


def _geo(address: Address) -> Payload:
    """Coordinates that are the same for the same house; a PO box has none (section 7.1)."""
    if address.po_box:
        return dict(_NO_GEO)
    mark = zlib.crc32(f"{address.postcode} {address.number} {address.letter}".encode())
    return {
        "addresseerbaarObjectId": f"0999010{mark % 10**9:09d}",
        "nummerAanduidingId": f"0999200{mark % 10**9:09d}",
        "gpsLatitude": 51 + mark % 20_000 / 10_000,
        "gpsLongitude": 4 + mark % 30_000 / 10_000,
        "rijksdriehoekX": 100_000 + mark % 150_000 + 0.5,
        "rijksdriehoekY": 350_000 + mark % 200_000 + 0.25,
        "rijksdriehoekZ": 0,
    }


# --- profiles ---


def basic_profile(company: Company, style: Style) -> Payload:
    """`/v1/basisprofielen/{kvkNummer}` (section 7.2)."""
    fields = present(
        kvkNummer=company.number, indNonMailing=yes_no(value=company.is_non_mailing), naam=company.name,
        formeleRegistratiedatum=company.registered_on,
        materieleRegistratie=_registration(company.started_on, company.ended_on),
        totaalWerkzamePersonen=company.workers, statutaireNaam=company.statutory_name,
        handelsnamen=_names(company.names), sbiActiviteiten=_activities(company.activities),
    )  # fmt: skip
    links = {"self": _company_path(company.number)}
    if company.branches:
        links["vestigingen"] = _company_path(company.number, "/vestigingen")
    main = company.main_branch
    embedded = {"hoofdvestiging": _embedded_branch(company, main, style)} if main else {}
    return style.linked(fields, links, embedded | {"eigenaar": owner(company, style)})


def _embedded_branch(company: Company, branch: Branch, style: Style) -> Payload:
    fields = present(
        vestigingsnummer=branch.number, kvkNummer=company.number, formeleRegistratiedatum=branch.registered_on,
        materieleRegistratie=_registration(branch.started_on, branch.ended_on or company.ended_on),
        eersteHandelsnaam=branch.names[0], indHoofdvestiging=yes_no(value=branch.is_main),
        indCommercieleVestiging=yes_no(value=branch.is_commercial), totaalWerkzamePersonen=branch.workers,
        adressen=[address_payload(address, style) for address in branch.addresses], websites=list(branch.websites),
    )  # fmt: skip
    return style.linked(fields, _main_branch_links(company.number, branch.number))


def _main_branch_links(company: str, branch: str) -> dict[str, str]:
    return {
        "self": _company_path(company, "/hoofdvestiging"),
        "vestigingen": _company_path(company, "/vestigingen"),
        "basisprofiel": _company_path(company),
        "vestigingsprofiel": _branch_path(branch),
    }


def owner(company: Company, style: Style) -> Payload:
    """`…/eigenaar`, alone or embedded: with addresses only if there are no branches."""
    addresses = [] if company.branches else [address_payload(address, style) for address in company.addresses]
    fields = present(
        rsin=company.rsin, rechtsvorm=company.legal_form, uitgebreideRechtsvorm=company.full_legal_form,
        datumUitschrijving=company.deregistered_on, adressen=addresses,
    )  # fmt: skip
    links = {
        "self": _company_path(company.number, "/eigenaar"),
        "basisprofiel": _company_path(company.number),
    }
    return style.linked(fields, links)


def main_branch(company: Company, style: Style) -> Payload | None:
    """`…/hoofdvestiging`; None if there is none."""
    branch = company.main_branch
    if branch is None:
        return None
    return style.linked(
        _branch_fields(company, branch, style), _main_branch_links(company.number, branch.number)
    )


def branch_profile(company: Company, branch: Branch, style: Style) -> Payload:
    """`/v1/vestigingsprofielen/{vestigingsnummer}` (section 7.3)."""
    links = {"self": _branch_path(branch.number), "basisprofiel": _company_path(company.number)}
    return style.linked(_branch_fields(company, branch, style), links)


def _branch_fields(company: Company, branch: Branch, style: Style) -> Payload:
    return present(
        vestigingsnummer=branch.number, kvkNummer=company.number, rsin=company.rsin,
        indNonMailing=yes_no(value=company.is_non_mailing), formeleRegistratiedatum=branch.registered_on,
        materieleRegistratie=_registration(branch.started_on, branch.ended_on or company.ended_on),
        statutaireNaam=company.statutory_name, eersteHandelsnaam=branch.names[0],
        indHoofdvestiging=yes_no(value=branch.is_main), indCommercieleVestiging=yes_no(value=branch.is_commercial),
        voltijdWerkzamePersonen=branch.full_time, totaalWerkzamePersonen=branch.workers,
        deeltijdWerkzamePersonen=branch.part_time,
        handelsnamen=_names(branch.names) if branch.is_commercial else None,
        adressen=[address_payload(address, style) for address in branch.addresses],
        websites=list(branch.websites), sbiActiviteiten=_activities(branch.activities),
    )  # fmt: skip


def branches(company: Company, style: Style) -> Payload:
    """`…/vestigingen`: all of them in one body (section 7.4)."""
    commercial = sum(branch.is_commercial for branch in company.branches)
    fields = {
        "kvkNummer": company.number,
        "aantalCommercieleVestigingen": commercial,
        "aantalNietCommercieleVestigingen": len(company.branches) - commercial,
        "totaalAantalVestigingen": len(company.branches),
        "vestigingen": [_listed_branch(company, branch, style) for branch in company.branches],
    }
    links = {
        "self": _company_path(company.number, "/vestigingen"),
        "basisprofiel": _company_path(company.number),
    }
    return style.linked(fields, links)


def _listed_branch(company: Company, branch: Branch, style: Style) -> Payload:
    shown = next((place for place in branch.addresses if not place.is_shielded), None)
    address = address_payload(shown, dataclasses.replace(style, product="vestigingen")) if shown else {}
    fields = present(
        vestigingsnummer=branch.number, kvkNummer=company.number, eersteHandelsnaam=branch.names[0],
        indHoofdvestiging=yes_no(value=branch.is_main),
        indAdresAfgeschermd=yes_no(value=any(place.is_shielded for place in branch.addresses)),
        indCommercieleVestiging=yes_no(value=branch.is_commercial), volledigAdres=address.get("volledigAdres"),
    )  # fmt: skip
    own = {"self": _company_path(company.number, "/hoofdvestiging")} if branch.is_main else {}
    return style.linked(fields, own | {"vestigingsprofiel": _branch_path(branch.number)})


def naming(company: Company, style: Style) -> Payload:
    """`/v1/naamgevingen/kvknummer/{kvkNummer}` (section 7.5)."""
    fields = present(
        kvkNummer=company.number, rsin=company.rsin, statutaireNaam=company.statutory_name, naam=company.name,
        ookGenoemd=company.also_known_as, startdatum=company.started_on, einddatum=company.ended_on,
        vestigingen=[_named_branch(branch, style) for branch in company.branches],
    )  # fmt: skip
    own = f"/v1/naamgevingen/kvknummer/{company.number}"
    return style.linked(fields, {"self": own, "basisprofiel": _company_path(company.number)})


def _named_branch(branch: Branch, style: Style) -> Payload:
    if branch.is_commercial:
        fields = present(
            vestigingsnummer=branch.number,
            eersteHandelsnaam=branch.names[0],
            handelsnamen=_names(branch.names),
        )
    else:
        fields = present(
            vestigingsnummer=branch.number, naam=branch.names[0], ookGenoemd=branch.also_known_as
        )
    return style.linked(fields, {"vestigingsprofiel": _branch_path(branch.number)})


# --- search results ---


def result(row: Row, criteria: Criteria, style: Style) -> Payload:
    """One line of a search: house number and postcode only if they were searched for (section 6)."""
    name = (matched_name(row, criteria) if criteria.words else None) or row.names[0]
    is_expired = bool(row.expired_name) and name == row.expired_name
    fields = present(
        kvkNummer=row.company, rsin=row.rsin if criteria.rsin else "", vestigingsnummer=row.branch,
        naam=row.names[0] if is_expired else name, adres=_result_address(row, criteria), type=row.kind,
        actief=yes_no(value=row.is_active) if criteria.is_with_inactive else "",
        vervallenNaam=row.expired_name if is_expired else "",
    )  # fmt: skip
    links = {"basisprofiel": _company_path(row.company)} if row.has_links else {}
    if links and row.branch:
        links["vestigingsprofiel"] = _branch_path(row.branch)
    return style.linked(fields, links)


def _result_address(row: Row, criteria: Criteria) -> Payload:
    address = matched_address(row, criteria) if criteria.asks_address else next(iter(row.addresses), None)
    if address is None:
        return {}
    kind = "bezoekadres" if address.kind == "bezoekadres" and not address.is_shielded else "postadres"
    if address.foreign is not None:
        abroad = address.foreign
        parts = present(
            type=kind, straatHuisnummer=abroad.street, postcodeWoonplaats=abroad.town, land=abroad.country
        )
        return {"buitenlandsAdres": parts}
    if address.is_shielded:
        return {"binnenlandsAdres": present(type=kind, plaats=address.town)}
    asks_house = criteria.number is not None or criteria.po_box is not None
    return {
        "binnenlandsAdres": present(
            type=kind, straatnaam=address.street, huisnummer=(address.number or None) if asks_house else None,
            huisletter=address.letter if asks_house else "", postcode=address.postcode if criteria.postcode else "",
            postbusnummer=(address.po_box or None) if criteria.po_box is not None else None, plaats=address.town,
        )
    }  # fmt: skip


# --- by operation ---

PROFILES: dict[str, Callable[[Company, Style], Payload | None]] = {
    "basisprofiel": basic_profile,
    "eigenaar": owner,
    "hoofdvestiging": main_branch,
    "vestigingen": branches,
    "naamgeving": naming,
}
