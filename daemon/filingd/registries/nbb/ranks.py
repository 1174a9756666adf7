"""The order in which what is asked about companies has its turn: all of it after the daily work (see `timeline`)."""

from __future__ import annotations

RANK_FRESH = 30_000_000  # documents of filings that are new
RANK_COMPANY = 30_000_001  # what is known of a company
RANK_OLDER = 30_000_002  # documents of older filings, and one more for each year
