"""When a day is complete: every dataset stored or confirmed empty, and the documents agree with the references list.

A filing of a `-p` model explains its missing JSON and XBRL. Nothing else explains anything: the day stays open and
says why (NBB reference, sections 8 and 15.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filingd.core.model import EMPTY_STATES, HOLDING_STATES, Judgement
from filingd.core.seal import FINGERPRINT
from filingd.registries.nbb import timeline
from filingd.registries.nbb.payloads import (
    STRUCTURED_DATASETS,
    documents_in,
    file_count,
    filings_of,
    is_pdf_only,
    strangers_in,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from filingd.core.model import Holding, Member
    from filingd.registries.nbb.rules import NbbRules

_FEW_FILINGS = 50  # below this a share says nothing
_NAMED = 5  # how many reference numbers a reason names
_SETTLED_STATES = HOLDING_STATES | EMPTY_STATES


class _Findings:
    """Collects what speaks against a seal, and which datasets should be fetched again for it."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.suspects: set[str] = set()
        self.unexplained: dict[str, int] = {}

    def add(self, reason: str) -> None:
        self.reasons.append(reason)

    def differ(self, dataset: str, what: str, which: Collection[str]) -> None:
        """Some filings or members of a dataset do not agree; nothing happens if there are none."""
        if not which:
            return
        named = ", ".join(sorted(which)[:_NAMED]) + (", …" if len(which) > _NAMED else "")
        self.reasons.append(f"{dataset}: {len(which)} {what}: {named}")
        self.unexplained[dataset] = self.unexplained.get(dataset, 0) + len(which)
        self.suspects |= {dataset, timeline.REFERENCES}

    def same_as(self, day: str, datasets: Collection[str]) -> None:
        """The day holds what another one holds: nothing in it can be trusted."""
        self.add(f"{timeline.REFERENCES}: the same filings as {day}, which is sealed with them")
        self.suspects |= set(datasets)


def judge(
    rules: NbbRules, group: str, holdings: Mapping[str, Holding], now: float, twin: str | None = None
) -> Judgement:
    """Whether the day is complete. `holdings` by dataset; member indexes must be there for everything stored.

    `twin` is another day that is sealed with the same list, to the byte of every filing. Two days that both have
    filings do not come out alike: one of the two holds the other's, by a copied folder or a mistaken answer.
    """
    findings = _Findings()
    _check_states(rules, holdings, findings)
    if not findings.reasons:
        _check_bodies(rules, holdings, findings)
    listed = filings_of(_members(holdings, timeline.REFERENCES))
    if not findings.reasons:
        _check_agreement(rules, holdings, listed, findings)
    if not findings.reasons and twin is not None:
        findings.same_as(timeline.day_of(twin).isoformat(), rules.datasets)
    return Judgement(
        reasons=tuple(findings.reasons),
        facts=_facts(rules, group, holdings, listed, findings),
        refetch=_refetch(rules, group, holdings, findings, now),
        alarms=_alarms(rules, holdings, listed),
    )


# ------------------------------------------------------------------------------------------------- is all of it there?


def _check_states(rules: NbbRules, holdings: Mapping[str, Holding], findings: _Findings) -> None:
    if timeline.REFERENCES not in rules.datasets:
        findings.add("references: not asked for, and without them nothing shows that a day is complete")
    for dataset in rules.datasets:
        holding = holdings.get(dataset)
        if holding is None:
            findings.add(f"{dataset}: not planned yet")
        elif holding.item.state not in _SETTLED_STATES:
            why = f" ({holding.item.reason})" if holding.item.reason else ""
            findings.add(f"{dataset}: {holding.item.state.name.lower()}{why}")


def _check_bodies(rules: NbbRules, holdings: Mapping[str, Holding], findings: _Findings) -> None:
    """What is said to be stored must be known to the last member: a lost file must not pass for an empty one."""
    for dataset in rules.datasets:
        holding = holdings[dataset]
        if holding.item.state not in HOLDING_STATES:
            continue
        if holding.version is None:
            findings.add(f"{dataset}: stored, but there is no record of the body")
        elif holding.members is None:
            findings.add(f"{dataset}: stored, but its file cannot be read")


# ------------------------------------------------------------------------------------------------- does it agree?


