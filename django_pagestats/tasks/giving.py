"""How a task gets into the queue."""

from __future__ import annotations

from typing import Any

from django_pagestats.exceptions import QueueUnreachableError
from django_pagestats.tasks.names import queue_options


def give(task: str, *arguments: Any, of: str, otherwise: str) -> None:
    """Give a task to the queue now, `of` what it is; raises QueueUnreachableError, which says what to do otherwise."""
    from django_q.tasks import async_task

    try:
        async_task(task, *arguments, q_options=queue_options())
    except Exception as error:  # each broker has its own
        raise QueueUnreachableError(f"The queue did not take a task of {of} ({error}). {otherwise}") from error
