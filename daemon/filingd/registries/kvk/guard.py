"""When a refusal may be believed (KVK reference, section 4).

A path that was moved or retired answers 404 to everything, as a number that is gone does; a call that KVK does not understand is
400, as a wrong number is. So nothing is taken for gone before the same product has answered well in this run, and nothing at all
is believed after an implausibly long run of nothing but refusals.
"""

from __future__ import annotations

import enum


class Trust(enum.Enum):
    """What one more refusal is worth."""

    TRUSTED = "trusted"
    UNPROVEN = "unproven"  # the product has not answered well in this run yet
    IMPLAUSIBLE = "implausible"  # too many in a row: the service is at fault, not the numbers


class RefusalGuard:
    """Counts what each product answers. Nothing of it outlasts the process."""

    def __init__(self, longest_run: int) -> None:
        """`longest_run` is how many refusals in a row are believed."""
        self._longest_run = longest_run
        self._runs: dict[str, int] = {}
        self._believed: dict[str, list[str]] = {}  # keys of the items of the run
        self._has_answered: set[str] = set()
        self._is_understood: set[str] = set()  # has answered well since a call for it was refused as such

    def note_answer(self, product: str) -> None:
        """The product answered well."""
        self._has_answered.add(product)
        self._is_understood.add(product)
        self._runs.pop(product, None)
        self._believed.pop(product, None)

    def note_refusal(self, product: str) -> Trust:
        """The product refused a number once more, in a way that time does not mend."""
        run = self._runs[product] = self._runs.get(product, 0) + 1
        if run > self._longest_run:
            return Trust.IMPLAUSIBLE
        return Trust.TRUSTED if product in self._has_answered else Trust.UNPROVEN

    def note_believed(self, product: str, key: str) -> None:
        """That refusal is believed of this item, as long as the run does not become implausible."""
        self._believed.setdefault(product, []).append(key)

    def believed(self, product: str) -> tuple[str, ...]:
        """The items of which refusals of the present run were believed."""
        return tuple(self._believed.get(product, ()))

    def note_not_understood(self, product: str) -> bool:
        """KVK refused how the product is asked for, not a number. Returns whether it has answered well since it did last."""
        is_understood = product in self._is_understood
        self._is_understood.discard(product)
        return is_understood

    def run(self, product: str) -> int:
        """How many refusals in a row the product has answered last."""
        return self._runs.get(product, 0)
