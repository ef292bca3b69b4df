"""Run a coroutine in this task, and learn whether it had to wait.

Enters: a coroutine that has not begun; what is to be done when it first waits.
Leaves: its end, or its exception, in the task that awaits it.
Holds: it runs in one task from beginning to end, so cancel scopes and parking lots see nothing unusual.
Next: wire.http2, whose reading goes on in another task once a handler waits.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any


@coroutine
def notice_waiting(work: Coroutine[Any, Any, None], on_wait: Callable[[], None]) -> Generator[Any, Any, bool]:
    """Await ``work``; call ``on_wait`` when it first gives way to other tasks, before it does. True if it did."""
    try:
        message = work.send(None)
    except StopIteration:
        return False
    on_wait()
    while True:
        try:
            try:
                answer = yield message
            except BaseException as error:
                message = work.throw(error)
            else:
                message = work.send(answer)
        except StopIteration:
            return True
