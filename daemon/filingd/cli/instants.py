"""Instants on the command line: read with an offset, written in UTC."""

from __future__ import annotations

import datetime as dt

import click

FIRST_YEAR, LAST_YEAR = 1990, 2200  # beyond these no calendar and no time zone means anything


class Instant(click.ParamType[float]):
    """An instant as ISO 8601 with an offset; arrives as unix seconds."""

    name = "instant"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse; a value without an offset is refused, because nobody knows whose noon it is."""
        if isinstance(value, int | float):
            return float(value)
        try:
            parsed = dt.datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value} is not an instant such as 2026-11-20T12:00+01:00.", param, ctx)
        if parsed.tzinfo is None:
            self.fail(f"{value} has no offset: write 2026-11-20T12:00+01:00.", param, ctx)
        if not FIRST_YEAR <= parsed.year < LAST_YEAR:
            self.fail(f"{value} is not between {FIRST_YEAR} and {LAST_YEAR}.", param, ctx)
        return parsed.timestamp()


def iso_minute(at: float) -> str:
    """`2026-11-20 11:00 UTC`."""
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def iso_second(at: float) -> str:
    """`2026-11-20 11:00:07 UTC`."""
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
