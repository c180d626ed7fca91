"""All rows of a table as CSV: with what its numbers mean in its head, and harmless in a spreadsheet."""

from __future__ import annotations

import codecs
import csv
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import IO, Any

from django_pagestats.dashboard.figures import compared_days, totals_of
from django_pagestats.dashboard.scope import Scope, bounds, scope_of
from django_pagestats.dashboard.tables import order_of
from django_pagestats.dashboard.trust import trust_of
from django_pagestats.stats.folded import portions
from django_pagestats.stats.listing import every_page

#: a cell that begins with one of these may be taken for a formula, those of full width too; or for a guard of ours
GUARDED = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
#: beyond so many bytes it is a file on disk
MEMORY_BYTES = 1_000_000
#: paths whose page views of before are asked for at a time
PORTION = 500


def pages_csv(query: Mapping[str, Any], *, using: str, now: datetime) -> tuple[str, IO[bytes]]:
    """The name of the file, and the file from its beginning.

    It is made as a whole before anything of it is sent: a slow reader holds no transaction open, and an error gives no
    half of a list.
    """
    file = tempfile.SpooledTemporaryFile(max_size=MEMORY_BYTES)  # noqa: SIM115 - closed with the response
    try:
        file.write(codecs.BOM_UTF8)  # for spreadsheets, which would take it for another character set
        with scope_of(query, using=using, now=now, is_public=False) as scope:
            # where lists are separated by ";" or by tabs, a path with one would else begin a cell of its own
            writer = csv.writer(_Encoded(file), quoting=csv.QUOTE_NONNUMERIC)
            writer.writerows([line] for line in _head(scope))
            writer.writerows(_rows(scope))
            name = f"pages-{scope.days.start}-{scope.days.last}.csv"
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


def _head(scope: Scope) -> Iterator[str]:
    trust = trust_of(scope, totals_of(scope))
    search = scope.state.table("pages").search
    yield f"# Pages from {scope.days.start} to {scope.days.last}, both days included"
    if search:
        yield f"# Only paths that begin with {search}"
    yield f"# Time zone: {scope.zone}. {trust.instant}"
    yield "# page_views: page views of the path. visitors: distinct visitors of the path in all of these days"
    yield f"# {trust.visitors}"
    if (comparison := compared_days(scope)) is not None:
        yield (
            f"# page_views_before: from {comparison.days_before.start} to {comparison.days_before.last},"
            " whole days, both included"
        )
    yield (
        "# Where a path begins with = + - @ (of full width, too), a tab, a line break or an apostrophe, the apostrophe"
        " before that is none of its own"
    )


def _rows(scope: Scope) -> Iterator[list[str | int]]:
    table = scope.state.table("pages")
    comparison = compared_days(scope)
    then = None if comparison is None else bounds(comparison.days_before)
    yield ["path", "page_views", "visitors", *([] if then is None else ["page_views_before"])]
    order, is_reversed = order_of(table.sort)
    rows = every_page(scope.taken, prefix=table.search, order=order, is_reversed=is_reversed, **scope.bounds)
    for portion in portions(rows, PORTION):
        before = {} if then is None else scope.taken.count_page_views_of([row.path for row in portion], **then)
        for row in portion:
            counts = [row.page_views, row.visitors, *([before[row.path]] if before else [])]
            yield [guarded(row.path), *counts]
