"""`filingd run`: the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from filingd.cli.instants import Instant
from filingd.cli.options import config_option, load_settings

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@config_option
@click.option("--until-idle", "until", flag_value="idle", help="End when nothing is due any more.")
@click.option("--until-sealed", "until", flag_value="sealed", help="End when every expected day is sealed.")
@click.option("--rehearse-at", type=Instant(), metavar="INSTANT",
              help="Run as if it had been started at this instant (a ticking clock), for a rehearsal against a "
              "sandbox that keeps the same clock. Example: 2026-11-20T12:00+01:00")  # fmt: skip
@click.option("--console", type=click.Choice(["auto", "pretty", "json", "off"]), default="auto", show_default=True,
              help="What standard output gets besides the status log.")  # fmt: skip
@click.option("--begin-ledger", "begins_ledger", is_flag=True,
              help="Begin a new ledger in place of one that is lost; what was spent this month is unknown to it.")  # fmt: skip
def run(
    config_path: Path, until: str | None, rehearse_at: float | None, console: str, begins_ledger: bool
) -> None:
    """Run the daemon until told to stop, or until nothing is due.

    SIGTERM and SIGINT end it in order: no new work, running transfers get the grace period, what is unfinished goes
    on next time. Exit codes: 0 ended in order, 3 wrong configuration, 4 the store cannot be used.
    """
    from filingd import app
    from filingd.engine.supervisor import Until

    options = app.RunOptions(Until(until or "stopped"), rehearse_at, console, config_path, begins_ledger)
    app.run(load_settings(config_path), options)
