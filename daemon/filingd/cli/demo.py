"""`filingd demo`: mirror 45 days and follow a few companies, with real processes and real sockets, and show the result."""

from __future__ import annotations

import datetime as dt
import json
import re
import shlex
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from filingd.cli.options import load_settings, shipped_config
from filingd.core.errors import ConfigError, FilingdError, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from filingd.cli.demo_children import DaemonChild, SandboxChild
    from filingd.cli.demo_progress import Tally
    from filingd.settings import Settings

INSTANT = "2026-11-20T12:00+01:00"
SCALE = 0.02
COMPANIES = 3
KEY_VARIABLES = {
    "extract": "FILINGD_DEMO_EXTRACT_KEY",
    "authentic-archive": "FILINGD_DEMO_ARCHIVE_KEY",
    "authentic-query": "FILINGD_DEMO_QUERY_KEY",
    "improved": "FILINGD_DEMO_IMPROVED_KEY",
    "improved-archive": "FILINGD_DEMO_IMPROVED_ARCHIVE_KEY",
    "kvk": "FILINGD_DEMO_KVK_KEY",
}
SANDBOX_URL = "http://127.0.0.1:8480"  # as the shipped file has it
DOCUMENT_LINES = 12  # of the document that is printed
CONFIG_NAME = "demo.toml"
STANDSTILL_S = 60.0  # without any news for this long, something is wrong

EXAMPLE = """\b
Example:
  filingd demo --store demo-store
"""


class DemoFailedError(FilingdError):
    """The demo did not come to its end. The text says why and where the log is."""


@click.command(epilog=EXAMPLE)
@click.option("--store", "root", type=click.Path(path_type=Path), default=Path("demo-store"), show_default=True,
              metavar="DIR", help="Where the mirror goes; a second run goes on from there.")  # fmt: skip
@click.option(
    "--days", type=click.IntRange(1, 1000), default=45, show_default=True, help="How many publication days."
)
@click.option(
    "--keep", is_flag=True, help="Keep the sandbox running afterwards, until Ctrl-C, to try things."
)
def demo(root: Path, days: int, keep: bool) -> None:
    """Mirror invented filings and companies from stand-in registries on this machine, and show the result.

    Starts `filingd sandbox` and `filingd run`, both as if it were noon on 20 November 2026, and ends when every day
    is sealed and what a few lists and a saved search name is had. The days of NBB cross the seam between the daily extract
    and the archive, for authentic filings and for improved data; of KVK come a few companies and what a search finds,
    out of a budget. Nothing leaves this machine.
    """
    from filingd.cli.demo_children import SandboxChild

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # end in order, as on Ctrl-C
    logs = _prepared(root)
    click.echo("Starting a stand-in registry, as of noon on 20 November 2026 …")
    with SandboxChild(INSTANT, SCALE, logs / "sandbox.log") as sandbox:
        config = _write_config(root, days, sandbox.base_url)
        settings = load_settings(config)
        company = _follow(root, sandbox.companies(COMPANIES))
        dutch = _follow_dutch(root, sandbox.dutch_companies(COMPANIES))
        tally, duration_s = _mirror(settings, config, sandbox, days, logs)
        click.echo("\n".join(_result(settings, config, sandbox.journal_summary(), tally, duration_s)))
        _show_use(config, company)
        _show_dutch(config, dutch)
        if keep:
            _keep(sandbox, config)


# ------------------------------------------------------------------------------------------ before


def _prepared(root: Path) -> Path:
    """Make the folder, or make sure that it is a demo's; returns where logs go."""
    if root.is_dir() and any(root.iterdir()) and not (root / CONFIG_NAME).exists():
        raise StoreError(
            f"{root} is not empty and is not the store of a demo. Choose another folder with --store."
        )
    logs = root / "log"
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{logs} cannot be made: {error.strerror}. Choose another folder with --store."
        ) from None
    return logs


def _write_config(root: Path, days: int, base_url: str) -> Path:
    """config/demo.toml with this run's address, days and folder, where all other commands find it."""
    noon = dt.datetime.fromisoformat(INSTANT)
    text = shipped_config(CONFIG_NAME).read_text("utf-8")
    text = text.replace(SANDBOX_URL, base_url)
    values = {"path": '"."', "since": (noon.date() - dt.timedelta(days)).isoformat()}
    for name, value in values.items():
        text, count = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
        if count != 1:
            raise ConfigError(f"The shipped {CONFIG_NAME} has {count} lines with `{name} =` instead of one.")
    config = root / CONFIG_NAME
    config.write_text(text, encoding="utf-8")
    return config


