"""What the row of an item says while its older versions are removed for good, so that whoever starts next goes on with it."""

from __future__ import annotations

import re
from typing import NamedTuple

_DROP = "dropping older"
_DROPPED = re.compile(rf"{_DROP} (?P<sha256>[0-9a-f]{{64}}) (?P<due>-|[0-9.e+-]*[0-9])")


class Drop(NamedTuple):
    """`sha256` is the digest, in hexadecimal, of the one body that may be kept; `due_at` is when it is asked for again: a
    leased row keeps no date."""

    sha256: str
    due_at: float | None = None

    def text(self) -> str:
        """As the reason of a row."""
        return f"{_DROP} {self.sha256} {'-' if self.due_at is None else repr(self.due_at)}"


def drop_of(reason: str | None) -> Drop | None:
    """The drop a row speaks of, if it does."""
    found = _DROPPED.fullmatch(reason or "")
    if found is None:
        return None
    return Drop(found["sha256"], None if found["due"] == "-" else float(found["due"]))
