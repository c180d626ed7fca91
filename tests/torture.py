"""How much of the crash matrix (tests/test_crash_*.py) a run of the tests does.

PAGESTATS_TORTURE   unset: the bounded form, part of `make test`. A number: the long form, with so many rounds of random
                    seeds, what `make torture` does. 0: nothing of it, for the pairs of versions beside the newest
PAGESTATS_TURN      sqlite, postgresql or mariadb: where the tests marked `in_turn` run in the bounded form. Unset: a
                    different one each day, by the number of the day in UTC, modulo 3. Those of servers only go by the
                    same number, modulo 2
PAGESTATS_DRAW      a number from which the seeds of the long form come; unset: drawn by lot (tests/workers.py)
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from datetime import datetime, timezone

import pytest

from testproject.settings import KIND

KINDS = ("sqlite", "postgresql", "mariadb")
SERVERS = ("postgresql", "mariadb")
FORM = os.environ.get("PAGESTATS_TORTURE") or "bounded"
IS_LONG = FORM not in ("bounded", "0")
IS_OFF = FORM == "0"


def turn(shift: int = 0, *, of: Sequence[str] = KINDS) -> str:
    """The database in turn; `shift` places on, for tests that need not all be on the same one."""
    named = os.environ.get("PAGESTATS_TURN")
    today = datetime.now(timezone.utc).date()
    return of[((KINDS.index(named) if named else today.toordinal()) + shift) % len(of)]


def part(of: int) -> int:
    """Which of so many parts of something long is for today; in the long form all of them are done."""
    return datetime.now(timezone.utc).date().toordinal() // len(KINDS) % of


def is_chosen(item: pytest.Item) -> bool:
    """Whether a test belongs to this form, on this database."""
    if IS_LONG:
        return True
    if item.get_closest_marker("torture") is not None:
        return False
    marker = item.get_closest_marker("in_turn")
    return marker is None or turn(*marker.args, **marker.kwargs) == KIND


def seeds() -> list[int]:
    """One for each round: always the same one in the bounded form. A test's name shows its seed.

    PAGESTATS_SEED plays one round again.
    """
    if "PAGESTATS_SEED" in os.environ:
        return [int(os.environ["PAGESTATS_SEED"])]
    lots = random.Random(os.environ.get("PAGESTATS_DRAW"))
    return [lots.randrange(10**6) for _ in range(int(FORM))] if IS_LONG else [1]


def new_draw() -> str:
    return str(random.randrange(10**6))


def described() -> str:
    rounds = (
        f"long form, {FORM} rounds" if IS_LONG else f"bounded form, what goes in turn is for {turn()} (PAGESTATS_TURN)"
    )
    return f"crash matrix: {'left out' if IS_OFF else rounds}"
