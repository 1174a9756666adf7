"""A look at the ledger from a command: synchronous, light to import, safe beside a running daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filingd.adapters.ledger_schema import open_read_only, spendings_in, translated

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from filingd.core.ledger import Spending


class LedgerReader:
    """A look at the ledger: read only, no lock, safe beside a running daemon. Close it, or use `with`.

    Raises (on making it, and by its methods):
        LedgerDamagedError, LedgerTooNewError, DiskFaultError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        """Where there is no ledger, nothing was spent."""
        self._path = path
        self._connection = open_read_only(path) if path.exists() else None

    def spendings(self) -> Sequence[Spending]:
        """See `ports.Ledger`."""
        if self._connection is None:
            return ()
        with translated(self._path):
            return spendings_in(self._connection)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
