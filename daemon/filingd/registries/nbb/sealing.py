"""When a day is complete: every dataset stored or confirmed empty, and the documents agree with the references list.

A filing of a `-p` model explains its missing JSON and XBRL. Nothing else explains anything: the day stays open and
says why (NBB reference, sections 8 and 15.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from filingd.core.model import EMPTY_STATES, HOLDING_STATES, Item, Judgement, State
from filingd.core.seal import FINGERPRINT
from filingd.registries.nbb import documents, timeline
from filingd.registries.nbb.agreement import agreement_of, members_of
from filingd.registries.nbb.emptiness import MISSING_THOUGH_LISTED
from filingd.registries.nbb.payloads import file_count

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from filingd.core.model import Holding
    from filingd.registries.nbb.agreement import Agreement, Difference, Lacking
    from filingd.registries.nbb.rules import NbbRules

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

    def differ(self, differences: Iterable[Difference]) -> None:
        """Some filings or members of some datasets do not agree."""
        for dataset, what, which in differences:
            named = ", ".join(sorted(which)[:_NAMED]) + (", …" if len(which) > _NAMED else "")
            self.reasons.append(f"{dataset}: {len(which)} {what}: {named}")
            self.unexplained[dataset] = self.unexplained.get(dataset, 0) + len(which)
            self.suspects |= {dataset, timeline.REFERENCES}

    def same_as(self, day: str, datasets: Collection[str]) -> None:
        """The day holds what another one holds: nothing in it can be trusted."""
        self.add(f"{timeline.REFERENCES}: the same filings as {day}, which is sealed with them")
        self.suspects |= set(datasets)


def judge(
    rules: NbbRules,
    group: str,
    holdings: Mapping[str, Holding],
    now: float,
    twin: str | None = None,
    supplements: Mapping[str, Holding] | None = None,
) -> Judgement:
    """Whether the day is complete. `holdings` by dataset; member indexes must be there for everything stored.

    `twin` is another day that is sealed with the same list, to the byte of every filing. Two days that both have
    filings do not come out alike: one of the two holds the other's, by a copied folder or a mistaken answer.
    """
    findings = _Findings()
    failing = _failing(rules, holdings)
    _check_states(rules, holdings, findings, failing)
    if not findings.reasons:
        _check_bodies(rules, holdings, findings)
    agreement = agreement_of(rules, holdings, supplements or {})
    if not findings.reasons:
        findings.differ(agreement.differences)
        _check_failing(holdings, failing, findings)
    lacking = _obtainable(holdings, agreement, failing)
    if not findings.reasons and twin is not None:
        findings.same_as(timeline.day_of(twin).isoformat(), rules.datasets)
    return Judgement(
        reasons=tuple(findings.reasons),
        facts=_facts(rules, group, holdings, agreement, findings),
        refetch=_refetch(rules, group, holdings, findings, now),
        supplements=tuple(lack.key for lack in lacking),
        wants=tuple(_wanted(rules, group, holdings, _unanswered(lacking, supplements or {}), failing, now)),
    )


# ------------------------------------------------------------------------------------------------- is all of it there?


def _failing(rules: NbbRules, holdings: Mapping[str, Holding]) -> frozenset[str]:
    """The datasets whose zip failed over and over (section 11, row 7), or that are said to have nothing although filings are
    listed (section 15.2), of a day whose documents can be had one by one."""
    references = holdings.get(timeline.REFERENCES)
    if rules.documents_lane is None or references is None or references.item.state not in HOLDING_STATES:
        return frozenset()
    return frozenset(
        dataset
        for dataset, holding in holdings.items()
        if dataset != timeline.REFERENCES and _fails(rules, holding.item)
    )


def _fails(rules: NbbRules, item: Item) -> bool:
    said_nothing = item.reason == MISSING_THOUGH_LISTED and item.nothing_count >= rules.empty_confirmations
    return item.state is State.QUARANTINED or (said_nothing and item.state not in _SETTLED_STATES)


def _check_failing(holdings: Mapping[str, Holding], failing: Collection[str], findings: _Findings) -> None:
    """A zip that never came is no reason any more once each of its documents came by itself."""
    for dataset in sorted(failing):
        if findings.unexplained.get(dataset):
            findings.add(_state_reason(dataset, holdings[dataset]))
            findings.suspects.discard(dataset)  # it has its own next try


def _state_reason(dataset: str, holding: Holding) -> str:
    why = f" ({holding.item.reason})" if holding.item.reason else ""
    return f"{dataset}: {holding.item.state.name.lower()}{why}"


def _check_states(
    rules: NbbRules, holdings: Mapping[str, Holding], findings: _Findings, failing: Collection[str]
) -> None:
    if timeline.REFERENCES not in rules.datasets:
        findings.add("references: not asked for, and without them nothing shows that a day is complete")
    for dataset in rules.datasets:
        holding = holdings.get(dataset)
        if holding is None:
            findings.add(f"{dataset}: not planned yet")
        elif holding.item.state not in _SETTLED_STATES and dataset not in failing:
            findings.add(_state_reason(dataset, holding))


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


# ------------------------------------------------------------------------------------------------- what is said of it


def _facts(
    rules: NbbRules,
    group: str,
    holdings: Mapping[str, Holding],
    agreement: Agreement,
    findings: _Findings,
) -> dict[str, Any]:
    """For `day.json` and the manifest; plain JSON values, so that they are equal after a round trip."""
    return {
        "day": timeline.day_of(group).isoformat(),
        FINGERPRINT: _fingerprint(holdings, agreement.filings),
        **agreement.facts,
        "counts": {dataset: file_count(members_of(holdings, dataset)) for dataset in rules.datasets},
        "unexplained": findings.unexplained,
    }


def _fingerprint(holdings: Mapping[str, Holding], filings: int) -> str | None:
    """Of the list of filings; days without any are all alike."""
    references = holdings.get(timeline.REFERENCES)
    if not filings or references is None or references.version is None:
        return None
    digest = references.version.content_digest
    return digest.hex() if digest is not None else None


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


# ------------------------------------------------------------------------------------------------- one by one


def _obtainable(
    holdings: Mapping[str, Holding], agreement: Agreement, failing: Collection[str]
) -> list[Lacking]:
    """What is lacking in zips that are there or will not come, and can be asked for."""
    there = {dataset for dataset, holding in holdings.items() if holding.item.state in _SETTLED_STATES}
    return sorted(
        lack
        for lack in agreement.lacking
        if lack.dataset in there | set(failing) and documents.may_be_asked_for(lack.reference)
    )


def _unanswered(lacking: Iterable[Lacking], supplements: Mapping[str, Holding]) -> list[Lacking]:
    """Without what came by itself and what the bank says it does not have."""
    known = ((lack, supplements.get(lack.key)) for lack in lacking)
    return [lack for lack, one in known if one is None or one.item.state not in _SETTLED_STATES]


def _wanted(
    rules: NbbRules,
    group: str,
    holdings: Mapping[str, Holding],
    lacking: Iterable[Lacking],
    failing: Collection[str],
    now: float,
) -> Iterator[Item]:
    """The documents to be asked for one by one. A zip that lacks something has been fetched once more before."""
    if rules.documents_lane is None:
        return
    second_look_s = min(rules.mismatch_retry_s, default=0.0)
    is_late = now >= _changed_at(holdings, now) + second_look_s
    day = timeline.day_of(group)
    priorities = {dataset: timeline.priority_at(rules, day, dataset, now) for dataset in holdings}
    for lack in lacking:
        if is_late or lack.dataset in failing:
            yield Item(lack.key, rules.documents_lane, priority=priorities[lack.dataset], due_at=now)
