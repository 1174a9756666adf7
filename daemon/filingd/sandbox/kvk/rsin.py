"""RSINs: nine digits that pass the eleven-test (KVK reference, section 8)."""

from __future__ import annotations

_WEIGHTS = (9, 8, 7, 6, 5, 4, 3, 2, -1)


def passes_eleven_test(number: str) -> bool:
    """Whether the weighted sum of nine digits is divisible by eleven."""
    return sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, number, strict=True)) % 11 == 0


def completed(first_eight: int) -> str | None:
    """The RSIN that begins with these eight digits; None if no ninth digit makes one."""
    text = f"{first_eight:08d}"
    last = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS[:8], text, strict=True)) % 11
    return None if last == 10 else f"{text}{last}"
