"""What answers are made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True, slots=True)
class PageStats:
    """One page among the top ones."""

    path: str
    page_views: int
    visitors: int


@dataclass(frozen=True, slots=True)
class ValueStats:
    """One value among the top ones of a named dimension."""

    value: str
    page_views: int
    visitors: int


@dataclass(frozen=True, slots=True)
class DimensionInfo:
    """A named dimension of the aggregates that answer."""

    name: str
    #: the name of an attribute, or the dotted path of a function
    source: str
    #: whether PAGESTATS_DIMENSIONS has it with this source; if not, the next rebuild leaves it out or changes it
    is_current: bool


@dataclass(frozen=True, slots=True)
class Point:
    """One bucket of a time series."""

    #: the local date of a day; the first instant of an hour, an aware datetime in UTC
    start: date | datetime
    page_views: int
    visitors: int


@dataclass(frozen=True, slots=True)
class Policy:
    """How visitors were told apart for a time."""

    #: a name of PAGESTATS_VISITOR_KEY, or a dotted path of the site's own
    policy: str
    since: datetime
    #: recorded: the end, None where it is in force; imported: the instant of the last page view
    until: datetime | None
    #: "recorded" or "imported"
    origin: str


@dataclass(frozen=True, slots=True)
class Summary:
    """The site, of all time or of a range."""

    page_views: int
    visitors: int
    paths: int
    #: the earliest in the table; None where there is no page view
    first_viewed_at: datetime | None
    #: page views of all time that no aggregate counts yet; beyond PAGESTATS_TAIL_LIMIT the number of ids they span
    pending: int
    pending_is_exact: bool
    #: whether the other numbers count the pending page views too
    is_exact: bool
