"""The check of a rebuild before its generation answers, and how another generation comes to answer."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db.models import Count, Max, Q, Sum

from django_pagestats.dimensions import NamedDimension, of_generation
from django_pagestats.models import Aggregate, Dimension, Generation, Granularity, PageView, raised_revision

#: page views, days of pages, and days of a named dimension, that one statement of the check counts
CHECK_PAGE_VIEWS = 500_000
CHECK_DAYS = 31
CHECK_VALUE_DAYS = 124
#: below any primary key: also what nobody folds is counted
BEFORE_ALL = -(2**63) + 1
#: the number of no day is below
BEFORE_ALL_DAYS = -(2**31)


class Check:
    """Counts a generation against its page views before it answers: COUNT(*) = SITE/ALL = the sum of each other level.

    Of a named dimension the sum of ALL rows is that of its DAY rows, and not above COUNT(*): how many page views have a
    value only verify_aggregates counts, since every page view's attributes are read for that.

    In steps of bounded size, so that it fits links: `state` is where it stands, and goes into JSON. Where the cursor
    has moved on, page views that were counted are not counted again, since below it none appears any more: else a
    check that takes longer than a minute would begin anew with each tick of keeping up.
    """

    def __init__(self, using: str, generation: int, cursor: int, state: dict[str, Any] | None) -> None:
        self.using = using
        self.cursor = cursor
        self.generation = generation
        self.aggregates = Aggregate.objects.using(using).filter(generation=generation)
        if state is None:
            state = {"cursor": None, "page_views": 0, "after": BEFORE_ALL}
        if state["cursor"] != cursor:
            state = {**state, "cursor": cursor, "page_days": 0, "from_day": None, "values": {}}
        state.setdefault("values", {})  # it is of a check that was begun before there were named dimensions
        self.state = state

    @cached_property
    def dimensions(self) -> tuple[NamedDimension, ...]:
        generations = Generation.objects.using(self.using).filter(pk=self.generation)
        return of_generation(generations.values_list("dimensions", flat=True).get())

    def step(self) -> bool:
        """Count the next portion; True when all is counted."""
        return self._count_page_views() and self._sum_page_days() and self._sum_values()

    def _count_page_views(self) -> bool:
        after = self.state["after"]
        if after >= self.cursor:
            return True
        following = PageView.objects.using(self.using).filter(pk__gt=after, pk__lte=self.cursor)
        counted = following.order_by("pk")[:CHECK_PAGE_VIEWS].aggregate(count=Count("pk"), upto=Max("pk"))
        self.state["page_views"] += counted["count"]
        self.state["after"] = self.cursor if counted["count"] < CHECK_PAGE_VIEWS else counted["upto"]
        return False

    def _sum_page_days(self) -> bool:
        added, end = self._sum_days(Dimension.PAGE, self.state["from_day"], CHECK_DAYS)
        if end is None:
            return True
        self.state["page_days"] += added
        self.state["from_day"] = end
        return False

    def _sum_values(self) -> bool:
        """The same of one named dimension after another; of each, [the sum so far, the next day or None]."""
        sums = self.state["values"]
        for dimension in self.dimensions:
            total, first = sums.get(str(dimension.id), (0, BEFORE_ALL_DAYS))
            if first is not None:
                added, end = self._sum_days(dimension.id, first, CHECK_VALUE_DAYS)
                sums[str(dimension.id)] = [total + added, end]
                if end is not None:
                    return False
        return True

    def _sum_days(self, dimension: int, first: int | None, count: int) -> tuple[int, int | None]:
        """What the rows of the next so many days add up to, and where to go on; None: there are no more."""
        days = self.aggregates.filter(dimension=dimension, granularity=Granularity.DAY)
        if first is not None:
            days = days.filter(bucket__gte=first)
        next_day = days.order_by("bucket").values_list("bucket", flat=True).first()
        if next_day is None:
            return 0, None
        end = next_day + count
        return days.filter(bucket__lt=end).aggregate(n=Sum("page_views"))["n"], end

    def difference(self) -> str:
        """What does not add up, or ""; called when all is counted."""
        counted = self.state["page_views"]
        sums = {
            (Dimension.SITE, Granularity.ALL): self._sum(Dimension.SITE, Granularity.ALL),
            (Dimension.SITE, Granularity.DAY): self._sum(Dimension.SITE, Granularity.DAY),
            (Dimension.SITE, Granularity.HOUR): self._sum(Dimension.SITE, Granularity.HOUR),
            (Dimension.PAGE, Granularity.ALL): self._sum(Dimension.PAGE, Granularity.ALL),
            (Dimension.PAGE, Granularity.DAY): self.state["page_days"],
        }
        wrong = [f"{d.name}/{g.name} {total}" for (d, g), total in sums.items() if total != counted]
        for named in self.dimensions:
            of_all, (of_days, _) = self._sum(named.id, Granularity.ALL), self.state["values"][str(named.id)]
            if of_all != of_days or of_all > counted:
                wrong.append(f"{named.name}/ALL {of_all} and {named.name}/DAY {of_days}")
        return f"{counted} page views up to {self.cursor}, but {', '.join(wrong)}" if wrong else ""

    def _sum(self, dimension: int, granularity: Granularity) -> int:
        rows = self.aggregates.filter(dimension=dimension, granularity=granularity)
        if granularity == Granularity.ALL:
            rows = rows.filter(bucket=Generation.objects.using(self.using).get(pk=self.generation).all_bucket)
        return rows.aggregate(n=Sum("page_views"))["n"] or 0


def lock(using: str, generation: int) -> dict[int, Generation] | None:
    """Lock the generation that answers and one more, if there is such a one, and give them as they are then, by id.

    In the order of their ids, like every fold; in a READ COMMITTED transaction. None, if another one came to answer
    before the lock was there: then end the transaction, and begin anew.
    """
    generations = Generation.objects.using(using)
    # the one asked for by itself, and not in a list: a number that no id can be then finds nothing
    wanted = Q(pk__in=list(generations.filter(is_active=True).values_list("pk", flat=True))) | Q(pk=generation)
    locked = {found.pk: found for found in generations.filter(wanted).order_by("pk").select_for_update()}
    return None if generations.filter(is_active=True).exclude(wanted).exists() else locked


def switch(using: str, generation: int, locked: Collection[Generation], *, keep_old: bool, now: datetime) -> None:
    """Make a generation answer instead of the one that does, in the transaction that has locked them.

    The old one is kept, or it is doomed at once: nothing makes it answer again, and a sweep deletes its rows. Answers
    that read across the switch see it by the revisions, also when the same generation comes to answer again.
    """
    generations = Generation.objects.using(using)
    old = [found.pk for found in locked if found.is_active and found.pk != generation]
    fate = {"kept_at" if keep_old else "doomed_at": now}
    generations.filter(pk__in=old).update(is_active=None, revision=raised_revision(), settling=None, **fate)
    generations.filter(pk=generation).update(
        is_active=True, kept_at=None, revision=raised_revision(), settling=None, **_tended(locked)
    )


def _tended(locked: Collection[Generation]) -> dict[str, Any]:
    """Whoever kept up what answered goes on with what does now."""
    return next(({"tended_at": it.tended_at, "tended_by": it.tended_by} for it in locked if it.is_active), {})
