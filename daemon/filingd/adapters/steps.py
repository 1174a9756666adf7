"""What happens when a named step of the publish sequence is reached: nothing, or, in a crash rehearsal, sudden death."""

from __future__ import annotations

import os
import signal

from filingd.core.errors import ConfigError

ANY_STEP = "*"


class SilentSteps:
    """A running service: steps pass unnoticed."""

    def reached(self, step: str) -> None:
        """Nothing happens."""


class DeathAt:
    """Kills this very process (SIGKILL) when a step is reached for the nth time."""

    def __init__(self, step: str, count: int) -> None:
        self._step = step
        self._left = count

    @classmethod
    def parse(cls, text: str) -> DeathAt:
        """From `STEP:COUNT`, such as `body.renamed:3`, or `*:57` for the 57th step of any kind.

        Raises:
            ConfigError: the text is not of this form.
        """
        step, _, count = text.rpartition(":")
        if not step or not count.isdigit() or int(count) < 1:
            raise ConfigError(f"FILINGD_KILL_AT={text} is not STEP:COUNT, such as body.renamed:3 or *:57.")
        return cls(step, int(count))

    def reached(self, step: str) -> None:
        """Count; at the last one the process ends, and nothing after this line happens."""
        if self._step in {step, ANY_STEP}:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
