"""What no text that leaves the program may hold: keys, in any shape a registry issues them.

NBB keys are 32 hexadecimal digits (NBB reference, section 4.1) and KVK's are such digits behind a short
prefix, so a run of exactly 32 is taken for a key wherever it stands. SHA-256 digests (64) and request ids
(UUIDs, with dashes) pass.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

REDACTED = "[redacted]"
SHORTEST_KEY = 8  # a shorter configured value would turn ordinary words into "[redacted]"
_KEY_SHAPED = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{32}(?![0-9A-Fa-f])")
_KEY_DIGITS = 32
_DEEPEST = 20


_LONG_HEX_RUN = re.compile(rb"[0-9A-Fa-f]{32,}")


def is_clean(line: bytes, secrets: Collection[str] = ()) -> bool:
    """Whether nothing in a line of JSON has to be redacted, by one look at the whole line.

    Nearly all lines are clean, and looking at each value of each would cost more than writing it. A line with a backslash is
    never called clean here: an escape can stand right before a key and hide it.
    """
    if b"\\" in line:
        return False
    for run in _LONG_HEX_RUN.findall(line):
        if len(run) == _KEY_DIGITS:
            return False
    if not secrets:
        return True
    lowered = line.decode().lower()
    return not any(secret in lowered for secret in _lowered(frozenset(secrets)))


def redact_text(text: str, secrets: Collection[str] = ()) -> str:
    """The text without the given secrets, in any letter case, and without anything shaped like a key."""
    if secrets:
        # First and on its own: what is left of it then no longer hides a key that stood right beside.
        text = _any_of(frozenset(secrets)).sub(REDACTED, text)
    return _KEY_SHAPED.sub(REDACTED, text)


def holds_key(text: str) -> bool:
    """Whether anything in the text is shaped like a key."""
    return _KEY_SHAPED.search(text) is not None


def redact_secret(data: bytes, secret: str, instead: str = REDACTED) -> bytes:
    """The bytes without this very secret (ASCII), in any letter case. What is merely shaped like a key stays.

    Done by hand: the library of regular expressions would remember the pattern, and with it the secret.
    """
    lowered, sought = data.lower(), secret.lower().encode("ascii")
    parts, start = [], 0
    while (found := lowered.find(sought, start)) >= 0:
        parts += [data[start:found], instead.encode("ascii")]
        start = found + len(sought)
    return b"".join([*parts, data[start:]]) if parts else data


def without_begun_secret(data: bytes, secret: str) -> bytes:
    """Bytes that were cut anywhere, without the beginning of this very secret at their end, be it one character."""
    ending, sought = data[-len(secret) :].lower(), secret.lower().encode("ascii")
    for length in range(min(len(ending), len(sought) - 1), 0, -1):
        if ending.endswith(sought[:length]):
            return data[:-length]
    return data


def redact_secret_in_headers(headers: Mapping[str, str], secret: str) -> Mapping[str, str]:
    """Headers without this very secret (ASCII) in any name or value; the same object if none holds it.

    An ETag is often an MD5, which has the shape of a key and has to stay what it is.
    """
    # One look at all of them: nearly no answer holds it, and there are hundreds a second.
    if secret.lower() not in "\n".join((*headers, *headers.values())).lower():
        return headers
    return {_without(name, secret): _without(value, secret) for name, value in headers.items()}


KEPT_HEADERS = frozenset(
    {
        "accept-ranges",
        "age",
        "api-version",
        "cache-control",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "date",
        "etag",
        "expires",
        "last-modified",
        "location",
        "retry-after",
        "server",
        "transfer-encoding",
        "vary",
        "via",
        "warning",
        "www-authenticate",
        "x-request-id",
    }
)


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """What may be written down of the headers of a response: those that are known to say something worth keeping, by name.

    Gateways add others as they like, and have been seen to put the key, and what it may do, into them (KVK reference, section 3).
    """
    return {name: value for name, value in headers.items() if name.lower() in KEPT_HEADERS}


def redact(value: Any, secrets: Collection[str] = (), depth: int = 0) -> Any:
    """The value as plain JSON types, redacted at any depth, keys of mappings included.

    Whatever is not a JSON type becomes its text first, so that nothing passes unread; what nests deeper than
    20 levels becomes "…".
    """
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return _redact_number(value, secrets)
    if depth > _DEEPEST:
        return "…"
    if isinstance(value, dict):
        return {
            _redact_shown(name, secrets): redact(inner, secrets, depth + 1) for name, inner in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact(inner, secrets, depth + 1) for inner in value]
    return _redact_shown(value, secrets)


@functools.lru_cache(maxsize=4)
def _lowered(secrets: frozenset[str]) -> tuple[str, ...]:
    return tuple(secret.lower() for secret in secrets)


@functools.lru_cache(maxsize=4)
def _any_of(secrets: frozenset[str]) -> re.Pattern[str]:
    longest_first = sorted(secrets, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)


def _without(text: str, secret: str) -> str:
    """As `redact_secret`; bytes that are no UTF-8 have come as lone surrogates, which pass."""
    return redact_secret(text.encode("utf-8", "surrogatepass"), secret).decode("utf-8", "surrogatepass")


def _redact_number(value: int, secrets: Collection[str]) -> int | str:
    """A key made of digits alone may come as a number."""
    text = str(value)
    return value if redact_text(text, secrets) == text else REDACTED


def _redact_shown(value: object, secrets: Collection[str]) -> str:
    """The redacted text of a value, as JSON can carry it.

    Bytes that are no UTF-8 (in a file name, say) come as lone surrogates. They are escaped last: an escape ends in
    hexadecimal digits, which right before a key would hide it.
    """
    return redact_text(_text_of(value), secrets).encode("utf-8", "backslashreplace").decode()


def _text_of(value: object) -> str:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "surrogateescape")
    return str(value)
