"""A desk answers for one registry. What the server needs of a desk, and what all desks do with the effects of rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from filingd.sandbox.answers import HeldBody, short
from filingd.sandbox.faults import Cut, Drip, EchoKey, Effect, Exactly, Length, Stall

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy
    from yarl import URL

    from filingd.sandbox.answers import Answer, Wire
    from filingd.sandbox.faults import Subject
    from filingd.sandbox.keys import Holder

AnyEffect = TypeVar("AnyEffect", bound=Effect)


class Call(Protocol):
    """One request with what is known of it before any check."""

    @property
    def subject(self) -> Subject:
        """What fault rules match and the journal keeps."""
        ...

    @property
    def key(self) -> str:
        """The key as it was sent; empty if there is none."""
        ...

    @property
    def holder(self) -> Holder | None:
        """What the key opens."""
        ...

    @property
    def is_paid(self) -> bool:
        """Whether the registry charges for it."""
        ...


AnyCall = TypeVar("AnyCall")


class Desk(Protocol[AnyCall]):
    """One registry's rules. A path belongs to the desk with the longest prefix that it begins with."""

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Where its paths begin."""
        ...

    @property
    def key_header(self) -> str:
        """The header that carries its keys; it is written down nowhere."""
        ...

    def read(self, method: str, url: URL, headers: CIMultiDictProxy[str]) -> AnyCall:
        """What can be known of a request without judging it."""
        ...

    async def answer(self, call: AnyCall) -> Answer:
        """The answer of the first check that fails, or what was asked for."""
        ...


def first_of(effects: list[Effect], kind: type[AnyEffect]) -> AnyEffect | None:
    """The first effect of a kind."""
    return next((effect for effect in effects if isinstance(effect, kind)), None)


def apply_wire(wire: Wire, effects: list[Effect]) -> None:
    """How the answer is sent, from the rules of the body stage."""
    wire.cut = first_of(effects, Cut)
    wire.stall = first_of(effects, Stall)
    drip, length = first_of(effects, Drip), first_of(effects, Length)
    wire.drip_bytes_per_s = float(drip.bytes_per_s) if drip else 0.0
    wire.length_delta_bytes = length.delta_bytes if length else 0


def as_written(effect: Exactly) -> Answer:
    """The answer that a rule spells out."""
    answer = short(effect.status, effect.body.encode(), effect.content_type)
    answer.headers |= effect.headers
    return answer


def echo_key(answer: Answer, effect: EchoKey, key: str) -> None:
    """Quote the key of the request in headers and, if asked, in a body that is text."""
    answer.headers |= {name: value.replace("{key}", key) for name, value in effect.headers.items()}
    if effect.in_text and isinstance(answer.body, HeldBody):
        answer.body = HeldBody(_quoting(answer.body.data, key.encode()))


def _quoting(data: bytes, key: bytes) -> bytes:
    """A text with the key near its beginning; whatever is no text as it is."""
    if not data or data.startswith(b"PK"):
        return data
    if data.startswith(b"{"):
        return b'{"subscriptionKey":"' + key + b'",' + data[1:]
    if data.startswith(b"<"):
        return data.replace(b">", b"><!-- " + key + b" -->", 1)
    return key + b": " + data
