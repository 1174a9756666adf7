"""What a registry says of abilities that it does not have: the beginning of a new one (see ARCHITECTURE.md).

Whoever begins a registry with this writes the rest of `ports.Registry`: `roots`, `lanes`, `expected`, `plan`, `request`,
`interpret`, `target`, `key_of` and `body_plan`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filingd.core.catalogue import Contribution, Forgotten
    from filingd.core.forgetting import Scrub
    from filingd.core.model import (
        AccountSpec,
        GateSpec,
        Holding,
        Item,
        Judgement,
        StoredBody,
        Version,
    )


class PlainRegistry:
    """Single documents that are asked for once, cost nothing, and are nobody's filings."""

    companies: Sequence[Any] = ()

    def gates(self) -> Sequence[GateSpec]:
        """Each lane has limits of its own."""
        return ()

    def accounts(self) -> Sequence[AccountSpec]:
        """Nothing is paid by the call."""
        return ()

    def judge(
        self,
        group: str,  # noqa: ARG002 - whatever it is
        holdings: Mapping[str, Holding],  # noqa: ARG002
        now: float,  # noqa: ARG002
        twin: str | None = None,  # noqa: ARG002
        supplements: Mapping[str, Holding] | None = None,  # noqa: ARG002
    ) -> Judgement | None:
        """No group is sealed as a whole."""
        return None

    def resolving(self, reference: str, now: float) -> Item | None:  # noqa: ARG002 - there are no filings
        return None

    def contribution(self, version: Version, body: StoredBody) -> Contribution | None:  # noqa: ARG002 - no filings
        return None

    def subject_of(self, text: str) -> tuple[str, bool] | None:  # noqa: ARG002 - nothing of it is personal
        return None

    def is_forgotten(self, key: str, forgotten: Forgotten) -> bool:  # noqa: ARG002 - see `subject_of`
        return False

    def scrub(self, key: str, forgotten: Forgotten) -> Scrub | None:  # noqa: ARG002 - see `subject_of`
        return None

    def recheck_at(self, item: Item, after_at: float) -> float | None:  # noqa: ARG002 - what is had is had
        return None
