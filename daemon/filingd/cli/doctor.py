"""`filingd doctor`: looks at everything once, in one line each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import click
import msgspec
from msgspec import Meta, Struct

from filingd.cli.instants import Instant
from filingd.cli.options import config_option, json_option, load_settings
from filingd.core.checkup import Finding, Outcome, is_well, skipped
from filingd.core.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FORMAT = 1
_MARKS = {Outcome.OK: "ok  ", Outcome.REMARK: "note", Outcome.PROBLEM: "BAD ", Outcome.SKIPPED: "-   "}
EXAMPLE = """\b
Examples:
  filingd doctor
  filingd doctor --offline
  filingd doctor --json | jq -r '.findings[] | select(.outcome == "problem") | .detail'

\b
Exit codes: 0 nothing is wrong, 1 something is, 3 the configuration is wrong.
"""


class FindingReport(Struct, frozen=True):
    """One thing that was looked at."""

    check: Annotated[str, Meta(description="configuration, store, owner, permissions, disk, write, daemon, manifest, log, "
                               "time zone, network, key, path, service, clock or calls")]  # fmt: skip
    subject: Annotated[
        str, Meta(description="what was looked at: a file, a folder, a key by its reference, a path")
    ]
    outcome: Annotated[
        str,
        Meta(description="ok, remark (works, and worth knowing), problem or skipped (the detail says why)"),
    ]
    detail: Annotated[str, Meta(description="what was found")]
    remedy: Annotated[str, Meta(description="what to do about it; empty if nothing is to be done")]


class DoctorReport(Struct, frozen=True):
    """The answer of `filingd doctor --json`."""

    format: Annotated[int, Meta(description="the format of this report: 1")]
    is_well: Annotated[bool, Meta(description="whether no finding is a problem")]
    findings: list[FindingReport]


@click.command(epilog=EXAMPLE)
@config_option
@json_option
@click.option(
    "--schema", "wants_schema", is_flag=True, help="Print the JSON Schema of --json, and nothing else."
)
@click.option("--offline", is_flag=True, help="Make no call and resolve no name.")
@click.option(
    "--probe", is_flag=True, help="Make calls beside a running daemon, too: a few more than its limits allow."
)
@click.option("--rehearse-at", "at", type=Instant(), metavar="INSTANT",
              help="As if it were this instant, for a rehearsal. Example: 2026-11-20T12:00+01:00")  # fmt: skip
def doctor(
    config_path: Path, as_json: bool, wants_schema: bool, offline: bool, probe: bool, at: float | None
) -> int:
    """Look at configuration, keys, paths, clock, disk and store once, and say what to do about what is wrong.

    Each product is asked once with each key and once by each path, at its configured pace, with a media type it does not
    offer: that costs the call and moves nothing. With a daemon at work no call is made unless --probe is given. Run it
    as the user filingd runs as. No key is ever printed.
    """
    if wants_schema:
        click.echo(json.dumps(schema(), indent=2))
        return ExitCode.OK
    findings, code = _examined(config_path, at, is_offline=offline, may_probe_beside_daemon=probe)
    click.echo(_json_text(findings) if as_json else "\n".join(_lines(findings)))
    return code


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a report."""
    (root,), parts = msgspec.json.schema_components([DoctorReport], ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "filingd doctor --json",
        **root,
        "$defs": parts,
    }


def _examined(
    path: Path, at: float | None, *, is_offline: bool, may_probe_beside_daemon: bool
) -> tuple[list[Finding], ExitCode]:
    from filingd import app
    from filingd import doctor as work

    try:
        settings = load_settings(path)
        keyring = app.keyring_of(app.registry_of(settings))
    except ConfigError as error:
        return [work.broken_configuration(path, error)], ExitCode.CONFIG
    findings = [
        *work.examine_configuration(path, settings),
        *work.examine_machine(settings),
        *work.examine_keys(settings, keyring),
    ]
    if is_offline:
        told = "told to make none (--offline)"
        findings += [skipped("calls", name, told) for name in work.configured(settings)]
    else:
        findings += work.examine_products(
            settings, keyring, app.clock_for(at), may_probe_beside_daemon=may_probe_beside_daemon
        )
    return findings, ExitCode.OK if is_well(findings) else ExitCode.FAILED


def _json_text(findings: Sequence[Finding]) -> bytes:
    told = [
        FindingReport(each.check, each.subject, each.outcome.value, each.detail, each.remedy)
        for each in findings
    ]
    return msgspec.json.encode(DoctorReport(FORMAT, is_well(findings), told))


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    for each in findings:
        remedy = f" {each.remedy}" if each.remedy else ""
        yield f"{_MARKS[each.outcome]} {each.check:<13} {each.subject}: {each.detail}.{remedy}".replace(
            "..", "."
        )
    wrong = sum(each.outcome is Outcome.PROBLEM for each in findings)
    yield "nothing is wrong" if not wrong else f"{wrong} of {len(findings)} checks found something wrong"