def _follow(root: Path, numbers: Sequence[str]) -> str:
    """A watchlist of these companies; the one that is shown at the end."""
    lists = root / "watchlists"
    lists.mkdir(exist_ok=True)
    (lists / "demo.csv").write_text(
        "# companies that the demo follows\n" + "\n".join(numbers) + "\n", "utf-8"
    )
    return numbers[0]


def _follow_dutch(root: Path, numbers: Sequence[str]) -> str:
    """The same at KVK, beside a saved search."""
    lists = root / "kvk-watchlists"
    lists.mkdir(exist_ok=True)
    (lists / "demo.csv").write_text(
        "# companies that the demo follows\n" + "\n".join(numbers) + "\n", "utf-8"
    )
    (lists / "molens.toml").write_text(
        '# whoever has this word in a name there\nnaam = "molen"\nplaats = "Leiden"\n', "utf-8"
    )
    return numbers[0]


# ------------------------------------------------------------------------------------------ the mirror


def _mirror(
    settings: Settings, config: Path, sandbox: SandboxChild, days: int, logs: Path
) -> tuple[Tally, float]:
    from filingd.cli.demo_children import DaemonChild
    from filingd.cli.demo_progress import Tally, view

    assert settings.nbb is not None
    families = len(settings.nbb.families)
    click.echo(
        f"Mirroring {days} days of {families} families and {COMPANIES} companies of NBB, and {COMPANIES} companies and a "
        f"search of KVK, from {sandbox.base_url} into {settings.store.path} …"
    )
    began_s, tally = time.monotonic(), Tally(days * families)
    with view() as shown:
        for until in ("sealed", "idle"):  # what is wanted of companies may come after the last day
            with DaemonChild(config, INSTANT, _keys(sandbox), logs / "daemon.err", until) as daemon:
                for line in daemon.lines():
                    if line is not None:
                        tally.take(line)
                    shown.show(tally)
                    _check_standstill(tally, settings)
                _check_end(daemon, settings, logs)
    return tally, time.monotonic() - began_s


def _keys(sandbox: SandboxChild) -> dict[str, str]:
    return {variable: sandbox.keys[product][0] for product, variable in KEY_VARIABLES.items()}


def _check_standstill(tally: Tally, settings: Settings) -> None:
    if time.monotonic() - tally.changed_s > STANDSTILL_S:
        raise DemoFailedError(
            f"{tally.sealed} of {tally.days} days are sealed, and nothing has moved for {STANDSTILL_S:.0f} s. "
            f"Its log is {settings.log_file}."
        )


def _check_end(daemon: DaemonChild, settings: Settings, logs: Path) -> None:
    code = daemon.exit_code()
    if code == 0:
        return
    said = (logs / "daemon.err").read_text("utf-8", "replace").strip().splitlines()
    why = f": {said[-1]}" if said else "."
    raise DemoFailedError(f"The daemon ended with exit code {code}{why}\nIts log is {settings.log_file}.")


# ------------------------------------------------------------------------------------------ after


def _result(
    settings: Settings, config: Path, journal: Mapping[str, Any], tally: Tally, duration_s: float
) -> Iterator[str]:
    from filingd.cli.calendar_view import calendars
    from filingd.cli.status import days_at, wants_colour

    now = dt.datetime.fromisoformat(INSTANT).timestamp()
    days = days_at(settings, now)
    yield ""
    yield from calendars(days, colour=wants_colour("auto"))
    yield ""
    yield from _counted(journal, tally, duration_s)
    yield ""
    yield from _next_steps(settings, config, str(max(day.day for day in days if day.sealed_at)))


