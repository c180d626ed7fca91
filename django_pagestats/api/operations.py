"""The questions that can be asked: each with its parameters, its columns, and the function that answers it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django_pagestats.api import answering, lists
from django_pagestats.api.answering import Answer, Asked, Question
from django_pagestats.api.parameters import (
    CONDITION_PATHS,
    CONDITION_WHERES,
    CURSOR,
    DIMENSION,
    FORMAT,
    GRANULARITY,
    LIMIT,
    MINUTES,
    ORDER,
    PATH,
    PATHS,
    PREFIX,
    RANGE,
    SERIES_END,
    SERIES_START,
    WHERE,
    Parameter,
)
from django_pagestats.api.values import COUNT, DATE_OR_INSTANT, FLAG, INSTANT, TEXT, Value


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One question, and what its answer has in it."""

    #: the last part of its URL
    name: str
    summary: str
    description: str
    parameters: Sequence[Parameter]
    #: of each row: its columns in CSV, its members in JSON
    columns: Sequence[Value]
    #: what a JSON answer has beside its rows
    fields: Sequence[Value] = ()
    #: whether there may be several rows; if not, JSON has the columns as members of the answer itself
    is_list: bool = True
    #: whether equal page views give equal answers, so that it has an ETag; what is of now, or of other tables, has none
    is_of_page_views: bool = True
    answer: Callable[[Asked], Answer]

    @property
    def all_parameters(self) -> Sequence[Parameter]:
        return (*self.parameters, FORMAT)


TIME_ZONE = Value("time_zone", TEXT, "The time zone whose days and hours the numbers are of.")
NEXT = Value(
    "next",
    TEXT,
    "The `cursor` of the next rows; null where there are none. The Link header has the whole URL.",
    is_nullable=True,
)
PAGE_VIEWS = Value("page_views", COUNT, "Page views in the range.")
VISITORS = Value("visitors", COUNT, "Distinct visitors in the range: exact, and no sum of days.")
VISITS = Value(
    "visits",
    COUNT,
    "Arrivals: page views that did not come from a page of the site. Null where the aggregates cannot tell: they have"
    " no dimension of sources or entries, very many page views are not folded yet, or one of these has attributes that"
    " cannot be read.",
    is_nullable=True,
)

