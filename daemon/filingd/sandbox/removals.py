"""Filings that the registry takes down: from an instant on they are in no list, no zip and no answer (section 6.5)."""

from __future__ import annotations

import re
from typing import Any

from filingd.core.errors import ConfigError

_REFERENCE = re.compile(r"\d{4}-\d{8}")


class Removals:
    """Reference numbers and the instants from which each is gone. Read from threads, changed from the loop."""

    def __init__(self) -> None:
        self._gone_at: dict[str, float] = {}

    def add(self, reference_number: str, from_at: float) -> None:
        """Take a filing down from an instant on; raises `ConfigError` for what is no reference number."""
        if not _REFERENCE.fullmatch(reference_number):
            raise ConfigError(
                f"{reference_number!r} is no reference number. Write four digits, a hyphen and eight digits."
            )
        self._gone_at = self._gone_at | {reference_number: from_at}

    def undo(self, reference_number: str) -> bool:
        """Put a filing back; false if it was not taken down."""
        known = reference_number in self._gone_at
        self._gone_at = {name: at for name, at in self._gone_at.items() if name != reference_number}
        return known

    def clear(self) -> None:
        """Put everything back."""
        self._gone_at = {}

    def gone(self, at: float) -> frozenset[str]:
        """What is gone at an instant."""
        return frozenset(name for name, from_at in self._gone_at.items() if from_at <= at)

    def report(self) -> list[dict[str, Any]]:
        """All of them, as JSON values."""
        return [{"reference": name, "from_at": from_at} for name, from_at in self._gone_at.items()]
