"""One long-lived thread that takes everything that is queued at once and wakes the event loop once per batch.

A hop to a thread and back costs some 100 µs a call. Shared by all that wait at the same time, it costs next
to nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from filingd.core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Call:
    """One piece of work for the thread, and where its result goes."""

    __slots__ = ("argument", "error", "future", "kind", "result")

    def __init__(self, kind: Any, argument: Any, future: asyncio.Future[Any]) -> None:
        self.kind = kind
        self.argument = argument
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None


class BatchWorker(Protocol):
    """What the thread does. All its methods run on the thread."""

    def open(self) -> None:
        """Begin. What it raises is raised to whoever started the thread."""
        ...

    def run(self, calls: Sequence[Call]) -> None:
        """Do the work and set `result` or `error` of each call. Never raises."""
        ...

    def idle(self) -> None:
        """Nothing came for a while after a batch. Never raises."""
        ...

    def abandoned(self, call: Call) -> tuple[Any, Any] | None:
        """The call was done but its caller is gone: kind and argument of a call that undoes it, if any.

        Runs on the event loop.
        """
        ...

    def close(self) -> None:
        """End. Never raises."""
        ...


class BatchThread:
    """Queues calls from one event loop to one worker. The thread's name is that of what it works for, such as manifest-writer."""

    def __init__(self, name: str, worker: BatchWorker, idle_after_s: float) -> None:
        self._name = name
        self._worker = worker
        self._idle_after_s = idle_after_s
        self._loop = asyncio.get_running_loop()
        self._pending: list[Call] = []
        self._queue: deque[Call] = deque()
        self._wake = threading.Event()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._under_way = 0  # calls that were taken and are not settled
        self._closing = False  # no caller is let in any more
        self._ending = False  # nor is anything to be undone: the thread may end
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    async def start(self) -> None:
        """Start the thread; returns when the worker is open, or raises what it raised."""
        self._thread.start()
        await asyncio.shield(self._opened)

    def submit(self, kind: Any, argument: Any) -> asyncio.Future[Any]:
        """Queue a call; the future has its result.

        Raises:
            StoreError: the thread was told to end.
        """
        if self._closing:
            raise StoreError(f"The {self._name} is closed: filingd is stopping.")
        return self._take(kind, argument)

    async def close(self) -> None:
        """Finish what is queued, undo what nobody waits for any more, then end the thread."""
        if not self._closing:
            self._closing = True
            self._end_if_done()
        await asyncio.shield(self._ended)

    def _take(self, kind: Any, argument: Any) -> asyncio.Future[Any]:
        future = self._loop.create_future()
        if not self._pending:
            self._loop.call_soon(self._hand_over)
        self._pending.append(Call(kind, argument, future))
        self._under_way += 1
        return future

    def _end_if_done(self) -> None:
        if self._closing and not self._under_way:
            self._ending = True
            self._wake.set()

    def _hand_over(self) -> None:
        # Whoever was woken by the last batch and calls again is in the next one, whole: the thread is not woken
        # by the first of them. In this order, and the thread clears before it drains: nothing is forgotten.
        self._queue.extend(self._pending)
        self._pending.clear()
        self._wake.set()

    def _main(self) -> None:
        try:
            self._worker.open()
        except BaseException as error:  # noqa: BLE001 - raised to the starter by `_fail_open`
            self._tell(self._fail_open, error)
            return
        self._tell(self._opened.set_result, None)
        try:
            while self._work():
                pass
        finally:
            self._worker.close()
            self._tell(self._ended.set_result, None)

    def _work(self) -> bool:
        ending = self._ending
        calls = self._drain()
        if calls:
            self._worker.run(calls)
            self._tell(self._settle, calls)
        elif ending:
            return False
        elif not self._wake.wait(self._idle_after_s):
            self._worker.idle()
            self._wake.wait()
        self._wake.clear()
        return True

    def _drain(self) -> list[Call]:
        calls = []
        with contextlib.suppress(IndexError):
            while True:
                calls.append(self._queue.popleft())
        return calls

    def _tell(self, function: Any, argument: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(function, argument)

    def _fail_open(self, error: BaseException) -> None:
        self._closing = True
        self._opened.set_exception(error)
        self._ended.set_result(None)

    def _settle(self, calls: Sequence[Call]) -> None:
        for call in calls:
            if call.future.cancelled():
                self._undo(call)
            elif call.error is not None:
                call.future.set_exception(call.error)
            else:
                call.future.set_result(call.result)
        self._under_way -= len(calls)
        self._end_if_done()

    def _undo(self, call: Call) -> None:
        undoing = None if call.error is not None else self._worker.abandoned(call)
        if undoing is not None:
            self._take(*undoing).add_done_callback(_heed_nothing)


def _heed_nothing(undone: asyncio.Future[Any]) -> None:
    """What cannot be undone was changed by somebody else meanwhile, or is found at the next start."""
    if not undone.cancelled():
        undone.exception()
