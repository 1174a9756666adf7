"""One exchange: ask, stream into a staged body, examine. Ends with an `Answer`, and the staged body if there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from filingd.core.errors import DiskFullError, DoesNotFitError, TransferError
from filingd.core.kinds import examine_document
from filingd.core.model import BODY_STATUSES, Answer, PartialRecord, Request, SecretRef
from filingd.core.resume import ResumeOutcome, ResumeVerdict, judge_resumed, plan_resume

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from filingd.core.model import Attempt, BodyPlan, FlowLimits, ResponseHead
    from filingd.ports import Clock, Exchange, HttpClient, Staged, Store

ERROR_BODY_BYTES = 8 * 1024


class Fetched(msgspec.Struct, frozen=True):
    """What an exchange brought. `staged` must be published, quarantined or discarded by the caller."""

    answer: Answer
    staged: Staged | None = None
    document: bytes | None = None
    begin_again: bool = False  # the partial file was of no use; ask again from the first byte


class Transfer:
    """Makes exchanges for attempts and leaves partial files where going on later is allowed."""

    def __init__(
        self,
        http: HttpClient,
        store: Store,
        clock: Clock,
        flow: FlowLimits,
        keep_free_bytes: int = 0,
        on_head: Callable[[ResponseHead], None] = lambda _: None,
    ) -> None:
        """`on_head` sees the head of every answer."""
        self._on_head = on_head
        self._keep_free_bytes = keep_free_bytes
        self._http = http
        self._store = store
        self._clock = clock
        self._flow = flow

    async def left_over(self, target: str, attempt: Attempt) -> PartialRecord | None:
        """What an earlier exchange left that this attempt may go on with. Looked up before the call is released."""
        partial = None if attempt.is_document else await self._store.partial(target)
        return partial if plan_resume(partial, attempt.route) is not None else None

    async def fetch(
        self,
        target: str,
        attempt: Attempt,
        request_id: str,
        key_name: str | None,
        partial: PartialRecord | None,
        before_sending: Callable[[], Awaitable[None]] | None = None,
    ) -> Fetched:
        """Make one exchange, at once; `partial` is what `left_over` found, `before_sending` as in `ports.HttpClient`.

        Raises:
            DiskFullError, DiskFaultError: the disk refused; nothing is left but a partial file that can be resumed.
            DoesNotFitError: the declared body is larger than the room there is; nothing of it was read.
        """
        ranged = plan_resume(partial, attempt.route)
        request = _request(attempt, request_id, key_name, ranged or ())
        try:
            async with self._http.exchange(request, self._flow, before_sending) as exchange:
                self._on_head(exchange.head)
                verdict = judge_resumed(exchange.head, partial)
                if verdict.outcome is ResumeOutcome.ASK_AGAIN:
                    await self._store.drop_partial(target)
                    return Fetched(Answer(exchange.head), begin_again=True)
                if exchange.head.status not in BODY_STATUSES:
                    text, _ = await exchange.read_capped(ERROR_BODY_BYTES)
                    return Fetched(Answer(exchange.head, error_body=text))
                if attempt.is_document:
                    return await _document(exchange, attempt)
                return await self._body(exchange, target, attempt, request_id, partial, verdict)
        except TransferError as error:
            return Fetched(Answer(transfer_reason=error.reason, detail=error.detail))

    async def _body(
        self,
        exchange: Exchange,
        target: str,
        attempt: Attempt,
        request_id: str,
        partial: PartialRecord | None,
        verdict: ResumeVerdict,
    ) -> Fetched:
        head = exchange.head
        if verdict.outcome is ResumeOutcome.REFUSED:
            await self._store.drop_partial(target)
            return Fetched(Answer(head, transfer_reason="bad_response", detail=verdict.detail))
        resumed = partial if verdict.outcome is ResumeOutcome.RESUME else None
        record = self._record(attempt, head, request_id, resumed, verdict.total_bytes)
        await self._check_room((verdict.total_bytes or 0) - (resumed.received_bytes if resumed else 0))
        staged = await self._store.stage(target, attempt.body, resumed, record)
        try:
            await exchange.pour_into(staged, attempt.body.max_bytes - staged.received_bytes)
        except TransferError as error:
            await self._keep_or_discard(staged, record, error.reason)
            return Fetched(Answer(head, transfer_reason=error.reason, detail=error.detail))
        except BaseException:
            await self._keep_or_discard(staged, record, "stopped")
            raise
        return await _examined(staged, head, verdict.total_bytes)

    async def _check_room(self, coming_bytes: int) -> None:
        free_bytes = await self._store.free_bytes()
        if free_bytes <= self._keep_free_bytes:
            raise DiskFullError(
                f"Only {free_bytes} bytes are free, {self._keep_free_bytes} are to stay free."
            )
        if coming_bytes > free_bytes - self._keep_free_bytes:
            raise DoesNotFitError(
                f"{coming_bytes} bytes are announced, {free_bytes} are free and {self._keep_free_bytes} are to stay free "
                "([store] keep_free). Make room: it is tried again by itself."
            )

    def _record(
        self,
        attempt: Attempt,
        head: ResponseHead,
        request_id: str,
        resumed: PartialRecord | None,
        total_bytes: int | None,
    ) -> PartialRecord | None:
        """What allows going on later: a strong ETag, or at least a total that can be compared."""
        etag = resumed.etag if resumed else head.strong_etag
        if etag is None and total_bytes is None:
            return None
        started_at = resumed.started_at if resumed else self._clock.now()
        return PartialRecord(attempt.route, 0, total_bytes, etag, started_at, request_id)

    async def _keep_or_discard(self, staged: Staged, record: PartialRecord | None, reason: str) -> None:
        full = isinstance(
            staged.failure(), DiskFullError
        )  # what did fit is worth keeping: it is not asked for twice
        broken = staged.failure() is not None and not full
        if record is None or reason == "too_large" or staged.received_bytes == 0 or broken:
            await staged.discard()
        else:
            await staged.keep(record)


async def _examined(staged: Staged, head: ResponseHead, declared_bytes: int | None) -> Fetched:
    try:
        report = await staged.finish(declared_bytes)
    except BaseException:
        await staged.discard()
        raise
    return Fetched(Answer(head, body=report), staged)


async def _document(exchange: Exchange, attempt: Attempt) -> Fetched:
    """A body small enough to be held whole: bounded, hashed, written later together with others."""
    data, whole = await exchange.read_capped(attempt.body.max_bytes)
    head = exchange.head
    declared_bytes = head.content_length if whole and not head.is_gzipped else None
    report = examine_document(data, attempt.body, declared_bytes)
    if not whole:
        report = replace(
            report, problem="too_large", problem_detail=f"more than {attempt.body.max_bytes} bytes"
        )
    return Fetched(Answer(exchange.head, body=report), document=data)


async def stage_whole(store: Store, target: str, plan: BodyPlan, data: bytes) -> Staged:
    """Stage a body that is held whole.

    Raises:
        DiskFullError, DiskFaultError: the disk refused; nothing is left.
    """
    staged = await store.stage(target, plan, None, None)
    try:
        left = memoryview(data)
        while left:
            if (buffer := staged.buffer()) is None:
                await staged.ready()
                continue
            count = min(len(buffer), len(left))
            buffer[:count] = left[:count]
            staged.advance(count)
            left = left[count:]
        await staged.finish(len(data))
    except BaseException:
        await staged.discard()
        raise
    return staged


def _request(
    attempt: Attempt, request_id: str, key_name: str | None, ranged: tuple[tuple[str, str], ...]
) -> Request:
    secret = SecretRef(attempt.secret_header, key_name) if attempt.secret_header and key_name else None
    named = ((attempt.request_id_header, request_id),) if attempt.request_id_header else ()
    return Request(attempt.url, (*attempt.headers, *named, *ranged), request_id, secret, attempt.is_document)
