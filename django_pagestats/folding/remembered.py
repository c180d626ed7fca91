"""Which ids stand for the texts of page views: those that were given out are remembered from chunk to chunk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from django_pagestats.dimensions import NamedDimension, Spread, Spreading
from django_pagestats.exceptions import DimensionError
from django_pagestats.folding.failing import located
from django_pagestats.ids import IdCache, Witnesses, subject_ids, visitor_ids
from django_pagestats.merging import PageViewColumns

#: ids of values that are remembered, of each named dimension
MOST_VALUES = 40_000


class RememberedIds:
    """Ids of the visitors, paths and values of page views; what is new gets one in a transaction of its own."""

    def __init__(self, using: str, dimensions: Sequence[NamedDimension]) -> None:
        self.using = using
        self._dimensions = dimensions
        self._subjects, self._visitors = IdCache(), IdCache()
        #: by the number of the dimension
        self._values = {dimension.id: IdCache(MOST_VALUES) for dimension in dimensions}

    @cached_property
    def _spreading(self) -> Spreading | None:
        """Made for the first page views: a function that is gone then fails a chunk, and with it the run."""
        return Spreading(self._dimensions, self._of_values) if self._dimensions else None

    def of(self, page_views: PageViewColumns) -> tuple[list[int], list[int], Spread | None]:
        """The subject of the page and the visitor of each, and where they count beside site and page."""
        _, paths, session_keys, _, attributes, named = page_views
        subject_of = subject_ids(self.using, paths, self._subjects)
        visitor_of = visitor_ids(self.using, session_keys, self._visitors)
        subjects = list(map(subject_of.__getitem__, paths))
        visitors = list(map(visitor_of.__getitem__, session_keys))
        try:
            spread = self._spreading.spread(paths, subjects, attributes, named) if self._spreading else None
        except DimensionError as error:
            ids = page_views.ids
            told = located(self.using, error, self._dimensions, after=ids[0] - 1, upto=ids[-1], limit=len(ids))
            raise told from error.__cause__
        return subjects, visitors, spread

    @property
    def names(self) -> Sequence[str] | None:
        """The attributes that are enough; None: all are wanted."""
        return self._spreading.names if self._spreading else None

    def _of_values(self, dimension: int, values: set[str]) -> Mapping[str, int]:
        return subject_ids(self.using, values, self._values[dimension], dimension)

    def witnesses(self) -> Witnesses:
        """By which it is seen that the database still has all of them."""
        caches = (self._subjects, *self._values.values())
        return Witnesses(tuple(it for cache in caches for it in cache.witnesses()), self._visitors.witnesses())

    def confirm(self, witnesses: Witnesses) -> None:
        """They were seen in the database; of all subjects, which are rows of one table, the newest is enough."""
        for cache in (self._subjects, *self._values.values()):
            cache.confirm(witnesses.subjects)
        self._visitors.confirm(witnesses.visitors)
