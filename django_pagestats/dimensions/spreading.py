"""How page views are spread over named dimensions: column by column, a look-up for each and what it counts by.

Many page views have the same attributes, or the same path. So a value is worked out once for each text of attributes,
each page, or each of both, according to what a dimension takes, and remembered. The columns of all page views follow by
look-ups alone: one for all dimensions that take the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import compress, islice, repeat
from typing import Any, NamedTuple

from django_pagestats.dimensions.named import ENTRY, NamedDimension
from django_pagestats.dimensions.values import Values, all_attributes_of, attributes_of

#: contexts, which are texts of attributes, pages, and pages of contexts whose subjects are remembered
MOST_REMEMBERED = 40_000
#: what is enough for an entry
ARRIVAL = {"source": ""}
#: contexts whose attributes are in memory at a time
PARSED = 5_000
#: rows that are made columns of at a time
TURNED = 1_000

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
        #: by the text of attributes; last of all whether it is of arrivals
        self._contexts = _Remembered([it for it in others if it.takes == {"attributes"}], intern, more=1)
        self._pages = _Remembered([it for it in others if it.takes == {"path"}], intern)
        self._pairs = _Remembered([it for it in others if it.takes == {"path", "attributes"}], intern)
        #: an entry is known by its page, once it is known to be one: by pairs of both there would be far more of them
        self._entries = _Remembered([it for it in values if it.dimension.source == ENTRY], intern)

        #: the attributes that are enough; None: a function takes them all
        self.names: Sequence[str] | None = sorted({it.dimension.source for it in others if it.dimension.is_attribute})
        if self._entries:
            self.names = sorted({*self.names, "source"})
        if any("attributes" in it.takes and not it.dimension.is_attribute for it in others):
            self.names = None

    def spread(
        self,
        paths: Sequence[str],
        subjects: Sequence[int],
        texts: Sequence[str | None],
        named: Mapping[str, Sequence[Any]] | None = None,
    ) -> Spread:
        """Where page views count, by path, subject of the path, and attributes as the database writes them.

        Or by the values of those that are enough, `named`.
        """
        columns: dict[int, Column] = {}
        arrivals: Sequence[Any] = ()
        if named is not None:
            columns |= self._contexts.numbered(self._contexts.columns_of(named))
            arrivals = [source is not None for source in named["source"]] if self._entries else ()
        elif self._contexts or self._entries:
            contexts = texts if all(texts) else [text or "" for text in texts]
            self._look_at_contexts(contexts)
            *of_contexts, arrivals = self._contexts.columns(contexts)
            columns |= self._contexts.numbered(of_contexts)
        if self._entries:
            self._look_at_pages(self._entries, compress(subjects, arrivals), compress(paths, arrivals))
            landed = [subject if is_one else None for subject, is_one in zip(subjects, arrivals, strict=True)]
            columns |= self._entries.numbered(self._entries.columns(landed))
        if self._pages:
            self._look_at_pages(self._pages, subjects, paths)
            columns |= self._pages.numbered(self._pages.columns(subjects))
        if self._pairs:
            pairs = list(zip(texts, subjects, strict=True))
            self._look_at_pairs(dict(zip(pairs, paths, strict=True)))
            columns |= self._pairs.numbered(self._pairs.columns(pairs))
        return Spread(columns)

    def _look_at_contexts(self, contexts: Sequence[str | None]) -> None:
        new = self._contexts.new_of(set(contexts))
        for start in range(0, len(new), PARSED):
            texts = new[start : start + PARSED]
            attributes = all_attributes_of(texts)
            arrivals = [them.get("source") is not None for them in attributes]
            self._contexts.look_at(texts, repeat(None, len(texts)), attributes, more=[arrivals])

    def _look_at_pages(self, remembered: _Remembered, subjects: Iterable[int], paths: Iterable[str]) -> None:
        path_of = dict(zip(subjects, paths, strict=True))
        new = remembered.new_of(path_of)
        remembered.look_at(new, [path_of[subject] for subject in new], [ARRIVAL] * len(new))

    def _look_at_pairs(self, path_of: Mapping[tuple[str | None, int], str]) -> None:
        new = self._pairs.new_of(path_of)
        attributes = {text: attributes_of(text or "") for text in {text for text, _ in new}}
        self._pairs.look_at(new, [path_of[pair] for pair in new], [attributes[text] for text, _ in new])


class _Remembered:
    """The subjects of values of some dimensions that take the same, by what stands for that."""

    def __init__(self, values: Sequence[Values], intern: Intern, *, more: int = 0) -> None:
        self._values = values
        self._intern = intern
        #: columns, of dimensions and more
        self._width = len(values) + more
        #: what stands for it -> the subject of each dimension; nothing is not counted
        self.subjects: dict[Any, tuple[int | None, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._values)

    def new_of(self, keys: Iterable[Any]) -> list[Any]:
        """Those that are not remembered; where too many are, all are forgotten first."""
        if not self.subjects or len(self.subjects) > MOST_REMEMBERED:
            self.subjects = {None: (None,) * self._width}
        return [key for key in keys if key not in self.subjects]

    def look_at(
        self,
        new: Sequence[Any],
        paths: Iterable[str | None],
        attributes: Sequence[Mapping[str, Any]],
        *,
        more: Sequence[Sequence[int]] = (),
    ) -> None:
        """Find the subjects of these, by their paths and attributes, of which one may be left out."""
        columns = [self._subjects_of(values, values.listed(paths, attributes)) for values in self._values]
        self.subjects.update(zip(new, zip(*columns, *more, strict=True), strict=True))

    def _subjects_of(self, values: Values, found: Sequence[str | None]) -> Column:
        number_of: dict[str | None, int | None] = {None: None}
        if distinct := {value for value in set(found) if value is not None}:
            numbers = self._intern(values.dimension.id, distinct)
            number_of.update((value, numbers[value]) for value in distinct)
        return list(map(number_of.__getitem__, found))

    def columns(self, keys: Sequence[Any]) -> list[list[int | None]]:
        """Of each dimension, the subjects of page views by what stands for them."""
        rows = map(self.subjects.__getitem__, keys)
        columns: list[list[int | None]] = [[] for _ in range(self._width)]
        # a portion at a time: what is turned around stays near to the processor
        while portion := list(islice(rows, TURNED)):
            for column, subjects in zip(columns, zip(*portion, strict=True), strict=True):
                column += subjects
        return columns

    def columns_of(self, named: Mapping[str, Sequence[Any]]) -> list[Column]:
        """Of each dimension, which is an attribute, the subjects of page views by their values."""
        return [self._subjects_of(it, it.checked(named[it.dimension.source])) for it in self._values]

    def numbered(self, columns: Iterable[Column]) -> dict[int, Column]:
        return {values.dimension.id: column for values, column in zip(self._values, columns, strict=True)}
