"""From a TOML table to typed structs, with every problem found in one go and said in an operator's words.

A struct's field may carry a *kind* in its `msgspec.Meta(extra={"kind": ...})`: the way its value is written
in the file (`"30 s"`, `"5 GiB"`, `"credential:name"`). Everything else is read by msgspec, strictly. A struct
may have a method `problems()` for rules between its fields. No problem ever prints what looks like a key.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import re
import types
import typing
import zoneinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import fields

from filingd.core import units
from filingd.core.redaction import holds_key, redact_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# Instants are unix seconds, which begin in 1970; what lies beyond 2100 is a slip of the hand.
FIRST_YEAR, LAST_YEAR = 1970, 2100

S = TypeVar("S", bound=Struct)
N = TypeVar("N", int, float)


class Problem(NamedTuple):
    """One thing that is wrong: where (dotted key), and a text that says what and what to do."""

    key: str
    text: str
    shown: str = ""  # the value, as the file has it; empty when there is none or it must not be shown


class _Wrong(Exception):  # noqa: N818 - carries one sentence from a parser to the reader, never further
    """A value is not what its kind wants."""


# ------------------------------------------------------------ kinds of values


def _text(value: object, example: str) -> str:
    if not isinstance(value, str):
        raise _Wrong(f"expected text in quotes, such as {example}")
    return value


def _duration(value: object) -> float:
    return _with_unit(units.parse_duration, value, '"30 s"')


def _size(value: object) -> int:
    return _with_unit(units.parse_size, value, '"5 GiB"')


def _with_unit(parse: Callable[[str], N], value: object, example: str) -> N:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise _Wrong(f"it has no unit; write it as {example}")
    try:
        return parse(_text(value, example))
    except units.UnitError as error:
        raise _Wrong(str(error)) from None


def _time_of_day(value: object) -> dt.time:
    if isinstance(value, dt.time):
        return value.replace(microsecond=0)
    try:
        return units.parse_time_of_day(_text(value, '"05:00"'))
    except units.UnitError as error:
        raise _Wrong(str(error)) from None


def _date(value: object) -> dt.date:
    if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
        raise _Wrong("expected a date without quotes, such as 2024-01-01")
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise _Wrong(
            f"the year is mistyped, or no day of it was ever published; write a date between {FIRST_YEAR}-01-01 and "
            f"{LAST_YEAR}-12-31, such as 2024-01-01"
        )
    return value


def _zone(value: object) -> str:
    name = _text(value, '"Europe/Brussels"')
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise _Wrong('there is no such time zone; write a name such as "Europe/Brussels"') from None
    return name


def is_loopback(host: str | None) -> bool:
    """Whether a host of a URL can only be this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _base_url(value: object) -> str:
    text = _text(value, '"https://ws.cbso.nbb.be"')
    url = _split(text)
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname)):
        raise _Wrong(
            "a key may only travel over https; write https:// (http:// is accepted for this very machine)"
        )
    if url.query or url.fragment:
        raise _Wrong("a base URL ends with its path; remove what follows the ? or #")
    return text.rstrip("/")


def _proxy_url(value: object) -> str:
    text = _text(value, '"http://proxy.example:3128"')
    if _split(text).scheme not in {"http", "https"}:
        raise _Wrong('expected a URL such as "http://proxy.example:3128"')
    return text


def _split(text: str) -> Any:
    try:
        url = urlsplit(text)
        port_is_sane = url.port is None or url.port > 0
    except ValueError:
        raise _Wrong("this is not a URL; write scheme, host and, if need be, port") from None
    if url.username is not None or url.password is not None:
        raise _Secret("a name or password in a URL ends up in logs; remove what stands before the @")
    if not url.hostname or not port_is_sane or re.search(r"[\s\x00-\x1f]", text):
        raise _Wrong("this is not a URL; write scheme, host and, if need be, port")
    return url


class _Secret(_Wrong):
    """As `_Wrong`, and the value must not be shown."""


_REFERENCE = re.compile(
    r"(credential:[A-Za-z0-9._-]+|env:[A-Za-z_][A-Za-z0-9_]*|file:.+|public:[a-z0-9-]+)", re.ASCII
)
_HOW_TO_REFER = (
    'a key never stands in this file; write where it is: "credential:NAME" (a systemd credential), '
    '"env:NAME" or "file:PATH"'
)


def _key_reference(value: object) -> str:
    text = value if isinstance(value, str) else ""
    if not _REFERENCE.fullmatch(text) or holds_key(text):
        raise _Secret(_HOW_TO_REFER)
    return text


_PRINTABLE = re.compile(r"[\x20-\x7e]+")


