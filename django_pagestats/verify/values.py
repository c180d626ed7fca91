"""The values of named dimensions, found apart from the code that folds them.

Page views are told apart by few keys: the text of their attributes, their path, or both. So each function is asked once
for each key, within a bounded memory, and a page view costs a look-up for each kind of key.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, NamedTuple

from django.db.models import TextField
from django.db.models.functions import Cast

from django_pagestats.dimensions import ENTRY, NamedDimension
from django_pagestats.dimensions.values import Values, attributes_of
from django_pagestats.ids import IdCache, digest_of, known_subject_ids

#: texts of attributes, paths, and pairs of them whose values are remembered, of each
MOST_REMEMBERED = 20_000
#: subjects of values that are remembered, of each dimension
MOST_SUBJECTS = 40_000
#: the attributes of a page view as the database writes them
ATTRIBUTES_TEXT = Cast("attributes", TextField())

#: (number of a dimension, subject) of each value
Targets = tuple[tuple[int, int], ...]
#: key, and what a function of path and attributes is given for it
Arguments = list[tuple[Any, str | None, Mapping[str, Any] | None]]


class Column(NamedTuple):
    """A key of each page view, and where page views with such a key count; a key that is not there: nowhere."""

    keys: Sequence[Hashable]
    targets: Mapping[Any, Targets]


def stand_in(dimension: int, value: str) -> int:
    """A negative number, the same each time, for a value that has no Subject row."""
    return -1 - int(digest_of(f"{dimension} {value}")[:12], 16)


class NamedValues:
    """Where page views count by some named dimensions.

    Raises DimensionError where a function raises, or gives anything but text that can be stored, or None.
    """

    def __init__(self, using: str, dimensions: Iterable[NamedDimension]) -> None:
        self.using = using
        self.dimensions = tuple(dimensions)
        #: (dimension, number that stands in) -> value, of those without a Subject row
        self.unknown: dict[tuple[int, int], str] = {}
        self._entries = [dimension for dimension in self.dimensions if dimension.source == ENTRY]
        values = [Values(dimension) for dimension in self.dimensions if dimension.source != ENTRY]
        self._of_attributes = [it for it in values if it.takes == {"attributes"}]
        self._of_path = [it for it in values if it.takes == {"path"}]
        self._of_both = [it for it in values if it.takes == {"path", "attributes"}]
        self._subjects = {dimension.id: IdCache(MOST_SUBJECTS) for dimension in self.dimensions}
        self._forget()

    def _forget(self) -> None:
        self.unknown = {}
        self._attributes: dict[str, Mapping[str, Any]] = {}
        self._by_attributes: dict[str, Targets] = {}
        self._by_path: dict[str, Targets] = {}
        self._by_entry: dict[str, Targets] = {}
        self._by_both: dict[tuple[str, str], Targets] = {}

    def columns(self, paths: Sequence[str], texts: Sequence[str | None]) -> Iterator[Column]:
        """By path and attributes, these as the database writes them, of each page view."""
        remembered: tuple[Sized, ...] = (self._by_attributes, self._by_path, self._by_entry, self._by_both)
        if max(map(len, remembered)) > MOST_REMEMBERED:
            self._forget()
        written = [text or "" for text in texts]
        if self._entries or self._of_attributes or self._of_both:
            self._look_at_attributes(set(written))
        if self._of_attributes:
            yield Column(written, self._by_attributes)
        if self._entries:
            arrivals = {text for text in set(written) if self._attributes[text].get("source") is not None}
            landed = [path if text in arrivals else None for path, text in zip(paths, written, strict=True)]
            self._look_at_entries({path for path in landed if path is not None})
            yield Column(landed, self._by_entry)
        if self._of_path:
            self._look_at(self._of_path, [(path, path, None) for path in set(paths)], self._by_path)
            yield Column(paths, self._by_path)
        if self._of_both:
            pairs = list(zip(paths, written, strict=True))
            arguments: Arguments = [(pair, pair[0], self._attributes[pair[1]]) for pair in set(pairs)]
            self._look_at(self._of_both, arguments, self._by_both)
            yield Column(pairs, self._by_both)

    def _look_at_attributes(self, texts: set[str]) -> None:
        new = {text: attributes_of(text) for text in texts.difference(self._by_attributes)}
        self._attributes.update(new)
        arguments: Arguments = [(text, None, attributes) for text, attributes in new.items()]
        self._look_at(self._of_attributes, arguments, self._by_attributes)

    def _look_at_entries(self, paths: set[str]) -> None:
        """The path of an arrival, which is a page view with a source."""
        new = paths.difference(self._by_entry)
        found: dict[str, list[tuple[int, int]]] = {path: [] for path in new}
        for dimension in self._entries:
            self._add(found, dimension.id, {path: path for path in new})
        self._by_entry.update((path, tuple(targets)) for path, targets in found.items())

    def _look_at(self, wanted: Sequence[Values], arguments: Arguments, known: dict[Any, Targets]) -> None:
        """Find where the keys count that are not known yet."""
        new: Arguments = [those for those in arguments if those[0] not in known]
        found: dict[Any, list[tuple[int, int]]] = {key: [] for key, _, _ in new}
        for values in wanted:
            if values.dimension.is_attribute:
                given = _of_attribute(values, new)
            else:
                given = {key: value for key, value in values.of(new) if value is not None}
            self._add(found, values.dimension.id, given)
        known.update((key, tuple(targets)) for key, targets in found.items())

    def _add(self, found: dict[Any, list[tuple[int, int]]], dimension: int, given: Mapping[Any, str]) -> None:
        values = set(given.values())
        subject_of = self._subjects[dimension].resolve(
            values, lambda missing: known_subject_ids(self.using, missing, dimension)
        )
        target_of = {value: (dimension, subject_of.get(value) or self._stand_in(dimension, value)) for value in values}
        for key, value in given.items():
            found[key].append(target_of[value])

    def _stand_in(self, dimension: int, value: str) -> int:
        number = stand_in(dimension, value)
        self.unknown[dimension, number] = value
        return number


def _of_attribute(values: Values, arguments: Arguments) -> dict[Any, str]:
    """key -> value, of those that have the attribute; each distinct value is looked at once."""
    name = values.dimension.source
    given = {key: found[name] for key, _, found in arguments if found and found.get(name) is not None}
    distinct: Iterable[Any]
    try:
        distinct = set(given.values())
    except TypeError:  # an object or a list, which no value may be
        distinct = list(given.values())
    for _ in values.of([(None, None, {name: value}) for value in distinct]):
        pass  # it raises
    return given
