"""What reading the keys anew brought. No key is in here, only the texts of the references to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping


class KeyReading(msgspec.Struct, frozen=True):
    """The references whose key is another one now; those that cannot be read, with reason and remedy; and which of these
    keep the key that was read before."""

    changed: frozenset[str]
    problems: Mapping[str, str]
    kept: frozenset[str]
