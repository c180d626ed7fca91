"""Many answers of one instant."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import TypeVar

from django_pagestats.stats import below, ordering, questions, values, visitor_questions
from django_pagestats.stats.answers import DimensionInfo, PageStats, Point, Summary, ValueStats
from django_pagestats.stats.conditions import Condition
from django_pagestats.stats.reading import Moment, answer_kept, moment_of
from django_pagestats.stats.visitor_sets import VisitorSet

T = TypeVar("T")


class Snapshot:
    """The functions of `stats`, all of whose answers are of the instant at which the snapshot was taken."""

    def __init__(self, moment: Moment) -> None:
        self._moment: Moment | None = moment
        #: what its sets of visitors have in common, and no others
        self._origin = object()

    def _ask(self, question: Callable[[Moment], T]) -> T:
        if self._moment is None:
            raise RuntimeError("The snapshot has ended: ask inside the `with stats.snapshot()` block.")
        return answer_kept(self._moment, question)

    def close(self) -> None:
        self._moment = None

    @property
    def time_zone(self) -> str:
        """The name of the zone whose days and hours the answers have."""
        return self._ask(lambda moment: moment.folded.state.time_zone)

    def count_page_views(
        self,
        path: str | None = None,
        *,
        where: Condition | None = None,
        prefix: str | None = None,
        start: date | datetime | None = None,
        end: date | datetime | None = None,
    ) -> int:
        if prefix is not None:
            below.check_prefix(prefix, path=path, where=where)
            text = prefix
            return self._ask(lambda moment: below.page_views(moment, text, start, end))
        return self._ask(lambda moment: questions.count_page_views(moment, path, where, start, end))

    def count_page_views_of(
        self, paths: Iterable[str], *, start: date | datetime | None = None, end: date | datetime | None = None
    ) -> dict[str, int]:
        asked = questions.listed(paths)
        return self._ask(lambda moment: questions.count_page_views_of(moment, asked, start, end))

    def count_unique_visitors(
        self,
        path: str | None = None,
        *,
        where: Condition | None = None,
        prefix: str | None = None,
        start: date | datetime | None = None,
        end: date | datetime | None = None,
    ) -> int:
        if prefix is not None:
            below.check_prefix(prefix, path=path, where=where)
            text = prefix
            return self._ask(lambda moment: below.unique_visitors(moment, text, start, end))
        return self._ask(lambda moment: questions.count_unique_visitors(moment, path, where, start, end))

    def count_single_page_visitors(
        self, *, start: date | datetime | None = None, end: date | datetime | None = None
    ) -> int:
        return self._ask(lambda moment: visitor_questions.count_single_page_visitors(moment, start, end))

    def visitors(
        self,
        path: str | None = None,
        *,
        where: Condition | None = None,
        start: date | datetime | None = None,
        end: date | datetime | None = None,
    ) -> VisitorSet:
        return self._ask(
            lambda moment: visitor_questions.visitors(moment, path, where, start, end, origin=self._origin)
        )

    def count_paths(self, *, start: date | datetime | None = None, end: date | datetime | None = None) -> int:
        return self._ask(lambda moment: questions.count_paths(moment, start, end))

    def top_pages(
        self,
        limit: int = 10,
        *,
        offset: int = 0,
        start: date | datetime | None = None,
        end: date | datetime | None = None,
    ) -> list[PageStats]:
        questions.check_numbers(limit=limit, offset=offset)
        return self._ask(lambda moment: questions.top_pages(moment, limit, offset, start, end))

    def rank(self, path: str, start: date | datetime | None = None, end: date | datetime | None = None) -> int | None:
        ordering.check_path(path)
        return self._ask(lambda moment: ordering.rank(moment, path, start, end))

    def page_at(self, n: int, start: date | datetime | None = None, end: date | datetime | None = None) -> str | None:
        ordering.check_number(n)
        return self._ask(lambda moment: ordering.page_at(moment, n, start, end))

    def page_at_percentile(
        self, q: float, start: date | datetime | None = None, end: date | datetime | None = None
    ) -> str | None:
        ordering.check_part(q)
        return self._ask(lambda moment: ordering.page_at_percentile(moment, q, start, end))

    def paths(
        self, prefix: str = "", *, start: date | datetime | None = None, end: date | datetime | None = None
    ) -> list[str]:
        below.check_prefix(prefix)
        return self._ask(lambda moment: below.paths(moment, prefix, start, end))

    def top(
        self,
        dimension: str,
        limit: int = 10,
        *,
        offset: int = 0,
        start: date | datetime | None = None,
        end: date | datetime | None = None,
    ) -> list[ValueStats]:
        questions.check_numbers(limit=limit, offset=offset)
        return self._ask(lambda moment: values.top(moment, dimension, limit, offset, start, end))

    def count_values(
        self, dimension: str, *, start: date | datetime | None = None, end: date | datetime | None = None
    ) -> int:
        return self._ask(lambda moment: values.count_values(moment, dimension, start, end))

    def count_visits(
        self, path: str | None = None, *, start: date | datetime | None = None, end: date | datetime | None = None
    ) -> int:
        return self._ask(lambda moment: values.count_visits(moment, path, start, end))

    def dimensions(self) -> list[DimensionInfo]:
        return self._ask(values.dimensions)

    def time_series(
        self,
        granularity: str,
        start: date | datetime,
        end: date | datetime,
        *,
        path: str | None = None,
        where: Condition | None = None,
    ) -> list[Point]:
        return self._ask(lambda moment: questions.time_series(moment, granularity, start, end, path, where))

    def summary(self, *, start: date | datetime | None = None, end: date | datetime | None = None) -> Summary:
        return self._ask(lambda moment: questions.summary(moment, start, end))


@contextmanager
def snapshot_of(using: str, *, is_exact: bool) -> Iterator[Snapshot]:
    with moment_of(using, is_exact=is_exact) as moment:
        taken = Snapshot(moment)
        try:
            yield taken
        finally:
            taken.close()
