"""`filingd changes`: the feed of the mirror as JSON lines, from wherever a consumer was, and on as it happens.

Reads the manifest only, without a lock, while a daemon runs and without one.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import click

from filingd.cli.options import config_option, load_settings
from filingd.cli.output import raw_standard_output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from filingd.adapters.feed_follower import FeedFollower

LOOK_EVERY_S = 0.2
BATCH_EVENTS = 500
_NO_LIMIT = 2**63 - 1

EXAMPLE = """\b
Examples:
  filingd changes | jq -r 'select(.kind == "sealed") | .group'
  filingd changes --since 1234 --limit 100
  filingd changes --since "$(cat place)" --follow | my-consumer    # docs/changes.md

\b
Exit codes: 0 all was told, or --follow was ended by SIGINT or SIGTERM; 1 the feed does not reach as far as --since;
4 there is no manifest, or it cannot be read; 141 the reader went away.
"""


@click.command(epilog=EXAMPLE)
@config_option
@click.option(
    "--schema", "wants_schema", is_flag=True, help="Print the JSON Schema of a line, and nothing else."
)
@click.option("--since", type=click.IntRange(min=0), metavar="N", default=0, show_default=True,
              help="Begin after the event with this number: the last one that you have dealt with.")  # fmt: skip
@click.option("--follow", is_flag=True, help="Go on: tell each event as it happens, until told to end.")
@click.option(
    "--limit", type=click.IntRange(min=0), metavar="N", default=0, help="End after so many events; 0: never."
)
def changes(config_path: Path, wants_schema: bool, since: int, follow: bool, limit: int) -> None:
    """Tell what was stored, replaced, lost, sealed, reopened, forgotten or removed for good, as one JSON object a line, in order.

    No event is left out, and their numbers survive restarts: who asks for what comes after the last number that was dealt with
    misses nothing.
    """
    if wants_schema:
        click.echo(_schema_text())
        return
    from filingd.adapters.feed_follower import FeedFollower

    with FeedFollower(load_settings(config_path).manifest_path) as follower:
        follower.require_reached(since)
        telling = Telling(follower, since, limit or _NO_LIMIT)
        if follow:
            _follow(telling)
        else:
            telling.tell(_write_at_once)


class Telling:
    """Where one reader of the feed is: what was told last, and how many events more may be told."""

    def __init__(self, follower: FeedFollower, told: int, left: int) -> None:
        self.follower = follower
        self.told = told
        self.left = left

    def tell(self, write: Callable[[Iterable[bytes]], None]) -> None:
        """All that there is now, a batch at a time."""
        from filingd.core.change_line import line_of

        while batch := self.follower.read(self.told, min(self.left, BATCH_EVENTS)):
            write([line_of(one.event, one.version) for one in batch])
            self.told = batch[-1].event.seq
            self.left -= len(batch)


def _follow(telling: Telling) -> None:
    from filingd.cli.stream import LineStream, ToldToEnd

    with LineStream() as stream:
        try:
            while True:
                telling.tell(stream.write)
                if not telling.left:
                    return
                while not telling.follower.has_news():
                    stream.wait(LOOK_EVERY_S)
                telling.follower.require_reached(telling.told)
        except ToldToEnd:
            return


def _write_at_once(lines: Iterable[bytes]) -> None:
    with io.BufferedWriter(raw_standard_output()) as output:
        output.write(b"".join(lines))


def _schema_text() -> str:
    import json

    return json.dumps(schema(), indent=2)


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a line."""
    from filingd.cli.schemas import schema_of
    from filingd.core.change_line import ChangeLine

    return schema_of(ChangeLine, "one line of filingd changes")
