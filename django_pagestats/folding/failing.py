"""Which page view is it that cannot be counted in a named dimension, and does one hold up keeping up?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django_pagestats.dimensions import NamedDimension, Spreading, of_generation
from django_pagestats.exceptions import DimensionError, UncountablePageViewError
from django_pagestats.merging import PageViewRow, database_for
from django_pagestats.models import Generation, PageView

#: what keeping up folds first after a failure, and a bit more
NEXT_PAGE_VIEWS = 1_000


def failing_page_view(
    rows: Sequence[PageViewRow], dimensions: Sequence[NamedDimension]
) -> tuple[int, DimensionError] | None:
    """The first of some page views that cannot be counted, and why; stores nothing."""
    spreading = Spreading(dimensions, _numbers)
    for row in rows:
        try:
            spreading.spread([row.path], [row.id], [row.attributes])
        except DimensionError as error:
            return row.id, error
    return None


def located(
    using: str,
    error: DimensionError,
    dimensions: Sequence[NamedDimension],
    *,
    after: int,
    upto: int | None,
    limit: int,
) -> DimensionError:
    """The same error, that names the first of some page views that has it."""
    rows = database_for(using).read_page_views(after, upto, limit, with_attributes=True)
    found = failing_page_view([PageViewRow(*row) for row in rows], dimensions)
    return error if found is None else DimensionError(_cure_of(*found))


def _cure_of(pk: int, error: DimensionError) -> str:
    """The error with its page view, and how the page view can be mended, where it is at fault."""
    table = PageView._meta.db_table
    by_hand = f" Or UPDATE {table} SET attributes = NULL WHERE id = {pk};" if error.is_of_page_view else ""
    return f"{error} It is page view {pk}.{by_hand}"


def held_up(using: str, generation: Generation) -> str:
    """What keeps the next page views from being counted, in words; empty: nothing.

    It tries them out: a fold that fails leaves no trace but its log.
    """
    try:
        dimensions = of_generation(generation.dimensions)
        read = database_for(using).read_page_views
        rows = [PageViewRow(*row) for row in read(generation.cursor, None, NEXT_PAGE_VIEWS, with_attributes=True)]
        found = failing_page_view(rows, dimensions)
    except (DimensionError, UncountablePageViewError) as error:
        return str(error)
    return "" if found is None else _cure_of(*found)


def _numbers(_: int, values: set[str]) -> Mapping[str, int]:
    return dict.fromkeys(values, 1)
