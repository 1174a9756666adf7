"""When a day is complete: every dataset stored or confirmed empty, and the documents agree with the references list.

A filing of a `-p` model explains its missing JSON and XBRL. Nothing else explains anything: the day stays open and
says why (NBB reference, sections 8 and 15.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filingd.core.model import HOLDING_STATES, Judgement, State
from filingd.registries.nbb import timeline
from filingd.registries.nbb.payloads import filings_of, is_pdf_only, references_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from filingd.core.model import Holding
    from filingd.registries.nbb.rules import NbbRules

_FEW_FILINGS = 50  # below this a share says nothing
_NAMED = 5  # how many reference numbers a reason names


class _Findings:
    """Collects what speaks against a seal, and which items should be fetched again for it."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.suspects: set[str] = set()
        self.unexplained: dict[str, int] = {}

    def add(self, reason: str, *suspects: str) -> None:
        self.reasons.append(reason)
        self.suspects.update(suspects)


def judge(rules: NbbRules, group: str, holdings: Mapping[str, Holding], now: float) -> Judgement:
    """Whether the day is complete. `holdings` by dataset; member indexes must be there for everything stored."""
    findings = _Findings()
    for dataset in rules.datasets:
        _check_state(dataset, holdings.get(dataset), findings)
    if not findings.reasons:
        _check_agreement(rules, holdings, findings)
    return Judgement(
        reasons=tuple(findings.reasons),
        facts=_facts(rules, group, holdings, findings),
        refetch=_refetch(rules, holdings, findings, now),
        alarms=_alarms(rules, holdings),
    )


def _check_state(dataset: str, holding: Holding | None, findings: _Findings) -> None:
    if holding is None:
        findings.add(f"{dataset}: not planned yet")
        return
    state = holding.item.state
    if state in HOLDING_STATES or state is State.EMPTY:
        return
    why = f" ({holding.item.reason})" if holding.item.reason else ""
    findings.add(f"{dataset}: {state.name.lower()}{why}")


def _check_agreement(rules: NbbRules, holdings: Mapping[str, Holding], findings: _Findings) -> None:
    references = holdings.get(timeline.REFERENCES)
    if references is None:
        return
    listed = filings_of(references.members or ())
    for dataset in rules.datasets:
        if dataset != timeline.REFERENCES:
            _compare(dataset, holdings[dataset], listed, findings)


def _compare(dataset: str, holding: Holding, listed: Mapping[str, str], findings: _Findings) -> None:
    held, odd_names = references_of(holding.members or ())
    wanted = frozenset(ref for ref, model in listed.items() if dataset == "pdf" or not is_pdf_only(model))
    _differ(dataset, "listed but not in the zip", wanted - held, findings)
    _differ(dataset, "in the zip but not listed", held - listed.keys(), findings)
    _differ(dataset, "members without a reference number", frozenset(odd_names), findings)


def _differ(dataset: str, what: str, which: frozenset[str], findings: _Findings) -> None:
    if not which:
        return
    named = ", ".join(sorted(which)[:_NAMED]) + (", …" if len(which) > _NAMED else "")
    findings.unexplained[dataset] = findings.unexplained.get(dataset, 0) + len(which)
    findings.add(f"{dataset}: {len(which)} {what}: {named}", dataset, timeline.REFERENCES)


def _facts(
    rules: NbbRules, group: str, holdings: Mapping[str, Holding], findings: _Findings
) -> dict[str, object]:
    references = holdings.get(timeline.REFERENCES)
    listed = filings_of(references.members or ()) if references else {}
    counts = {name: _member_count(holdings.get(name)) for name in rules.datasets}
    with_json = sum(not is_pdf_only(model) for model in listed.values())
    return {
        "day": timeline.day_of(group).isoformat(),
        "filings": len(listed),
        "pdf_only": len(listed) - with_json,
        "counts": counts,
        "unexplained": findings.unexplained,
    }


def _alarms(rules: NbbRules, holdings: Mapping[str, Holding]) -> tuple[str, ...]:
    """A sealed day whose JSON share is out of band deserves a look (section 13, rule 6)."""
    filings, with_json = _member_count(holdings.get(timeline.REFERENCES)), _member_count(holdings.get("json"))
    if "json" not in rules.datasets or filings < _FEW_FILINGS or with_json >= filings * rules.min_json_share:
        return ()
    return (f"low_json_share: {with_json} of {filings} filings have JSON",)


def _member_count(holding: Holding | None) -> int:
    if holding is None or holding.version is None or holding.item.state not in HOLDING_STATES:
        return 0
    return holding.version.member_count or 0


def _refetch(
    rules: NbbRules, holdings: Mapping[str, Holding], findings: _Findings, now: float
) -> tuple[tuple[str, float], ...]:
    suspects = [
        holdings[name] for name in sorted(findings.suspects) if holdings[name].item.state in HOLDING_STATES
    ]
    return tuple(
        (holding.item.key, _next_look_at(rules.mismatch_retry_s, holding, now)) for holding in suspects
    )


def _next_look_at(steps_s: Sequence[float], holding: Holding, now: float) -> float:
    """After the configured steps since the body was stored, then at doubling intervals."""
    stored_at = holding.item.stored_at or now
    step_s = next((step for step in steps_s if stored_at + step > now), steps_s[-1])
    while stored_at + step_s <= now:
        step_s *= 2
    return stored_at + step_s
