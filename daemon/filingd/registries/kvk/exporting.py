"""Whose word it is whether an address may be used for unsolicited post (KVK reference, section 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filingd.registries.kvk import profiles
from filingd.registries.kvk.operations import BASISPROFIEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def spoken_for(facts: Mapping[str, Any]) -> Sequence[str]:
    """The keys of the records whose `non_mailing` counts for a body that does not say it itself, by the facts of its version:
    the basisprofiel of its company, or of each company in a search result."""
    number = facts.get("kvk_number")
    numbers = [number] if number else facts.get("names", ())
    return [profiles.key_for(each, BASISPROFIEL) for each in numbers]
