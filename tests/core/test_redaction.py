"""Nothing that leaves the program holds a key."""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filingd.core.redaction import (
    KEPT_HEADERS,
    REDACTED,
    SHORTEST_KEY,
    holds_key,
    is_clean,
    kept_headers,
    redact,
    redact_secret,
    redact_secret_in_headers,
    redact_text,
    without_begun_secret,
)

if TYPE_CHECKING:
    import uuid

HEX_KEYS = st.text("0123456789abcdefABCDEF", min_size=32, max_size=32)
# Letters that do not occur in the replacement, so that a find is a find.
ODD_KEYS = st.text("ghijklmnopqsuvwxyzGHJKLMNOPQSUVWXYZ0123456789-_+/=.*", min_size=SHORTEST_KEY, max_size=60)
AROUND = st.text(
    string.printable.translate(str.maketrans("", "", string.hexdigits)) + "é€😀\ud800", max_size=30
)


GATEWAY = {
    "ap": "x",
    "Counter.Id": "y",
    "apiAuthzDetails": "the key",
    "Set-Cookie": "z",
    "X-Anything": "the key",
}


def test_headers_are_kept_by_name_and_all_others_are_not() -> None:
    said = {"Content-Type": "application/json", "api-version": "1.5.0", "Retry-After": "5"}
    assert kept_headers(GATEWAY | said) == said
    assert all(name == name.lower() for name in KEPT_HEADERS)


def _nested(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    plain = st.none() | st.booleans() | st.integers() | st.floats() | AROUND
    return st.recursive(
        leaf,
        lambda inner: (
            st.lists(inner | plain, min_size=1, max_size=3)
            | st.dictionaries(AROUND, inner | plain, min_size=1, max_size=3)
            | st.dictionaries(leaf.filter(lambda made: isinstance(made, str)), plain, min_size=1, max_size=2)
            | st.tuples(inner, plain)
        ),
        max_leaves=6,
    )


@given(
    HEX_KEYS.flatmap(
        lambda key: st.tuples(st.just(key), _nested(st.builds("{}{}{}".format, AROUND, st.just(key), AROUND)))
    )
)
def test_32_hexadecimal_digits_disappear_at_any_depth(case: tuple[str, Any]) -> None:
    key, value = case
    assert key not in json.dumps(redact({"fact": value}), ensure_ascii=False)


@given(
    ODD_KEYS.flatmap(
        lambda key: st.tuples(st.just(key), _nested(st.builds("{}{}{}".format, AROUND, st.just(key), AROUND)))
    )
)
def test_a_configured_key_of_any_shape_disappears_at_any_depth(case: tuple[str, Any]) -> None:
    key, value = case
    shown = redact({"fact": value}, {key})
    assert key not in json.dumps(shown, ensure_ascii=False)
    assert key not in str(shown)


@given(HEX_KEYS, HEX_KEYS)
def test_keys_that_stand_side_by_side_both_disappear(first: str, second: str) -> None:
    shown = redact_text(first + second, {first})
    assert first not in shown
    assert second not in shown


@given(ODD_KEYS)
def test_letter_case_does_not_save_a_configured_key(key: str) -> None:
    assert redact_text(f"<{key.upper()}> <{key.lower()}>", {key}) == f"<{REDACTED}> <{REDACTED}>"


@given(st.uuids(version=4), st.binary(min_size=32, max_size=32))
def test_request_ids_and_digests_survive(request_id: uuid.UUID, digest: bytes) -> None:
    facts = {"request_id": str(request_id), "sha256": digest.hex(), "path": f"x/{digest.hex()}.zip"}
    assert redact(facts, {"another-configured-key"}) == facts


@given(st.integers(10**31, 10**32 - 1))
def test_a_key_made_of_digits_alone_disappears_as_a_number_too(number: int) -> None:
    assert redact({"n": number}) == {"n": REDACTED}


@given(st.integers(-(10**18), 10**18))
def test_ordinary_numbers_stay_numbers(number: int) -> None:
    assert redact(number) == number


def test_bytes_errors_and_other_objects_become_text_first() -> None:
    key = "0123456789abcdef" * 2
    shown = redact({"bytes": key.encode(), "error": ValueError(f"bad {key}"), "path": {key}})
    assert shown == {"bytes": REDACTED, "error": f"bad {REDACTED}", "path": [REDACTED]}


@pytest.mark.parametrize("before", ["\ud800", b"\xff", b"\x00"])
def test_an_escape_right_before_a_key_does_not_hide_it(before: str | bytes) -> None:
    key = "0123456789abcdef" * 2
    value = before + key if isinstance(before, str) else before + key.encode()
    assert key not in json.dumps(redact([value]))


def test_what_nests_without_end_is_cut() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert "…" in json.dumps(redact(endless), ensure_ascii=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("f" * 32, True), ("l7xx" + "f" * 32, True), ("f" * 31, False), ("f" * 33, False), ("f" * 64, False)],
)
def test_a_key_is_exactly_32_hexadecimal_digits(text: str, expected: bool) -> None:
    assert holds_key(text) is expected


