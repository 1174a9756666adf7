"""Watchlists as texts: what is read, what is told, and that editing leaves everything else as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.core.watchlist import (
    CompanyNumberError,
    Entry,
    Finding,
    gathered,
    lines_of,
    with_entries,
    without_numbers,
)
from filingd.registries.nbb.terms import NbbTerms

DAY_S = 86_400.0


def plain(text: str) -> str:
    """Numbers of a made-up registry: four digits; blanks and dots do no harm."""
    bare = text.replace(" ", "").replace(".", "")
    if not (bare.isascii() and bare.isdigit() and len(bare) == 4):
        raise CompanyNumberError("Write four digits.")
    return bare


def numbers(text: str) -> list[str]:
    return [line.number for line in lines_of(text, plain) if isinstance(line, Entry)]


def findings(text: str) -> list[Finding]:
    return [line for line in lines_of(text, plain) if isinstance(line, Finding)]


# ------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        ("1234", Entry("1234")),
        ("12.34", Entry("1234")),
        (" 12 34 ", Entry("1234")),
        ("1234,Bakker & Zn, Gent", Entry("1234", "Bakker & Zn, Gent")),
        ("1234;Bakker", Entry("1234", "Bakker")),
        ("1234\tBakker", Entry("1234", "Bakker")),
        ('"1234","Bakker, Gent"', Entry("1234", '"Bakker, Gent"')),
        ("1234,a\u2028b", Entry("1234", "a\u2028b")),
    ],
)
def test_a_line_is_a_number_and_whatever_one_wants_to_remember(line: str, entry: Entry) -> None:
    assert list(lines_of(line, plain)) == [entry]


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# 1234", "  # 1234\n", "\ufeff# 1234", "number,name", "\ufeffnumber;name\r\n"]
)
def test_comments_blanks_and_a_header_say_nothing(text: str) -> None:
    assert list(lines_of(text, plain)) == []


def test_only_the_first_line_passes_for_a_header() -> None:
    assert [found.line for found in findings("# mine\n\nnumber\n1234\nBakker\n")] == [5]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_bad_lines_are_told_with_line_and_value_and_good_ones_kept(ending: str) -> None:
    text = ending.join(["number", "1234", "12x4,a note", "", "# no", "5678"])
    assert numbers(text) == ["1234", "5678"]
    assert findings(text) == [Finding(3, "12x4", "Write four digits.")]


def test_a_number_that_stands_there_twice_is_told_and_counts_once() -> None:
    text = "1234\n5678\n12.34,again\n"
    assert numbers(text) == ["1234", "5678"]
    (found,) = findings(text)
    assert (found.line, found.value, found.is_bad) == (3, "12.34", False)
    assert "Line 1" in found.text


def test_what_is_worth_knowing_of_a_good_number_is_told_and_the_number_counts() -> None:
    def remark(field: str) -> str | None:
        return "Mind the dot." if "." in field else None

    read = list(lines_of("number\n1234\n56.78,a\n12x4\n56.78\n", plain, remark))
    assert [line.number for line in read if isinstance(line, Entry)] == ["1234", "5678"]
    assert [(one.line, one.text, one.is_bad) for one in read if isinstance(one, Finding)] == [
        (3, "Mind the dot.", False),
        (4, "Write four digits.", True),
        (5, "Line 3 has it already; remove one.", False),
    ]
    assert not [one for one in lines_of("56.78", plain) if isinstance(one, Finding)]


def test_a_value_is_quoted_within_bounds_and_without_signs_that_steer_a_terminal() -> None:
    (found,) = findings("1\x1b[31m" + "9" * 500)
    assert len(found.value) <= 61
    assert "\x1b" not in found.value


@given(st.text())
def test_whatever_a_file_holds_is_read_line_by_line(text: str) -> None:
    found = list(lines_of(text, plain))
    assert len(found) <= text.count("\n") + text.count("\r") + 1
    assert all(one.number == plain(one.number) for one in found if isinstance(one, Entry))


# ------------------------------------------------------------------------------------------------- terms

TERMS = st.builds(
    NbbTerms,
    st.floats(1.0, 1e9),
    st.frozensets(st.sampled_from(["json", "xbrl", "pdf"])),
    st.integers(0, 5),
    st.booleans(),
)


def years(latest: int) -> float:
    return latest or float("inf")


@given(TERMS, TERMS, TERMS)
def test_the_union_of_terms_satisfies_each_and_does_not_depend_on_the_order(
    a: NbbTerms, b: NbbTerms, c: NbbTerms
) -> None:
    both = a | b
    for one in (a, b):
        assert both.refresh_interval_s <= one.refresh_interval_s
        assert both.documents >= one.documents
        assert years(both.latest) >= years(one.latest)
        assert both.improved >= one.improved
    assert both == b | a
    assert both | c == a | (b | c)
    assert a | a == a


def test_who_stands_in_several_lists_is_followed_on_the_terms_of_all() -> None:
    slow, quick = NbbTerms(30 * DAY_S, frozenset({"pdf"}), 1), NbbTerms(DAY_S, frozenset({"json"}), 3)
    watched = gathered([(["3", "1"], slow), (["2", "1"], quick)])
    assert list(watched) == ["1", "2", "3"]
    assert watched == {"1": slow | quick, "2": quick, "3": slow}


def test_many_companies_on_the_same_terms_share_them() -> None:
    one, other = NbbTerms(1.0), NbbTerms(2.0)
    watched = gathered([(map(str, range(100)), one), (map(str, range(50, 150)), other)])
    assert len({id(terms) for terms in watched.values()}) == 3


# ------------------------------------------------------------------------------------------------- editing


def test_what_is_added_stands_at_the_end_and_the_rest_stays_as_it_was() -> None:
    text = "\ufeffnumber,name\r\n# mine\r\n12.34,Bakker\r\nbad line\r\n"
    edited, added, known = with_entries(
        text, [Entry("5678", "new\none"), Entry("1234"), Entry("5678")], plain
    )
    assert edited == text + "5678,new one\r\n"
    assert (added, known) == (["5678"], ["1234"])


def test_a_last_line_without_an_end_gets_one() -> None:
    assert with_entries("1234", [Entry("5678")], plain)[0] == "1234\n5678\n"
    assert with_entries("", [Entry("5678")], plain)[0] == "5678\n"


def test_what_is_removed_goes_with_its_note_wherever_it_stands_and_nothing_else_does() -> None:
    text = "number,name\n# 1234 was here\n12.34,Bakker\n5678,Slager\n1234\nbad line\n"
    edited, removed, missing = without_numbers(text, ["1234", "9999"], plain)
    assert edited == "number,name\n# 1234 was here\n5678,Slager\nbad line\n"
    assert (removed, missing) == (["1234"], ["9999"])


LINES = st.lists(
    st.one_of(
        st.from_regex(r"[0-9]{4}(,[a-z ]{0,5})?", fullmatch=True),
        st.sampled_from(["", "# note", "number,name", "12x4", "12.34;x"]),
    ),
    max_size=12,
)
NUMBERS = st.lists(st.from_regex(r"[0-9]{4}", fullmatch=True), max_size=6)


@given(LINES, NUMBERS, st.sampled_from(["\n", "\r\n"]))
def test_adding_then_removing_the_same_gives_the_text_back(
    lines: list[str], wanted: list[str], ending: str
) -> None:
    text = "".join(line + ending for line in lines)
    edited, added, known = with_entries(text, [Entry(number) for number in wanted], plain)
    assert edited.startswith(text)
    assert set(added) | set(known) == set(wanted)
    assert set(numbers(edited)) == set(numbers(text)) | set(wanted)
    assert findings(edited) == findings(text)
    back, removed, missing = without_numbers(edited, added, plain)
    assert (back, sorted(removed), missing) == (text, sorted(added), [])
