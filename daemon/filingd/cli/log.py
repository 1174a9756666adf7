"""`filingd log`: what the lines of the status log mean."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from filingd.core.events import Fact, Spec

_PREAMBLE = """\
# The status log

<!-- Made by `filingd log schema --markdown` from daemon/filingd/core/events.py; a test compares the two. -->

The daemon writes one JSON object a line to the file that `[log] path` names (by default `log/filingd.jsonl` in the
store). Every line begins with the same three keys, followed by the facts of its event:

| key | meaning |
|---|---|
| `ts` | when, UTC, to the millisecond: `2026-11-20T11:00:00.123Z`; in a rehearsal, the rehearsed time |
| `level` | `debug`, `info`, `warning` or `error` |
| `event` | one of the names below; names and facts are never renamed, only added |

Facts that are marked *optional* may be left out or be `null`. Instants (`…_at`) are unix seconds, UTC. Keys never
appear: every configured key, and anything that looks like one (32 hexadecimal digits), becomes `[redacted]`.

The file may be moved away at any time (logrotate needs neither `copytruncate` nor a signal): the next line opens it
anew. `filingd log schema` prints the JSON Schema of a line. Some questions, answered with `jq`:

```
jq -r 'select(.event == "day.open") | [.ts, .group, (.reasons | join("; "))] | @tsv' filingd.jsonl
jq -r 'select(.level == "error")' filingd.jsonl
jq -r 'select(.event == "item.stored") | [.key, .size_bytes, .duration_s] | @tsv' filingd.jsonl
```
"""


@click.group()
def log() -> None:
    """Print the schema of the status log."""


@log.command()
@click.option("--markdown", is_flag=True, help="Print the table of events for people instead.")
def schema(markdown: bool) -> None:
    """Print the JSON Schema of one line of the status log."""
    from filingd.core.events import line_schema

    click.echo(as_markdown() if markdown else json.dumps(line_schema(), indent=2), nl=not markdown)


def as_markdown() -> str:
    """The text of docs/status-log.md."""
    from filingd.core.events import CATALOGUE

    subjects: dict[str, list[Spec]] = {}
    for spec in CATALOGUE.values():
        subjects.setdefault(spec.name.partition(".")[0], []).append(spec)
    lines = [_PREAMBLE]
    for subject, specs in subjects.items():
        lines.append(f"## {subject}\n")
        for spec in specs:
            lines.extend(_section(spec))
    return "\n".join(lines)


def _section(spec: Spec) -> Iterator[str]:
    yield f"### `{spec.name}` ({' or '.join(spec.levels)})\n"
    yield f"{spec.when}\n"
    yield "| fact | type | meaning |"
    yield "|---|---|---|"
    yield from (_row(fact) for fact in spec.facts)
    yield ""


def _row(fact: Fact) -> str:
    optional = ", optional" if fact.is_optional else ""
    return f"| `{fact.name}` | {fact.kind}{optional} | {fact.meaning} |"
