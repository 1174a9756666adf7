"""The keys of each product: a primary and a secondary one, both valid; more can be added and revoked while
running.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from typing import TYPE_CHECKING

from filingd.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SLOTS = ("primary", "secondary")


@dataclasses.dataclass(frozen=True, slots=True)
class Holder:
    """What a key opens."""

    product: str
    slot: str


def fingerprint(key: str) -> str:
    """A short hash that tells keys apart and gives none away."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


class KeyRing:
    """Valid keys, and every key ever known (to notice one in a URL)."""

    def __init__(self, keys: Mapping[str, Sequence[str]]) -> None:
        self._valid: dict[str, Holder] = {}
        self._ever: set[str] = set()
        for product, pair in keys.items():
            for number, key in enumerate(pair):
                self.add(product, key, SLOTS[number] if number < len(SLOTS) else f"extra-{number - 1}")

    def add(self, product: str, key: str, slot: str) -> None:
        """Make a key valid; raises `ConfigError` if it opens another product already."""
        holder = self._valid.get(key)
        if holder and holder.product != product:
            raise ConfigError(
                f"The key {fingerprint(key)} already opens {holder.product}; use another for {product}."
            )
        self._valid[key] = Holder(product, slot)
        self._ever.add(key)

    def revoke(self, product: str, slot_or_key: str) -> int:
        """Make the key in a slot (or this very key, or all with `*`) invalid; return how many there were."""
        gone = [
            key
            for key, holder in self._valid.items()
            if holder.product == product and slot_or_key in ("*", holder.slot, key)
        ]
        for key in gone:
            del self._valid[key]
        return len(gone)

    def holder(self, key: str) -> Holder | None:
        """What a key opens, or None."""
        return self._valid.get(key)

    def by_product(self) -> dict[str, dict[str, str]]:
        """Per product its slots with their keys (sandbox keys are no secrets)."""
        table: dict[str, dict[str, str]] = {}
        for key, holder in self._valid.items():
            table.setdefault(holder.product, {})[holder.slot] = key
        return table

    def redacted(self, text: str) -> tuple[str, bool]:
        """The text with every key ever known replaced by its fingerprint, and whether there was one."""
        if not self._ever:
            return text, False
        pattern = re.compile("|".join(map(re.escape, self._ever)))
        clean, count = pattern.subn(lambda found: f"<key:{fingerprint(found.group())}>", text)
        return clean, count > 0
