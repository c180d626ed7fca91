"""The answers: each asks `stats` what its parameters say, all of it in one snapshot, if the access allows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django_pagestats import stats
from django_pagestats.api.access import Access
from django_pagestats.api.problems import BadRequestError
from django_pagestats.exceptions import DimensionError, TailTooLongError, UnknownDimensionError
from django_pagestats.stats import Snapshot, VisitorSet
from django_pagestats.stats.walking import numbers_of, visits_of

T = TypeVar("T")
Row = Sequence[Any]


@dataclass(frozen=True)
class Question:
    """What is asked: the name of the operation, and its parameters as they were parsed."""

    name: str
    parameters: Mapping[str, Any]
    #: what it is asked of, whether the parameters may come once or several times
    paths: Sequence[str] = ()
    wheres: Sequence[tuple[str, str]] = ()

    @property
    def bounds(self) -> dict[str, Any]:
        return {"start": self.parameters["start"], "end": self.parameters["end"]}


@dataclass(frozen=True)
class Asked:
    """A question, who asks it, and where."""

    question: Question
    access: Access
    using: str

    def __getitem__(self, name: str) -> Any:
        return self.question.parameters[name]

    @property
    def bounds(self) -> dict[str, Any]:
        return self.question.bounds

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        with stats.snapshot(using=self.using) as taken:
            yield taken


@dataclass(frozen=True)
class Answer:
    """The rows of an answer, and what it has beside them."""

    rows: Iterable[Row]
    fields: Mapping[str, Any] = field(default_factory=dict)
    #: of the next rows of a list
    cursor: str | None = None


def check_access(asked: Asked) -> None:
    """Raise ForbiddenError for a question about anything that the token is not of."""
    access, question = asked.access, asked.question
    if access.is_everything:
        return
    prefix = question.parameters.get("prefix")
    if prefix is not None:
        access.check_prefix(prefix)
    elif not question.paths and not question.wheres:
        access.check_site()
    for path in question.paths:
        access.check_path(path)
    if question.wheres:
        dimensions = stats.dimensions(using=asked.using)
        for name, value in question.wheres:
            access.check_where(name, value, dimensions)


def summary(asked: Asked) -> Answer:
    with asked.snapshot() as taken:
        found = taken.summary(**asked.bounds)
        row = (
            found.page_views,
            found.visitors,
            _known(lambda: taken.count_visits(**asked.bounds)),
            _known(lambda: taken.count_single_page_visitors(**asked.bounds)),
            found.paths,
            found.first_viewed_at,
            found.pending,
            found.pending_is_exact,
        )
        return Answer([row], {"time_zone": taken.time_zone})


def pages(asked: Asked) -> Answer:
    paths = list(dict.fromkeys(asked["path"]))
    with asked.snapshot() as taken:
        numbers = numbers_of(taken, paths, **asked.bounds)
        visits = _known(lambda: visits_of(taken, paths, **asked.bounds))
        rows = [(*row, None if visits is None else visits[row[0]]) for row in numbers]
        return Answer(rows, {"time_zone": taken.time_zone})


def time_series(asked: Asked) -> Answer:
    where = None if asked["where"] is None else dict([asked["where"]])
    if where is not None and asked["path"] is not None:
        condition = ":".join(asked["where"])
        raise BadRequestError(
            f"where={condition!r} beside a path: one of them would do. Page views of both are in no aggregate; how many"
            " visitors they have in common /visitors tells.",
            "where",
            condition,
        )
    with asked.snapshot() as taken:
        points = taken.time_series(asked["granularity"], **asked.bounds, path=asked["path"], where=where)
        return Answer([(it.start, it.page_views, it.visitors) for it in points], {"time_zone": taken.time_zone})


def visitors(asked: Asked) -> Answer:
    with asked.snapshot() as taken:
        rows: list[Row] = []
        together: VisitorSet | None = None
        for path in asked["path"]:
            found = taken.visitors(path, **asked.bounds)
            rows.append(("page", path, len(found)))
            together = found if together is None else together & found
        for name, value in asked["where"]:
            found = taken.visitors(where={name: value}, **asked.bounds)
            rows.append((name, value, len(found)))
            together = found if together is None else together & found
        if together is None:
            together = taken.visitors(**asked.bounds)
        fields = {"time_zone": taken.time_zone, "visitors": len(together)}
        return Answer([(None, None, len(together)), *rows], fields)


def active_visitors(asked: Asked) -> Answer:
    minutes = asked["minutes"]
    return Answer([(minutes, stats.active_visitors(minutes, using=asked.using))])


def active_pages(asked: Asked) -> Answer:
    found = stats.active_pages(asked["minutes"], asked["limit"], using=asked.using)
    return Answer([(it.path, it.page_views, it.visitors) for it in found], {"minutes": asked["minutes"]})


def dimensions(asked: Asked) -> Answer:
    return Answer([(it.name, it.source, it.is_current) for it in stats.dimensions(using=asked.using)])


def visitor_policy(asked: Asked) -> Answer:
    found = stats.visitor_policy(**asked.bounds, using=asked.using)
    return Answer([(it.policy, it.since, it.until, it.origin) for it in found])


def _known(ask: Callable[[], T]) -> T | None:
    """None where the aggregates cannot tell, or a page view that they lack, as the description of the column says."""
    try:
        return ask()
    except (TailTooLongError, UnknownDimensionError, DimensionError):
        return None
