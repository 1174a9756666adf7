"""`filingd verify`: read stored files again and compare; `--repair` has damaged ones fetched again."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

from filingd.cli.instants import Instant
from filingd.cli.options import config_option, json_option, load_settings
from filingd.core.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from filingd.app import Upkeep
    from filingd.core.model import Item
    from filingd.engine.repair import Mended
    from filingd.engine.verify import Choice, Finding, Verification
    from filingd.settings import Settings

_PROGRESS_EVERY_S = 0.2

EXAMPLE = """\b
Examples:
  filingd verify                                 # everything
  filingd verify nbb/authentic/2026-11           # one month
  filingd verify --percent 5 --max-duration 1h   # nightly: the share not verified for longest
  filingd verify --max-age 30d --repair

\b
Exit codes: 0 all that was looked at is sound, or is sound again; 1 something is not; 3, 4 as everywhere.
Files that nothing knows are named, but are nobody's fault.
"""


class Duration(click.ParamType[float]):
    """A duration such as `30 d` or `1 h 30 min`; arrives as seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse it as the configuration does."""
        from filingd.core.units import UnitError, parse_duration

        try:
            return parse_duration(str(value))
        except UnitError as error:
            self.fail(f"{value}: {error}", param, ctx)


@click.command(epilog=EXAMPLE)
@config_option
@json_option
@click.argument("prefix", default="")
@click.option("--percent", type=click.FloatRange(0, 100, min_open=True), default=100.0, show_default=True,
              help="Of the files in question, the share that was not verified for longest.")  # fmt: skip
@click.option("--max-duration", "max_duration_s", type=Duration(), metavar="DURATION",
              help="Begin no further file after this long.")  # fmt: skip
@click.option("--max-age", "max_age_s", type=Duration(), metavar="AGE",
              help="Only files that were not verified for this long.")  # fmt: skip
@click.option(
    "--repair", is_flag=True, help="Set damaged bodies aside and have them fetched again; seal anew."
)
@click.option("--rehearse-at", type=Instant(), metavar="INSTANT",
              help="As of this instant, for the store of a rehearsal.")  # fmt: skip
def verify(config_path: Path, as_json: bool, prefix: str, percent: float, max_duration_s: float | None,
           max_age_s: float | None, repair: bool, rehearse_at: float | None) -> int:  # fmt: skip
    """Re-hash and re-check stored files whose key begins with PREFIX, the least recently verified first.

    Works while a daemon runs and without one. With --repair a damaged body goes to quarantine/, its day is open
    again, and it is fetched by whatever route still serves it: by the running daemon, or by this command. An older
    version under versions/ is served nowhere: a damaged one is set aside for good, and never named again.

    Who may only read the store may verify it; then it is not remembered what was verified when.
    """
    from filingd.engine.verify import Choice

    settings = load_settings(config_path)
    until_s = None if max_duration_s is None else time.monotonic() + max_duration_s
    choice = Choice(prefix, max_age_s, percent, until_s)
    report = asyncio.run(_verify(settings, choice, rehearse_at, repair=repair, quiet=as_json))
    click.echo(json.dumps(report, indent=2) if as_json else "\n".join(_told(report)))
    return ExitCode.OK if report["sound"] else ExitCode.FAILED


async def _verify(
    settings: Settings, choice: Choice, rehearse_at: float | None, *, repair: bool, quiet: bool
) -> dict[str, Any]:
    from filingd import app

    progress = _progress(quiet=quiet)
    async with app.opened_for_upkeep(
        settings, rehearse_at, wants_repair=repair, on_progress=progress
    ) as upkeep:
        began_s = time.monotonic()
        found = await upkeep.verifier.verify(choice)
        _clear_progress(quiet=quiet)
        repaired = await _repair(upkeep, found.findings) if repair else _NOTHING_REPAIRED
        return _report(found, repaired, time.monotonic() - began_s, is_remembered=upkeep.remembers)


# ------------------------------------------------------------------------------------------ repair


_GONE_FOR_GOOD = "set aside for good: no registry serves an older version"
_LEFT_UNREAD = "it cannot be read and stays where it is: see to the disk or the permissions"
_NOTHING_REPAIRED: Mapping[str, Any] = {"handed_to": None, "mended": {}, "resealed": {}}


async def _repair(upkeep: Upkeep, findings: Sequence[Finding]) -> dict[str, Any]:
    """What was done, by path of the finding."""
    repairer = await upkeep.repairer()
    unsealed = await repairer.unseal(findings)
    older = await repairer.set_older_aside(findings)
    wanted = await repairer.want_again(findings)
    keys = [done.finding.key for done in wanted if done.finding.key is not None]
    after = dict(await upkeep.fetch(keys)) if keys and upkeep.locked_by is None else {}
    if upkeep.locked_by is None:  # a daemon judges what it sees to be open; two that seal would cross
        await upkeep.seal_again(unsealed)
    sealed = {
        group.key for name in unsealed for group in await upkeep.manifest.groups(name) if group.sealed_at
    }
    return {
        "handed_to": upkeep.locked_by if keys or unsealed else None,
        "mended": {done.finding.path: _outcome(done, after, upkeep.locked_by) for done in [*older, *wanted]},
        "resealed": {name: _resealed(name in sealed, upkeep.locked_by) for name in unsealed},
    }


def _resealed(is_sealed: bool, locked_by: str | None) -> dict[str, Any]:
    judged = f"{locked_by} judges it anew" if locked_by else "open: see `filingd status`"
    return {"is_mended": is_sealed, "what": "sealed anew" if is_sealed else judged}


def _outcome(done: Mended, after: Mapping[str, Item], locked_by: str | None) -> dict[str, Any]:
    from filingd.core.model import HOLDING_STATES
    from filingd.engine.verify import Kind

    item = after.get(done.finding.key or "")
    if done.finding.kind is Kind.OLD_VERSION:
        state, what = False, _GONE_FOR_GOOD
    elif done.route is None:
        state, what = False, "nothing serves it any more: only what is in quarantine/ is left of it"
    elif item is None:
        state, what = False, f"{locked_by} fetches it again by {done.route}"
    elif item.state in HOLDING_STATES:
        state, what = True, f"fetched again by {done.route}"
    else:
        state, what = False, f"not fetched yet ({item.reason}): the next `filingd run` goes on with it"
    return {"is_mended": state, "what": what, "kept_at": done.kept_at}


# ------------------------------------------------------------------------------------------ the report


def _report(
    found: Verification, repaired: Mapping[str, Any], duration_s: float, *, is_remembered: bool
) -> dict[str, Any]:
    findings = [_finding_facts(finding, repaired) for finding in found.findings]
    return {
        "format": 1,
        "sound": all(map(_is_settled, findings)),
        "stored": found.stored,
        "chosen": found.chosen,
        "checked": found.checked,
        "checked_bytes": found.checked_bytes,
        "seals": found.seals,
        "duration_s": round(duration_s, 3),
        "remembered": is_remembered,
        "handed_to": repaired["handed_to"],
        "findings": findings,
    }


def _is_settled(finding: Mapping[str, Any]) -> bool:
    """Whether nothing is left of a finding that would make anything unsound."""
    from filingd.engine.verify import HARMLESS, Kind

    return finding["is_mended"] or Kind(finding["kind"]) in HARMLESS


def _finding_facts(finding: Finding, repaired: Mapping[str, Any]) -> dict[str, Any]:
    from filingd.engine.damage import UNREADABLE
    from filingd.engine.verify import Kind

    outcome = repaired["mended"].get(finding.path) or {}
    if finding.kind is Kind.SEAL:
        outcome = repaired["resealed"].get(finding.key) or {}
    elif not outcome and finding.kind is Kind.OLD_VERSION and finding.problem == UNREADABLE:
        outcome = {"what": _LEFT_UNREAD}
    return {
        "kind": finding.kind.value,
        "key": finding.key,
        "path": finding.path,
        "problem": finding.problem,
        "detail": finding.detail,
        "is_mended": outcome.get("is_mended", False),
        "what": outcome.get("what"),
        "kept_at": outcome.get("kept_at"),
    }


def _told(report: Mapping[str, Any]) -> Iterator[str]:
    from filingd.cli.plan import human_bytes, human_duration

    for finding in report["findings"]:
        detail = f": {finding['detail']}" if finding["detail"] else ""
        yield f"{finding['kind'].upper():<12} {finding['path']}  {finding['problem']}{detail}"
        if finding["kept_at"]:
            yield f"{'':<12} the damaged body lies in {finding['kept_at']}"
        if finding["what"]:
            yield f"{'':<12} {finding['what']}"
    left = report["chosen"] - report["checked"]
    yield (
        f"checked {report['checked']:,} of {report['stored']:,} stored files "
        f"({human_bytes(report['checked_bytes'])}) and {report['seals']:,} seals "
        f"in {human_duration(report['duration_s'])}" + (f"; no time for {left:,} more" if left else "")
    )
    if not report["remembered"]:
        yield "this store can only be read here: what was verified when is not remembered"
    yield "all of it is sound" if report["sound"] else _verdict(report)


_REMEDIES = (
    ({"damaged", "missing"}, "fetches again what is damaged or missing"),
    ({"seal"}, "seals the day anew"),
    ({"old_version"}, "sets the older version aside"),
)


def _verdict(report: Mapping[str, Any]) -> str:
    if report["handed_to"]:
        return f"not everything is sound yet: {report['handed_to']} goes on with it"
    untouched = {finding["kind"] for finding in report["findings"] if finding["what"] is None}
    remedies = [remedy for kinds, remedy in _REMEDIES if kinds & untouched]
    if remedies:
        return f"not everything is sound: `filingd verify --repair` {' and '.join(remedies)}"
    if all(_is_settled(finding) or finding["what"] == _GONE_FOR_GOOD for finding in report["findings"]):
        return "all that is current is sound; an older version is lost"
    return "not everything is sound"


def _progress(*, quiet: bool) -> Callable[[Verification], None]:
    """A line on a terminal, renewed a few times a second."""
    if quiet or not sys.stderr.isatty():
        return lambda _: None
    last_s = [0.0]

    def show(found: Verification) -> None:
        now_s = time.monotonic()
        if now_s - last_s[0] >= _PROGRESS_EVERY_S:
            last_s[0] = now_s
            click.echo(f"\r  {found.checked:,} of {found.chosen:,} files, {found.checked_bytes / 1e6:,.0f} MB ",
                       err=True, nl=False)  # fmt: skip

    return show


def _clear_progress(*, quiet: bool) -> None:
    if not quiet and sys.stderr.isatty():
        click.echo("\r" + " " * 60 + "\r", err=True, nl=False)
