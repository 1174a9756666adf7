"""The order in which KVK is asked on each lane, after the daily work of others. Light to import: `filingd status` asks."""

from __future__ import annotations

RANK_SEARCH = 40_000_000  # what is free, and tells which numbers there are
RANK_NUMBER = 40_000_001
