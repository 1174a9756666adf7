"""`filingd sandbox`: stand-in registries on loopback."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from filingd.sandbox.faults import Rule
    from filingd.sandbox.server import Sandbox
    from filingd.sandbox.settings import SandboxSettings

EXAMPLE = """\b
Example: rehearse the morning of 20 November 2026 with a fiftieth of the real volume.

\b
  filingd sandbox --clock 2026-11-20T06:30 --scale 0.02
  curl -A rehearsal/1 -H "NBB-CBSO-Subscription-Key: $(printf '1%.0s' $(seq 32))" \\
       -H 'Accept: application/x.zip+json' -o references.zip \\
       http://127.0.0.1:8480/extracts/batch/2026-11-19/references
  curl -H "apikey: l7xx1f2691f2520d487b902f4e0b57a0b197" \\
       http://127.0.0.1:8480/test/api/v1/basisprofielen/69599084
  curl http://127.0.0.1:8481/journal/summary
"""

_FILE = click.Path(path_type=Path)
_PORT = click.IntRange(0, 65535)


@click.command(epilog=EXAMPLE)
@click.option("--host", default="127.0.0.1", hidden=True)
@click.option("--port", type=_PORT, default=8480, show_default=True,
              help="Port of the registry; 0 takes a free one.")  # fmt: skip
@click.option("--admin-port", type=_PORT, default=8481, show_default=True,
              help="Port of the administration; 0 takes a free one.")  # fmt: skip
@click.option(
    "--clock",
    metavar="INSTANT",
    help="Start the sandbox's clock here (ISO 8601; Brussels without an offset). Default: now.",
)
@click.option(
    "--clock-rate",
    type=click.FloatRange(0.0, 1e6),
    default=1.0,
    show_default=True,
    help="Sandbox seconds per second; 0 stops the clock.",
)
@click.option(
    "--seed", type=int, help="Another seed, another set of filings. Default: 1, or as in --settings."
)
@click.option(
    "--scale",
    type=float,
    help="Filings against the real registry, 1.0 being real. Default: 0.02, or as in --settings.",
)
@click.option(
    "--kvk-companies",
    type=click.IntRange(0, 1_000_000),
    metavar="N",
    help="Seeded companies of KVK. Default: 5000, or as in --settings.",
)
@click.option("--settings", "settings_path", type=_FILE, metavar="FILE", help="Knobs, JSON or TOML.")
@click.option(
    "--faults", "faults_path", type=_FILE, metavar="FILE", help="Fault rules to begin with, JSON or TOML."
)
@click.option(
    "--journal",
    "journal_path",
    type=_FILE,
    metavar="FILE",
    help="Append the request journal here, as JSON lines.",
)
@click.option(
    "--ready-file",
    type=_FILE,
    metavar="FILE",
    help="Write addresses, pid and keys here as JSON once listening.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the same JSON instead of a text.")
def sandbox(
    host: str,
    port: int,
    admin_port: int,
    clock: str | None,
    clock_rate: float,
    seed: int | None,
    scale: float | None,
    kvk_companies: int | None,
    settings_path: Path | None,
    faults_path: Path | None,
    journal_path: Path | None,
    ready_file: Path | None,
    as_json: bool,
) -> None:
    """Run stand-in registries on 127.0.0.1, for rehearsals before a subscription is approved or a call is paid.

    One port serves invented filings of all five products of NBB CBSO (authentic query, daily extract, improved data,
    both archives) and invented companies of the four of KVK (under /api and, with KVK's fictitious numbers, /test/api),
    with the routes, keys, error bodies, publication hours, windows, limits and quota of the real services. They
    misbehave on demand: see the administration port and docs/sandbox.md. Ctrl-C ends it.
    """
    from filingd.sandbox.clock import SandboxClock, parse_instant
    from filingd.sandbox.server import Address, Sandbox

    settings = _settings(settings_path, seed, scale, kvk_companies)
    rules = _rules(faults_path)
    start_at = parse_instant(clock) if clock else time.time()
    running = Sandbox(
        settings,
        clock=SandboxClock(start_at, clock_rate),
        address=Address(host, port, admin_port),
        rules=rules,
        journal_path=journal_path,
    )
    asyncio.run(_serve(running, ready_file, as_json=as_json))


def _settings(
    path: Path | None, seed: int | None, scale: float | None, kvk_companies: int | None
) -> SandboxSettings:
    from filingd.sandbox.settings import read_table, settings_from

    fields: dict[str, Any] = dict(read_table(path)) if path else {}
    given = {"seed": seed, "scale": scale}
    settings = settings_from(fields | {name: value for name, value in given.items() if value is not None})
    return (
        settings if kvk_companies is None else settings_from({"kvk": {"companies": kvk_companies}}, settings)
    )


def _rules(path: Path | None) -> list[Rule]:
    from filingd.sandbox.faults import rules_from
    from filingd.sandbox.settings import read_table

    return rules_from(read_table(path)) if path else []


async def _serve(running: Sandbox, ready_file: Path | None, *, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await running.start()
    try:
        _announce(running, ready_file, as_json=as_json)
        await stop.wait()
    finally:
        await running.stop()


def _announce(running: Sandbox, ready_file: Path | None, *, as_json: bool) -> None:
    import msgspec

    from filingd.sandbox.clock import utc_text
    from filingd.sandbox.server import ready_facts

    facts = msgspec.json.encode(ready_facts(running, os.getpid()))
    if ready_file:
        partial = ready_file.with_name(ready_file.name + ".part")
        partial.write_bytes(facts + b"\n")
        partial.replace(ready_file)  # a reader never sees half of it
    if as_json:
        click.echo(facts)
        return
    said = ready_facts(running, os.getpid())
    click.echo(f"sandbox NBB CBSO   {said['base_url']}")
    click.echo(f"sandbox KVK        {said['kvk_base_url']}")
    click.echo(f"sandbox KVK test   {said['kvk_test_base_url']}")
    click.echo(f"administration     {said['admin_url']}")
    click.echo(f"its clock          {utc_text(running.world.clock.now())}")
    for product, slots in running.world.keys.by_product().items():
        click.echo(f"keys {product:<18} {'  '.join(slots.values())}")
