"""A fresh id for each attempt: what an operator quotes to a registry's support."""

from __future__ import annotations

import os

_IDS_A_DRAW = 256
_ID_BYTES = 16
_VARIANTS = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}  # RFC 9562: the two bits 10


class RequestIds:
    """Gives random UUIDs (version 4).

    The randomness is drawn for many at once: each draw is a system call that lets go of the interpreter, and on the
    path of every small document that costs more than all the rest of an id.
    """

    def __init__(self) -> None:
        self._drawn = b""
        self._used = 0

    def __call__(self) -> str:
        if self._used >= len(self._drawn):
            self._drawn, self._used = os.urandom(_IDS_A_DRAW * _ID_BYTES), 0
        digits = self._drawn[self._used : self._used + _ID_BYTES].hex()
        self._used += _ID_BYTES
        variant = _VARIANTS[digits[16]]
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
