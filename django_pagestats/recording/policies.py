"""Under which policy visitors are told apart, kept as rows: a number says what its visitors were."""

from __future__ import annotations

from datetime import datetime

from django.db import connections, router

from django_pagestats.models import VisitorPolicy
from django_pagestats.recording import suspending
from django_pagestats.schemas import schema_of

#: alias and schema -> the policy that this process knows to be the last row's
_noted: dict[tuple[str, str | None], str] = {}


def note(policy: str, *, at: datetime, using: str | None = None) -> None:
    """A page view is being recorded under this policy: a row is written where the last one says another.

    Two processes that begin at once may write it twice; whoever reads takes equal neighbours for one.
    Raises the database's errors.
    """
    alias = using or router.db_for_write(VisitorPolicy)
    place = (alias, schema_of(alias))
    if _noted.get(place) == policy:
        return
    with suspending.watched(alias):
        _write(policy, at, alias)
    if not connections[alias].in_atomic_block:  # a row that may be rolled back is no row yet
        _noted[place] = policy


def _write(policy: str, at: datetime, alias: str) -> None:
    rows = VisitorPolicy.objects.using(alias)
    recorded = rows.filter(origin=VisitorPolicy.Origin.RECORDED)
    last = recorded.order_by("-since", "-pk").values_list("policy", flat=True).first()
    if last != policy:
        rows.create(policy=policy, origin=VisitorPolicy.Origin.RECORDED, since=at)


def forget() -> None:
    """Forget what this process remembers; for tests, and after a restore."""
    _noted.clear()
