"""The companies with a case of their own: KVK's test set on /test/api, and special cases of our own on both bases.

Numbers and kinds of the test set are KVK's (KVK reference, section 9); what they hold is invented here and stable. KVK's
own set drifts (section 18.7), so nobody should rely on more than the numbers.
"""

from __future__ import annotations

from msgspec.structs import replace

from filingd.sandbox.kvk.registrations import Activity, Address, Branch, Company, Foreign
from filingd.sandbox.kvk.rsin import completed

_BV = ("Besloten Vennootschap", "BeslotenVennootschap")
_NV = ("Naamloze Vennootschap", "NaamlozeVennootschap")
_EMZ = ("Eenmanszaak", "Eenmanszaak")
_STICHTING = ("Stichting", "Stichting")
_VOF = ("Vennootschap onder firma", "Vennootschap onder firma")
_WORK = (
    Activity("10110", "Verwerking en conservering van vlees", is_main=True),
    Activity("01621", "Dienstverlening voor de akkerbouw", is_main=False),
)
MANY_BRANCHES = 1000
SHIELDED = Address(
    street="Verborgenpad",
    number=9,
    postcode="6029AA",
    town="Sterksel",
    kind="correspondentieadres",
    is_shielded=True,
)


def _home(street: str, number: int, postcode: str, town: str, letter: str = "") -> Address:
    return Address(street=street, number=number, letter=letter, postcode=postcode, town=town)


def _branch(
    number: str,
    name: str,
    address: Address,
    *more_names: str,
    is_main: bool = False,
    workers: tuple[int, int] = (1, 0),
) -> Branch:
    return Branch(
        number=number,
        names=(name, *more_names),
        addresses=(address,),
        is_main=is_main,
        registered_on="20200828",
        started_on="20150828",
        full_time=workers[0],
        part_time=workers[1],
        activities=_WORK,
    )


def _company(
    number: str,
    name: str,
    form: tuple[str, str],
    *branches: Branch,
    rsin: str = "",
    statutory: bool = True,
    legal_person_row: bool = False,
    non_mailing: bool = False,
    addresses: tuple[Address, ...] = (),
) -> Company:
    return Company(
        number=number,
        name=name,
        legal_form=form[0],
        full_legal_form=form[1],
        branches=branches,
        rsin=rsin,
        statutory_name=name if statutory else "",
        names=tuple(dict.fromkeys(trade for branch in branches for trade in branch.names)),
        registered_on="20170710",
        started_on="20170108",
        is_non_mailing=non_mailing,
        addresses=addresses,
        activities=_WORK,
        has_legal_person_row=legal_person_row,
    )


def _rsin(first_eight: int) -> str:
    number = completed(first_eight)
    assert number is not None, first_eight
    return number


def _sole_trader() -> Company:
    home = _home("Abebe Bikilalaan", 17, "1034WL", "Amsterdam", "M")
    main = _branch("000038509504", "Test EMZ Dagobert", home, "Tweede handelsnaam 1MZ", is_main=True)
    other = _branch(
        "000038509520", "Test EMZ Nevenvestiging Govert", _home("Geneinde", 6, "6221AA", "Maastricht")
    )
    return _company("69599084", "Test EMZ Dagobert", _EMZ, main, other, statutory=False, non_mailing=True)


def _company_with_branches() -> Company:
    main = _branch(
        "000037178598", "Test BV Donald", _home("Hizzaarderlaan", 3, "8823SJ", "Lollum", "A"), is_main=True
    )
    other = _branch(
        "000037178601", "Test BV Nevenvestiging", _home("Brinkerinckbaan", 10, "7413ET", "Deventer")
    )
    seat = _home("Hizzaarderlaan", 3, "8823SJ", "Lollum", "A")
    return _company(
        "68750110", "Test BV Donald", _BV, main, other, rsin="857587973", legal_person_row=True, addresses=(seat,)
    )  # fmt: skip


def _many_branches() -> Company:
    branches = [
        _branch(
            f"99{1000000 + place:010d}", f"Filiaal {place + 1} Test BV",
            _home("Duizendstraat", place + 1, "2500AB", "'s-Gravenhage"), is_main=place == 0,
        )
        for place in range(MANY_BRANCHES)
    ]  # fmt: skip
    return _company(
        "90006577", "Test BV Duizendpoot", _BV, *branches, rsin=_rsin(99100003), legal_person_row=False
    )


def _shielded() -> Company:
    branch = _branch("990000541921", "Grand Joyflex B.V.", SHIELDED, is_main=True)
    return _company("90001354", "Grand Joyflex B.V.", _BV, branch, rsin="992760562")