@given(
    facts=st.dictionaries(
        st.text(max_size=8), st.text(max_size=60) | st.integers() | st.lists(st.text(max_size=40))
    ),
    key=st.text("0123456789abcdefABCDEF", min_size=32, max_size=32),
    where=st.integers(0, 60),
    secret=st.sampled_from(["", "spaced-out-secret"]),
)
def test_a_line_that_is_called_clean_is_what_redaction_leaves_as_it_is(
    facts: dict[str, object], key: str, where: int, secret: str
) -> None:
    secrets = [secret] if secret else []
    text = f"a{key}" if where % 2 else f"{'é' * (where % 5)}-{key}"
    for candidate in (facts, {**facts, "with": text}, {**facts, "said": f"x {secret.upper()} y"}):
        try:
            line = msgspec.json.encode(candidate)
        except UnicodeEncodeError:
            continue
        if is_clean(line, secrets):
            assert redact(candidate, secrets) == candidate


# ---------------------------------------------------------------- the very key that was sent

ONE_KEY = "00ffAB12cd34EF56" * 2


OTHER_BYTES = st.lists(st.sampled_from([b"<", b"\0", b"\xc3", b"\xff"]), max_size=5).map(b"".join)


@given(ODD_KEYS | HEX_KEYS, st.lists(OTHER_BYTES, min_size=1, max_size=4), st.booleans())
def test_the_very_secret_is_replaced_wherever_it_stands(key: str, around: list[bytes], upper: bool) -> None:
    shown = (key.upper() if upper else key.lower()).encode()
    assert redact_secret(shown.join(around), key) == REDACTED.encode().join(around)


@given(st.text("ab", min_size=SHORTEST_KEY, max_size=10), st.text("abAB", max_size=60))
def test_secrets_that_overlap_themselves_and_each_other_leave_none_behind(key: str, text: str) -> None:
    left = redact_secret(text.encode(), key).replace(REDACTED.encode(), b"\0")
    assert key.encode() not in left.lower()


@given(st.binary(max_size=200))
def test_bytes_without_the_very_secret_are_the_same_object(data: bytes) -> None:
    assert redact_secret(data, "not-in-there-at-all-by-any-chance") is data


@given(st.integers(1, 31), st.binary(max_size=40), st.booleans())
def test_no_beginning_of_the_secret_is_left_at_an_end_that_was_cut(
    there: int, before: bytes, upper: bool
) -> None:
    begun = ONE_KEY[:there].upper() if upper else ONE_KEY[:there].lower()
    left = without_begun_secret(before + begun.encode(), ONE_KEY)
    assert (before + begun.encode()).startswith(left)
    assert len(left) <= len(before)
    assert left.lower() + ONE_KEY.lower().encode()[: len(before) - len(left)] == before.lower()


@pytest.mark.parametrize("data", [b"", b"f", b"nothing of it", ONE_KEY[1:].encode()[:-1] + b"x"])
def test_an_end_that_begins_no_secret_stays(data: bytes) -> None:
    assert without_begun_secret(data, ONE_KEY) is data


def test_headers_lose_the_very_secret_and_nothing_that_is_shaped_like_one() -> None:
    headers = {"etag": '"' + "0" * 32 + '"', "x-echo": f"<{ONE_KEY.upper()}{ONE_KEY.lower()}>", "x": "1"}
    cleaned = redact_secret_in_headers(headers, ONE_KEY)
    assert cleaned == {"etag": '"' + "0" * 32 + '"', "x-echo": f"<{REDACTED}{REDACTED}>", "x": "1"}
    assert headers["x-echo"] != cleaned["x-echo"], "what was given has been changed"


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=40)))
def test_headers_without_the_very_secret_are_the_same_object(headers: dict[str, str]) -> None:
    assert redact_secret_in_headers(headers, ONE_KEY) is headers


@given(st.text(max_size=20), st.text(max_size=20))
def test_header_values_of_any_characters_stay_around_the_secret(before: str, after: str) -> None:
    cleaned = redact_secret_in_headers({"x": before + ONE_KEY + after}, ONE_KEY)
    assert cleaned["x"].endswith(after)
    assert cleaned["x"].startswith(before)
    assert ONE_KEY not in cleaned["x"]


def test_a_secret_does_not_begin_in_one_header_and_end_in_the_next() -> None:
    headers = {"a": ONE_KEY[:16], "b": ONE_KEY[16:]}
    assert redact_secret_in_headers(headers, ONE_KEY) is headers
