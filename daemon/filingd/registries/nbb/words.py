"""What the service says, as an operator may see it."""

from __future__ import annotations

from filingd.core.redaction import redact_text

_TEXT_CHARACTERS = 200  # how much of an error body a detail carries


def shown(text: bytes) -> str:
    """The beginning of a text, without anything shaped like a key."""
    # Before it is cut: half a key has no shape that anybody could know it by later.
    return redact_text(text.decode("utf-8", "replace"))[:_TEXT_CHARACTERS]
