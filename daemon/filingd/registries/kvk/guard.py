"""When a 404 may be believed (KVK reference, section 4).

A path that was moved or retired answers 404 to everything, as a number that is gone does. So nothing is taken for gone before
the same product has answered well in this run, nor after an implausibly long run of nothing but 404.
"""

from __future__ import annotations

import enum


class Trust(enum.Enum):
    """What one more 404 is worth."""

    TRUSTED = "trusted"
    UNPROVEN = "unproven"  # the product has not answered well in this run yet
    IMPLAUSIBLE = "implausible"  # too many in a row: the service is at fault, not the numbers


class NotFoundGuard:
    """Counts what each product answers. Nothing of it outlasts the process."""

    def __init__(self, longest_run: int) -> None:
        """`longest_run` is how many 404 in a row are believed."""
        self._longest_run = longest_run
        self._runs: dict[str, int] = {}
        self._has_answered: set[str] = set()

    def note_answer(self, product: str) -> None:
        """The product answered well."""
        self._has_answered.add(product)
        self._runs.pop(product, None)

    def note_not_found(self, product: str) -> Trust:
        """The product answered 404 once more."""
        run = self._runs[product] = self._runs.get(product, 0) + 1
        if run > self._longest_run:
            return Trust.IMPLAUSIBLE
        return Trust.TRUSTED if product in self._has_answered else Trust.UNPROVEN

    def run(self, product: str) -> int:
        """How many 404 in a row the product has answered last."""
        return self._runs.get(product, 0)
