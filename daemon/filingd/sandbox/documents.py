"""The four documents of a filing: reference object, accountingData JSON, XBRL instance, PDF.

Shapes follow the NBB reference, section 7, with the corrections of section 15. Every function gives the same
bytes for the same filing.
"""

from __future__ import annotations

import base64
import random
from typing import TYPE_CHECKING, Any, Literal
from xml.sax.saxutils import escape

import msgspec

from filingd.sandbox.companies import Place, enterprise_number, random_person, random_place

if TYPE_CHECKING:
    import datetime as dt

    from filingd.sandbox.generator import Filing

# Rubric codes by data type. Rubric 9904 and its kin are am2 and may be negative; no am1 value is (section
# 15.5).
AMOUNT_CODES = (
    "20/58", "21", "21/28", "22", "22/27", "23", "24", "25", "26", "27", "28", "29", "29/58", "3",
    "30/36", "37", "40", "40/41", "41", "490/1", "50/53", "54/58", "10", "10/11", "10/49", "100",
    "111", "13", "130", "130/1", "1311", "133", "17", "17/49", "170/4", "172/3", "42", "42/48",
    "43", "430/8", "44", "440/4", "45", "450/3", "454/9", "46", "47/48", "492/3", "60/61", "630",
    "640/8", "691/2", "694", "694/7", "70", "75", "75/76B", "8059", "8079", "8129", "8169", "8179",
    "8199", "8279", "8309", "8329", "8395", "9500",
)  # fmt: skip
RESULT_CODES = (
    "10/15",
    "1023",
    "14",
    "62",
    "631/4",
    "65",
    "65/66B",
    "66A",
    "67/77",
    "9900",
    "9901",
    "9903",
    "9904",
    "9905",
    "9906",
)
# Codes ending in P carry the previous year's closing value under Period "N" (section 15.6).
OPENING_CODES = (
    ("8059P", "met:am1"),
    ("8129P", "met:am1"),
    ("8199P", "met:am1"),
    ("8329P", "met:am1"),
    ("14P", "met:am2"),
)
COUNT_CODES = ("1051", "1052", "1101", "1102", "1201", "1202", "5801", "5811")
FRACTION_CODES = ("1003", "1053", "1103", "1203", "9087")
WIDE_CODES = ("1011", "1012", "1013", "1013P", "5802", "5812")
RUBRICS_PER_SIZE = {
    "m87": 34,
    "m07": 34,
    "m08": 30,
    "m81": 46,
    "m01": 46,
    "m04": 42,
}  # amounts; full models: all

Casing = Literal["camel", "pascal"]


def reference_object(filing: Filing, casing: Casing, public_url: str) -> dict[str, Any]:
    """The 19 keys of section 7.2, as they stand in a day's zip: rarely without the enterprise number."""
    pascal = reference_in_pascal(filing, public_url)
    if not filing.enterprise_listed:
        del pascal["EnterpriseNumber"]
    return in_casing(pascal, casing)


def in_casing(pascal: dict[str, Any], casing: Casing) -> dict[str, Any]:
    """The object with its keys in a casing. The dates inside ExerciseDates are lower camel in both."""
    if casing == "pascal":
        return pascal
    return {_camel(key): _camel_members(value) for key, value in pascal.items()}


def reference_json(filing: Filing, casing: Casing, public_url: str) -> bytes:
    """One member of a references zip."""
    return msgspec.json.encode(reference_object(filing, casing, public_url))


def reference_in_pascal(filing: Filing, public_url: str) -> dict[str, Any]:
    """The 19 keys as the query operations give them; they always tell the enterprise number."""
    company = filing.company
    url = f"{public_url}/authentic/deposit/{filing.reference_number}/accountingData"
    return {
        "ReferenceNumber": filing.reference_number,
        "DepositDate": filing.deposited_on.isoformat(),
        "ExerciseDates": {
            "startDate": filing.exercise_start.isoformat(),
            "endDate": filing.exercise_end.isoformat(),
        },
        "ModelType": filing.model_type,
        "DepositType": filing.deposit_type,
        "Language": company.language,
        "Currency": filing.currency,
        "EnterpriseNumber": company.number,
        "EnterpriseName": filing.enterprise_name + (" (NIEUW)" if filing.revision else ""),
        "Address": _reference_address(company.place),
        "LegalForm": company.legal_form,
        "LegalSituation": company.legal_situation,
        "FullFillLegalValidation": True,
        "ActivityCode": filing.activity_code,
        "GeneralAssemblyDate": _iso(filing.assembly_on),
        "AccountingDataURL": url if filing.linked else None,
        "DataVersion": "Authentic",
        "ImprovementDate": None,
        "CorrectedData": None,
    }


