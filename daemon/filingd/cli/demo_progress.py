"""Shows how far a demo is: one live line on a terminal, a plain line every few days otherwise."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

import click

from filingd.cli.coverage import day_of_group
from filingd.core import events

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

_PLAIN_LINES = 9


class Tally:
    """What the daemon's status log tells, added up."""

    def __init__(self, days: int) -> None:
        self.days = days
        self.stored = 0
        self.stored_bytes = 0
        self.last_key = ""
        self.changed_s = time.monotonic()
        self._began_s = self.changed_s
        self._sealed_before: int | None = None
        self._sealed: set[str] = set()

    @property
    def sealed(self) -> int:
        """Days that are sealed now."""
        return min(self.days, (self._sealed_before or 0) + len(self._sealed))

    @property
    def bytes_per_s(self) -> float:
        """Stored bytes over the time so far."""
        return self.stored_bytes / max(time.monotonic() - self._began_s, 0.001)

    def take(self, line: Mapping[str, Any]) -> None:
        """One line of the status log."""
        match line["event"]:
            case events.HEARTBEAT if self._sealed_before is None:
                self._sealed_before = int(line["coverage"]["sealed"]) - len(self._sealed)
            case events.DAY_SEALED if day_of_group(line["group"]) is not None:
                self._sealed.add(line["group"])
                self._changed()
            case events.ITEM_STORED:
                self.stored += 1
                self.stored_bytes += int(line["size_bytes"])
                self.last_key = line["key"]
                self._changed()
            case events.ITEM_CONFIRMED_EMPTY | events.ITEM_NOTHING_FOUND:
                self.last_key = line["key"]
                self._changed()

    def _changed(self) -> None:
        self.changed_s = time.monotonic()


class View(Protocol):
    """Shows a tally again and again."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def show(self, tally: Tally) -> None:
        """Show it as it is now."""
        ...


class PlainView:
    """A line each time another ninth of the days is sealed."""

    def __init__(self) -> None:
        self._shown = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to put away."""

    def show(self, tally: Tally) -> None:
        """Print a line if there is news."""
        step = max(1, tally.days // _PLAIN_LINES)
        if tally.sealed >= self._shown + step or (tally.sealed == tally.days > self._shown):
            self._shown = tally.sealed
            click.echo(
                f"  {tally.sealed:>4} of {tally.days} days sealed, {tally.stored} files, {tally.stored_bytes / 1e6:.1f} MB"
            )


class LiveView:
    """One line that moves."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("  days sealed"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[stored]} files  {task.fields[size]}  {task.fields[rate]}/s"),
            TextColumn("[dim]{task.description}"),
        )
        self._task = self._progress.add_task("", total=None, stored=0, size="0 B", rate="0 B")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, tally: Tally) -> None:
        """Move the line."""
        from filingd.cli.plan import human_bytes

        self._progress.update(
            self._task, total=tally.days, completed=tally.sealed, description=tally.last_key, stored=tally.stored,
            size=human_bytes(tally.stored_bytes), rate=human_bytes(tally.bytes_per_s),
        )  # fmt: skip


def view() -> View:
    """Live on a terminal, plain otherwise."""
    return LiveView() if sys.stdout.isatty() else PlainView()
