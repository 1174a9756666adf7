"""What `filingd doctor` finds: one finding a thing that was looked at."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


class Outcome(enum.Enum):
    """How a check came out. Only a problem makes the whole a failure."""

    OK = "ok"
    REMARK = "remark"  # works, and yet worth knowing
    PROBLEM = "problem"
    SKIPPED = "skipped"  # was not looked at; the detail says why


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at: what kind of check, of what, how it came out, and what to do about it."""

    check: str
    subject: str
    outcome: Outcome
    detail: str
    remedy: str = ""


def ok(check: str, subject: str, detail: str) -> Finding:
    """All is well."""
    return Finding(check, subject, Outcome.OK, detail)


def remark(check: str, subject: str, detail: str, remedy: str = "") -> Finding:
    """It works, and is worth knowing."""
    return Finding(check, subject, Outcome.REMARK, detail, remedy)


def problem(check: str, subject: str, detail: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(check, subject, Outcome.PROBLEM, detail, remedy)


def skipped(check: str, subject: str, detail: str) -> Finding:
    """It was not looked at."""
    return Finding(check, subject, Outcome.SKIPPED, detail)


def is_well(findings: Iterable[Finding]) -> bool:
    """Whether nothing is wrong."""
    return all(finding.outcome is not Outcome.PROBLEM for finding in findings)