def _reference_address(place: Place) -> dict[str, Any]:
    return {
        "Box": place.box,
        "City": place.city,
        "CountryCode": "BE",
        "Number": place.number,
        "PostalCode": place.postal_code,
        "Street": place.street,
    }


def _camel(key: str) -> str:
    return key[:1].lower() + key[1:]


def _camel_members(value: Any) -> Any:
    return {_camel(key): member for key, member in value.items()} if isinstance(value, dict) else value


def _iso(day: dt.date | None) -> str | None:
    return day.isoformat() if day else None


# --- accountingData -----------------------------------------------------------------------------------------


def accounting_object(filing: Filing) -> dict[str, Any]:
    """The nine top keys of section 7.3; no enterprise number and no exercise dates inside."""
    rng = _source(filing, "json")
    return {
        "ReferenceNumber": filing.reference_number,
        "EnterpriseName": filing.enterprise_name + rng.choice(("", "", "", " ")),
        "Address": _filed_address(filing.company.place, rng),
        "LegalForm": {"LegalFormCode": f"lgf:m{filing.company.legal_form}", "LegalForm": None},
        "JointCommittees": _joint_committees(rng),
        "Rubrics": rubrics(filing),
        "Administrators": _administrators(rng),
        "ParticipatingInterests": [_participation(filing, rng)] if rng.random() < 0.15 else [],
        "Shareholders": _shareholders(rng),
    }


def accounting_json(filing: Filing) -> bytes:
    """One member of a JSON zip, indented as the real documents are."""
    return msgspec.json.format(msgspec.json.encode(accounting_object(filing)), indent=1)


def rubrics(filing: Filing) -> list[dict[str, str]]:
    """The figures; order is arbitrary, a (Code, Period) pair occurs once."""
    rng = _source(filing, "rubrics")
    amounts = RUBRICS_PER_SIZE.get(filing.model_type.partition("-")[0], len(AMOUNT_CODES))
    rows = []
    for code in sorted(rng.sample(AMOUNT_CODES, amounts)):
        rows += _two_years(code, "met:am1", rng, negative=False)
    for code in RESULT_CODES:
        rows += _two_years(code, "met:am2", rng, negative=True)
    rows += [_rubric(code, _amount(rng), "N", kind) for code, kind in OPENING_CODES]
    rows += [_rubric(code, str(rng.randrange(40)), "N", "met:int3") for code in COUNT_CODES]
    rows += [_rubric(code, str(rng.randrange(9000)), "N", "met:int4") for code in WIDE_CODES]
    rows += [
        _rubric(code, f"{rng.randrange(200)}.{rng.randrange(10)}", "N", "met:dec1") for code in FRACTION_CODES
    ]
    return rows


def _two_years(code: str, kind: str, rng: random.Random, *, negative: bool) -> list[dict[str, str]]:
    signs = ["-" if negative and rng.random() < 0.25 else "" for _ in range(2)]
    values = [sign + _amount(rng) for sign in signs]
    return [_rubric(code, value, period, kind) for value, period in zip(values, ("N", "NM1"), strict=True)]


def _rubric(code: str, value: str, period: str, kind: str) -> dict[str, str]:
    return {"Code": code, "Value": value, "Period": period, "DataType": kind, "TypeAmount": "original"}


def _amount(rng: random.Random) -> str:
    """An amount as filed: no fixed number of decimals, trailing zeros kept (sections 7.3 and 15.5)."""
    whole, cents = rng.randrange(1, 2_000_000), rng.randrange(100)
    style = rng.random()
    if style < 0.15:
        return str(whole)
    return f"{whole}.{cents // 10}" if style < 0.25 else f"{whole}.{cents:02d}"


def _filed_address(place: Place, rng: random.Random) -> dict[str, Any]:
    free_text = rng.random() < 0.05
    return {
        "Street": place.street,
        "Number": place.number,
        "Box": place.box,
        "City": None if free_text else f"pcd:m{place.postal_code}",
        "OtherPostalCode": place.postal_code if free_text else None,
        "OtherCity": place.city if free_text else None,
        "Country": "cty:mBE",
        "OtherCountry": None,
    }


