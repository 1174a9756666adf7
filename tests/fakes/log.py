"""A status log that keeps what it is told, and refuses what the catalogue of events does not know."""

from __future__ import annotations

from typing import Any, NamedTuple

from support.logcheck import check_event


class Line(NamedTuple):
    """One line of the log."""

    level: str
    event: str
    facts: dict[str, Any]


class FakeLog:
    """Implements `filingd.ports.Log`. `lines` are all lines so far."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def debug(self, event: str, **facts: Any) -> None:
        self._note("debug", event, facts)

    def info(self, event: str, **facts: Any) -> None:
        self._note("info", event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        self._note("warning", event, facts)

    def error(self, event: str, **facts: Any) -> None:
        self._note("error", event, facts)

    def of(self, event: str, **facts: Any) -> list[dict[str, Any]]:
        """The facts of each line of this event that has these facts."""
        return [
            line.facts for line in self.lines if line.event == event and facts.items() <= line.facts.items()
        ]

    def _note(self, level: str, event: str, facts: dict[str, Any]) -> None:
        check_event(event, level, facts)
        self.lines.append(Line(level, event, facts))
