"""All rows of a table as CSV: with what its numbers mean in its head, and harmless in a spreadsheet."""

from __future__ import annotations

import codecs
import csv
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import IO, Any

from django_pagestats.dashboard.audience import Audience, audience_of
from django_pagestats.dashboard.audience_figures import audience_totals
from django_pagestats.dashboard.channels import channels_of, rows_of_channels
from django_pagestats.dashboard.crossed import crossed_lines
from django_pagestats.dashboard.figures import compared_days, totals_of
from django_pagestats.dashboard.kinds import Kind
from django_pagestats.dashboard.refused import refused_choices
from django_pagestats.dashboard.scope import Scope, bounds, scope_of
from django_pagestats.dashboard.tables import wanted_of
from django_pagestats.dashboard.trust import ahead_of, trust_of
from django_pagestats.exceptions import DimensionError, TailTooLongError
from django_pagestats.merging.portions import portions
from django_pagestats.stats.listing import every_value, page_views_of

#: a cell that begins with one of these may be taken for a formula, those of full width too; or for a guard of ours
GUARDED = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
#: beyond so many bytes it is a file on disk
MEMORY_BYTES = 1_000_000
#: values whose page views of before are asked for at a time
PORTION = 500


WriteRows = Callable[[Iterable[Iterable[str | int]]], None]


class NoTableError(Exception):
    """There is no such table, or it has no rows of these filters; the page says why."""


def table_csv(query: Mapping[str, Any], name: str, *, using: str, now: datetime) -> tuple[str, IO[bytes]] | None:
    """The name of the file, and the file from its beginning; None where there is no such table, or no such filter."""

    def write(rows: WriteRows) -> str:
        with scope_of(query, using=using, now=now, is_public=False) as scope:
            kind = next((kind for kind in scope.kinds if kind.name == name), None)
            if kind is None:
                raise NoTableError
            audience = _audience_of(scope)
            rows([line] for line in _head(scope, kind, audience, refused_choices(query, scope)))
            rows(_rows(scope, kind) if audience is None else _crossed_rows(scope, kind, audience))
            return f"{name.strip('-')}-{scope.days.start}-{scope.days.last}.csv"

    try:
        return csv_file(write)
    except NoTableError:
        return None


def csv_file(write: Callable[[WriteRows], str]) -> tuple[str, IO[bytes]]:
    """What `write` gives, the name of the file, and the file from its beginning, with the rows that it writes.

    It is made as a whole before anything of it is sent: a slow reader holds no transaction open, and an error gives no
    half of a list.
    """
    file = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115 - closed with the response
    try:
        file.write(codecs.BOM_UTF8)  # for spreadsheets, which would take it for another character set
        # where lists are separated by ";" or by tabs, a text with one would else begin a cell of its own
        name = write(csv.writer(_Encoded(file), quoting=csv.QUOTE_NONNUMERIC).writerows)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return name, file


class _Encoded:
    """A file of bytes, for who writes text."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(text.encode())


def guarded(text: str) -> str:
    """With an apostrophe before what a spreadsheet might run; a path of a URL begins with "/", and stays as it is."""
    return f"'{text}" if text.startswith(GUARDED) else text


def guard_told(column: str) -> str:
    """What the head of a CSV says of a column whose texts are `guarded`."""
    return (
        f"# Where a {column} begins with = + - @ (of full width, too), a tab, a line break or an apostrophe, the"
        " apostrophe before that is none of its own"
    )


def _head(scope: Scope, kind: Kind, audience: Audience | None, told: Iterable[str]) -> Iterator[str]:
    trust = trust_of(scope, totals_of(scope) if audience is None else audience_totals(scope, audience))
    search = scope.state.table(kind.name).search
    of = "path" if kind.are_pages else "channel" if kind.are_channels else f"value of {kind.dimension}"
    yield f"# {kind.title} from {scope.days.start} to {scope.days.last}, both days included"
    yield from (f"# {it}" for it in told)
    if search:
        yield f"# Only {of if kind.are_pages else 'value'}s that begin with {search}"
    yield f"# Time zone: {scope.zone}. {trust.instant}"
    if audience is None:
        yield from _columns(scope, kind, of)
    else:
        yield from _crossed_columns(kind, audience, of)
    yield f"# {trust.visitors}"
    if ahead := ahead_of(scope):
        yield f"# {ahead}"
    yield guard_told(kind.column)


def _columns(scope: Scope, kind: Kind, of: str) -> Iterator[str]:
    views = "visits, page views that did not come from a page of the site," if kind.is_of_visits else "page views"
    yield f"# page_views: {views} of the {of}. visitors: its distinct visitors in all of these days"
    if (comparison := compared_days(scope)) is not None:
        yield (
            f"# page_views_before: from {comparison.days_before.start} to {comparison.days_before.last},"
            " whole days, both included"
        )


def _crossed_columns(kind: Kind, audience: Audience, of: str) -> Iterator[str]:
    if audience.filters:
        yield "# Only visitors whom all of these have in these days:"
        yield from (f"# {it.text}" for it in audience.filters)
        if any(it.kind == kind.name for it in audience.filters):
            yield f"# Without each {of} that stands there, which all of them have"
    yield f"# visitors: distinct visitors of the {of} in all of these days, among them; page views are in no aggregate"
    if audience.goal is not None:
        yield f"# reached_goal: those of them who saw {audience.goal.path} in these days, before or after"


def _crossed_rows(scope: Scope, kind: Kind, audience: Audience) -> Iterator[list[str | int]]:
    yield [kind.column, "visitors", *([] if audience.goal is None else ["reached_goal"])]
    for value, counts in crossed_lines(scope, kind, audience):
        yield [guarded(value), *counts]


def _audience_of(scope: Scope) -> Audience | None:
    """Raises NoTableError where it cannot be told whom the filters have."""
    try:
        return audience_of(scope)
    except (DimensionError, TailTooLongError) as error:
        raise NoTableError from error


def _rows(scope: Scope, kind: Kind) -> Iterator[list[str | int]]:
    comparison = compared_days(scope)
    then = None if comparison is None else bounds(comparison.days_before)
    yield [kind.column, "page_views", "visitors", *([] if then is None else ["page_views_before"])]
    if kind.are_channels:
        grouped = channels_of(scope, kind)
        for row in rows_of_channels(scope, kind, grouped):
            before_it = [] if then is None else [grouped.groups[row.value].before]
            yield [row.value, row.page_views, row.visitors, *before_it]
        return
    for portion in portions(every_value(scope.taken, wanted_of(scope, kind)), PORTION):
        values = [row.value for row in portion]
        before = {} if then is None else page_views_of(scope.taken, kind.dimension, values, **then)
        for row in portion:
            counts = [row.page_views, row.visitors, *([before[row.value]] if before else [])]
            yield [guarded(row.value), *counts]