def _home_address(rng: random.Random) -> dict[str, Any]:
    return _filed_address(random_place(rng), rng) | {"AddressType": "atc:m001", "OtherAddressType": None}


def _joint_committees(rng: random.Random) -> list[dict[str, str | None]]:
    """Code, free text (section 15.7), or nothing."""
    code = rng.choice(("200", "209", "111", "302"))
    coded: dict[str, str | None] = {"JointCommitteeCode": code, "JointCommittee": None}
    free: dict[str, str | None] = {"JointCommitteeCode": None, "JointCommittee": f"{code}0"}
    return rng.choice(([], [], [coded], [free], [coded, free]))


def _mandates(rng: random.Random) -> list[dict[str, Any]]:
    """Often empty; dates null at either end (section 15.7)."""
    if rng.random() < 0.2:
        return []
    dates = {"StartDate": rng.choice((None, "2024-06-10")), "EndDate": rng.choice((None, "2029-06-11"))}
    function = rng.choice(("fct:m13", "fct:m30", "fct:m10"))
    return [{"FunctionMandate": function, "OtherFunctionMandate": None, "MandateDates": dates}]


def _person(rng: random.Random) -> dict[str, Any]:
    first, last = random_person(rng)
    return {"FirstName": first, "LastName": last, "Address": rng.choice((None, _home_address(rng)))}


def _administrators(rng: random.Random) -> dict[str, Any]:
    natural = [
        {"Person": _person(rng), "Profession": rng.choice((None, "Bestuurder")), "Mandates": _mandates(rng)}
        for _ in range(rng.choice((0, 1, 1, 2)))
    ]
    legal = [_legal_administrator(rng)] if rng.random() < 0.3 else []
    return {"LegalPersons": legal, "NaturalPersons": natural}


def _entity(rng: random.Random) -> dict[str, Any]:
    kind = {"IdentifierKindOfNumberCode": "nmt:m1", "IdentifierKindOfNumber": None}
    return {
        "Name": rng.choice(("FICTIEF BEHEER", "GESTION IMAGINÉE")),
        "IdentifierKindOfNumber": kind,
        "Identifier": enterprise_number(rng.randrange(10_000)),
        "Address": _home_address(rng),
    }


def _legal_administrator(rng: random.Random) -> dict[str, Any]:
    representative = _person(rng) | {"Profession": None}
    return {"Entity": _entity(rng), "Mandates": _mandates(rng), "Representatives": [representative]}


def _participation(filing: Filing, rng: random.Random) -> dict[str, Any]:
    held = {
        "Line": "1",
        "Nature": "Aandelen",
        "Number": "50",
        "PercentageDirectlyHeld": "0.5",
        "PercentageSubsidiaries": None,
    }
    return {
        "Entity": _entity(rng),
        "EntityLegalForm": "lgf:m610",
        "OtherLegalForm": None,
        "AccountDate": filing.exercise_end.isoformat(),
        "Currency": "ccy:mEUR",
        "Equity": _amount(rng),
        "NetResult": "-" + _amount(rng),
        "ParticipatingInterestHeld": [held],
    }


def _shareholders(rng: random.Random) -> dict[str, Any]:
    if rng.random() > 0.1:
        return {"EntityShareHolders": [], "IndividualShareHolders": []}
    rights = {
        "Line": "1",
        "Nature": "Aandelen",
        "NumberSecuritiesAttached": "75",
        "NumberNotSecuritiesAttached": None,
        "Percentage": "0.75",
    }
    return {
        "EntityShareHolders": [{"Entity": _entity(rng), "RightsHeld": [rights]}],
        "IndividualShareHolders": [],
    }


# --- XBRL ---------------------------------------------------------------------------------------------------

_DICTIONARY = "http://www.nbb.be/be/fr/cbso/dict"
_DIMENSIONS = ("bas", "part", "prd", "psn", "dcl", "evt", "mmt", "qlt")


