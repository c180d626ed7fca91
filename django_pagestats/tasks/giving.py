"""How a task gets into the queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connections, transaction

from django_pagestats.exceptions import QueueUnreachableError
from django_pagestats.tasks.names import queue_options


def give(task: str, *arguments: Any, of: str, otherwise: str) -> None:
    """Give a task to the queue now, `of` what it is; raises QueueUnreachableError, which says what to do otherwise."""
    from django_q.tasks import async_task

    try:
        async_task(task, *arguments, q_options=queue_options())
    except Exception as error:  # each broker has its own
        raise QueueUnreachableError(f"The queue did not take a task of {of} ({error}). {otherwise}") from error


def on_commit(using: str, call: Callable[[], None], *, blocks: int = 1) -> None:
    """Call it when the current transaction commits; `blocks` are those of ours around it, and others are the caller's.

    An error after the commit of the caller's transaction would be that of a request, and drop what else waits for it:
    there it is logged, and the work goes on after its lease.
    """
    is_the_callers = len(connections[using].atomic_blocks) > blocks
    # the log has the name of `call`, which a partial does not have
    transaction.on_commit(call, using=using, robust=is_the_callers)
