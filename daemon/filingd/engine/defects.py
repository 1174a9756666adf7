"""What is said of a defect of ours: one line for whoever gets the report, never a traceback."""

from __future__ import annotations

import traceback

_FRAMES = 3


def told(error: BaseException) -> str:
    """The error and the innermost frames it came through."""
    frames = reversed(traceback.extract_tb(error.__traceback__)[-_FRAMES:])
    where = " < ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{error!r} at {where}"