def _counted(journal: Mapping[str, Any], tally: Tally, duration_s: float) -> Iterator[str]:
    from filingd.cli.plan import human_bytes

    if journal["count"] == 0:
        yield "0 downloads: nothing is fetched twice. The registry's own journal counted no request in this run."
        return
    busiest = ", ".join(f"{name} {most}" for name, most in journal["max_concurrency_by_product"].items())
    yield (
        f"{tally.stored} files, {human_bytes(tally.stored_bytes)}, verified, published and sealed in {duration_s:.0f} s."
    )
    yield (
        f"The registry's journal: {journal['count']} requests, {human_bytes(journal['body_bytes'])} sent, "
        f"at most {journal['max_concurrency']} at once ({busiest}), "
        f"{'A KEY IN A URL' if journal['key_in_url'] else 'no key in any URL'}."
    )
    yield "Run it again: it will make no request at all."


def _next_steps(settings: Settings, config: Path, day: str) -> Iterator[str]:
    from filingd.core import layout

    program = _program()
    folder = config.parent / "nbb" / "authentic" / day[:4] / day[5:7] / day
    yield f"The files lie in {settings.store.path}, a folder for each day. Try:"
    yield ""
    yield f"  (cd {shlex.quote(str(folder))} && sha256sum -c {layout.SUMS_NAME})"
    yield f"  {program} status --config {shlex.quote(str(config))} --rehearse-at {INSTANT}"
    yield f"  {program} verify --config {shlex.quote(str(config))}"


def _show_use(config: Path, company: str) -> None:
    """One company found, and one of its documents, as the commands print them."""
    from filingd.cli.demo_children import said_by

    program, where = _program(), ["--config", str(config)]
    found = json.loads(said_by(["find", company, "--json", *where]))
    click.echo("\nThe mirror in use:\n")
    click.echo(f"  {program} find {company} --limit 3 --config {shlex.quote(str(config))}\n")
    click.echo(said_by(["find", company, "--limit", "3", *where]))
    reference = _newest_with_json(found)
    if reference is None:
        return
    click.echo(f"  {program} cat {reference} --format json --config {shlex.quote(str(config))}\n")
    document = json.loads(said_by(["cat", reference, "--format", "json", *where]))
    lines = json.dumps(document, indent=2, ensure_ascii=False).splitlines()
    click.echo(
        "\n".join([*lines[:DOCUMENT_LINES], f"… and {len(lines) - DOCUMENT_LINES} lines more, indented here"])
    )


def _show_dutch(config: Path, number: str) -> None:
    """One company of KVK as it is held, the saved search, and what all of it cost."""
    from filingd.cli.demo_children import said_by

    program, where = _program(), ["--config", str(config)]
    click.echo("\nThe Dutch companies:\n")
    click.echo(f"  {program} watch list {number} --registry kvk --config {shlex.quote(str(config))}\n")
    click.echo(said_by(["watch", "list", number, "--registry", "kvk", *where]))
    click.echo("The ledger:\n")
    at = ["--rehearse-at", INSTANT]
    (account,) = json.loads(said_by(["status", "--json", *where, *at]))["accounts"]
    click.echo(
        f"  {account['name']}, {account['month']}: {account['spent_calls']:,} calls and "
        f"{account['spent_microeur'] / 1e6:.2f} EUR spent, {account['left_microeur'] / 1e6:.2f} EUR left"
    )


def _newest_with_json(found: Mapping[str, Any]) -> str | None:
    """The reference of the company's newest filing whose figures are held as JSON."""
    for filing in found["filings"]:
        if any(
            (document["kind"], document.get("variant")) == ("json", None) for document in filing["documents"]
        ):
            return str(filing["reference"])
    return None


def _program() -> str:
    """How this program was called, so that what is printed can be pasted."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m filingd"
    found = shutil.which("filingd")
    return "filingd" if found and Path(found).samefile(called) else shlex.quote(str(called))


def _keep(sandbox: SandboxChild, config: Path) -> None:
    """Leave the registry running, and say how to work with it."""
    program = _program()
    click.echo("")
    click.echo(
        f"The registry goes on at {sandbox.base_url}, its administration at {sandbox.admin_url}, until Ctrl-C."
    )
    click.echo("In another terminal, for example damage a file and have it mended:")
    click.echo("")
    for variable, key in _keys(sandbox).items():
        click.echo(f"  export {variable}={key}")
    click.echo(f"  {program} verify --repair --config {shlex.quote(str(config))} --rehearse-at {INSTANT}")
    sandbox.wait()