def _foundation_with_geo() -> Company:
    home = _home("Sint Voorbeeldsstraat", 300, "3511BT", "Utrecht")
    names = ("Mijn 2e handelsnaam", "Mijn 3e handelsnaam")
    main = _branch("990064773193", "Stichting Testgeo", home, *names, is_main=True, workers=(3, 1))
    main = replace(main, websites=("www.testgeo-een.example", "www.testgeo-twee.example"))
    other = Branch(
        number="990064773207", names=("Testgeo Noord",), also_known_as="Noordgeo", is_commercial=False,
        addresses=(_home("Noordweg", 2, "9700AA", "Groningen"),), registered_on="20220511", started_on="20120511",
        full_time=0,
        part_time=0,
    )  # fmt: skip
    return _company("90006623", "Stichting Testgeo", _STICHTING, main, other, rsin="990983419")


def _owners_association() -> Company:
    seat = _home("Blaauwweg", 163, "3328XD", "Dordrecht")
    form = ("Vereniging van Eigenaars", "Vereniging van Eigenaars")
    return _company(
        "90000749", "VvE Voorbeeldflat", form, rsin="992340597", legal_person_row=True, addresses=(seat,), non_mailing=True
    )  # fmt: skip


def _cooperative() -> Company:
    home = _home("Koopweg", 4, "7900AA", "Hoogeveen")
    branch = _branch("990001987781", "Test Cooperatie", home, is_main=True)
    company = _company(
        "96354429", "Test Cooperatie", ("Coöperatie", "Coöperatie U.A."), branch, rsin=_rsin(99100004)
    )
    return _ended(company, "20241231")


def _ended(company: Company, on: str) -> Company:
    return replace(company, ended_on=on, deregistered_on=on)


def _simple(
    number: str, name: str, form: tuple[str, str], branches: tuple[str, ...], rsin: str = ""
) -> Company:
    """A company of one address, with branches under these numbers."""
    home = _home("Testweg", int(number[-2:]) + 1, "3811AB", "Amersfoort")
    made = [
        _branch(branch, name if place == 0 else f"{name} {place + 1}", home, is_main=place == 0)
        for place, branch in enumerate(branches)
    ]
    is_person = not made
    seat = (home,) if is_person else ()
    return _company(number, name, form, *made, rsin=rsin, legal_person_row=is_person, addresses=seat)


def test_set() -> list[Company]:
    """KVK's fictitious companies."""
    return [
        _sole_trader(),
        _company_with_branches(),
        _many_branches(),
        _shielded(),
        _foundation_with_geo(),
        _owners_association(),
        _cooperative(),
        _simple("68727720", "Test NV Katrien", _NV, ("000037143557",), _rsin(99100005)),
        _simple("90004760", "Test NV Zwaan", _NV, (), _rsin(99100006)),
        _simple("69599068", "Test Stichting Bolderbast", _STICHTING, (), _rsin(99100007)),
        _simple("90000102", "Test Stichting Eendracht", _STICHTING, (), _rsin(99100008)),
        _simple("69599076", "Test VOF Guus", _VOF, ("000038509474", "000038509490")),
        _simple("90005414", "Test VOF Kwik", _VOF, ("990000216645", "990000821206")),
        _simple("90002520", "Test Kerkgenootschap", ("Kerkgenootschap", "Kerkgenootschap"), (), _rsin(99100011)),
        _simple("90002490", "Test OWM", ("Onderlinge Waarborgmaatschappij",) * 2, ("990000246858",), _rsin(99100012)),
        _simple("90001745", "Test Maatschap", ("Maatschap", "Maatschap"), ("990000637800",)),
        _simple(
            "90003942", "Test CV", ("Commanditaire vennootschap",) * 2,
            ("990000008288", "990000246530", "990000768218", "990000852070"),
        ),
        _simple("55505201", "Test Privaatrechtelijk", ("Overige privaatrechtelijke rechtspersoon",) * 2, (), _rsin(99100013)),
    ]  # fmt: skip


def special_cases() -> list[Company]:
    """Cases that KVK's set does not promise, under numbers of our own."""
    return [
        _partial_dates(),
        _foreign_seat(),
        _po_box_only(),
        _nothing_told(),
        _long_gone(),
        _recently_gone(),
        _renamed(),
        _leading_zero(),
        _association(),
    ]


