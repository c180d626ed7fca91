"""Visitors of a live site: `python -m tests.visitors`, which tests.crashes.Visitors starts.

They record page views until stdin ends, and then say how many. On PostgreSQL and MariaDB some do it in transactions
that stay open for a moment, so that lower ids appear after higher ones, and in some that are rolled back.
"""

from __future__ import annotations

import itertools
import random
import sys
import threading
from datetime import datetime, timedelta, timezone

START = datetime(2025, 4, 10, tzinfo=timezone.utc)


class Visitor:
    """Records one page view after another on a connection of its own."""

    def __init__(self, seed: int, is_over: threading.Event) -> None:
        self.dice = random.Random(seed)
        self.is_over = is_over
        self.recorded = 0
        self.lost = 0

    def page_view(self) -> dict[str, object]:
        return {
            "path": f"/live/{self.dice.randrange(30)}/",
            "session_key": f"live-{self.dice.randrange(2_000)}",
            "viewed_at": START + timedelta(seconds=self.dice.randrange(10**6)),
            "attributes": {"source": "live.example", "country": "DE"} if self.dice.random() < 0.5 else None,
        }

    def come(self, *, pause: float) -> None:
        """One by one."""
        from django_pagestats.recording import record_page_view

        while not self.is_over.wait(pause * self.dice.random()):
            self._count(record_page_view(**self.page_view()))

    def come_in_transactions(self, *, pause: float) -> None:
        from django.db import DatabaseError

        for number in itertools.count():
            if self.is_over.wait(pause * self.dice.random()):
                return
            try:
                were_recorded = self._one_transaction(pause=pause, is_kept=number % 5 != 0)
            except DatabaseError:  # the server went away under it: all of it is lost
                were_recorded = [False]
            for was_recorded in were_recorded:
                self._count(was_recorded)

    def _one_transaction(self, *, pause: float, is_kept: bool) -> list[bool]:
        from django.db import transaction

        from django_pagestats.recording import record_page_view

        with transaction.atomic():
            were_recorded = [record_page_view(**self.page_view()) for _ in range(3)]
            self.is_over.wait(pause * self.dice.random())
            if not is_kept:
                transaction.set_rollback(True)
        return were_recorded if is_kept else []

    def _count(self, was_recorded: bool) -> None:
        from django.db import close_old_connections

        self.recorded += was_recorded
        self.lost += not was_recorded
        if not was_recorded:
            close_old_connections()  # as the end of a request does


def main() -> None:
    import django
    from django.db import connection

    django.setup()
    is_over = threading.Event()
    if connection.vendor == "sqlite":  # one writer at a time: gently
        visitors = [Visitor(1, is_over)]
        ways = [lambda: visitors[0].come(pause=0.1)]
    else:
        visitors = [Visitor(1, is_over), Visitor(2, is_over)]
        ways = [lambda: visitors[0].come(pause=0.1), lambda: visitors[1].come_in_transactions(pause=0.1)]
    threads = [threading.Thread(target=way) for way in ways]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    is_over.set()
    for thread in threads:
        thread.join()
    sys.stdout.write(f"{sum(v.recorded for v in visitors)} {sum(v.lost for v in visitors)}\n")


if __name__ == "__main__":
    main()
