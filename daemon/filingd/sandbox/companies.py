"""Synthetic enterprises. Numbers are in the 0999 range, which the bank does not give out, with right check
digits.

A company's number, name, address, legal form and legal situation are the same in each of its rows (NBB
reference, section 15.1); people, places and streets do not exist.
"""

from __future__ import annotations

import dataclasses
import functools
import random

COMPANIES = 10_000

_TRADES = (
    "BAKKERIJ", "BOULANGERIE", "TRANSPORT", "GARAGE", "IMMO", "CONSULT", "Electriciteit", "MENUISERIE",
    "Bäckerei", "FIETSEN",
    "CAFÉ", "TANDARTSPRAKTIJK", "Créations", "ĲSSALON", "BÂTIMENT", "Naïve Kunst", "HÔTEL", "SOLUTIONS",
)  # fmt: skip
_OWNERS = (
    "VOORBEELD", "EXEMPLE", "FICTIEF", "IMAGINAIRE", "Beispiel", "DENKBEELDIG", "VAN NERGENS", "DE PERSONNE",
    "'T VERZINSEL", "L’INVENTÉE", "Æquoreus", "ŁÓDŹ & ZN", "ØST", "Straßenfrei", "ΑΛΦΑ", "Ünder & Zonen",  # noqa: RUF001 - real names hold such marks
)  # fmt: skip
_TAILS = ("", "", "", " BV", " SRL", " & CO", " GROUP", " 2000", " (BELGIË)", " – HOLDING")  # noqa: RUF001 - real names hold such marks
_STREETS = ("Fictiestraat", "Rue Inventée", "Fictielaan", "Rue Imaginaire", "Verzonnenplein", "Nirgendwoweg")
_TOWNS = (
    ("9000", "Gent"), ("5000", "Namur"), ("4000", "Liège"), ("8560", "Wevelgem"),
    ("1170", "Watermael-Boitsfort"),
    ("6200", "Châtelet"), ("2000", "Antwerpen"), ("3000", "Leuven"), ("4700", "Eupen"), ("7080", "Frameries"),
)  # fmt: skip
_FORMS = ("610", "610", "610", "014", "014", "015", "017")
_FIRST_NAMES = ("Voornaam", "Prénom", "Zoë", "Loïc", "Jürgen", "An-Sofie", "Denkbeeld")
_LAST_NAMES = ("Verzonnen", "Fictif", "D’Invention", "Ongeboren", "Müller-Nirgends", "Van Nergens")  # noqa: RUF001 - real names hold such marks


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A Belgian address that does not exist."""

    street: str
    number: str
    box: str | None
    postal_code: str
    city: str


@dataclasses.dataclass(frozen=True, slots=True)
class Company:
    """What stays the same over all filings of an enterprise."""

    number: str
    name: str
    place: Place
    legal_form: str
    legal_situation: str
    language: str


def enterprise_number(index: int) -> str:
    """The index-th number of the synthetic range: ten digits, check digits 97 less (first eight mod 97)."""
    first_eight = 9_990_000 + index % COMPANIES
    return f"{first_eight:08d}{97 - first_eight % 97:02d}"


def random_place(rng: random.Random) -> Place:
    """An address."""
    postal_code, city = rng.choice(_TOWNS)
    box = rng.choice((None, None, "3", "B2", "0202"))
    return Place(rng.choice(_STREETS), str(rng.randrange(1, 220)), box, postal_code, city)


def random_person(rng: random.Random) -> tuple[str, str]:
    """A first and a last name."""
    return rng.choice(_FIRST_NAMES), rng.choice(_LAST_NAMES)


@functools.lru_cache(maxsize=COMPANIES)
def company(seed: int, index: int) -> Company:
    """The company at an index; the same for the same seed."""
    rng = random.Random(f"{seed}/company/{index}")
    return Company(
        number=enterprise_number(index),
        name=f"{rng.choice(_TRADES)} {rng.choice(_OWNERS)}{rng.choice(_TAILS)}",
        place=random_place(rng),
        legal_form=rng.choice(_FORMS),
        legal_situation=rng.choices(("000", "053", "050", "014"), (94, 3, 2, 1))[0],
        language=rng.choices(("NL", "FR", "DE"), (55, 43, 2))[0],
    )
