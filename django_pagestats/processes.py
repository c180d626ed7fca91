"""Processes of our own beside this one, with the same settings; nothing of Django is imported here before it is set up.

They are started anew: a connection that was forked would be that of two processes.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from typing import Any

logger = logging.getLogger(__name__)

#: how long the end of what they are at is waited for
END_SECONDS = 60.0


@contextmanager
def beside(path: str, using: str, *arguments: Any, count: int) -> Iterator[None]:
    """Let so many processes call what a dotted path names, for the length of a block.

    They call `function(using, *arguments, is_over=..)`, and end when that says so: at the end of the block, or when
    this process is gone. One that fails says so in the log, and holds nobody up.
    """
    from django.db import connections

    context = multiprocessing.get_context("spawn")
    ends = context.Event()
    wanted = path, using, connections[using].settings_dict, arguments, ends
    started = [context.Process(target=_call, args=wanted, daemon=True) for _ in range(count)]
    for process in started:
        process.start()
    try:
        yield
    finally:
        ends.set()
        for process in started:
            process.join(END_SECONDS)
            if process.exitcode != 0:
                logger.warning("a process that was to help (%s) ended with %s", path, process.exitcode)


def _call(path: str, using: str, database: dict[str, Any], arguments: tuple[Any, ...], ends: Event) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever has started it tells it to end, on Ctrl-C too
    import django

    django.setup()
    from django.db import connections
    from django.utils.module_loading import import_string

    connections[using].settings_dict.update(database)
    parent = multiprocessing.parent_process()

    def is_over() -> bool:
        return ends.is_set() or parent is None or not parent.is_alive()

    function: Callable[..., None] = import_string(path)
    try:
        function(using, *arguments, is_over=is_over)
    except Exception:
        logger.exception("a process that was to help (%s) has failed", path)
        raise SystemExit(1) from None
