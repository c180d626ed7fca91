"""What a question is asked of: the site, a path, or a value of a named dimension or a group of them, in a range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django_pagestats.conf import conf
from django_pagestats.conf.complaints import RESERVED_DIMENSIONS
from django_pagestats.dimensions import NamedDimension
from django_pagestats.exceptions import UnknownDimensionError
from django_pagestats.merging.reading import can_hold
from django_pagestats.stats.ranges import Bound, Span, page_span, site_span
from django_pagestats.stats.reading import Moment
from django_pagestats.stats.topics import PAGES, GroupOf, Topic


@dataclass(frozen=True, slots=True)
class InGroup:
    """All values of a named dimension that a pure function gives one name, as one."""

    dimension: str
    group_of: GroupOf
    name: str


#: the name of a named dimension, and one of its values; or a group of them
Condition = Mapping[str, str] | InGroup


def topic_of(moment: Moment, path: str | None, where: Condition | None) -> Topic | None:
    """The topic of a question, None for the whole site; raises ValueError, and UnknownDimensionError."""
    if isinstance(where, InGroup) and path is None:
        return Topic(dimension_of(moment, where.dimension), where.name, where.group_of)
    if where is not None and not isinstance(where, Mapping):
        raise ValueError(f'where={where!r}: a dimension and its value, as in {{"country": "DE"}}, would do.')
    conditions = dict(where or {})
    if len(conditions) + (path is not None) > 1:
        raise ValueError(
            f"{'' if path is None else f'path={path!r} and '}where={where!r}: one condition in all would do. Page views"
            " of a combination are in no aggregate. Its visitors can be told: intersect the sets that stats.visitors()"
            " gives for each condition."
        )
    if path is not None:
        return Topic(PAGES, _text("path", path, ", or None for the whole site,"))
    for name, value in conditions.items():
        return Topic(dimension_of(moment, name), _text(f"where[{name!r}]", value))
    return None


def _text(name: str, value: object, alternative: str = "") -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name}={value!r}: text{alternative} would do.")
    return value


def dimension_of(moment: Moment, name: str) -> NamedDimension:
    """A dimension of the generation that answers; raises ValueError, and UnknownDimensionError."""
    _text("dimension", name)
    for dimension in moment.folded.dimensions:
        if dimension.name == name:
            return dimension
    raise _unknown(moment, f"no dimension {name!r}", is_set=name in dict(conf.DIMENSIONS), name=name)


def dimension_of_source(moment: Moment, *sources: str) -> NamedDimension:
    """The one that takes its values from the first of these sources that any has; raises UnknownDimensionError."""
    there_are = {dimension.source: dimension for dimension in reversed(moment.folded.dimensions)}
    for source in sources:
        if source in there_are:
            return there_are[source]
    is_set = not set(sources).isdisjoint(dict(conf.DIMENSIONS).values())
    raise _unknown(moment, f"no dimension whose source is {' or '.join(map(repr, sources))}", is_set=is_set)


def _unknown(moment: Moment, which: str, *, is_set: bool, name: str = "") -> UnknownDimensionError:
    names = ", ".join(dimension.name for dimension in moment.folded.dimensions) or "none"
    with_rebuild = "and manage.py backfill_aggregates --rebuild gives it its whole history"
    if name in RESERVED_DIMENSIONS:
        cure = "Paths are asked for by path=, stats.top_pages() and stats.count_paths()"
    elif is_set:
        cure = f"PAGESTATS_DIMENSIONS has one, {with_rebuild}"
    else:
        cure = f"Add one to PAGESTATS_DIMENSIONS, {with_rebuild}"
    error = UnknownDimensionError(f"The aggregates that answer have {which}. There are: {names}. {cure}.")
    error.name = name
    return error


def may_exist(moment: Moment, topic: Topic | None) -> bool:
    """Whether a page view can be of this topic; if not, all that is to be said of it is 0."""
    return topic is None or can_hold(moment.using, topic.value)


def span_of(moment: Moment, topic: Topic | None, start: Bound, end: Bound) -> Span:
    """The rows by which a range is answered: hours are kept of the whole site only."""
    to_span = site_span if topic is None else page_span
    return moment.span(to_span(start, end, lambda: moment.calendar))