def _user_agent(value: object) -> str:
    text = _text(value, '"acme-loader/1.4 (+mailto:ops@example.org)"')
    if not _PRINTABLE.fullmatch(text):
        raise _Wrong("only printable ASCII can stand in a header")
    if text.startswith("Mozilla/"):
        # NBB reference, section 4.1: the registry's firewall answers 403 to a bare browser name.
        raise _Wrong('say honestly who calls, such as "acme-loader/1.4 (+mailto:ops@example.org)"')
    return text


def _contact(value: object) -> str:
    text = _text(value, '"mailto:ops@example.org"')
    if not re.fullmatch(r"(mailto:[^\s()]+@[^\s()]+|https://[^\s()]+)", text, re.ASCII):
        raise _Wrong('expected "mailto:ops@example.org" or "https://example.org/contact"')
    return text


def _path_template(value: object) -> str:
    text = _text(value, '"/extracts/batch/{date}/references"')
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]*\{date\}[A-Za-z0-9._~/-]*", text):
        raise _Wrong('expected a path with one {date} in it, such as "/extracts/batch/{date}/references"')
    return text


def _document_path(value: object) -> str:
    text = _text(value, '"/authentic/deposit/{ref}/accountingData"')
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]*\{ref\}[A-Za-z0-9._~/-]*", text):
        raise _Wrong(
            'expected a path with one {ref} in it, such as "/authentic/deposit/{ref}/accountingData"'
        )
    return text


def _company_path(value: object) -> str:
    text = _text(value, '"/authentic/legalEntity/{cbe}/references"')
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]*\{cbe\}[A-Za-z0-9._~/-]*", text):
        raise _Wrong(
            'expected a path with one {cbe} in it, such as "/authentic/legalEntity/{cbe}/references"'
        )
    return text


def _improved_path(value: object) -> str:
    text = _text(value, '"/improved/deposit/{ref}/accountingData/improved/{kind}"')
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]*\{ref\}[A-Za-z0-9._~/-]*\{kind\}[A-Za-z0-9._~/-]*", text):
        raise _Wrong(
            "expected a path with one {ref} and one {kind} in it, such as "
            '"/improved/deposit/{ref}/accountingData/improved/{kind}"'
        )
    return text


def _number_path(value: object) -> str:
    text = _text(value, '"/v1/basisprofielen/{number}"')
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]*\{number\}[A-Za-z0-9._~/-]*", text):
        raise _Wrong('expected a path with one {number} in it, such as "/v1/basisprofielen/{number}"')
    return text


def _search_path(value: object) -> str:
    text = _text(value, '"/v2/zoeken"')
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]+", text):
        raise _Wrong('expected a path, such as "/v2/zoeken"')
    return text


def _media_type(value: object) -> str:
    text = _text(value, '"application/x.zip+json"')
    if not re.fullmatch(r"[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+", text):
        raise _Wrong('expected one media type, such as "application/x.zip+json"')
    return text


KINDS: Mapping[str, Callable[[object], Any]] = {
    "duration": _duration,
    "size": _size,
    "time_of_day": _time_of_day,
    "date": _date,
    "zone": _zone,
    "base_url": _base_url,
    "proxy_url": _proxy_url,
    "key_reference": _key_reference,
    "user_agent": _user_agent,
    "contact": _contact,
    "path_template": _path_template,
    "document_path": _document_path,
    "company_path": _company_path,
    "improved_path": _improved_path,
    "number_path": _number_path,
    "search_path": _search_path,
    "media_type": _media_type,
}
_WRITTEN: Mapping[str, Callable[[Any], str]] = {
    "duration": units.format_duration,
    "size": units.format_size,
    "time_of_day": units.format_time_of_day,
}


# ------------------------------------------------------------ types and their words


def unwrap(kind_of_value: Any) -> tuple[Any, list[Meta]]:
    """The type without `Annotated` and without `| None`, and all of its metadata, the outermost last."""
    metas: list[Meta] = []
    while True:
        if get_origin(kind_of_value) is Annotated:
            kind_of_value, *found = get_args(kind_of_value)
            metas = [each for each in found if isinstance(each, Meta)] + metas
        elif get_origin(kind_of_value) in {typing.Union, types.UnionType}:
            kind_of_value = next(each for each in get_args(kind_of_value) if each is not type(None))
        else:
            return kind_of_value, metas


def section_of(kind_of_value: Any) -> type[Struct] | None:
    """The struct that an option is, or that each of its named sections is; None if it is a plain value."""
    base, _ = unwrap(kind_of_value)
    if get_origin(base) is dict:
        base, _ = unwrap(get_args(base)[1])
    return base if isinstance(base, type) and issubclass(base, Struct) else None


