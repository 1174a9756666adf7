"""Faults as data: what to match, what to do, and how often.

A rule waits at one *stage* of a request. The stages follow the chain of the real service (NBB reference,
section 12.1):

    accept    the connection, before a request is read
    door      before any check
    gateway   after the User-Agent check, before the route
    key       in place of the check of the key
    quota     in place of the rate and quota check
    lookup    in place of, or within, the lookup of the day (or of the company)
    body      while the body is sent
    answer    when there is an answer, whatever it is

A rule's counters move only when a request reaches its stage and everything else matches, so that "the third
request" means the third that would have felt it. Effects of several rules add up.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import random
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, get_args

import msgspec

from filingd.core.errors import ConfigError
from filingd.sandbox.clock import brussels_day, parse_instant
from filingd.sandbox.kvk.settings import KVK_PRODUCTS
from filingd.sandbox.settings import PRODUCTS, Casing, EmptyVariant, Framing, RangeMode
from filingd.sandbox.zips import DamageKind, Method  # noqa: TC001 - msgspec needs them at run time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Stage = Literal["accept", "door", "gateway", "key", "quota", "lookup", "body", "answer"]
Number = int | float
_YEARS_BACK = 4  # further than any window


class Effect(msgspec.Struct, tag_field="kind", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What a rule does. The `kind` names it."""


class RefuseAccept(Effect, tag="refuse_accept", frozen=True, kw_only=True):
    """Reset the connection as soon as it is accepted. Matches on time and counts only."""


class Refuse(Effect, tag="refuse", frozen=True, kw_only=True):
    """Read the request and give no answer: reset (RST) or close (FIN)."""

    how: Literal["rst", "close"] = "rst"


class Stall(Effect, tag="stall", frozen=True, kw_only=True):
    """Say nothing for `seconds` (none: for ever), before the head or after `after_bytes` of the body."""

    where: Literal["head", "body"] = "head"
    after_bytes: int = 0
    seconds: Number | None = None


class Latency(Effect, tag="latency", frozen=True, kw_only=True):
    """Answer later."""

    ms: Number


class Status(Effect, tag="status", frozen=True, kw_only=True):
    """Another status, with a body of one of the three families (3: HTML of the gateway).

    KVK's are plain text of its gateway (1), a `fout` with IPD9999 (2) and a page of HTML (3).
    """

    status: int
    family: Literal[1, 2, 3] = 3
    retry_after: str = ""


class Waf(Effect, tag="waf", frozen=True, kw_only=True):
    """403 with the HTML of the application gateway."""


class Redirect(Effect, tag="redirect", frozen=True, kw_only=True):
    """301, 302, 307 or 308 to `location`, usually another host or port."""

    location: str
    status: Literal[301, 302, 303, 307, 308] = 302


class Unauthorized(Effect, tag="unauthorized", frozen=True, kw_only=True):
    """401 as for a missing or an invalid (revoked) key."""

    why: Literal["missing", "invalid"] = "invalid"


class Throttle(Effect, tag="throttle", frozen=True, kw_only=True):
    """429, or the quota's 403 (503 at KVK), with `Retry-After` as seconds, as an HTTP date, as garbage or absent."""

    status: Literal[429, 403, 503] = 429
    seconds: int = 1
    retry_after: Literal["seconds", "date", "garbage", "none"] = "seconds"
    of: Literal["rate", "quota"] = "rate"  # what KVK's text names; NBB's follows from the status


class Empty(Effect, tag="empty", frozen=True, kw_only=True):
    """The day is answered as if it held nothing."""

    variant: EmptyVariant = "404"


class Mutate(Effect, tag="mutate", frozen=True, kw_only=True):
    """The registry changed a past day: one filing's figures or name, one more filing, or one less.

    Applies to every request from the rule's `from_at` on; matches product, dataset, date and time only, so
    that what the day holds is a fact and not a matter of who asks. On a day of an improved product it is one of
    the day's improvements that changes. Queries answer accordingly if the rule means their product
    (`authentic-query`, `improved`) and the dataset `references`; a rule for the dataset `json` alone changes a
    zip and leaves the single document as it was. `member` counts the filings with figures first, then those
    filed as PDF.
    """

    change: Literal["figures", "added", "removed"]
    member: int = 0