OPERATIONS = (
    Operation(
        name="summary",
        summary="Totals of the whole site",
        description="Of all time or of a range of days.",
        parameters=RANGE,
        columns=(
            PAGE_VIEWS,
            VISITORS,
            VISITS,
            Value(
                "single_page_visitors",
                COUNT,
                "Visitors with exactly one page view in the range. Null where the aggregates cannot tell, as visits.",
                is_nullable=True,
            ),
            Value("paths", COUNT, "Distinct paths that were viewed."),
            Value(
                "first_viewed_at",
                INSTANT,
                "The earliest page view of the range; null: there is none.",
                is_nullable=True,
            ),
            Value("pending", COUNT, "Page views of all time that no aggregate counts yet. They are counted here."),
            Value("pending_is_exact", FLAG, "Whether pending is their number, and not that of the ids they span."),
        ),
        fields=(TIME_ZONE,),
        is_list=False,
        answer=answering.summary,
    ),
    Operation(
        name="pages",
        summary="The numbers of some pages",
        description="Of one path or several; a path that nobody viewed has 0.",
        parameters=(PATHS, *RANGE),
        columns=(Value("path", TEXT, "The path."), PAGE_VIEWS, VISITORS, VISITS),
        fields=(TIME_ZONE,),
        answer=answering.pages,
    ),
    Operation(
        name="time_series",
        summary="Page views and visitors by day or hour",
        description="Of the whole site, of a path, or of a value of a named dimension. There is a point for each day or"
        " hour, those without page views too; 100,000 at the most.",
        parameters=(GRANULARITY, SERIES_START, SERIES_END, PATH, WHERE),
        columns=(
            Value("start", DATE_OR_INSTANT, "The date of a day; the first instant of an hour, in UTC."),
            PAGE_VIEWS,
            VISITORS,
        ),
        fields=(TIME_ZONE,),
        answer=answering.time_series,
    ),
    Operation(
        name="top_pages",
        summary="The most viewed pages, or all pages",
        description="A list to be read in parts; see cursor. Ordered by page views it cannot go on once page views of"
        " its range, or below its prefix, came in (409): take a larger limit, a range that is over, or order=value.",
        parameters=(PREFIX, *RANGE, ORDER, LIMIT, CURSOR),
        columns=(Value("path", TEXT, "The path."), PAGE_VIEWS, VISITORS),
        fields=(TIME_ZONE, NEXT),
        answer=lists.top_pages,
    ),
    Operation(
        name="top",
        summary="The values of a named dimension",
        description="As of pages: the values with the most page views, or all of them.",
        parameters=(DIMENSION, *RANGE, ORDER, LIMIT, CURSOR),
        columns=(Value("value", TEXT, "The value."), PAGE_VIEWS, VISITORS),
        fields=(TIME_ZONE, NEXT),
        answer=lists.top,
    ),
    Operation(
        name="visitors",
        summary="How many visitors did all of several things",
        description="The visitors of each condition, and those of all of them together: who saw /pricing/ and came from"
        " news.example. The first row, without dimension and value, is of all together. Without a condition it is of"
        " the site.",
        parameters=(CONDITION_PATHS, CONDITION_WHERES, *RANGE),
        columns=(
            Value("dimension", TEXT, '"page", or a named dimension; null: all conditions together.', is_nullable=True),
            Value("value", TEXT, "The path or value.", is_nullable=True),
            VISITORS,
        ),
        fields=(TIME_ZONE, Value("visitors", COUNT, "Those of all conditions together.")),
        answer=answering.visitors,
    ),
    Operation(
        name="active_visitors",
        summary="How many visitors are on the site now",
        description="Those with a page view in the last minutes.",
        parameters=(MINUTES,),
        columns=(
            Value("minutes", COUNT, "So many minutes, up to now."),
            Value("visitors", COUNT, "Distinct visitors of these minutes."),
        ),
        is_list=False,
        is_of_page_views=False,
        answer=answering.active_visitors,
    ),
    Operation(
        name="active_pages",
        summary="Which pages are viewed now",
        description="The most viewed paths of the last minutes.",
        parameters=(MINUTES, LIMIT),
        columns=(
            Value("path", TEXT, "The path."),
            Value("page_views", COUNT, "Page views of these minutes."),
            Value("visitors", COUNT, "Distinct visitors of these minutes."),
        ),
        fields=(Value("minutes", COUNT, "So many minutes, up to now."),),
        is_of_page_views=False,
        answer=answering.active_pages,
    ),
    Operation(
        name="dimensions",
        summary="The named dimensions that there are",
        description="Those of the aggregates that answer.",
        parameters=(),
        columns=(
            Value("name", TEXT, "Its name."),
            Value("source", TEXT, "The attribute or the function that its values come from."),
            Value("is_current", FLAG, "Whether the settings still have it so; if not, the next rebuild changes it."),
        ),
        is_of_page_views=False,
        answer=answering.dimensions,
    ),
    Operation(
        name="visitor_policy",
        summary="How visitors were told apart",
        description="What a number of visitors means: the policies that were in force in any part of the range.",
        parameters=RANGE,
        columns=(
            Value("policy", TEXT, "A policy of PAGESTATS_VISITOR_KEY, or a function of the site's own."),
            Value("since", INSTANT, "From then on."),
            Value("until", INSTANT, "Up to then; null: it is in force.", is_nullable=True),
            Value("origin", TEXT, "recorded, or imported."),
        ),
        is_of_page_views=False,
        answer=answering.visitor_policy,
    ),
)


def checked_rows(operation: Operation, rows: Iterable[Sequence[Any]]) -> Iterable[Mapping[str, Any]]:
    """Rows with the names of their columns: as many as are described, so that the description cannot drift."""
    names = [column.name for column in operation.columns]
    return (dict(zip(names, row, strict=True)) for row in rows)


__all__ = ["OPERATIONS", "Answer", "Asked", "Operation", "Question", "checked_rows"]
