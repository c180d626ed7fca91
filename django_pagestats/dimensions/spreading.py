"""How page views are spread over named dimensions: column by column, a look-up for each and what it counts by.

Many page views have the same attributes, or the same path. So a value is worked out once for each text of attributes,
each page, or each of both, according to what a dimension takes, and remembered. The columns of all page views follow by
look-ups alone: one for all dimensions that take the same.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import compress
from operator import itemgetter
from typing import NamedTuple

from django_pagestats.dimensions.named import ENTRY, NamedDimension
from django_pagestats.dimensions.values import Argument, Values, all_attributes_of, attributes_of

__all__ = ["Column", "Spread", "Spreading", "Values", "attributes_of"]

#: contexts, which are texts of attributes, pages, and pages of contexts whose subjects are remembered
MOST_REMEMBERED = 40_000
#: what is enough for an entry
ARRIVAL = {"source": ""}
#: contexts whose attributes are in memory at a time
PARSED = 5_000

#: the subject of a value; None where the page view is not counted
Column = Sequence[int | None]
#: the values of a dimension -> the numbers that stand for them, which no two dimensions share
Intern = Callable[[int, set[str]], Mapping[str, int]]


class Spread(NamedTuple):
    """Where some page views count beside site and page."""

    columns: Mapping[int, Column]  #: by the number of the dimension

    def part(self, start: int, end: int | None) -> Spread:
        """Of some of the page views."""
        return Spread({number: column[start:end] for number, column in self.columns.items()})

    def followed_by(self, more: Spread) -> Spread:
        """Both as one, of the same dimensions."""
        return Spread({number: [*self.columns.get(number, ()), *column] for number, column in more.columns.items()})


class Spreading:
    """Spreads page views over some dimensions, with a bounded memory of what their functions gave.

    `intern` gives numbers for values, and is asked for what is new, a dimension at a time. Raises DimensionError where
    a function raises, or gives anything but text that can be stored, or None.
    """

    def __init__(self, dimensions: Iterable[NamedDimension], intern: Intern) -> None:
        values = [Values(dimension) for dimension in dimensions]
        others = [it for it in values if it.dimension.source != ENTRY]
        self._of_contexts = _Remembered([it for it in others if it.takes == {"attributes"}], intern)
        self._of_pages = _Remembered([it for it in others if it.takes == {"path"}], intern)
        self._of_both = _Remembered([it for it in others if it.takes == {"path", "attributes"}], intern)
        #: an entry is known by its page alone, once it is known to be one: else there would be a pair for most of them
        self._of_entries = _Remembered([it for it in values if it.dimension.source == ENTRY], intern)
        #: of each remembered context, whether its page views are arrivals
        self._are_arrivals: dict[str, bool] = {}

    def spread(self, paths: Sequence[str], subjects: Sequence[int], texts: Sequence[str | None]) -> Spread:
        """Where page views count, by path, subject of the path, and attributes as the database writes them."""
        columns: dict[int, Column] = {}
        if self._of_contexts or self._of_entries:
            contexts = [text or "" for text in texts]
            self._look_at_contexts(set(contexts))
            columns |= self._of_contexts.columns(contexts)
        if self._of_entries:
            arrivals = list(map(self._are_arrivals.__getitem__, contexts))
            self._of_entries.look_at_pages(compress(subjects, arrivals), compress(paths, arrivals), ARRIVAL)
            columns |= self._of_entries.columns(
                [subject if is_arrival else None for subject, is_arrival in zip(subjects, arrivals, strict=True)]
            )
        if self._of_pages:
            self._of_pages.look_at_pages(subjects, paths)
            columns |= self._of_pages.columns(subjects)
        if self._of_both:
            pairs = list(zip(texts, subjects, strict=True))
            self._look_at_pairs(dict(zip(pairs, paths, strict=True)))
            columns |= self._of_both.columns(pairs)
        return Spread(columns)

    def _look_at_contexts(self, contexts: set[str]) -> None:
        if len(self._are_arrivals) > MOST_REMEMBERED:
            self._are_arrivals = {}
            self._of_contexts.forget()
        new = list(contexts.difference(self._are_arrivals))
        for start in range(0, len(new), PARSED):
            texts = new[start : start + PARSED]
            attributes = all_attributes_of(texts)
            self._of_contexts.look_at([(text, None, them) for text, them in zip(texts, attributes, strict=True)])
            self._are_arrivals.update((text, "source" in them) for text, them in zip(texts, attributes, strict=True))

    def _look_at_pairs(self, pairs: Mapping[tuple[str | None, int], str]) -> None:
        self._of_both.forget_if_full()
        new = [(pair, path) for pair, path in pairs.items() if pair not in self._of_both.subjects]
        attributes = {text: attributes_of(text or "") for text in {text for (text, _), _ in new}}
        self._of_both.look_at([(pair, path, attributes[pair[0]]) for pair, path in new])


class _Remembered:
    """The subjects of values of some dimensions that take the same, by what stands for that."""

    def __init__(self, values: Sequence[Values], intern: Intern) -> None:
        self._values = values
        self._intern = intern
        #: what stands for it -> the subject of each dimension; nothing is not counted
        self.subjects: dict[Hashable, tuple[int | None, ...]] = {}
        self.forget()

    def __bool__(self) -> bool:
        return bool(self._values)

    def forget(self) -> None:
        self.subjects = {None: (None,) * len(self._values)}

    def forget_if_full(self) -> None:
        if len(self.subjects) > MOST_REMEMBERED:
            self.forget()

    def look_at_pages(
        self, subjects: Iterable[int], paths: Iterable[str], attributes: Mapping[str, str] | None = None
    ) -> None:
        """Those that are not remembered."""
        self.forget_if_full()
        path_of = dict(zip(subjects, paths, strict=True))
        self.look_at([(it, path, attributes) for it, path in path_of.items() if it not in self.subjects])

    def look_at(self, new: Sequence[Argument]) -> None:
        if not self._values:
            return
        columns = [self._column(values, new) for values in self._values]
        self.subjects.update(zip(map(itemgetter(0), new), zip(*columns, strict=True), strict=True))

    def _column(self, values: Values, new: Sequence[Argument]) -> list[int | None]:
        found = values.listed(new)
        number_of: dict[str | None, int | None] = {None: None}
        if distinct := {value for value in found if value is not None}:
            numbers = self._intern(values.dimension.id, distinct)
            number_of.update((value, numbers[value]) for value in distinct)
        return list(map(number_of.__getitem__, found))

    def columns(self, keys: Iterable[Hashable]) -> dict[int, Column]:
        """Of page views, by what stands for them."""
        if not self._values:
            return {}
        rows = list(map(self.subjects.__getitem__, keys))
        return {values.dimension.id: list(map(itemgetter(place), rows)) for place, values in enumerate(self._values)}