class Shape(Effect, tag="shape", frozen=True, kw_only=True):
    """Another shape of the zip or of what is in it; what is not given stays as the settings say."""

    casing: Casing | None = None
    fields: Literal["known", "renamed", "unknown"] = "known"  # renamed or unknown: zero known keys
    renames: tuple[
        tuple[str, str], ...
    ] = ()  # keys of JSON objects by other names, in the casing that is served
    reference_names: Literal["plain", "suffixed"] | None = None
    method: Method | None = None
    zip64: Literal["auto", "forced"] | None = None
    descriptors: bool | None = None
    folder: str | None = None


class Harm(Effect, tag="damage", frozen=True, kw_only=True):
    """A damaged zip (see `zips.DamageKind`)."""

    damage: DamageKind
    member: int = 0
    bomb_bytes: int = 256 * 1024 * 1024


class Huge(Effect, tag="huge", frozen=True, kw_only=True):
    """The day's own members, blown up to `total_bytes` together, stored, generated while they are sent."""

    total_bytes: int


class Replace(Effect, tag="replace", frozen=True, kw_only=True):
    """Status 200 with a body that is no zip."""

    body: Literal["json_error", "html", "text", "empty"] = "json_error"
    content_type: str | None = None  # none: that of the body; empty: no header


class Ipd(Effect, tag="ipd", frozen=True, kw_only=True):
    """An error of KVK's instead of data: any code, seen before or not, `times` in the match saying how often.

    `not_found` stands for the code that the operation itself gives for a number it does not know: a rule with it and
    nothing else is a registry of which every call ends in 404.
    """

    code: str = "not_found"
    status: int | None = None  # none: that of the code's table
    others: tuple[str, ...] = ()  # codes that stand before it in the list
    nested: bool = False  # within `meldingen`


class Exactly(Effect, tag="exactly", frozen=True, kw_only=True):
    """This status with this body and nothing else, in place of the lookup."""

    status: int
    body: str = ""
    content_type: str = "application/json"  # empty: none
    headers: dict[str, str] = {}


class Cut(Effect, tag="cut", frozen=True, kw_only=True):
    """End early, after `after_bytes` or after a share of the body.

    `reset`: RST. `short`: the right Content-Length, fewer bytes, FIN. `clean`: a shorter body that is framed
    as if it were all (the zip is cut, HTTP is not).
    """

    how: Literal["reset", "short", "clean"] = "reset"
    after_bytes: int | None = None
    after_share: float = 0.5


class Drip(Effect, tag="drip", frozen=True, kw_only=True):
    """Send slowly."""

    bytes_per_s: Number


class Length(Effect, tag="length", frozen=True, kw_only=True):
    """A Content-Length that is `delta_bytes` too large (or too small, if negative)."""

    delta_bytes: int


class Head(Effect, tag="head", frozen=True, kw_only=True):
    """Another framing, Content-Type (empty: none), Content-Disposition or other headers."""

    framing: Framing | None = None
    content_type: str | None = None
    content_disposition: bool | None = None
    headers: dict[str, str] = {}


class Ranges(Effect, tag="ranges", frozen=True, kw_only=True):
    """Another way with Range and ETag (see `settings.RangeMode`)."""

    mode: RangeMode


class EchoKey(Effect, tag="echo_key", frozen=True, kw_only=True):
    """Quote the key of the request: for `{key}` in `headers`, and with `in_text` at the beginning of a body that is
    text (an error, or a `replace`; never a zip).
    """

    headers: dict[str, str] = msgspec.field(default_factory=lambda: {"X-Subscription-Key": "{key}"})
    in_text: bool = True


STAGES: dict[type[Effect], Stage] = {
    RefuseAccept: "accept",
    Refuse: "door",
    Latency: "door",
    Stall: "door",  # at the body stage if `where` says so
    Waf: "gateway",
    Redirect: "gateway",
    Unauthorized: "key",
    Throttle: "quota",
    Empty: "lookup",
    Mutate: "lookup",
    Shape: "lookup",
    Harm: "lookup",
    Huge: "lookup",
    Replace: "lookup",
    Ipd: "lookup",
    Exactly: "lookup",
    Cut: "body",
    Drip: "body",
    Length: "body",
    Head: "body",
    Ranges: "body",
    EchoKey: "answer",
}
# A status comes from where its body comes from: API Management, the backend, or the application gateway.
STAGE_OF_FAMILY: dict[int, Stage] = {1: "quota", 2: "lookup", 3: "gateway"}
AnyEffect = (
    RefuseAccept | Refuse | Stall | Latency | Status | Waf | Redirect | Unauthorized | Throttle | Empty | Mutate
    | Shape | Harm | Huge | Replace | Ipd | Exactly | Cut | Drip | Length | Head | Ranges | EchoKey
)  # fmt: skip


