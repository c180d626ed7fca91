"""Functions of `stats`: at which place a page is among all, which page is at a place, and which pages there are."""

from __future__ import annotations

from datetime import date, datetime

from django_pagestats.stats import below, ordering
from django_pagestats.stats.reading import alias_of, answer


def rank(
    path: str,
    start: date | datetime | None = None,
    end: date | datetime | None = None,
    *,
    using: str | None = None,
) -> int | None:
    """The number of a page, from 1 on, among all by page views, most first; None: it has none.

    Of equal page views the paths are in the order of their code points, not as in `top_pages()` by which was known
    first. Ranges of days only, as for the next two.
    """
    ordering.check_path(path)
    return answer(alias_of(using), lambda moment: ordering.rank(moment, path, start, end))


def page_at(
    n: int,
    start: date | datetime | None = None,
    end: date | datetime | None = None,
    *,
    using: str | None = None,
) -> str | None:
    """The path with this `rank()`; None: there are fewer pages."""
    ordering.check_number(n)
    return answer(alias_of(using), lambda moment: ordering.page_at(moment, n, start, end))


def page_at_percentile(
    q: float,
    start: date | datetime | None = None,
    end: date | datetime | None = None,
    *,
    using: str | None = None,
) -> str | None:
    """The path that a part `q` of all pages, from 0 on and below 1, comes after; None: there are no pages.

    Of the pages from the last to the first it is the one at the index floor(q * pages): 0 is the page with the fewest
    page views, 0.5 one in the middle.
    """
    ordering.check_part(q)
    return answer(alias_of(using), lambda moment: ordering.page_at_percentile(moment, q, start, end))


def paths(
    prefix: str = "",
    *,
    start: date | datetime | None = None,
    end: date | datetime | None = None,
    using: str | None = None,
) -> list[str]:
    """The paths that were viewed and begin so, in the order of their code points. Ranges of days only."""
    below.check_prefix(prefix)
    return answer(alias_of(using), lambda moment: below.paths(moment, prefix, start, end))