def kind_of(metas: list[Meta]) -> str | None:
    """The kind named in the metadata, if any."""
    return next((str(meta.extra["kind"]) for meta in metas if meta.extra and "kind" in meta.extra), None)


def written(value: Any, kind: str | None = None) -> str:
    """A value as the file would have it."""
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(written(each, kind) for each in value) + "]"
    if kind is not None and kind in _WRITTEN and not isinstance(value, str):
        value = _WRITTEN[kind](value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, Path)):
        return f'"{value}"'
    return str(value)


_NOUNS: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text in quotes",
}


def _wanted(base: Any, metas: list[Meta]) -> str:
    """What a plain value has to be, in words."""
    if get_origin(base) is Literal:
        return "one of " + ", ".join(written(each) for each in get_args(base))
    words = _NOUNS.get(base, "another value")
    for meta in metas:
        bounds = (("of at least", meta.ge), ("above", meta.gt), ("of at most", meta.le), ("below", meta.lt))
        words += "".join(f" {word} {bound:,}" for word, bound in bounds if bound is not None)
        words += " that is not empty" if meta.min_length else ""
    return words.replace(" of at most", " and of at most") if " of at least" in words else words


class NamedSections(dict[str, Any]):
    """Sections by the names that their writer gave them. Nobody changes them, so they are as hashable as all settings."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


# ------------------------------------------------------------ the reader


class Reader:
    """Reads tables into structs and keeps every problem on the way.

    `folder` is where relative paths start. `not_served` maps dotted keys of sections that a later version
    will serve to a sentence about them.
    """

    def __init__(self, folder: Path, root: type[Struct], not_served: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self._folder = folder
        self._not_served = not_served
        self._root = root

    def struct(self, table: Mapping[str, Any], model: type[S], at: str = "") -> S | None:
        """The struct, or None if anything in it is wrong."""
        known = {field.encode_name: field for field in fields(model)}
        before = len(self.problems)
        misspelt = {
            _nearest(name, list(known))
            for name in table
            if name not in known and self._unknown(name, at, known)
        }
        values = {}
        for name, field in known.items():
            if name in table:
                values[field.name] = self._value(table[name], field.type, _join(at, name), field.default)
            elif field.required and name not in misspelt:
                self._missing(_join(at, name), field.type)
            elif isinstance(default := _default_of(field), Path):
                values[field.name] = self._placed(str(default))
        if len(self.problems) > before:
            return None
        made = model(**values)
        for problem in getattr(made, "problems", tuple)():
            self.problems.append(problem._replace(key=f"{at}.{problem.key}" if at else problem.key))
        return made if len(self.problems) == before else None

    def _value(self, raw: Any, wanted: Any, at: str, default: Any) -> Any:
        base, metas = unwrap(wanted)
        if isinstance(base, type) and issubclass(base, Struct):
            return self._section(raw, base, at)
        if get_origin(base) is dict:
            return self._sections(raw, get_args(base)[1], at)
        if get_origin(base) is tuple:
            return self._list(raw, get_args(base)[0], metas, at)
        return self._leaf(raw, base, metas, at, default)

    def _section(self, raw: Any, model: type[S], at: str) -> S | None:
        if isinstance(raw, dict):
            return self.struct(raw, model, at)
        self._add(at, f"expected a section; write [{at}] on a line of its own", raw)
        return None

    def _sections(self, raw: Any, wanted: Any, at: str) -> dict[str, Any]:
        if not isinstance(raw, dict):
            self._add(at, f"expected sections; write [{at}.NAME] on a line of its own", raw)
            return {}
        return NamedSections(
            (name, self._value(inner, wanted, _join(at, name), msgspec.NODEFAULT))
            for name, inner in raw.items()
        )

    def _list(self, raw: Any, wanted: Any, metas: list[Meta], at: str) -> tuple[Any, ...]:
        if not isinstance(raw, list):
            secret = kind_of(unwrap(wanted)[1]) == "key_reference"
            self._add(at, "expected a list; write it in square brackets", None if secret else raw)
            return ()
        if not raw and any(meta.min_length for meta in metas):
            self._add(at, "the list is empty; write at least one value", raw)
        return tuple(
            self._value(each, wanted, f"{at}[{position}]", msgspec.NODEFAULT)
            for position, each in enumerate(raw)
        )

    def _leaf(self, raw: Any, base: Any, metas: list[Meta], at: str, default: Any) -> Any:
        kind = kind_of(metas)
        try:
            value = self._of_kind(kind, raw) if kind else raw
            checked = Annotated[base, _bounds(metas)] if _bounds(metas) else base
            return value if base is Path else msgspec.convert(value, checked)
        except _Wrong as wrong:
            text, shown = str(wrong), not isinstance(wrong, _Secret)
        except msgspec.ValidationError:
            text, shown = self._mismatch(raw, base, metas), True
        if default not in (msgspec.NODEFAULT, None):
            text += f"; the default is {written(default, kind)}"
        self._add(at, text, raw if shown else None)
        return None

    def _of_kind(self, kind: str, raw: Any) -> Any:
        if kind == "path":
            return self._path(raw)
        value = KINDS[kind](raw)
        if kind == "key_reference" and value.startswith("file:"):
            return f"file:{self._placed(value.removeprefix('file:'))}"
        return value

    def _path(self, raw: Any) -> Path:
        text = _text(raw, '"/var/lib/filingd"')
        if not text or "\0" in text:
            raise _Wrong("the path is empty; write an absolute one")
        return Path(text) if text == "-" else self._placed(text)

    def _placed(self, text: str) -> Path:
        return Path(os.path.normpath(self._folder / text))

    def _mismatch(self, raw: Any, base: Any, metas: list[Meta]) -> str:
        kind = kind_of(metas)
        if kind in _WRITTEN:
            low = next((meta for meta in metas if meta.gt is not None or meta.ge is not None), Meta())
            bound = low.gt if low.gt is not None else low.ge
            return f"it is too small; write more than {written(bound or 0, kind)}"
        text = f"expected {_wanted(base, metas)}"
        if get_origin(base) is Literal and isinstance(raw, str):
            text += _did_you_mean(raw, list(get_args(base)))
        return text

    def _unknown(self, name: str, at: str, known: Mapping[str, Any]) -> bool:
        """Whether the name was taken for a misspelt one of the known."""
        key = _join(at, name)
        if key in self._not_served:
            self._add(key, self._not_served[key], None)
            return False
        guess = _did_you_mean(name, list(known))
        home = dict(_homes(self._root)).get(name)
        known_here = ", ".join(f"`{each}`" for each in known)
        advice = f"; it belongs in [{home}]" if home else f"; remove it (known here: {known_here})"
        self._add(key, f"unknown key{guess or advice}", None)
        return bool(guess)

    def _missing(self, at: str, wanted: Any) -> None:
        base, metas = unwrap(wanted)
        inner = unwrap(get_args(base)[0])[1] if get_origin(base) is tuple else metas
        example = _EXAMPLES.get(kind_of(inner) or "", "")
        value = f"[{example}]" if get_origin(base) is tuple else example
        self._add(at, f"it is missing; write `{at.rpartition('.')[2]} = {value}`", None)

    def _add(self, key: str, text: str, raw: Any) -> None:
        shown = "" if raw is None else _shorten(redact_text(written(raw)))
        self.problems.append(Problem(redact_text(key), redact_text(text), shown))


def _default_of(field: msgspec.structs.FieldInfo) -> Any:
    """What an option is that is not there; NODEFAULT if there is no such thing."""
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


_EXAMPLES: Mapping[str, str] = {
    "date": "2024-01-01",
    "key_reference": '"credential:nbb-extract-1"',
    "path": '"/var/lib/filingd"',
}


def _bounds(metas: list[Meta]) -> Meta | None:
    """The numeric bounds of all metadata, in one."""
    found: dict[str, Any] = {}
    for meta in metas:
        for name in ("gt", "ge", "lt", "le", "min_length"):
            bound = getattr(meta, name)
            if bound is not None:
                found[name] = bound
    return Meta(**found) if found else None


def _nearest(name: str, known: list[str]) -> str | None:
    import difflib  # needed for what is misspelt only

    plain = {each.replace("-", "_"): each for each in known}
    near = difflib.get_close_matches(name.lower().replace("-", "_"), plain, 1, 0.6)
    return plain[near[0]] if near else None


def _did_you_mean(name: str, known: list[str]) -> str:
    near = _nearest(name, known)
    return f"; did you mean `{near}`?" if near else ""


def _homes(model: type[Struct], at: str = "") -> Iterator[tuple[str, str]]:
    """Every option and the section it stands in."""
    for field in fields(model):
        section, inner_at = section_of(field.type), _join(at, field.encode_name)
        if section is not None:
            is_named = get_origin(unwrap(field.type)[0]) is dict
            yield from _homes(section, f"{inner_at}.NAME" if is_named else inner_at)
        elif at:
            yield field.encode_name, at


def _join(at: str, name: str) -> str:
    bare = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else f'"{name}"'
    return f"{at}.{bare}" if at else bare


def _shorten(text: str) -> str:
    return text if len(text) <= 80 else text[:79] + "…"
