"""The named steps of the publish sequence, in order. A death at any of them, then a restart, loses nothing.

They are reported to `ports.Steps`, which does nothing in a running service; the crash tests kill the process there.
"""

from __future__ import annotations

ITEM_LEASED = "item.leased"
PART_OPENED = "part.opened"
PART_RECORDED = "part.recorded"  # what is needed to resume is on disk
BODY_RECEIVED = "body.received"
BODY_VERIFIED = "body.verified"
SUMS_REMOVED = "sums.removed"  # the seal of the day is taken back before a body in it changes
BODY_SYNCED = "body.synced"
PREVIOUS_KEPT = "previous.kept"  # the body that was there lies under versions/
BODY_RENAMED = "body.renamed"
FOLDER_SYNCED = "folder.synced"
INDEX_WRITTEN = "index.written"
ROW_RECORDED = "row.recorded"
SUMS_WRITTEN = "sums.written"
SEAL_WRITTEN = "seal.written"
GROUP_RECORDED = "group.recorded"
BODY_QUARANTINED = "body.quarantined"

PUBLISH_STEPS: tuple[str, ...] = (
    ITEM_LEASED,
    PART_OPENED,
    PART_RECORDED,
    BODY_RECEIVED,
    BODY_VERIFIED,
    SUMS_REMOVED,
    BODY_SYNCED,
    PREVIOUS_KEPT,
    BODY_RENAMED,
    FOLDER_SYNCED,
    INDEX_WRITTEN,
    ROW_RECORDED,
    SUMS_WRITTEN,
    SEAL_WRITTEN,
    GROUP_RECORDED,
)

TOMBSTONE_WRITTEN = "tombstone.written"  # in forgotten.jsonl: from now on it must not come back
TOMBSTONE_RECORDED = "tombstone.recorded"
SCRUB_CLAIMED = "scrub.claimed"  # nobody else works on the item
SCRUB_STAGED = "scrub.staged"  # what is left of a body is complete beside it, and its row says so
SCRUB_RECORDED = "scrub.recorded"
TRACE_REMOVED = "trace.removed"  # a whole file
ITEM_FORGOTTEN = "item.forgotten"
ERASURE_RECORDED = "erasure.recorded"

OLDER_CLAIMED = (
    "older.claimed"  # the row says whose older versions have to go, before the new body has its name
)
OLDER_REMOVED = "older.removed"  # one file of them
OLDER_RECORDED = "older.recorded"  # their rows are gone, and the feed says so

DROP_STEPS: tuple[str, ...] = (OLDER_CLAIMED, OLDER_REMOVED, OLDER_RECORDED)

HELD_REMOVED = "held.removed"  # the body that does not stand any more is gone, and its row does not say so

FORGET_STEPS: tuple[str, ...] = (
    TOMBSTONE_WRITTEN,
    TOMBSTONE_RECORDED,
    SCRUB_CLAIMED,
    SCRUB_STAGED,
    SCRUB_RECORDED,
    TRACE_REMOVED,
    ITEM_FORGOTTEN,
    ERASURE_RECORDED,
)

CALL_RESERVED = "call.reserved"  # it is booked, durably, and not sent
CALL_ANSWERED = "call.answered"  # the exchange is over, and the booking is not settled

SPEND_STEPS: tuple[str, ...] = (CALL_RESERVED, CALL_ANSWERED)
