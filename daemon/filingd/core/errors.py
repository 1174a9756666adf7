"""Errors by what to do about them, and the exit codes a script may rely on.

Every error that can reach an operator is a `FilingdError`, whose text is one or more whole sentences that say
what is wrong, where, and what to do. Built-in exceptions are never used for facts of our domain.
"""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """Exit codes of every command. They are stable: scripts and systemd units rely on them."""

    OK = 0
    FAILED = 1  # the command ran and its answer is "no": a check failed, a file is damaged
    USAGE = 2  # the command line itself is wrong
    CONFIG = 3  # the configuration is wrong; restarting will not help
    STORE = 4  # the store cannot be used: locked by another daemon, newer format, damaged manifest
    UNAVAILABLE = 5  # something outside is missing: a port in use, a registry that cannot be reached
    INTERRUPTED = 130
    PIPE_CLOSED = 141  # who read the answer went away before its end, as `| head` does; nothing is said


class FilingdError(Exception):
    """Root of all errors an operator may see."""

    exit_code: ExitCode = ExitCode.FAILED


class ConfigError(FilingdError):
    """The configuration is wrong. The text names file, key, value and remedy."""

    exit_code = ExitCode.CONFIG


class AmbiguousSubjectError(FilingdError):
    """A number that several registries know; the text says how to write which is meant."""

    exit_code = ExitCode.USAGE


class StoreError(FilingdError):
    """The store cannot be used as it is."""

    exit_code = ExitCode.STORE


class StoreLockedError(StoreError):
    """Another daemon works on this store."""


class StoreReplacedError(StoreError):
    """The store is not the one that was opened any more: somebody moved, unmounted or replaced it meanwhile."""


class ManifestTooNewError(StoreError):
    """The manifest was written by a newer filingd than this one."""


class ManifestDamagedError(StoreError):
    """The manifest cannot be read as a database; `filingd manifest rebuild` makes a new one from the files."""


class LedgerDamagedError(StoreError):
    """The ledger cannot be read, so that nobody knows what was spent: no paid call is made without it."""


class LedgerTooNewError(StoreError):
    """The ledger was written by a newer filingd than this one."""


class UnavailableError(FilingdError):
    """Something outside filingd is missing."""

    exit_code = ExitCode.UNAVAILABLE


class ManifestBusyError(UnavailableError):
    """Another process holds the manifest's write lock and did not let go in time. Passes by itself: try again."""


class LedgerBusyError(UnavailableError):
    """Another process holds the ledger's write lock and did not let go in time. Passes by itself: try again."""


class LifeCycleError(FilingdError):
    """A transition that the life cycle does not know; names state and event."""


class DiskFullError(FilingdError):
    """No room to write (ENOSPC, EDQUOT, or below `keep_free`). Nobody's failure: downloads pause."""


class DoesNotFitError(FilingdError):
    """A body was announced that is larger than the room there is. Others may fit: only this one waits."""


class DiskFaultError(FilingdError):
    """The disk refused an operation for another reason than room (EIO, EROFS, EACCES…)."""

    exit_code = ExitCode.STORE


class TransferError(FilingdError):
    """An exchange broke off before its end. `reason` is a stable code (see `core.model.TRANSFER_REASONS`)."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
