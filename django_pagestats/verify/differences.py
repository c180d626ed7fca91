"""What a verification finds."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django_pagestats.buckets import Calendar, Granularity, day_date
from django_pagestats.tally import Level


class What(enum.Enum):
    """In what the stored and the counted differ."""

    MISSING_ROW = "missing row"  #: page views, and no aggregate row
    EXTRA_ROW = "extra row"  #: an aggregate row, and no page views
    PAGE_VIEWS = "page views"  #: their number
    VISITORS = "visitors"  #: the number in the row
    VISITOR_SET = "visitor set"  #: the members of the set
    UNREADABLE_SET = "unreadable set"  #: bytes that are no set
    REPEAT_SET = "repeat set"  #: the members of the set of those with at least two page views
    UNREADABLE_REPEAT_SET = "unreadable repeat set"  #: bytes of that set that are none
    UNKNOWN_VISITORS = "unknown visitors"  #: page views whose session key has no Visitor row
    NO_VISITOR = "no Visitor row"  #: a member of a set that is nobody's id
    NO_SUBJECT = "no Subject row"  #: a subject of aggregate rows that is no path's id, or no value's
    CURSOR = "cursor"  #: page views are gone from the end of the table
    UNCOUNTABLE = "cannot be counted"  #: a page view whose time, or text, is none
    UNKNOWN_KIND = "unknown kind of row"  #: a dimension or granularity that nobody keeps


VISITOR_GONE = "visitor rows were deleted, or damaged: whoever comes back counts as somebody else until a rebuild"
SUBJECT_GONE = "subject rows were deleted, or damaged: the {what} counts as another one until a rebuild"


@dataclass(frozen=True)
class Difference:
    """One difference between what is stored and what was counted.

    `stored` is None where nothing is stored, `counted` None where there is nothing to count. For an ALL row `counted`
    comes from its DAY rows, for all others from the page views.
    """

    what: What
    #: "site", "page", or the name of a named dimension
    dimension: str = ""
    granularity: str = ""
    subject: str = ""
    bucket: int | None = None
    #: the bucket's local date, or the local time at which its hour begins
    time: str = ""
    stored: int | None = None
    counted: int | None = None
    detail: str = ""

    def __str__(self) -> str:
        bucket = "" if self.bucket is None else f"({self.bucket})"
        place = " ".join(word for word in (self.dimension, self.subject, self.granularity, self.time, bucket) if word)
        stored = "nothing" if self.stored is None else self.stored
        counted = "nothing" if self.counted is None else self.counted
        detail = f" ({self.detail})" if self.detail else ""
        return f"{place}: {self.what.value}: {stored} stored, {counted} counted{detail}"

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "what": self.what.value}


def bucket_time(level: Level, bucket: int, calendar: Calendar) -> str:
    """The bucket in words; empty for ALL, and for a number that is no time."""
    try:
        if level.granularity == Granularity.DAY:
            return day_date(bucket).isoformat()
        if level.granularity == Granularity.HOUR:
            start = datetime.fromtimestamp(calendar.hour_start(bucket), calendar.zone)
            return start.isoformat(sep=" ", timespec="minutes")
    except (OverflowError, ValueError, OSError):
        return ""
    return ""
