"""Saved searches: what may stand in one, what is told of one that is wrong, and the cells it is split into."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from filingd.core.watchlist import SearchError
from filingd.registries.kvk import searches
from filingd.registries.kvk.payloads import TYPES
from filingd.registries.kvk.query import PARAMETERS
from filingd.registries.kvk.searches import KvkSearch, cell_of, search_of, values_of

DAY_S = 86_400.0


def read(text: str) -> KvkSearch:
    return search_of(tomllib.loads(text))


# ------------------------------------------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ('naam = "  molen   de ster "', [("naam", "molen de ster")]),
        ('kvkNummer = "01012345"', [("kvkNummer", "01012345")]),
        ('rsin = "859123455"', [("rsin", "859123455")]),
        ('vestigingsnummer = "000038509504"', [("vestigingsnummer", "000038509504")]),
        ('plaats = "Testdam"\nstraatnaam = "Proefkade"', [("straatnaam", "Proefkade"), ("plaats", "Testdam")]),
        ('postcode = "1234 ab"\nhuisnummer = 12\nhuisletter = "a"',
         [("huisnummer", "12"), ("huisletter", "a"), ("postcode", "1234AB")]),
        ('postcode = "1234AB"\npostbusnummer = 45', [("postcode", "1234AB"), ("postbusnummer", "45")]),
        ('naam = "x"\ntype = "rechtspersoon"', [("naam", "x"), ("type", "rechtspersoon")]),
        ('naam = "x"\ntype = ["rechtspersoon", "hoofdvestiging", "rechtspersoon"]',
         [("naam", "x"), ("type", "hoofdvestiging"), ("type", "rechtspersoon")]),
        ('naam = "x"\ninclusiefInactieveRegistraties = true',
         [("naam", "x"), ("inclusiefInactieveRegistraties", "true")]),
    ],
)  # fmt: skip
def test_parameters_have_the_names_of_kvk_and_are_sent_as_it_takes_them(
    text: str, parameters: list[Any]
) -> None:
    assert list(read(text).parameters) == parameters


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "Write at least one of"),
        ('type = "rechtspersoon"', "Write at least one of"),
        ("inclusiefInactieveRegistraties = true", "Write at least one of"),
        ('handelsnaam = "x"', "handelsnaam"),
        ('naam = ""', "naam"),
        ("naam = 5", "naam"),
        ('naam = "a\\u0007b"', "naam"),
        ('naam = ["x"]', "naam"),
        (f'straatnaam = "{"x" * 257}"', "straatnaam"),
        ("kvkNummer = 69599084", "kvkNummer"),
        ('kvkNummer = "6959908"', "kvkNummer"),
        ('rsin = "85912345x"', "rsin"),
        ('vestigingsnummer = "38509504"', "vestigingsnummer"),
        ('postcode = "1234AB"', "huisnummer or postbusnummer"),
        ('postcode = "12345"\nhuisnummer = 1', "postcode"),
        ('naam = "x"\nhuisnummer = 12', "postcode"),
        ('naam = "x"\nhuisletter = "a"', "huisnummer"),
        ('postcode = "1234AB"\nhuisnummer = 1\nhuisletter = "ab"', "huisletter"),
        ('naam = "x"\npostbusnummer = 4', "postcode"),
        ('postcode = "1234AB"\nhuisnummer = 100000', "huisnummer"),
        ('postcode = "1234AB"\nhuisnummer = "012"', "huisnummer"),
        ('postcode = "1234AB"\nhuisnummer = -1', "huisnummer"),
        ('postcode = "1234AB"\nhuisnummer = 1.5', "huisnummer"),
        ('postcode = "1234AB"\nhuisnummer = true', "huisnummer"),
        ('naam = "x"\ntype = "branch"', "type"),
        ('naam = "x"\ntype = []', "type"),
        ('naam = "x"\ntype = [1]', "type"),
        ('naam = "x"\ninclusiefInactieveRegistraties = "ja"', "inclusiefInactieveRegistraties"),
        ('naam = "x"\npagina = 2', "pagina"),
        ('naam = "x"\nresultatenPerPagina = 50', "resultatenPerPagina"),
        ('naam = "x"\nrefresh_interval = 7', "refresh_interval"),
        ('naam = "x"\nrefresh_interval = "7"', "refresh_interval"),
        ('naam = "x"\nrefresh_interval = "0 s"', "refresh_interval"),
        ('naam = "x"\nsplit = "provincie"', "split"),
        ('naam = "x"\nsplit = 5', "split"),
        ('naam = "x"\nsplit = ["provincie"]', "split"),
        ('naam = "x"\nsplit = [["type"]]', "split"),
        ('naam = "x"\nsplit = ["type", "type"]', "split"),
        ('naam = "x"\nsplit = ["plaats"]', "plaatsen"),
        ('naam = "x"\nsplit = ["plaats"]\nplaatsen = []', "plaatsen"),
        ('naam = "x"\nsplit = ["plaats"]\nplaatsen = ["Testdam", 5]', "plaatsen"),
        ('naam = "x"\nplaatsen = ["Testdam", "Proefdam"]', "plaatsen"),
        ('naam = "x"\nsplit = ["postcode"]\nadressen = ["1234AB"]', "adressen"),
        ('naam = "x"\nsplit = ["postcode"]\nadressen = ["1234AB 123456"]', "adressen"),
        (f'naam = "x"\nsplit = ["straatnaam"]\nstraten = ["a", "{"é" * 40}"]', "straatnaam"),
    ],
)  # fmt: skip
def test_what_kvk_would_refuse_is_told_before_a_call_is_spent(text: str, told: str) -> None:
    with pytest.raises(SearchError, match=r"\.$") as caught:
        read(text)
    assert told in str(caught.value)


def test_a_wrong_value_is_quoted_with_its_field_and_a_remedy() -> None:
    with pytest.raises(SearchError) as caught:
        read('postcode = "12AB"\nhuisnummer = 1')
    assert str(caught.value) == "postcode is '12AB'. Write four digits and two letters, such as \"1234AB\"."


def test_a_search_is_told_in_words() -> None:
    text = 'naam = "molen"\ntype = ["hoofdvestiging", "rechtspersoon"]\nsplit = ["type"]\nrefresh_interval = "7 d"'
    assert read(text).words() == [
        "naam molen", "type hoofdvestiging", "type rechtspersoon", "split along type", "every 7 d",
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------- axes


def axes(text: str) -> dict[str, tuple[str, ...]]:
    return {axis.name: axis.values for axis in read(text).split}


def test_axes_stand_in_the_order_in_which_they_are_named() -> None:
    text = """
        naam = "molen"
        split = ["plaats", "type", "straatnaam", "postcode", "naam"]
        plaatsen = ["Testdam", "Proefdam", "testdam"]
        straten = ["Kade", "Dijk"]
        adressen = ["1234ab 12", "1234 AB 13"]
        woorden = ["wiek", "maal"]
    """
    assert axes(text) == {
        "plaats": ("testdam", "Proefdam"),
        "type": TYPES,
        "straatnaam": ("Kade", "Dijk"),
        "postcode": ("1234AB 12", "1234AB 13"),
        "naam": ("wiek", "maal"),
    }
    assert list(axes(text)) == ["plaats", "type", "straatnaam", "postcode", "naam"]


def test_one_value_may_stand_without_brackets() -> None:
    assert axes('naam = "x"\nsplit = "type"') == {"type": TYPES}
    one = 'postcode = "1234AB"\nhuisnummer = "12"\nsplit = "naam"\nwoorden = "wiek"'
    assert dict(read(one).parameters) == {"postcode": "1234AB", "huisnummer": "12"}
    assert axes(one) == {}


def test_an_axis_that_divides_nothing_is_passed_over() -> None:
    text = """
        naam = "molen"
        plaats = "Testdam"
        type = ["hoofdvestiging"]
        split = ["type", "plaats", "straatnaam"]
        plaatsen = ["Testdam", "Proefdam"]
        straten = ["Kade"]
    """
    assert axes(text) == {}
    assert axes('naam = "x"\ntype = ["hoofdvestiging", "rechtspersoon"]\nsplit = ["type"]') == {
        "type": ("hoofdvestiging", "rechtspersoon")
    }


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=6)


def _divided(axes_with_values: dict[str, list[str]]) -> dict[str, Any]:
    fields = {"plaats": "plaatsen", "straatnaam": "straten", "naam": "woorden"}
    return {
        "naam": "molen",
        "split": list(axes_with_values),
        **{fields[name]: values for name, values in axes_with_values.items() if name in fields},
    }


SEARCHES = st.dictionaries(
    st.sampled_from(["type", "plaats", "straatnaam", "naam"]), st.lists(WORDS, min_size=1, max_size=4)
).map(_divided)


def made(table: dict[str, Any]) -> KvkSearch:
    try:
        return search_of(table)
    except SearchError:
        assume(False)  # a cell would be too long
        raise


def leaves(search: KvkSearch, cell: str = searches.WHOLE) -> list[str]:
    children = search.children(cell)
    return [leaf for child in children for leaf in leaves(search, child)] if children else [cell]


@given(SEARCHES)
def test_cells_can_be_told_from_their_names_and_name_folders(table: dict[str, Any]) -> None:
    search = made(table)
    for cell in [searches.WHOLE, *leaves(search)]:
        assert cell_of(values_of(cell)) == cell
        assert search.narrowed(cell) is not None
        assert len(cell.encode()) <= 200
        assert cell.isascii()
        assert "/" not in cell
        assert cell not in (".", "..")
    assert len(set(leaves(search))) == len(leaves(search))


@given(SEARCHES)
def test_splitting_partitions_a_query(table: dict[str, Any]) -> None:
    """What has a value of each axis is in one cell of each depth and in no other."""
    search = made(table)
    cells = [searches.WHOLE]
    for axis in search.split:
        children = [child for cell in cells for child in search.children(cell)]
        assert len(children) == len(cells) * len(axis.values)
        assert {values_of(child)[-1] for child in children} == {(axis.name, value) for value in axis.values}
        assert all(search.children(cell) == [child for child in children if values_of(child)[:-1] == values_of(cell)]
                   for cell in cells)  # fmt: skip
        cells = children
    assert all(search.next_axis(cell) is None for cell in cells)


@given(SEARCHES)
def test_a_cell_asks_for_the_query_and_its_own_values_in_the_order_of_kvk(table: dict[str, Any]) -> None:
    search = made(table)
    for cell in leaves(search):
        parameters, values = search.narrowed(cell), dict(values_of(cell))
        assert parameters is not None
        assert [name for name, _ in parameters] == sorted(
            (name for name, _ in parameters), key=PARAMETERS.index
        )
        expected = {"naam": f"molen {values['naam']}" if "naam" in values else "molen"}
        assert dict(parameters) == expected | {
            name: value for name, value in values.items() if name != "naam"
        }


def test_an_address_gives_postcode_and_house_number() -> None:
    search = read('naam = "x"\nsplit = ["postcode"]\nadressen = ["1234AB 12", "1234AB 13"]')
    assert search.narrowed("postcode=1234AB%2012") == (
        ("naam", "x"),
        ("huisnummer", "12"),
        ("postcode", "1234AB"),
    )


@pytest.mark.parametrize(
    "cell",
    ["plaats=Elders", "type=hoofdvestiging", "plaats=Testdam,type=x", "x", "plaats=Testdam,plaats=Testdam"],
)
def test_what_is_no_cell_of_a_search_is_none(cell: str) -> None:
    search = read('naam = "x"\nsplit = ["plaats"]\nplaatsen = ["Testdam", "Proefdam"]')
    assert search.narrowed(cell) is None


def test_another_query_or_another_split_is_another_search_and_another_interval_is_not() -> None:
    one = read('naam = "molen"\nsplit = ["type"]')
    assert len(one.digest) == 8
    assert one.digest == read('split = ["type"]\nrefresh_interval = "1 d"\nnaam = "molen"').digest
    for other in (
        'naam = "molens"\nsplit = ["type"]',
        'naam = "molen"',
        'naam = "molen"\nplaats = "x"\nsplit = ["type"]',
    ):
        assert read(other).digest != one.digest


def test_a_folder_tells_the_list_whatever_its_name() -> None:
    search = read('naam = "x"')
    for name in ("molens", "a-b", "été", "a b", "a-12345678"):
        assert searches.name_of(searches.folder_for(name, search)) == name
