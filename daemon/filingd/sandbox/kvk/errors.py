"""KVK's errors: the table of IPD codes with their statuses, and the bodies (KVK reference, sections 4 and 5)."""

from __future__ import annotations

import dataclasses

import msgspec

# Texts of IPD0004, 0005, 0006, 1999, 5200 and 9999 as recorded; the others say the same in that manner.
CODES: dict[str, tuple[int, str]] = {
    "IPD0001": (404, "Het product bestaat niet."),
    "IPD0004": (400, "Het KVK-nummer {value} is niet valide."),
    "IPD0005": (404, "Op basis van het KVK-nummer {value} kan het product niet worden geleverd."),
    "IPD0006": (400, "Het vestigingsnummer {value} is niet valide."),
    "IPD0007": (404, "Op basis van het vestigingsnummer {value} kan het product niet worden geleverd."),
    "IPD0010": (400, "Het RSIN {value} is niet valide."),
    "IPD0015": (404, "Het product wordt voor deze rechtsvorm niet geleverd."),
    "IPD1002": (404, "De gegevens zijn tijdelijk niet beschikbaar: de inschrijving wordt verwerkt."),
    "IPD1003": (404, "De gegevens zijn tijdelijk niet beschikbaar. Probeer het over 5 minuten opnieuw."),
    "IPD1998": (400, "De opgegeven parameters zijn ongeldig."),
    "IPD1999": (400, "De volgende opgegeven parameter(s) is(zijn) ongeldig: [{value}]"),
    "IPD5200": (404, "Er zijn geen gegevens gevonden die voldoen aan de opgegeven zoekparameters."),
    "IPD5203": (404, "Het type {value} is ongeldig."),
    "IPD9999": (500, "Algemene technische fout."),
}
UNSEEN_STATUS = 404  # KVK puts its temporary states on 404
QUOTA_TEXT = b"Rate limit and/or quota exceeded. See reason below.\r\nReason: Quota limit exceeded for this period.\r\n"
RATE_TEXT = b"Rate limit and/or quota exceeded. See reason below.\r\nReason: Rate limit exceeded.\r\n"
HTML_TITLES = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    410: "Gone",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no 200: a code, and the number or parameters that its text names."""

    code: str
    value: str = ""


def status_of(code: str) -> int:
    """The status that goes with a code; 404 for one that is not in the table."""
    return CODES.get(code, (UNSEEN_STATUS, ""))[0]


def text_of(refusal: Refusal) -> str:
    """The Dutch sentence of a code."""
    template = CODES.get(refusal.code, (0, "Onbekende melding."))[1]
    return template.replace("{value}", refusal.value)


def fout(*refusals: Refusal, is_nested: bool = False) -> bytes:
    """An error body; nested as a release note of 2021 showed it."""
    listed = {"fout": [{"code": refusal.code, "omschrijving": text_of(refusal)} for refusal in refusals]}
    return msgspec.json.encode({"meldingen": listed} if is_nested else listed)


def page(status: int) -> bytes:
    """A web server's page instead of JSON."""
    title = f"{status} {HTML_TITLES.get(status, 'Error')}"
    return f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n".encode()
