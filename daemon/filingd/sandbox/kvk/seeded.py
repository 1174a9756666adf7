"""Seeded companies of /api: any number of them, each made from its number alone and held by nobody.

KVK numbers are 98000000 and up, branch numbers 0000 with the company's place and the branch's, RSINs 86 and up with the
right check digit, so that each number leads back to its company. Names and streets are invented; towns are real, since
searches are split by them.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, TypeVar

from filingd.sandbox.dice import coarse_shares, die
from filingd.sandbox.kvk.registrations import Activity, Address, Branch, Company, Foreign
from filingd.sandbox.kvk.rsin import completed

if TYPE_CHECKING:
    from collections.abc import Sequence

Chosen = TypeVar("Chosen")
FIRST_NUMBER = 98_000_000
_FIRST_RSIN, _RSIN_STEP = 86_000_000, 1_000_000
_BRANCHES_PER_COMPANY = 100
_KEPT = 1024
HOT_WORD, HOT_TOWN = "Molen", "Utrecht"
CROWD_NAME, CROWD_STREET = "Molen Voorbeeld", "Torenplein"

TRADES = (
    "Bakkerij", "Slagerij", "Installatie", "Timmerwerken", "Advies", "Transport", "Bloemen", "Fietsen", "Drukkerij",
    "Schilders", "Tuinen", "Makelaardij", "Optiek", "Kapsalon", "Groothandel", "Advocatuur", "Café", "Techniek",
)  # fmt: skip
OWNERS = (
    "Voorbeeld", "Verzonnen", "Denkbeeld", "Nergens", "Fictie", "Bedacht", "Schijn", "Proef", "Model", "Schets",
    "Luchtkasteel", "Zogenaamd", "'t Verzinsel", "Zeeën", "Ønskeby", "Fantasie", "Droom", "Sprook", "Mythe", "Idee",
)  # fmt: skip
TOWNS = (
    HOT_TOWN, "Amsterdam", "Rotterdam", "'s-Gravenhage", "Eindhoven", "Groningen", "Tilburg", "Almere", "Breda",
    "Nijmegen", "Apeldoorn", "Haarlem", "Arnhem", "Zwolle", "Leiden", "Maastricht", "Dordrecht", "Ede", "Delft", "Alkmaar",
)  # fmt: skip
STREETS = (
    "Proefkade", "Voorbeeldweg", "Verzonnenplein", "Nergenslaan", "Denkbeeldstraat", "Fictiedijk", "Schetspad", "Modelhof",
    "Luchtkasteelsingel", "Droomgracht", "Ideeënlaan", "Mythestraat",
)  # fmt: skip
_FORMS = (
    ("Besloten Vennootschap", "Besloten vennootschap met gewone structuur", "B.V."),
    ("Eenmanszaak", "Eenmanszaak", ""),
    ("Stichting", "Stichting", ""),
    ("Vennootschap onder firma", "Vennootschap onder firma", "V.O.F."),
    ("Vereniging", "Vereniging met volledige rechtsbevoegdheid", ""),
    ("Naamloze Vennootschap", "Naamloze vennootschap met gewone structuur", "N.V."),
)  # fmt: skip
_BV, _EMZ, _STICHTING, _VOF, _VERENIGING, _NV = range(6)
_LEGAL_PERSONS = frozenset({_BV, _STICHTING, _VERENIGING, _NV})
_FORM_LIMITS = ((0.45, _BV), (0.75, _EMZ), (0.85, _STICHTING), (0.93, _VOF), (0.97, _VERENIGING), (1.0, _NV))
_BRANCH_LIMITS = ((0.7, 1), (0.88, 2), (0.95, 3), (0.98, 4), (1.0, 6))
_ACTIVITIES = (
    ("10711", "Vervaardiging van brood en vers banketbakkerswerk"), ("01621", "Dienstverlening voor de akkerbouw"),
    ("4399", "Overige gespecialiseerde werkzaamheden in de bouw"), ("56101", "Restaurants"),
    ("6201", "Ontwikkelen van software"), ("70221", "Organisatie-adviesbureaus"), ("94997", "Overige belangenbehartiging"),
)  # fmt: skip
_ABROAD = (
    Foreign("Example Road 7", "EX1 2MP EXAMPLETON", "Verenigd Koninkrijk"),
    Foreign("Musterweg 3", "00000 MUSTERSTADT", "Duitsland", "Musterland"),
    Foreign("Rue Imaginaire 12", "0000 NULLEPART", "België"),
)
_LETTERS = ("", "", "", "", "A", "B", "C", "M")


@dataclasses.dataclass(frozen=True, slots=True)
class Population:
    """Which companies there are: the knobs of `KvkSandboxSettings` that make them."""

    seed: int
    companies: int
    crowd_companies: int
    inactive_share: float
    foreign_share: float
    shielded_share: float
    non_mailing_share: float


class SeededCompanies:
    """The companies of one population, by place (0 and up), KVK number, branch number or RSIN."""

    def __init__(self, population: Population) -> None:
        self._population = population
        self._crowd_from = population.companies - min(population.crowd_companies, population.companies)
        self._die = die(population.seed, "kvk-company")
        self._branch_die = die(population.seed, "kvk-branch")
        self.at = functools.lru_cache(maxsize=_KEPT)(self._made)

    def __len__(self) -> int:
        return self._population.companies

    def by_number(self, number: str) -> Company | None:
        """The company of a KVK number."""
        return self._if_there(int(number) - FIRST_NUMBER)

    def by_branch(self, number: str) -> Company | None:
        """The company that a branch number belongs to."""
        company = self._if_there(int(number) // _BRANCHES_PER_COMPANY)
        return company if company and company.branch(number) else None

    def by_rsin(self, number: str) -> Company | None:
        """The company of an RSIN."""
        company = self._if_there((int(number) // 10 - _FIRST_RSIN) % _RSIN_STEP)
        return company if company and company.rsin == number else None

    def _if_there(self, place: int) -> Company | None:
        return self.at(place) if 0 <= place < len(self) else None

    # --- one company ---

    def _made(self, place: int) -> Company:
        if place >= self._crowd_from:
            return _one_of_the_crowd(place)
        dice = coarse_shares(self._die, place, 20)
        form = _by_limit(_FORM_LIMITS, dice[0])
        name, is_person = _name(dice, form), form in _LEGAL_PERSONS
        registered_on, ended_on = _date(dice[3]), self._end(dice)
        started_on = _partial(registered_on, dice[4])
        branches = tuple(
            self._branch(place * _BRANCHES_PER_COMPANY + ordinal, name, registered_on, started_on)
            for ordinal in range(_branch_count(form, dice[6]))
        )
        return Company(
            number=kvk_number(place),
            name=name,
            legal_form=_FORMS[form][0],
            full_legal_form=_FORMS[form][1],
            branches=branches,
            rsin="" if form == _EMZ else rsin_of(place),
            statutory_name=name if is_person else "",
            also_known_as=f"De {_pick(OWNERS, dice[13])}" if form == _VERENIGING else "",
            names=tuple(dict.fromkeys(trade for branch in branches for trade in branch.names)),
            registered_on=registered_on,
            started_on=started_on,
            ended_on=ended_on,
            deregistered_on=ended_on,
            is_non_mailing=dice[5] < self._population.non_mailing_share,
            addresses=(self._seat(dice),) if is_person else (),
            activities=branches[0].activities if branches else _activities(dice[7], 1),
            has_legal_person_row=is_person,
        )

    def _branch(self, number: int, company_name: str, registered_on: str, started_on: str) -> Branch:
        dice = coarse_shares(self._branch_die, number, 18)
        is_main = number % _BRANCHES_PER_COMPANY == 0
        own = () if dice[0] < 0.6 else (f"{_word(dice[1])} {_pick(OWNERS, dice[2])}",)
        is_told = dice[3] >= 0.1  # of the others nobody ever told the workers
        home = self._home(dice)
        postal = (_po_box(home, dice[4]),) if dice[5] < 0.15 else ()
        return Branch(
            number=f"{number:012d}",
            names=(company_name, *own) if is_main else (own or (company_name,)),
            addresses=(home, *postal),
            is_main=is_main,
            registered_on=registered_on,
            started_on=started_on,
            full_time=int(dice[6] * 12) if is_told else None,
            part_time=int(dice[7] * 5) if is_told else None,
            websites=(f"www.voorbeeld-{number}.example",) if dice[8] < 0.3 and is_main else (),
            activities=_activities(dice[9], 1 + int(dice[10] * 3)) if dice[11] >= 0.04 else (),
        )

    def _home(self, dice: list[float]) -> Address:
        return _dutch(dice[13:], is_shielded=dice[12] < self._population.shielded_share)

    def _seat(self, dice: list[float]) -> Address:
        if dice[8] < self._population.foreign_share:
            return Address(foreign=_pick(_ABROAD, dice[9]), kind="correspondentieadres")
        return _dutch(dice[15:], is_shielded=False)

    def _end(self, dice: list[float]) -> str:
        return f"{2005 + int(dice[12] * 20)}0630" if dice[11] < self._population.inactive_share else ""


def kvk_number(place: int) -> str:
    """The KVK number of a seeded company."""
    return str(FIRST_NUMBER + place)


def branch_number(place: int, ordinal: int) -> str:
    """The number of a branch, the main one being the first."""
    return f"{place * _BRANCHES_PER_COMPANY + ordinal:012d}"


def rsin_of(place: int) -> str:
    """The RSIN of a seeded company: the first of its numbers that has a check digit."""
    first_eight = _FIRST_RSIN + place
    while (number := completed(first_eight)) is None:
        first_eight += _RSIN_STEP
    return number


def _one_of_the_crowd(place: int) -> Company:
    name = f"{CROWD_NAME} B.V."
    address = Address(street=CROWD_STREET, number=1, postcode="3500AA", town=HOT_TOWN)
    branch = Branch(
        number=branch_number(place, 0), names=(name,), addresses=(address,), is_main=True,
        registered_on="20150105", started_on="20150101", full_time=0, part_time=0,
    )  # fmt: skip
    return Company(
        number=kvk_number(place), name=name, legal_form=_FORMS[_BV][0], full_legal_form=_FORMS[_BV][1],
        branches=(branch,), rsin=rsin_of(place), statutory_name=name, names=(name,), registered_on="20150105",
        started_on="20150101",
    )  # fmt: skip


def _name(dice: list[float], form: int) -> str:
    prefix = "Stichting " if form == _STICHTING else "Vereniging " if form == _VERENIGING else ""
    tail = f" {_FORMS[form][2]}" if _FORMS[form][2] else ""
    return f"{prefix}{_word(dice[1])} {_pick(OWNERS, dice[2])}{tail}"


def _word(share: float) -> str:
    return HOT_WORD if share < 0.3 else _pick(TRADES, (share - 0.3) / 0.7)


def _dutch(dice: list[float], *, is_shielded: bool) -> Address:
    town = 0 if dice[1] < 0.25 else int((dice[1] - 0.25) / 0.75 * len(TOWNS))
    street = int(dice[2] * len(STREETS))
    return Address(
        street=STREETS[street],
        number=1 + int(dice[3] * 220),
        letter=_pick(_LETTERS, dice[4]),
        postcode=f"{1010 + town * 97}{chr(65 + street)}{chr(65 + int(dice[0] * 20))}",
        town=TOWNS[town],
        is_shielded=is_shielded,
    )


def _po_box(home: Address, share: float) -> Address:
    number = 10 + int(share * 900)
    postcode = f"{home.postcode[:4]}ZZ"
    return Address(
        kind="correspondentieadres", street="Postbus", po_box=number, postcode=postcode, town=home.town
    )


def _activities(share: float, count: int) -> tuple[Activity, ...]:
    first = int(share * len(_ACTIVITIES))
    chosen = [_ACTIVITIES[(first + step) % len(_ACTIVITIES)] for step in range(count)]
    return tuple(Activity(code, text, step == 0) for step, (code, text) in enumerate(chosen))


def _date(share: float) -> str:
    day = int(share * 45 * 336)
    return f"{1980 + day // 336}{1 + day % 336 // 28:02d}{1 + day % 28:02d}"


def _partial(date: str, share: float) -> str:
    if share < 0.03:
        return f"{date[:4]}0000"
    return f"{date[:6]}00" if share < 0.08 else date


def _branch_count(form: int, share: float) -> int:
    """Half of the foundations and associations have no branch."""
    if form in (_STICHTING, _VERENIGING):
        return 0 if share < 0.5 else _by_limit(_BRANCH_LIMITS, share * 2 - 1)
    return _by_limit(_BRANCH_LIMITS, share)


def _by_limit(limits: tuple[tuple[float, int], ...], share: float) -> int:
    return next(value for limit, value in limits if share < limit)


def _pick(choices: Sequence[Chosen], share: float) -> Chosen:
    return choices[int(share * len(choices))]
