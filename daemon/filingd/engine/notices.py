"""Tells what a registry announces by a `Warning` header with code 299, such as that a version of its API is retired."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from filingd.core import events
from filingd.core.redaction import redact_text

if TYPE_CHECKING:
    from filingd.core.model import ResponseHead
    from filingd.ports import Clock, Log

_AGAIN_AFTER_S = 24 * 3600.0
_SHOWN_CHARACTERS = 300
_IS_299 = re.compile(r"(?:^|,)\s*299(?:\s|$)")


class Notices:
    """Sees the head of every answer; each route is told of at most once a day."""

    def __init__(self, clock: Clock, log: Log) -> None:
        self._clock = clock
        self._log = log
        self._told_s: dict[str, float] = {}

    def look(self, route: str, head: ResponseHead | None) -> None:
        """An answer came by this route; None if it had no head."""
        text = head.header("warning") if head is not None else None
        if text is None or not _IS_299.search(text):
            return
        now_s = self._clock.monotonic()
        if route in self._told_s and now_s - self._told_s[route] < _AGAIN_AFTER_S:
            return
        self._told_s[route] = now_s
        self._log.warning(events.REGISTRY_WARNED, route=route, detail=redact_text(text)[:_SHOWN_CHARACTERS])
