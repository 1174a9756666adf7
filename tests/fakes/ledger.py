"""A ledger in memory that keeps every promise of the port; it runs the contract suite of the real one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from filingd.core.ledger import Spending


class FakeLedger:
    """All in a dictionary. Open to tests: `kept`, how often something was saved, and `before_save`, awaited by each save."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Spending] = {}
        self.saves = 0
        self.before_save: Callable[[Sequence[Spending]], Awaitable[None]] | None = None

    async def spendings(self) -> Sequence[Spending]:
        return [self.kept[name] for name in sorted(self.kept)]

    async def save(self, spendings: Sequence[Spending]) -> None:
        if self.before_save is not None:
            await self.before_save(spendings)
        self.saves += 1
        self.kept |= {(each.account, each.month): each for each in spendings}

    async def close(self) -> None:
        """Nothing to close."""
