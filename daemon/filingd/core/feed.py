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
    # The same, in place of an older version, which lies under `versions/`. Where the number is the one it had, it was written
    # anew here: what is left when something in it was forgotten, or the same again because it was damaged.
    REPLACED = 2
    # The body is gone, or was damaged and set aside; it is wanted again, unless it was forgotten or the registry has nothing
    # there any more.
    LOST = 3
    SEALED = 4  # a day is complete
    REOPENED = 5  # a sealed day is about to change, or was found not to be complete
    FORGOTTEN = 6  # every trace of a filing, or of an enterprise, was removed
    OLDER_REMOVED = 7  # all older versions of an item were removed for good, as the body that is held now may not have any


class FeedEvent(msgspec.Struct, frozen=True):
    """One event. `subject` is the key of an item or of a day; of FORGOTTEN the reference or number; of BEGUN it is empty.

    `version` is the number of the body that was stored, 0 where there is none.
    """

    seq: int
    at: float
    kind: FeedKind
    subject: str
    version: int = 0