def production_namesake() -> Company:
    """68750110 is another company in production (section 18.8)."""
    home = _home("Proefkade", 1, "1234AB", "Testdam")
    branch = _branch("990900009011", "Andere Voorbeeld B.V.", home, is_main=True)
    return _company(
        "68750110", "Andere Voorbeeld B.V.", _BV, branch, rsin=_rsin(99100014), legal_person_row=True
    )


def _partial_dates() -> Company:
    home = _home("Proefkade", 12, "1234AB", "Testdam", "a")
    main = replace(
        _branch("990900000011", "Voorbeeld Molenbouw B.V.", home, "Wiekenwerk", is_main=True, workers=(7, 2)),
        started_on="20190200", websites=("www.voorbeeld-molenbouw.example",),
    )  # fmt: skip
    box = Address("correspondentieadres", street="Postbus", po_box=45, postcode="1234ZZ", town="Testdam")
    other = replace(_branch("990900000022", "Wiekenwerk", box, workers=(2, 1)), started_on="20200000")
    company = _company(
        "99000011", "Voorbeeld Molenbouw B.V.", _BV, main, other, rsin="859123455", legal_person_row=True, non_mailing=True,
        addresses=(home,),
    )  # fmt: skip
    return replace(company, started_on="20190200")


def _foreign_seat() -> Company:
    abroad = Address(
        "correspondentieadres", foreign=Foreign("Example Road 7", "EX1 2MP EXAMPLETON", "Verenigd Koninkrijk")
    )
    branch = replace(
        _branch("990900000055", "Example Mills Ltd", abroad, is_main=True), started_on="00000000"
    )
    return _company(
        "99000020",
        "Example Mills Ltd",
        ("Buitenlandse vennootschap",) * 2,
        branch,
        legal_person_row=True,
        addresses=(abroad,),
    )


def _po_box_only() -> Company:
    box = Address("correspondentieadres", street="Postbus", po_box=100, postcode="1200ZZ", town="Hilversum")
    branch = _branch("990900000066", "Postbus Voorbeeld B.V.", box, is_main=True)
    return _company("99000029", "Postbus Voorbeeld B.V.", _BV, branch, rsin=_rsin(99100017))


def _nothing_told() -> Company:
    home = _home("Leegstraat", 1, "1600AA", "Enkhuizen")
    branch = Branch(
        "990900000077", ("Failliet Voorbeeld B.V.",), (home,), is_main=True, registered_on="20090101"
    )
    company = _company("99000045", "Failliet Voorbeeld B.V.", _BV, branch, rsin=_rsin(99100018))
    return replace(company, activities=(), started_on="")


def _long_gone() -> Company:
    home = _home("Oudeweg", 8, "2000AB", "Haarlem")
    branch = _branch("990900000088", "Verdwenen Voorbeeld B.V.", home, is_main=True)
    return _ended(
        _company("99000053", "Verdwenen Voorbeeld B.V.", _BV, branch, rsin=_rsin(99100019)), "20091231"
    )


def _recently_gone() -> Company:
    home = _home("Nieuweweg", 9, "2000AC", "Haarlem")
    branch = _branch("990900000099", "Gestopt Voorbeeld", home, is_main=True)
    return _ended(_company("99000061", "Gestopt Voorbeeld", _EMZ, branch, statutory=False), "20240301")


def _renamed() -> Company:
    home = _home("Naamplein", 2, "5600AA", "Eindhoven")
    branch = _branch("990900000100", "Nieuwenaam Voorbeeld B.V.", home, is_main=True)
    company = _company("99000070", "Nieuwenaam Voorbeeld B.V.", _BV, branch, rsin=_rsin(99100021))
    return replace(company, expired_name="Oudenaam Voorbeeld B.V.")


def _leading_zero() -> Company:
    home = _home("Nulweg", 10, "4000AA", "Tiel")
    branch = _branch("000000990010", "Nul Voorbeeld B.V.", home, is_main=True)
    return _company("00990012", "Nul Voorbeeld B.V.", _BV, branch, rsin=_rsin(99100022))


def _association() -> Company:
    home = _home("Tuinpad", 3, "6700AA", "Wageningen")
    shop = _branch("990900000033", "Tuinwinkel Voorbeeld", home, is_main=True)
    north = Branch(
        "990900000044",
        ("Proeftuin Noord",),
        (home,),
        is_commercial=False,
        also_known_as="Noordtuin",
        started_on="20110500",
    )
    company = _company("99000038", "Stichting Voorbeeldtuin", _STICHTING, shop, north, rsin=_rsin(99100024))
    return replace(company, also_known_as="De Proeftuin", started_on="20110500")
