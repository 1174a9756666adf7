"""What would be asked for from now on, told by the registry's own functions. Asks nothing and writes nothing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from filingd.core.model import EMPTY_STATES, HOLDING_STATES, LEASED_STATES, Deferral, State, leaf_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filingd.core.model import Item
    from filingd.ports import Registry

_SAMPLES_WANTED = 5  # fewer stored bodies say nothing about the next one


@dataclass(frozen=True, slots=True)
class Call:
    """One call that would be made: at the earliest at `at`. `is_recheck`: to compare, something is stored already."""

    key: str
    lane: str
    route: str
    at: float
    is_recheck: bool


@dataclass(slots=True)
class Forecast:
    """What the plan leads to. Keys are in the order of the registry's expectation, oldest first."""

    expected: Sequence[str] = ()
    finished: list[str] = field(default_factory=list)  # stored, proven empty: no first call is needed
    calls: list[Call] = field(default_factory=list)
    not_obtainable: dict[str, list[str]] = field(default_factory=dict)  # by reason

    def due(self, now: float) -> list[Call]:
        """The calls that could be made at once."""
        return [call for call in self.calls if call.at <= now]

    def later(self, now: float) -> list[Call]:
        """The others."""
        return [call for call in self.calls if call.at > now]


def forecast(registry: Registry, known: Mapping[str, Item], now: float) -> Forecast:
    """Plan as the daemon would, against the items as they are (`known`, by key), and look at each of them."""
    items = {**known, **{change.item.key: change.item for change in registry.plan(now, known)}}
    found = Forecast(registry.expected(now))
    for key in found.expected:
        _look_at(registry, items[key], now, found)
    return found


def _look_at(registry: Registry, item: Item, now: float, found: Forecast) -> None:
    if item.state in HOLDING_STATES | EMPTY_STATES:
        found.finished.append(item.key)
    if item.state is State.ABSENT and item.due_at is None:
        found.not_obtainable.setdefault(item.reason or "absent", []).append(item.key)
    elif item.due_at is not None or item.state in LEASED_STATES:
        _add_call(registry, item, max(now, item.due_at or now), found)


def _add_call(registry: Registry, item: Item, at: float, found: Forecast) -> None:
    answer = registry.request(item, at)
    if isinstance(answer, Deferral):
        if answer.again_at is None:
            found.not_obtainable.setdefault(answer.reason, []).append(item.key)
            return
        at = max(at, answer.again_at)
        answer = registry.request(item, at)
    if not isinstance(answer, Deferral):
        is_recheck = item.state in HOLDING_STATES | EMPTY_STATES
        found.calls.append(Call(item.key, answer.lane, answer.route, at, is_recheck))


def calls_by_lane_and_route(calls: Sequence[Call]) -> dict[str, dict[str, int]]:
    """How many calls on each lane by each route, in the order of names."""
    counted = Counter((call.lane, call.route) for call in calls)
    lanes: dict[str, dict[str, int]] = {}
    for (lane, route), count in sorted(counted.items()):
        lanes.setdefault(lane, {})[route] = count
    return lanes


def mean_bytes(known: Mapping[str, Item]) -> dict[str, float]:
    """The mean size of a stored body by series, where there are enough of them; empty items count as none."""
    sizes: dict[str, list[int]] = {}
    for item in known.values():
        if item.state in HOLDING_STATES | EMPTY_STATES:
            sizes.setdefault(series_of(item.key), []).append(item.size_bytes or 0)
    return {series: sum(seen) / len(seen) for series, seen in sizes.items() if len(seen) >= _SAMPLES_WANTED}


def series_of(key: str) -> str:
    """What an item is one of many of: `authentic/json`."""
    return f"{key.split('/', 2)[1]}/{leaf_of(key)}"
