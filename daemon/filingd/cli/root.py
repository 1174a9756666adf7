"""The front door: a table of commands, each imported only when it is used."""

from __future__ import annotations

import contextlib
import importlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from filingd import __version__
from filingd.cli.machine_faults import fault_of_the_machine
from filingd.cli.output import OutputClosedError
from filingd.core.errors import ExitCode, FilingdError

if TYPE_CHECKING:
    from collections.abc import Sequence


TRACEBACK_VARIABLE = "FILINGD_TRACEBACK"


class Entry(NamedTuple):
    """Where a command lives, and the line that `filingd --help` shows without importing it."""

    target: str
    summary: str


COMMANDS: dict[str, Entry] = {
    "run": Entry("filingd.cli.run:run", "Run the daemon until told to stop, or until nothing is due."),
    "plan": Entry(
        "filingd.cli.plan:plan", "Show what would be fetched, in how many calls, how long; fetch nothing."
    ),
    "status": Entry(
        "filingd.cli.status:status", "Show coverage as a calendar, open days with reasons, and lanes."
    ),
    "watch": Entry("filingd.cli.watch:watch", "Follow companies: add, remove, import or list their numbers."),
    "doctor": Entry(
        "filingd.cli.doctor:doctor", "Look at configuration, keys, paths, clock, disk and store once."
    ),
    "items": Entry("filingd.cli.items:items", "List, show or retry single items."),
    "find": Entry("filingd.cli.find:find", "Show the filings of a company, and where each document lies."),
    "cat": Entry("filingd.cli.cat:cat", "Write one document out of whatever holds it."),
    "export": Entry("filingd.cli.export:export", "Write the records of companies as JSON lines."),
    "changes": Entry(
        "filingd.cli.changes:changes", "Tell what was stored, replaced, sealed or forgotten, in order."
    ),
    "verify": Entry(
        "filingd.cli.verify:verify", "Re-hash and re-check stored files; --repair refetches damaged ones."
    ),
    "forget": Entry(
        "filingd.cli.forget:forget", "Delete every stored trace of a filing or an enterprise, for good."
    ),
    "manifest": Entry("filingd.cli.manifest:manifest", "Rebuild the manifest from the files on disk."),
    "config": Entry(
        "filingd.cli.config:config", "Check a configuration, print its schema, or write a first one."
    ),
    "log": Entry("filingd.cli.log:log", "Print the schema of the status log."),
    "sandbox": Entry("filingd.cli.sandbox:sandbox", "Run a stand-in registry on loopback, for rehearsals."),
    "demo": Entry("filingd.cli.demo:demo", "Mirror 45 days from the sandbox and show the result."),
}


class LazyGroup(click.Group):
    """A group whose members are named in a table and imported when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        entry = COMMANDS.get(name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="filingd")
def root() -> None:
    """Keep a complete, verified and current copy of company-registry data on your own disk."""


def run(arguments: Sequence[str]) -> int:
    """Run one command; return the exit code (`core.errors.ExitCode`). No traceback reaches an operator."""
    try:
        result: Any = root.main(args=list(arguments), prog_name="filingd", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.Abort:
        _tell("interrupted")
        return ExitCode.INTERRUPTED
    except click.ClickException as wrong:
        with contextlib.suppress(OSError):
            wrong.show()
        return ExitCode.USAGE
    except OutputClosedError as gone:
        return gone.exit_code
    except Exception as error:  # noqa: BLE001 - a defect of ours is told in a sentence, too
        return _explain(error)
    return int(result) if isinstance(result, int) else ExitCode.OK


def _explain(error: Exception) -> ExitCode:
    told = fault_of_the_machine(error) or error
    if not isinstance(told, FilingdError):
        return _confess(error)
    _tell(f"filingd: {told}")
    return told.exit_code


def _confess(error: Exception) -> ExitCode:
    import traceback

    if os.environ.get(TRACEBACK_VARIABLE):
        traceback.print_exception(error)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    _tell(
        f"filingd: a defect: {error!r} ({frame.filename.rpartition('/')[2]}, line {frame.lineno}). Nothing that is stored "
        f"is at risk. Please report it; {TRACEBACK_VARIABLE}=1 shows more."
    )
    return ExitCode.FAILED


def _tell(sentence: str) -> None:
    """On standard error. If that refuses, too, the exit code has to say it all."""
    with contextlib.suppress(OSError):
        click.echo(sentence, err=True)
