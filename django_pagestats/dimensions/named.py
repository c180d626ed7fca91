"""Which named dimensions there are: those of the settings, and those that a generation was built with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django_pagestats.buckets import Dimension
from django_pagestats.conf import conf

#: ids below are taken by the site and the pages; they and those of all named dimensions go into a small integer
FIRST_ID = max(Dimension) + 1
#: what counts arrivals by the page they landed on
ENTRY = "django_pagestats.dimensions.entry"

#: how a generation keeps its own: a list of objects with these three; None: it is of before there were any
Stored = Sequence[Mapping[str, Any]] | None


class NamedDimension(NamedTuple):
    """One dimension, with the number that stands for it in subjects and aggregates."""

    name: str
    id: int
    source: str  #: the name of an attribute, or the dotted path of a function

    @property
    def is_attribute(self) -> bool:
        return "." not in self.source


def of_generation(stored: Stored) -> tuple[NamedDimension, ...]:
    """Those that a generation was built with."""
    return tuple(NamedDimension(it["name"], it["id"], it["source"]) for it in stored or ())


def of_settings(generations: Iterable[Stored] = ()) -> tuple[NamedDimension, ...]:
    """Those of PAGESTATS_DIMENSIONS; a name that one of these generations knows has the number that it has there."""
    known = {it.name: it.id for stored in generations for it in of_generation(stored)}
    found = []
    for name, source in dict(conf.DIMENSIONS).items():
        number = known.setdefault(name, max([FIRST_ID - 1, *known.values()]) + 1)
        found.append(NamedDimension(name, number, source))
    return tuple(found)


def stored(dimensions: Iterable[NamedDimension]) -> list[dict[str, Any]]:
    """As a generation keeps them."""
    return [dimension._asdict() for dimension in dimensions]
