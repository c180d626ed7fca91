"""A queryset in the order of its objects' page views, which are in no table that it could be joined with.

So all of its objects are counted, and their numbers are written into the statement. That has a limit, which is told to
whoever asked: beyond it, there is no such order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from django.db.models import BigIntegerField, Case, F, Model, QuerySet, Value, When
from django.db.models.expressions import OrderBy

from django_pagestats.beside.lists import page_views_of

#: objects that are put in order, at the most: they are all read, and counted by some statements for each 500
MOST_OBJECTS = 5_000


class TooManyError(Exception):
    """There are more objects than are put in order."""


class ByPageViews(F):
    """What stands in an order for the page views, until they are counted; nobody who did it would get an error."""

    def __init__(self) -> None:
        super().__init__("pk")


@dataclass(frozen=True, slots=True)
class Counted:
    """The page views of all objects of a queryset."""

    page_views_by_path: Mapping[str, int]
    page_views_by_pk: Mapping[Any, int]

    def expression(self) -> Case:
        """They, by primary key; an object without a page has none."""
        pks: dict[int, list[Any]] = {}
        for pk, page_views in self.page_views_by_pk.items():
            if page_views:
                pks.setdefault(page_views, []).append(pk)
        cases = [When(pk__in=those, then=Value(page_views)) for page_views, those in pks.items()]
        return Case(*cases, default=Value(0), output_field=BigIntegerField())


def is_wanted(queryset: QuerySet[Any]) -> bool:
    """Whether page views are in its order."""
    return any(_is_by_page_views(part) for part in queryset.query.order_by)


def counted(
    queryset: QuerySet[Any],
    page_of: Callable[[Any], str | None],
    *,
    most: int = MOST_OBJECTS,
    count: Callable[[list[str]], Mapping[str, int] | None] = page_views_of,
) -> Counted | None:
    """The page views of all of its objects; None: they could not be had. Raises TooManyError for more than `most`."""
    # one more tells that they are too many, without counting them at first
    objects: list[Model] = list(queryset.order_by()[: most + 1])
    if len(objects) > most:
        raise TooManyError
    paths = {item.pk: page_of(item) for item in objects}
    found = count([path for path in paths.values() if path is not None])
    if found is None:
        return None
    return Counted(found, {pk: found.get(path, 0) for pk, path in paths.items() if path is not None})


def ordered(queryset: QuerySet[Any], by: Counted | None) -> QuerySet[Any]:
    """In the order of these page views where ByPageViews stands, or without it; always in one that is total."""
    order: list[Any] = []
    for part in queryset.query.order_by:
        if not _is_by_page_views(part):
            order.append(part)
        # where nobody viewed any all are equal; and servers would take the number 0 for a column's place
        elif by is not None and any(by.page_views_by_pk.values()):
            order.append(OrderBy(by.expression(), descending=part.descending))
    return queryset.order_by(*order, "-pk")


def _is_by_page_views(part: object) -> TypeGuard[OrderBy]:
    return isinstance(part, OrderBy) and isinstance(part.expression, ByPageViews)
