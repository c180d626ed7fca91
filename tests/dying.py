"""Workers that die at a statement of the test's choice: `python -m tests.dying`, which tests.crashes.Nursery starts.

Orders come as JSON, one a line. For each a child is forked, which does the links of some epochs one after another, and
in the last of them kills itself between two statements: the beginning and the end of a transaction count as such, and
so do the beginning and the end of the link. The answer, one line too, says how it ended, and what its statements were.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class Place(NamedTuple):
    """Between two statements of a link: where it may die."""

    after: str
    before: str
    nth: int = 1  #: time that these two follow one another


class Order(NamedTuple):
    """What a child is to do."""

    run: int
    epochs: list[int]  #: the last one is where it may die
    dies: Place | None = None  #: None: it lives
    thread: str = "main"  #: or "reader", which reads the next chunk while one is merged
    is_warm: bool = False  #: whether the last link may go on with what the one before has kept
    seconds: float = 0.0  #: for each link; with 0 it folds one chunk and hands over
    without: str = ""  #: the protection that is taken away, by its name in tests.unprotected
    segment: int | None = None  #: the links are of this part of a build, and so are the epochs


def shape(sql: str) -> str:
    """A statement without what differs from one chunk to the next."""
    text = re.sub(r"\d{3,}", "N", " ".join(sql.split()))
    text = re.sub(r', ["`]history["`] = %s', "", text)  # once a second
    text = re.sub(r"(%s(, )?)+", "%s", text)
    return re.sub(r"(\(%s\)(, )?)+", "(%s)", text)


class Steps:
    """The statements of one thread, in order, and the places between them."""

    def __init__(self) -> None:
        self.last = "the beginning of the link"
        self.counts: Counter[tuple[str, str]] = Counter()

    def place(self, statement: str) -> Place:
        """Before the next statement."""
        pair = self.last, statement
        self.last = statement
        self.counts[pair] += 1
        return Place(*pair, self.counts[pair])


def places_of(statements: list[str]) -> list[Place]:
    """The places before each of a link's statements, in their order."""
    counting = Steps()
    return [counting.place(statement) for statement in statements]


class Mortal:
    """Tells of each statement of this process, and ends the process in the chosen place."""

    def __init__(self, order: Order, tell: int) -> None:
        self.order = order
        self.tell = tell
        self.steps = {"main": Steps(), "reader": Steps()}
        self.is_armed = False

    def step(self, what: str) -> None:
        if not self.is_armed:
            return
        thread = "main" if threading.current_thread() is threading.main_thread() else "reader"
        place = self.steps[thread].place(shape(what))
        if thread == self.order.thread:
            os.write(self.tell, f"{place.before}\n".encode())
            if place == self.order.dies:
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, connection: Any, **kwargs: Any) -> None:
        """Of a connection that was just made."""
        if self.before_statement in connection.execute_wrappers:
            return
        connection.execute_wrappers.append(self.before_statement)
        for name in ("_commit", "_rollback"):
            setattr(connection, name, self.before(name.removeprefix("_").upper(), getattr(connection, name)))

    def before_statement(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        self.step(sql)
        return execute(sql, params, many, context)

    def before(self, what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*args: Any, **kwargs: Any) -> Any:
            self.step(what)
            return call(*args, **kwargs)

        return stepping

    def watch_copies(self) -> None:
        """COPY does not come by the wrappers of statements."""
        import psycopg

        copy = psycopg.Cursor.copy

        @contextmanager
        def stepping(cursor: Any, statement: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
            self.step(str(statement))
            with copy(cursor, statement, *args, **kwargs) as found:
                yield found
                self.step("the end of the COPY")

        psycopg.Cursor.copy = stepping  # type: ignore[method-assign, assignment]


def work(order: Order, tell: int) -> None:
    from django.conf import settings
    from django.db import connection
    from django.db.backends.signals import connection_created

    from django_pagestats import backfill, tasks

    settings.PAGESTATS_LINK_SECONDS = order.seconds
    if order.without:
        from tests.unprotected import WITHOUT

        WITHOUT[order.without]()
    mortal = Mortal(order, tell)
    connection_created.connect(mortal.watch)
    if connection.vendor == "postgresql":
        mortal.watch_copies()
    *before, last = order.epochs
    for epoch in before:
        tasks.link("default", order.run, epoch, order.segment)
    if not order.is_warm:
        backfill.release_kept()
    mortal.is_armed = True
    tasks.link("default", order.run, last, order.segment)
    if order.thread == "reader":
        backfill.release_kept()  # which waits until it has read
    mortal.step("the end of the link")


def fork(order: Order) -> dict[str, Any]:
    """Let a child do it; `ended` is its exit status, negative if a signal ended it."""
    heard, tell = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(heard)
            work(order, tell)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(tell)
    with open(heard, encoding="utf-8") as steps:
        told = steps.read().splitlines()
    return {"ended": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "steps": told}


def main() -> None:
    import django
    from django.conf import settings

    django.setup()
    # what is imported here need not be imported by each child
    from django_q import tasks  # noqa: F401

    import django_pagestats.tasks  # noqa: F401

    # a short life has no time for these; visitors that write in mid-statement are waited for all the same
    settings.PAGESTATS_NICE = 0
    settings.PAGESTATS_SETTLE_SECONDS = 0.1
    for line in sys.stdin:
        wanted = json.loads(line)
        dies = Place(*wanted.pop("dies")) if wanted["dies"] else wanted.pop("dies")
        sys.stdout.write(json.dumps(fork(Order(**wanted, dies=dies))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
