"""Which call shows that a key works, and what its answer says. A search is free (KVK reference, section 13); nothing that costs
is ever asked for here."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import msgspec

from filingd.core.checkup import Finding, Outcome, ok, problem, remark
from filingd.registries.kvk.answers import CODES, Meaning, shown
from filingd.registries.kvk.operations import ACCEPT, ZOEKEN
from filingd.registries.kvk.payloads import PayloadError, faults_in, read_page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from filingd.core.model import Answer
    from filingd.registries.kvk.rules import KvkRules

_SAMPLE = "69599084"  # a company of the test environment; production may know it or not, both are answers


class Probe(msgspec.Struct, frozen=True):
    """One free call with the key of an account."""

    account: str
    key_name: str
    url: str
    accept: str = ACCEPT


class Reading(msgspec.Struct, frozen=True):
    """What one answer says of key and path; None where it says nothing of it. `trouble` is what else is wrong."""

    key_is_good: bool | None
    path_is_known: bool | None
    trouble: Finding | None = None


def probes(rules: KvkRules) -> list[Probe]:
    """One search with each key."""
    query = urlencode(
        [("kvkNummer", _SAMPLE), ("pagina", "1"), ("resultatenPerPagina", "1")], quote_via=quote
    )
    url = f"{rules.base_url.rstrip('/')}{rules.paths[ZOEKEN]}?{query}"
    return [Probe(account.name, account.key_name, url) for account in rules.accounts]


def read(answer: Answer) -> Reading:
    """What an answer to a probe says."""
    if answer.head is None or answer.transfer_reason is not None:
        return Reading(None, None, _unreachable(answer))
    status, text = answer.head.status, answer.error_body
    known = any(CODES.get(fault.code) is Meaning.NO_RESULTS for fault in faults_in(text))
    if status == 200 or known:
        return Reading(True, True, None if known or _is_page(answer) else _trouble(_NOT_A_PAGE, _ASK_LATER))
    return _REFUSALS.get(status, _refused)(status, text)


def _key_refused(status: int, text: bytes) -> Reading:  # noqa: ARG001 - one shape for all refusals
    return Reading(False, None)


def _not_in_contract(status: int, text: bytes) -> Reading:  # noqa: ARG001 - one shape for all refusals
    remedy = (
        "Ask KVK which products the contract of this key has; searches are part of every one that is known."
    )
    return Reading(
        None, None, _trouble(f"the contract of the key has no searches (403): {shown(text)}", remedy)
    )


def _not_found(status: int, text: bytes) -> Reading:
    return _refused(status, text) if faults_in(text) else Reading(None, False)


def _too_many(status: int, text: bytes) -> Reading:  # noqa: ARG001 - one shape for all refusals
    return Reading(None, None, remark("service", "kvk", "the registry asks for patience (429)", _SLOWER))


def _refused(status: int, text: bytes) -> Reading:
    said = f": {shown(text)}" if text else ""
    return Reading(None, None, _trouble(f"the service answers {status}{said}", _ASK_LATER))


_REFUSALS: Mapping[int, Callable[[int, bytes], Reading]] = {
    401: _key_refused,
    403: _not_in_contract,
    404: _not_found,
    410: _not_found,
    429: _too_many,
}
_SLOWER = "Wait, and lower [kvk] calls_per_second if it happens again."
_ASK_LATER = "Ask again later; filingd does so by itself."
_NOT_A_PAGE = "the service answers 200 with something else than search results"
_UNREACHABLE: Mapping[str, tuple[str, str]] = {
    "connect_failed": (
        "no connection could be made",
        "Check network, firewall and [http] proxy; the finding `network` says whether the name can be resolved.",
    ),
    "tls_failed": (
        "the certificate is not accepted",
        "Check this machine's clock and its certificates; behind a proxy that looks inside, set [http] ca_bundle.",
    ),
    "redirected": (
        "the service answers with a redirect, which is refused: a key goes to no other host",
        "Check [kvk] base_url, and whether a proxy or a login page answers in the service's place.",
    ),
    "head_timeout": ("no answer within the idle timeout", _ASK_LATER),
}


def _is_page(answer: Answer) -> bool:
    try:
        read_page(answer.error_body)  # a probe reads the beginning of any body, and this one is small
    except PayloadError:
        return False
    return True


def _trouble(detail: str, remedy: str) -> Finding:
    return problem("service", "kvk", detail, remedy)


def _unreachable(answer: Answer) -> Finding:
    reason = answer.transfer_reason or "bad_response"
    told, remedy = _UNREACHABLE.get(
        reason, (reason.replace("_", " "), "Ask again later; check network and proxy.")
    )
    return _trouble(f"{told} ({answer.detail})" if answer.detail else told, remedy)


def findings(rules: KvkRules, tried: list[tuple[Probe, Reading]]) -> list[Finding]:
    """What all calls say: one finding a key, one for the path, one a trouble."""
    troubles = {reading.trouble: None for _, reading in tried if reading.trouble is not None}
    return [
        *(_key_finding(probe, reading) for probe, reading in tried),
        *_path_findings(rules, tried),
        *troubles,
    ]


def _key_finding(probe: Probe, reading: Reading) -> Finding:
    subject = f"kvk/{probe.account} ({probe.key_name})"
    if reading.key_is_good:
        return ok("key", subject, "the registry accepts it")
    if reading.key_is_good is False:
        remedy = f"See in KVK's developer portal whether it is active; put the valid one where [kvk.keys.{probe.account}] says."
        return problem("key", subject, "the registry refuses it", remedy)
    return Finding("key", subject, Outcome.SKIPPED, "no answer showed whether it is valid")


def _path_findings(rules: KvkRules, tried: list[tuple[Probe, Reading]]) -> list[Finding]:
    said = [reading.path_is_known for _, reading in tried]
    subject = f"kvk {rules.paths[ZOEKEN]}"
    if False in said:
        remedy = "Compare [kvk] base_url and [kvk.paths] zoeken with KVK's documentation: the version may have been retired."
        return [problem("path", subject, "the service does not know it", remedy)]
    return [ok("path", subject, "the service knows it")] if True in said else []
