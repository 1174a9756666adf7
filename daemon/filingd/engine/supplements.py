"""Which groups wait for items outside them, so that each is judged again once, when the last of these is settled."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Supplements:
    """What open groups still expect from elsewhere. Nothing of it is kept: every open group is judged at a start."""

    def __init__(self) -> None:
        self._missing: dict[str, set[str]] = {}  # keys by group
        self._waiting: dict[str, set[str]] = {}  # groups by key

    def expect(self, group: str, keys: Iterable[str]) -> None:
        """From now on the group waits for these, and for nothing else."""
        for key in self._missing.pop(group, ()):
            self._waiting[key].discard(group)
            if not self._waiting[key]:
                del self._waiting[key]
        missing = set(keys)
        if missing:
            self._missing[group] = missing
        for key in missing:
            self._waiting.setdefault(key, set()).add(group)

    def settled(self, key: str) -> list[str]:
        """It came, or it is known that it will not: the groups that waited for nothing else."""
        complete = []
        for group in self._waiting.pop(key, ()):
            self._missing[group].discard(key)
            if not self._missing[group]:
                del self._missing[group]
                complete.append(group)
        return sorted(complete)
