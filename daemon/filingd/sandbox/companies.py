"""Synthetic enterprises. Numbers are in the 0999 range, and at large scales in those below it, none of which is
given out to anybody; check digits are right.

A company's number, address, legal form and legal situation are the same in each of its rows (NBB reference,
section 15.1); its name may have changed once. People, places and streets do not exist.
"""

from __future__ import annotations

import dataclasses
import functools
import random

COMPANIES_PER_RANGE = 10_000
_LAST_RANGE = 999
_FIRST_FOUNDED, _LAST_FOUNDED = 1978, 2021  # whoever files today has done so for some years
_CLOSINGS = ((12, 31), (6, 30), (9, 30), (3, 31))
_ACTIVITIES = ("62010", "70100", "47730", "56101", "68200", "49410", "45202", "86230")

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
    former_name: str
    renamed_in: int  # deposits of earlier years carry the former name
    founded_in: int  # the year of the first deposit
    closing: tuple[int, int]  # month and day on which its exercises end
    activity_code: str

    def name_in(self, year: int) -> str:
        """The name that a deposit of that year carries (section 15.1)."""
        return self.former_name if year < self.renamed_in else self.name


def enterprise_number(index: int) -> str:
    """The index-th synthetic number: ten digits, check digits 97 less (first eight mod 97)."""
    below, within = divmod(index, COMPANIES_PER_RANGE)
    first_eight = (_LAST_RANGE - below) * COMPANIES_PER_RANGE + within
    return f"{first_eight:08d}{97 - first_eight % 97:02d}"


def index_of(number: str) -> int | None:
    """The way back from `enterprise_number`; None if the number is not one of them."""
    if len(number) != 10 or not number.isdecimal():
        return None
    position, within = divmod(int(number[:8]), COMPANIES_PER_RANGE)
    index = (_LAST_RANGE - position) * COMPANIES_PER_RANGE + within
    return index if index >= 0 and enterprise_number(index) == number else None


def random_place(rng: random.Random) -> Place:
    """An address."""
    postal_code, city = rng.choice(_TOWNS)
    box = rng.choice((None, None, "3", "B2", "0202"))
    return Place(rng.choice(_STREETS), str(rng.randrange(1, 220)), box, postal_code, city)


def random_person(rng: random.Random) -> tuple[str, str]:
    """A first and a last name."""
    return rng.choice(_FIRST_NAMES), rng.choice(_LAST_NAMES)


@functools.lru_cache(maxsize=2 * COMPANIES_PER_RANGE)
def company(seed: int, index: int) -> Company:
    """The company at an index; the same for the same seed."""
    rng = random.Random(f"{seed}/company/{index}")
    trade, owner = rng.choice(_TRADES), rng.choice(_OWNERS)
    return Company(
        number=enterprise_number(index),
        name=f"{trade} {owner}{rng.choice(_TAILS)}",
        place=random_place(rng),
        legal_form=rng.choice(_FORMS),
        legal_situation=rng.choices(("000", "053", "050", "014"), (94, 3, 2, 1))[0],
        language=rng.choices(("NL", "FR", "DE"), (55, 43, 2))[0],
        former_name=f"{trade.title()} {owner}",
        renamed_in=rng.choice((0, 0, rng.randrange(2005, 2027))),
        founded_in=_LAST_FOUNDED - int((_LAST_FOUNDED - _FIRST_FOUNDED + 1) * rng.random() ** 1.5),
        closing=rng.choices(_CLOSINGS, (84, 8, 5, 3))[0],
        activity_code=rng.choice(_ACTIVITIES),
    )
