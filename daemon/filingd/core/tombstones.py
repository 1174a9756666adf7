"""What must not be had again: filings, or everything of an enterprise, that an operator was told to forget."""

from __future__ import annotations

import msgspec


class Tombstone(msgspec.Struct, frozen=True):
    """One filing or enterprise that was forgotten: its reference or number, when, and why, in the operator's words."""

    subject: str
    is_enterprise: bool
    buried_at: float
    reason: str = ""
