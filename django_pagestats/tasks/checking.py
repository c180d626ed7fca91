"""Checks of a range of days with the real queue: each task hands over to the next one."""

from __future__ import annotations

from datetime import date
from typing import Any

from django_pagestats.models import Check
from django_pagestats.tasks.giving import give, on_commit
from django_pagestats.tasks.names import CHECK
from django_pagestats.verify import remembering


def start_check(using: str, *, start: date, end: date, actor: str) -> Check:
    """Let a cluster recount a range of days; only where `queue_is_installed()`. Raises QueueUnreachableError."""
    return remembering.ask(using, start=start, end=end, actor=actor, enqueue=enqueue_check)


def enqueue_check(using: str, check_id: int, epoch: int) -> None:
    """Give the next task to the cluster when the current transaction commits."""
    from django_q.conf import Conf

    # no transaction of ours is around it: its row is committed already, unless the caller's transaction has it
    if Conf.SYNC:  # to its end in one loop, as a run: a chain would call itself
        work = remembering.work
        on_commit(using, lambda: work(using, check_id, epoch, seconds=None, enqueue=enqueue_check), blocks=0)
    else:
        on_commit(using, lambda: _enqueue(using, check_id, epoch), blocks=0)


def _enqueue(*arguments: Any) -> None:
    otherwise = "On the command line manage.py verify_aggregates --start --end does the same."
    give(CHECK, *arguments, of=f"check {arguments[1]}", otherwise=otherwise)
