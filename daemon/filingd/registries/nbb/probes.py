"""Which calls show that keys are valid and paths are right, and what their answers say (NBB reference, sections 5.1 and 12).

A call with a media type that its operation does not offer costs one request and moves no body: 415 proves the key, because
the key is looked at before it, and the path, because that is looked at first of all.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import msgspec

from filingd.core import calendar
from filingd.core.checkup import Finding, Outcome, ok, problem, remark
from filingd.registries.nbb.answers import GATEWAY_MARK, NO_SUCH_OPERATION, is_page, said_wait_s
from filingd.registries.nbb.words import shown

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from filingd.core.model import Answer
    from filingd.registries.nbb.routes import Operation

_NOT_OFFERED = ("application/json", "application/pdf")  # one of them is offered by no operation of a path
_DAYS_AGO = {"extract": 7, "improved": 7}
_ARCHIVED_DAYS_AGO = 100
# What stands in for the parameters of a path: the bank's own number, and a reference of the right form.
_SAMPLES = {"cbe": "0203201340", "ref": "2022-00000001", "kind": "corrected"}


class Probe(msgspec.Struct, frozen=True):
    """One call: which path of a product is asked with which of its keys (by number, from 0)."""

    product: str
    template: str
    url: str
    accept: str
    key_number: int


class Reading(msgspec.Struct, frozen=True):
    """What one answer says of key and path; None where it says nothing of it. `trouble` is what else is wrong."""

    key_is_good: bool | None
    path_is_known: bool | None
    trouble: Finding | None = None


def probes(
    product: str,
    operations: Mapping[tuple[str, str], Operation],
    base_url: str,
    keys: Sequence[int],
    today: dt.date,
) -> list[Probe]:
    """The fewest calls that use each of these keys (by number) and each path of a product once."""
    offered: dict[str, set[str]] = {}
    for (owner, _), operation in operations.items():
        if owner == product:
            offered.setdefault(operation.path, set()).add(operation.accept)
    pairs = itertools.islice(
        zip(itertools.cycle(offered), itertools.cycle(keys), strict=False),
        max(len(offered), len(keys)) if keys else 0,
    )
    return [
        Probe(
            product, path, base_url.rstrip("/") + _filled(path, product, today), _refused(offered[path]), key
        )
        for path, key in pairs
    ]


def second_probes(tried: Sequence[tuple[Probe, Reading]]) -> list[Probe]:
    """What is left to be asked: keys of which nothing is known because their path is wrong, by a path that is right."""
    right = [probe for probe, reading in tried if reading.path_is_known]
    judged = {probe.key_number for probe, reading in tried if reading.key_is_good is not None}
    wrong = {probe.key_number: probe for probe, reading in tried if reading.path_is_known is False}
    unjudged = [number for number in wrong if number not in judged]
    return [msgspec.structs.replace(right[0], key_number=number) for number in unjudged] if right else []


def _filled(path: str, product: str, today: dt.date) -> str:
    date = calendar.later_by(today, -_DAYS_AGO.get(product, _ARCHIVED_DAYS_AGO)).isoformat()
    for name, value in (_SAMPLES | {"date": date}).items():
        path = path.replace(f"{{{name}}}", value)
    return path


def _refused(offered: set[str]) -> str:
    return next((accept for accept in _NOT_OFFERED if accept not in offered), "application/x.nothing")


# ------------------------------------------------------------------------------------------------- answers


def read(product: str, answer: Answer) -> Reading:
    """What an answer to a probe says."""
    if answer.head is None or answer.transfer_reason is not None:
        return Reading(None, None, _unreachable(product, answer))
    status, text = answer.head.status, answer.error_body
    if status == 403:
        return _forbidden(product, text)
    if status == 404 and NO_SUCH_OPERATION in text:
        return Reading(None, False)
    if status >= 500 or GATEWAY_MARK in text or status not in _ANSWERS:
        detail = f"the service answers {status}: {shown(text)}" if text else f"the service answers {status}"
        return Reading(
            None, None, problem("service", product, detail, "Ask again later; filingd does so by itself.")
        )
    patience = (
        remark("service", product, "the registry asks for patience (429)", _SLOWER) if status == 429 else None
    )
    return Reading(status != 401, True, patience)


_SLOWER = "Wait, and lower calls_per_second of this product if it happens again."
_ANSWERS = frozenset({200, 204, 206, 400, 401, 404, 406, 415, 429})  # given once the path is known


def _forbidden(product: str, text: bytes) -> Reading:
    if is_page(text):
        remedy = "Set [http] user_agent to an honest name of your own; ask whether this machine's address is blocked."
        detail = "the firewall in front of the whole service refuses us (403, a page), whatever the key"
        return Reading(None, None, problem("service", product, detail, remedy))
    if b"quota" in text.lower():
        wait_s = said_wait_s(text)
        when = "" if wait_s is None else f"; it is replenished in {wait_s / 3600:.1f} hours"
        remedy = "Wait, or order more calls."
        return Reading(True, True, problem("service", product, f"the quota is used up{when}", remedy))
    return Reading(False, True)


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
        "Check [nbb] base_url, and whether a proxy or a login page answers in the service's place.",
    ),
    "head_timeout": (
        "no answer within the idle timeout",
        "Ask again later; a proxy or a firewall may swallow calls.",
    ),
}


def _unreachable(product: str, answer: Answer) -> Finding:
    reason = answer.transfer_reason or "bad_response"
    told, remedy = _UNREACHABLE.get(
        reason, (reason.replace("_", " "), "Ask again later; check network and proxy.")
    )
    detail = f"{told} ({answer.detail})" if answer.detail else told
    return problem("service", product, detail, remedy)


# ------------------------------------------------------------------------------------------------- findings


def findings(product: str, key_names: Sequence[str], tried: Sequence[tuple[Probe, Reading]]) -> list[Finding]:
    """What all calls of a product say: one finding a key, one a path, one a trouble."""
    troubles = {reading.trouble: None for _, reading in tried if reading.trouble is not None}
    keys = {
        probe.key_number: name
        for probe in (probe for probe, _ in tried)
        for name in [key_names[probe.key_number]]
    }
    found = [_key_finding(product, number, name, tried) for number, name in sorted(keys.items())]
    found += [
        _path_finding(product, template, tried)
        for template in dict.fromkeys(probe.template for probe, _ in tried)
    ]
    return [*found, *troubles]


def _key_finding(product: str, number: int, name: str, tried: Sequence[tuple[Probe, Reading]]) -> Finding:
    said = [reading.key_is_good for probe, reading in tried if probe.key_number == number]
    subject = f"nbb/{product} key {number + 1} ({name})"
    if False in said:
        remedy = "See in the bank's portal whether it was renewed, is active and of this product; put the valid one there."
        return problem("key", subject, "the registry refuses it", remedy)
    if True in said:
        return ok("key", subject, "the registry accepts it")
    return Finding("key", subject, Outcome.SKIPPED, "no answer showed whether it is valid")


def _path_finding(product: str, template: str, tried: Sequence[tuple[Probe, Reading]]) -> Finding:
    said = [reading.path_is_known for probe, reading in tried if probe.template == template]
    subject = f"nbb/{product} {template}"
    if False in said:
        remedy = f"Compare with the bank's documentation and set it in [nbb.paths.{product}]."
        return problem("path", subject, "the gateway does not know it (Resource not found)", remedy)
    if True in said:
        return ok("path", subject, "the gateway knows it")
    return Finding("path", subject, Outcome.SKIPPED, "no answer showed whether it is right")