def xbrl(filing: Filing, big_bytes: int = 0) -> bytes:
    """An instance document: default or `xbrli:` prefix, old or new identifier (section 15.9).

    A big filing gets an embedded text block that brings it to about `big_bytes`.
    """
    rng = _source(filing, "xbrl")
    prefix = rng.choice(("", "xbrli:"))
    identifier = rng.choice(("", "BE")) + filing.company.number
    facts = rubrics(filing)
    parts = [_xbrl_head(filing, prefix)]
    parts += [
        _context(prefix, number, identifier, filing=filing, row=row, rng=rng)
        for number, row in enumerate(facts, 1)
    ]
    parts.append(
        f'<{prefix}unit id="{filing.currency}"><{prefix}measure>iso4217:{filing.currency}</{prefix}measure></{prefix}unit>\n'
    )
    parts += [_fact(number, row, filing.currency, rng) for number, row in enumerate(facts, 1)]
    text = "".join(parts)
    filler = _filler(rng, big_bytes - len(text)) if filing.big_xbrl else ""
    name = escape(filing.enterprise_name)
    return f'{text}<met:str1 contextRef="c1">{name} {filler}</met:str1>\n</{prefix}xbrl>\n'.encode()


def _xbrl_head(filing: Filing, prefix: str) -> str:
    bound = "xmlns:xbrli" if prefix else "xmlns"
    version = f"{filing.deposited_on.year - 2000}.0"
    names = "".join(f'\n xmlns:{name}="{_DICTIONARY}/dom/{name}"' for name in _DIMENSIONS)
    model = filing.model_type.removesuffix("-p")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<{prefix}xbrl xml:lang="{filing.company.language.lower()}"\n {bound}="http://www.xbrl.org/2003/instance"'
        '\n xmlns:link="http://www.xbrl.org/2003/linkbase"\n xmlns:xbrldi="http://xbrl.org/2006/xbrldi"'
        '\n xmlns:xlink="http://www.w3.org/1999/xlink"\n xmlns:iso4217="http://www.xbrl.org/2003/iso4217"'
        f'\n xmlns:met="{_DICTIONARY}/met"\n xmlns:dim="{_DICTIONARY}/dim"{names}>\n'
        f'<link:schemaRef xlink:type="simple" xlink:href="http://www.nbb.be/be/fr/cbso/fws/{version}/mod/'
        f'{model.partition("-")[0]}/{model}.xsd"/>\n'
    )


def _context(
    prefix: str, number: int, identifier: str, *, filing: Filing, row: dict[str, str], rng: random.Random
) -> str:
    year = filing.exercise_end.year - (row["Period"] != "N")
    end = filing.exercise_end.replace(year=year)
    members = "".join(
        f'<xbrldi:explicitMember dimension="dim:{name}">{name}:m{rng.randrange(1, 60)}</xbrldi:explicitMember>\n'
        for name in ("bas", "part", rng.choice(_DIMENSIONS[2:]))
    )
    return (
        f'<{prefix}context id="c{number}">\n<{prefix}entity><{prefix}identifier scheme="http://www.fgov.be">'
        f"{identifier}</{prefix}identifier></{prefix}entity>\n<{prefix}period><{prefix}instant>{end}</{prefix}instant>"
        f"</{prefix}period>\n<{prefix}scenario>\n{members}</{prefix}scenario>\n</{prefix}context>\n"
    )


def _fact(number: int, row: dict[str, str], currency: str, rng: random.Random) -> str:
    blank = rng.choice(("", "", " ", "\n  "))
    return (
        f'<{row["DataType"]} contextRef="c{number}" id="f{number}" decimals="INF" unitRef="{currency}">'
        f"{blank}{row['Value']}{blank}</{row['DataType']}>\n"
    )


def _filler(rng: random.Random, length: int) -> str:
    """Base64 text, as the PDF that an old instance can embed (section 15.9)."""
    return base64.b64encode(rng.randbytes(max(length, 0) * 3 // 4)).decode()


# --- PDF ----------------------------------------------------------------------------------------------------


def pdf(filing: Filing, document_scale: float) -> bytes:
    """A small valid PDF of 100 to 500 KB times `document_scale`, incompressible like the real ones
    (section 9).
    """
    rng = _source(filing, "pdf")
    padding = rng.randbytes(int(rng.randrange(100_000, 500_000) * document_scale))
    page = f"BT /F1 12 Tf 72 720 Td ({filing.reference_number} {filing.revision}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        _stream(page),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        _stream(padding),
    ]
    return _assemble_pdf(objects)


def _stream(data: bytes) -> bytes:
    return b"<</Length %d>>\nstream\n%b\nendstream" % (len(data), data)


def _assemble_pdf(objects: list[bytes]) -> bytes:
    body = bytearray(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    offsets = []
    for number, content in enumerate(objects, 1):
        offsets.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    start = len(body)
    body += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    body += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    body += b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(body)


def _source(filing: Filing, document: str) -> random.Random:
    return random.Random(f"{filing.source}/{document}/{filing.revision}")
