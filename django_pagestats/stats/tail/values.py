"""The values of a dimension among the page views of a tail in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from django_pagestats.dimensions import NamedDimension, Spread, Spreading, Values
from django_pagestats.merging.reading import read_attributes
from django_pagestats.stats.statements import MovedError
from django_pagestats.tally import Counts

#: page views whose attributes are read by one statement
ROWS_PER_STATEMENT = 2_500
#: characters of texts that are kept, as of a chunk
MOST_CHARACTERS = 8_000_000


class Valued(NamedTuple):
    """Values, and what is counted for each."""

    numbers: Mapping[str, int]  #: value -> the number that stands for it
    days: Counts  #: (day, number) -> the visitor of each page view


class Attributes:
    """The attributes of page views in memory, read when they are asked for.

    Tails that are cut out of one another share them. Their texts are kept as long as they are not too long together;
    those beyond are read again for each dimension.
    """

    def __init__(self, using: str) -> None:
        self._using = using
        self._kept: dict[int, str | None] = {}
        self._texts: dict[str, str] = {}
        self._characters = 0

    def of(self, ids: Sequence[int]) -> list[str | None]:
        """As the database writes them, by one statement at the most; raises MovedError where a page view is gone."""
        missing = [pk for pk in ids if pk not in self._kept]
        found = read_attributes(self._using, missing) if missing else {}
        if len(found) < len(missing):
            raise MovedError
        self._keep(found)
        return [found[pk] if pk in found else self._kept[pk] for pk in ids]

    def _keep(self, found: Mapping[int, str | None]) -> None:
        new = {text for text in found.values() if text is not None}.difference(self._texts)
        characters = self._characters + sum(map(len, new))
        if characters > MOST_CHARACTERS:
            return
        self._characters = characters
        self._texts.update((text, text) for text in new)
        # page views with the same attributes share one text
        self._kept.update((pk, None if text is None else self._texts[text]) for pk, text in found.items())


def spread_over(
    dimension: NamedDimension,
    ids: Sequence[int],
    paths: Sequence[str],
    of_path: Sequence[int],
    attributes: Attributes,
) -> tuple[Spread, dict[str, int]]:
    """Where page views count in one dimension, and the numbers of its values.

    `of_path` says which of `paths` each has. One dimension at a time: a function that raises spoils no other answer.
    Raises DimensionError.
    """
    numbers: dict[str, int] = {}

    def intern(_: int, values: set[str]) -> Mapping[str, int]:
        for value in values:
            numbers.setdefault(value, len(numbers))
        return numbers

    takes_attributes = "attributes" in Values(dimension).takes
    spreading = Spreading([dimension], intern)
    spread = Spread({})
    for start in range(0, len(ids), ROWS_PER_STATEMENT):
        portion = slice(start, start + ROWS_PER_STATEMENT)
        subjects = of_path[portion]
        texts = attributes.of(ids[portion]) if takes_attributes else [None] * len(subjects)
        spread = spread.followed_by(spreading.spread([paths[number] for number in subjects], subjects, texts))
    return spread, numbers
