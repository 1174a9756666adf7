"""The feed: what became of what, in the order in which it was recorded.

Each event has a number. Numbers rise, are never used twice, and become durable together with what they tell of: who
remembers the last one that was dealt with, and asks for what comes after it, misses nothing. Some may be told twice, because
a consumer may end between dealing with an event and remembering it.
"""

from __future__ import annotations

import enum

import msgspec


class FeedKind(enum.IntEnum):
    """What happened. The numbers are kept in the manifest: never renumber."""

    BEGUN = 0  # the feed begins (anew): all that is stored and sealed is told after it
    STORED = 1  # a body lies under its final name: the item's first, or one that was lost and had again
    REPLACED = 2  # the same, in place of an older version, which lies under `versions/`
    LOST = 3  # the body is gone, or was damaged and set aside; it is wanted again
    SEALED = 4  # a day is complete
    REOPENED = 5  # a sealed day is about to change, or was found not to be complete
    FORGOTTEN = 6  # every trace of a filing, or of an enterprise, was removed


class FeedEvent(msgspec.Struct, frozen=True):
    """One event. `subject` is the key of an item or of a day; of FORGOTTEN the reference or number; of BEGUN it is empty.

    `version` is the number of the body that was stored, 0 where there is none.
    """

    seq: int
    at: float
    kind: FeedKind
    subject: str
    version: int = 0