# Effects that only one registry knows; a rule with one of them means no other.
_OF_NBB: tuple[type[Effect], ...] = (Waf, Empty, Mutate, Shape, Harm, Huge, Ranges)
REGISTRY_OF: dict[type[Effect], str] = dict.fromkeys(_OF_NBB, "nbb") | {Ipd: "kvk"}
REGISTRIES = ("nbb", "kvk")


class Match(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """Which requests a rule means. Texts are globs; what is empty matches everything."""

    registry: str = "*"  # nbb, kvk
    product: str = "*"
    operation: str = (
        "*"  # references, accountingData; of the queries see `routes.ROUTES`, of KVK `kvk.operations`
    )
    dataset: str = "*"  # references, json, xbrl, pdf
    date: str = "*"  # publication day, such as 2026-11-2?; queries have none
    reference: str = "*"  # reference number, where the request has one
    enterprise: str = "*"  # enterprise number, where the request has one
    number: str = "*"  # KVK or branch number, in the path or searched for
    path: str = "*"
    slot: str = "*"  # primary, secondary
    skip: int = 0  # let so many matches pass first
    nth: int = 0  # only the nth match, counted from 1
    times: int = 0  # at most so many times; 0: without end
    share: float = 1.0  # of the matches, chosen by a seeded die
    from_at: str | float = 0.0  # sandbox instants: [from_at, until_at)
    until_at: str | float | None = None


class Rule(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A fault rule as it is written in JSON."""

    effect: AnyEffect
    match: Match = Match()
    id: str = ""
    note: str = ""


_REQUEST_FIELDS = (
    "registry", "product", "operation", "dataset", "date", "reference", "enterprise", "number", "path", "slot",
)  # fmt: skip


@dataclasses.dataclass(slots=True)
class Subject:
    """What rules match: the facts of one request."""

    at: float
    registry: str = ""
    product: str = ""
    operation: str = ""
    dataset: str = ""
    date: str = ""
    reference: str = ""
    enterprise: str = ""
    number: str = ""
    path: str = ""
    slot: str = ""


@dataclasses.dataclass(slots=True)
class _Armed:
    """A rule with its counters: how often it matched, how often it was applied."""

    rule: Rule
    stage: Stage
    from_at: float
    until_at: float
    die: random.Random
    matched: int = 0
    applied: int = 0

    def means(self, subject: Subject) -> bool:
        match = self.rule.match
        if REGISTRY_OF.get(type(self.rule.effect), subject.registry) != subject.registry:
            return False
        return self.from_at <= subject.at < self.until_at and all(
            fnmatchcase(getattr(subject, name), getattr(match, name)) for name in _REQUEST_FIELDS
        )

    def holds(self, product: str, at: float) -> bool:
        """Whether a rule that is not about requests is in force for a product at an instant."""
        return self.from_at <= at < self.until_at and fnmatchcase(product, self.rule.match.product)

    def fires(self) -> bool:
        """Count one match and say whether the rule applies to it."""
        match = self.rule.match
        self.matched += 1
        if self.matched <= match.skip or (match.nth and self.matched != match.nth):
            return False
        if (match.times and self.applied >= match.times) or self.die.random() >= match.share:
            return False
        self.applied += 1
        return True


class FaultBook:
    """The rules in force. Changed and claimed from the event loop; changes of the past may be read from a thread."""

    def __init__(self) -> None:
        self._armed: dict[str, _Armed] = {}
        self._ids = itertools.count(1)

    def add(self, rules: Iterable[Rule]) -> list[str]:
        """Put rules in force; return their ids. Raises `ConfigError` (and adds none) if one is wrong."""
        armed = [self._arm(rule) for rule in rules]
        self._armed |= {entry.rule.id: entry for entry in armed}
        return [entry.rule.id for entry in armed]

    def replace(self, rules: Iterable[Rule]) -> list[str]:
        """Put these rules in force instead of all others."""
        kept, self._armed = self._armed, {}
        try:
            return self.add(rules)
        except ConfigError:
            self._armed = kept
            raise

    def remove(self, rule_id: str) -> bool:
        """Forget one rule; false if there is none of that id."""
        return self._armed.pop(rule_id, None) is not None

    def clear(self) -> None:
        """Forget all rules."""
        self._armed.clear()

    def report(self) -> list[dict[str, Any]]:
        """The rules with their counters, as JSON values."""
        return [
            msgspec.to_builtins(entry.rule) | {"matched": entry.matched, "applied": entry.applied}
            for entry in self._armed.values()
        ]

    def claim(self, stage: Stage, subject: Subject) -> list[Effect]:
        """The effects that this request feels at a stage; moves the counters."""
        return [
            entry.rule.effect
            for entry in self._armed.values()
            if entry.stage == stage and not _is_world(entry) and entry.means(subject) and entry.fires()
        ]

    def mutations(self, subject: Subject) -> list[Mutate]:
        """The changes of a past day that hold at an instant; counts nothing."""
        return [
            entry.rule.effect
            for entry in tuple(self._armed.values())
            if isinstance(entry.rule.effect, Mutate) and entry.means(subject)
        ]

    def mutated_days(self, product: str, at: float) -> list[dt.date]:
        """The days of the last years that a change of the past may concern, by the rules in force at an instant."""
        meant = [
            entry.rule.match
            for entry in tuple(self._armed.values())
            if _is_world(entry) and entry.holds(product, at)
        ]
        if not meant:
            return []
        today = brussels_day(at)
        days = [today - dt.timedelta(days=back) for back in range(1, _YEARS_BACK * 366)]
        return [day for day in days if any(fnmatchcase(day.isoformat(), match.date) for match in meant)]

    def _arm(self, rule: Rule) -> _Armed:
        rule_id = rule.id or f"fault-{next(self._ids)}"
        named = Rule(effect=rule.effect, match=rule.match, id=rule_id, note=rule.note)
        _check(named)
        match = rule.match
        until_at = float("inf") if match.until_at is None else parse_instant(match.until_at)
        return _Armed(
            named, _stage(rule.effect), parse_instant(match.from_at), until_at, random.Random(rule_id)
        )


def _is_world(entry: _Armed) -> bool:
    return isinstance(entry.rule.effect, Mutate)


def _stage(effect: Effect) -> Stage:
    if isinstance(effect, Stall) and effect.where == "body":
        return "body"
    if isinstance(effect, Status):
        return STAGE_OF_FAMILY[effect.family]
    return STAGES[type(effect)]


_COUNTERS = (
    "skip",
    "nth",
    "times",
    "share",
    "slot",
    "path",
    "operation",
    "reference",
    "enterprise",
    "number",
)


def _check(rule: Rule) -> None:
    """Refuse what could never match, or would not mean what it says."""
    forbidden = {RefuseAccept: _REQUEST_FIELDS, Mutate: _COUNTERS}.get(type(rule.effect), ())
    for name in forbidden:
        if getattr(rule.match, name) != getattr(Match(), name):
            raise ConfigError(
                f"fault {rule.id}: match.{name} cannot be used with kind "
                f"{msgspec.to_builtins(rule.effect)['kind']!r}. Leave it out."
            )
    product = rule.match.product
    if product not in (*PRODUCTS, *KVK_PRODUCTS) and not set(product) & set("*?["):
        raise ConfigError(
            f"fault {rule.id}: unknown product {product!r}. Known: {', '.join((*PRODUCTS, *KVK_PRODUCTS))}."
        )
    registry = rule.match.registry
    if registry not in REGISTRIES and not set(registry) & set("*?["):
        raise ConfigError(f"fault {rule.id}: unknown registry {registry!r}. Known: {', '.join(REGISTRIES)}.")


def rules_from(data: Any) -> list[Rule]:
    """Rules from JSON or TOML values: one rule, a list, or a table with a list `faults`; raises
    `ConfigError`.
    """
    listed = data.get("faults", [data]) if isinstance(data, dict) else data
    try:
        return msgspec.convert(listed, list[Rule])
    except msgspec.ValidationError as error:
        kinds = ", ".join(_kinds())
        raise ConfigError(
            f"fault rules: {error}. A rule has an effect with one of the kinds: {kinds}."
        ) from error


def _kinds() -> Iterator[str]:
    for kind in get_args(AnyEffect):
        yield kind.__struct_config__.tag