def _check_agreement(
    rules: NbbRules, holdings: Mapping[str, Holding], listed: Mapping[str, str], findings: _Findings
) -> None:
    strangers = strangers_in(_members(holdings, timeline.REFERENCES))
    findings.differ(timeline.REFERENCES, "members without a filing", strangers)
    for dataset in _document_datasets(rules):
        held = documents_in(dataset, _members(holdings, dataset))
        wanted = listed.keys() - _explained(dataset, listed)
        findings.differ(dataset, "listed but not in the zip", wanted - held.references)
        findings.differ(dataset, "in the zip but not listed", held.references - listed.keys())
        findings.differ(dataset, "in the zip more than once", held.repeated)
        findings.differ(dataset, "members that fit no filing", held.strangers)


def _explained(dataset: str, listed: Mapping[str, str]) -> frozenset[str]:
    """The filings that need not be in a dataset: those made as PDF have no JSON and no XBRL."""
    if dataset not in STRUCTURED_DATASETS:
        return frozenset()
    return frozenset(reference for reference, model in listed.items() if is_pdf_only(model))


def _document_datasets(rules: NbbRules) -> list[str]:
    return [dataset for dataset in rules.datasets if dataset != timeline.REFERENCES]


def _members(holdings: Mapping[str, Holding], dataset: str) -> Sequence[Member]:
    holding = holdings.get(dataset)
    return (holding.members or ()) if holding is not None else ()


# ------------------------------------------------------------------------------------------------- what is said of it


def _facts(
    rules: NbbRules,
    group: str,
    holdings: Mapping[str, Holding],
    listed: Mapping[str, str],
    findings: _Findings,
) -> dict[str, Any]:
    """For `day.json` and the manifest; plain JSON values, so that they are equal after a round trip."""
    return {
        "day": timeline.day_of(group).isoformat(),
        FINGERPRINT: _fingerprint(holdings, listed),
        "filings": len(listed),
        "pdf_only": sum(is_pdf_only(model) for model in listed.values()),
        "counts": {dataset: file_count(_members(holdings, dataset)) for dataset in rules.datasets},
        "missing_by_model": {
            dataset: len(
                _explained(dataset, listed) - documents_in(dataset, _members(holdings, dataset)).references
            )
            for dataset in _document_datasets(rules)
        },
        "unexplained": findings.unexplained,
    }


def _fingerprint(holdings: Mapping[str, Holding], listed: Mapping[str, str]) -> str | None:
    """Of the list of filings; days without any are all alike."""
    references = holdings.get(timeline.REFERENCES)
    if not listed or references is None or references.version is None:
        return None
    digest = references.version.content_digest
    return digest.hex() if digest is not None else None


def _alarms(rules: NbbRules, holdings: Mapping[str, Holding], listed: Mapping[str, str]) -> tuple[str, ...]:
    """A day whose JSON share is out of band deserves a look, even if it is sealed (section 13, rule 6)."""
    if "json" not in rules.datasets or len(listed) < _FEW_FILINGS:
        return ()
    with_json = file_count(_members(holdings, "json"))
    if with_json >= len(listed) * rules.min_json_share:
        return ()
    return (f"low_json_share: {with_json} of {len(listed)} filings have JSON",)


# ------------------------------------------------------------------------------------------------- when to look again


def _refetch(
    rules: NbbRules, group: str, holdings: Mapping[str, Holding], findings: _Findings, now: float
) -> tuple[tuple[str, float], ...]:
    """What does not agree is fetched again, as long as anybody serves it; one look for all suspects of a day."""
    suspects = [holdings[dataset] for dataset in sorted(findings.suspects)]
    if not suspects or not rules.mismatch_retry_s:
        return ()
    at = _next_look_at(sorted(rules.mismatch_retry_s), _changed_at(holdings, now), now)
    if not timeline.is_served_at(rules, timeline.day_of(group), at):
        return ()
    return tuple((holding.item.key, at) for holding in suspects)


def _changed_at(holdings: Mapping[str, Holding], now: float) -> float:
    """When what is known of the day last changed: a body came, or the first answer that there is none."""
    known = [_evidence_at(holding) for holding in holdings.values()]
    return max((at for at in known if at is not None), default=now)


def _evidence_at(holding: Holding) -> float | None:
    item = holding.item
    return item.nothing_at if item.stored_at is None else item.stored_at


def _next_look_at(steps_s: Sequence[float], changed_at: float, now: float) -> float:
    """After the configured steps since the day changed, then at doubling intervals; never in the past."""
    step_s = next((step for step in steps_s if changed_at + step > now), steps_s[-1])
    while changed_at + step_s <= now:
        step_s *= 2
    return changed_at + step_s
