"""Saved searches, and the cells into which one is split that finds more than can be seen (KVK reference, section 6.1).

No more than a thousand rows of a query can be seen. One that finds more is asked again with a value of an *axis* added, once for
each of its values, and so on along the next axis. A *cell* is the query with the values that narrow it so far; the whole query is
the cell `all`.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import msgspec

from filingd.core import units
from filingd.core.units import UnitError
from filingd.registries.kvk import query
from filingd.registries.kvk.payloads import TYPES
from filingd.registries.kvk.query import (
    HOUSE_NUMBER,
    NAME,
    PARAMETERS,
    POSTCODE,
    STREET,
    TOWN,
    TYPE,
    Parameters,
    bad,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from filingd.core.model import Group

PREFIX = "kvk/searches"
WHOLE = "all"
_LONGEST_CELL_BYTES = 200
_DIGEST_DIGITS = 8
_SPLIT, _REFRESH = "split", "refresh_interval"
# Along which parameters a search can be split, and where a search says the values; the types are known.
_VALUES_OF: Mapping[str, str | None] = {
    TYPE: None,
    TOWN: "plaatsen",
    STREET: "straten",
    POSTCODE: "adressen",
    NAME: "woorden",
}
_VALUE_FIELDS = frozenset(field for field in _VALUES_OF.values() if field)
_FIELDS = (*PARAMETERS, _SPLIT, *sorted(_VALUE_FIELDS), _REFRESH)
_ADDRESS = re.compile(r"(?P<postcode>[0-9]{4} ?[A-Za-z]{2}) (?P<number>[1-9][0-9]{0,4})", re.ASCII)


class Axis(msgspec.Struct, frozen=True):
    """One way to narrow a query: a parameter, and the values it is given one after the other."""

    name: str
    values: tuple[str, ...]


class KvkSearch(msgspec.Struct, frozen=True):
    """A saved search: its parameters, the axes along which it is split if need be, how often it is asked again (None: as its
    list says)."""

    parameters: Parameters
    split: tuple[Axis, ...] = ()
    refresh_interval_s: float | None = None

    @property
    def digest(self) -> str:
        """What tells this query, with these axes, from another: eight hexadecimal digits."""
        text = msgspec.json.encode([self.parameters, [[axis.name, axis.values] for axis in self.split]])
        return hashlib.sha256(text).hexdigest()[:_DIGEST_DIGITS]

    def words(self) -> Sequence[str]:
        """See `core.watchlist.Search`."""
        told = [f"{name} {value}" for name, value in self.parameters]
        if self.split:
            told.append("split along " + ", ".join(axis.name for axis in self.split))
        if self.refresh_interval_s is not None:
            told.append(f"every {units.format_duration(self.refresh_interval_s)}")
        return told

    def narrowed(self, cell: str) -> Parameters | None:
        """The parameters of a cell; None if it is no cell of this search."""
        values = values_of(cell)
        names = tuple(name for name, _ in values)
        if names != tuple(axis.name for axis in self.split[: len(names)]):
            return None
        if any(value not in axis.values for (_, value), axis in zip(values, self.split, strict=False)):
            return None
        found = self.parameters
        for name, value in values:
            found = _with(found, name, value)
        return tuple(sorted(found, key=lambda parameter: PARAMETERS.index(parameter[0])))

    def next_axis(self, cell: str) -> Axis | None:
        """Along which axis a cell is split; None if none is left."""
        depth = len(values_of(cell))
        return self.split[depth] if depth < len(self.split) else None

    def children(self, cell: str) -> Sequence[str]:
        """The cells a cell is split into; none if no axis is left."""
        axis = self.next_axis(cell)
        values = values_of(cell)
        return [cell_of([*values, (axis.name, value)]) for value in axis.values] if axis else []


def _with(parameters: Parameters, axis: str, value: str) -> Parameters:
    """The parameters narrowed by one value of an axis."""
    if axis == NAME:
        known = [text for name, text in parameters if name == NAME]
        return (*_without(parameters, NAME), (NAME, " ".join([*known, value])))
    if axis == POSTCODE:
        code, _, number = value.partition(" ")
        return (*parameters, (POSTCODE, code), (HOUSE_NUMBER, number))
    return (*_without(parameters, axis), (axis, value))


def _without(parameters: Parameters, name: str) -> Parameters:
    return tuple(parameter for parameter in parameters if parameter[0] != name)


# ------------------------------------------------------------------------------------------------- from TOML


def search_of(table: Mapping[str, Any]) -> KvkSearch:
    """A saved search, from its TOML: KVK's own parameters, and `split`, `plaatsen`, `straten`, `adressen`, `woorden`,
    `refresh_interval`. An axis that divides nothing, such as a town where the query has one, is passed over.

    Raises:
        SearchError: a field is unknown or wrong; says which, its value and the remedy.
    """
    for field in table:
        if field not in _FIELDS and field not in ("pagina", "resultatenPerPagina"):
            raise bad(
                field,
                table[field],
                f"There is no such field. Remove it, or write one of {', '.join(_FIELDS)}.",
            )
    parameters = query.parameters({name: value for name, value in table.items() if name in query.KNOWN})
    search = KvkSearch(parameters, tuple(_axes(table, parameters)), _refresh_interval_s(table))
    _check_length(search)
    return search


def _refresh_interval_s(table: Mapping[str, Any]) -> float | None:
    if _REFRESH not in table:
        return None
    value = table[_REFRESH]
    try:
        seconds = units.parse_duration(value) if isinstance(value, str) else 0.0
    except UnitError as error:
        raise bad(_REFRESH, value, f"Here {error}.") from error
    if seconds <= 0:
        raise bad(_REFRESH, value, 'Write how long in quotes, such as "7 d".')
    return seconds


def _axes(table: Mapping[str, Any], parameters: Parameters) -> Iterable[Axis]:
    names = _listed(table.get(_SPLIT, []))
    known = list(_VALUES_OF)
    if any(name not in known for name in names):
        raise bad(
            _SPLIT, names, f"Write a list of some of {', '.join(known)}, in the order in which to split."
        )
    if len(set(names)) < len(names):
        raise bad(_SPLIT, names, "One of them stands there twice; remove one.")
    for field in sorted(_VALUE_FIELDS & table.keys()):
        if not any(_VALUES_OF[name] == field for name in names):
            raise bad(
                field,
                table[field],
                "It is for an axis that `split` does not name. Name it there, or remove this.",
            )
    fixed = {name for name, _ in parameters}
    for name in names:
        axis = Axis(name, _axis_values(name, table, parameters))
        if len(axis.values) > 1 and (name in (TYPE, NAME) or name not in fixed):
            yield axis


def _axis_values(axis: str, table: Mapping[str, Any], parameters: Parameters) -> tuple[str, ...]:
    field = _VALUES_OF[axis]
    if field is None:
        return tuple(value for name, value in parameters if name == TYPE) or TYPES
    values = _listed(table.get(field, []))
    if not values:
        raise bad(field, values, f"It has to list the values along which `split` divides {axis}.")
    check = _address if axis == POSTCODE else query.text
    found = {cleaned.casefold(): cleaned for cleaned in (check(field, value) for value in values)}
    return tuple(found.values())


def _listed(value: object) -> list[Any]:
    """A list, or the one thing that stands in its place."""
    return value if isinstance(value, list) else [value]


def _address(field: str, value: object) -> str:
    found = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise bad(field, value, 'Write a postcode, a blank and a house number, such as "1234AB 12".')
    return f"{query.postcode(field, found['postcode'])} {found['number']}"


def _check_length(search: KvkSearch) -> None:
    """A cell names a folder, which may have so many bytes at most."""
    longest = [(axis.name, max(axis.values, key=lambda value: len(_coded(value)))) for axis in search.split]
    if longest and len(cell_of(longest)) > _LONGEST_CELL_BYTES:
        name, value = max(longest, key=lambda one: len(_coded(one[1])))
        raise bad(name, value, "With the other axes it is too long to name a folder. Split along fewer axes.")


# ------------------------------------------------------------------------------------------------- cells and keys


def cell_of(values: Sequence[tuple[str, str]]) -> str:
    """The cell that is narrowed by these values of axes, in their order; safe as the name of a folder."""
    return ",".join(f"{name}={_coded(value)}" for name, value in values) or WHOLE


def values_of(cell: str) -> tuple[tuple[str, str], ...]:
    """The inverse of `cell_of`."""
    if cell == WHOLE:
        return ()
    return tuple(
        (name, unquote(value)) for name, _, value in (part.partition("=") for part in cell.split(","))
    )


def gaps(groups: Iterable[Group]) -> Sequence[str]:
    """Cells that were split into others that find less than they do, in words: not all values of the axis are listed. That the
    others find as much proves nothing where values overlap, as words of names do."""
    found = {group.key: group for group in groups}
    totals: dict[str, int] = {}
    for group in found.values():
        parent = _parent_of(group.key)
        if parent in found:
            totals[parent] = totals.get(parent, 0) + int(group.facts.get("totaal", 0))
    told = []
    for key, total in totals.items():
        facts = found[key].facts
        is_split = "split_along" in facts and found[key].sealed_at is not None
        if is_split and total < int(facts["totaal"]):
            told.append(
                f"{cell_in(key)}: its cells along {facts['split_along']} find {total} of {facts['totaal']}; "
                f"list more values along which to split"
            )
    return told


def _parent_of(group: str) -> str:
    """The group of the cell that a cell is part of; nothing for the whole query."""
    *folder, cell = group.split("/")
    values = values_of(cell)
    return "/".join([*folder, cell_of(values[:-1])]) if values else ""


def folder_for(name: str, search: KvkSearch) -> str:
    """What stands for a search in keys: its name and its digest. A search that was changed is another one."""
    return f"{_coded(name)}-{search.digest}"


def key_for(folder: str, cell: str, page: int) -> str:
    """The key of a page of a cell."""
    return f"{PREFIX}/{folder}/{cell}/{page}"


def folder_of(key: str) -> str:
    """The search that an item or a group belongs to."""
    return key.split("/")[2]


def cell_in(key: str) -> str:
    """The cell that an item or a group belongs to."""
    return key.split("/")[3]


def name_of(folder: str) -> str:
    """The name of the list that a search stands in."""
    return unquote(folder.rpartition("-")[0])


def _coded(text: str) -> str:
    """A text with nothing in it but letters, digits and `_.-~%`."""
    return quote(text, safe="")
