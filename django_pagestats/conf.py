"""Settings, read when used, so that `override_settings` works. docs/settings.md says what each is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import time
from typing import Any, Generic, TypeVar, overload
from zoneinfo import ZoneInfo

from django.conf import settings

T = TypeVar("T")
Complaint = str | None

#: page views of one chunk, and of a tail in memory, at the very most
MOST_ROWS = 1_000_000


class Setting(Generic[T]):
    """One `PAGESTATS_<NAME>` with its default and what may be wrong with its value."""

    def __init__(self, default: T | Callable[[], T], complain: Callable[[object], Complaint]) -> None:
        self._default = default
        self._complain = complain

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = f"PAGESTATS_{name}"

    @overload
    def __get__(self, instance: None, owner: type) -> Setting[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> T | Setting[T]:
        return self if instance is None else self.value()

    def value(self) -> T:
        default = self._default() if callable(self._default) else self._default
        value: T = getattr(settings, self.name, default)
        return value

    def complaint(self) -> Complaint:
        """What is wrong with the value in force, or None."""
        return self.complaint_about(self.value())

    def complaint_about(self, value: object) -> Complaint:
        """What would be wrong with a value, or None."""
        return self._complain(value)


def whole_number(low: int, high: int) -> Callable[[object], Complaint]:
    def complain(value: object) -> Complaint:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return None
        return f"must be a whole number from {low} to {high}, not {value!r}"

    return complain


def seconds(low: float, high: float) -> Callable[[object], Complaint]:
    def complain(value: object) -> Complaint:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high:
            return None
        return f"must be a number of seconds from {low:g} to {high:g}, not {value!r}"

    return complain


def rest_factor(value: object) -> Complaint:
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 100):
        return None
    return f"must be None or a number from 0 to 100, not {value!r}"


def zone_name(value: object) -> Complaint:
    try:
        ZoneInfo(str(value))
    except (KeyError, OSError, ValueError) as error:
        return f"must be the name of a time zone, not {value!r} ({error})"
    return None


def names(value: object) -> Complaint:
    if isinstance(value, (list, tuple)) and all(isinstance(name, str) and "." in name for name in value):
        return None
    return f"must be a list of dotted paths, not {value!r}"


def part_of_a_day(value: object) -> Complaint:
    if value is None:
        return None
    try:
        begin, end = (time.fromisoformat(part) for part in str(value).split("-"))
    except ValueError:
        return f'must be None or hours as "22:00-06:00", not {value!r}'
    return None if begin != end else f"must not begin where it ends, as {value!r} does"


def text_or_none(value: object) -> Complaint:
    return None if value is None or (isinstance(value, str) and value) else f"must be None or a name, not {value!r}"


class Conf:
    """The settings in force; each attribute is `settings.PAGESTATS_<NAME>` or its default."""

    #: The zone in which a new generation cuts its days and hours.
    TIME_ZONE = Setting[str](lambda: settings.TIME_ZONE, zone_name)
    #: Page views after the cursor that an answer tallies in Python; a longer tail is counted by SQL.
    TAIL_LIMIT = Setting[int](50_000, whole_number(1, MOST_ROWS))
    #: The most page views of a chunk whose size adapts.
    MAX_CHUNK_SIZE = Setting[int](100_000, whole_number(1, MOST_ROWS))
    #: How long a link folds before it hands over to the next one.
    LINK_SECONDS = Setting[float](2.0, seconds(0.1, 600))
    #: How long a run's worker, or its queued link, is taken to be alive without a sign of life.
    LEASE_SECONDS = Setting[float](60.0, seconds(5, 86_400))
    #: A rest of so many times as long as the chunk took; None: 1 for a cluster on SQLite, else 0.
    NICE = Setting[float | None](None, rest_factor)
    #: Dotted paths of callables that give a run a reason to wait before its next chunk; see throttles.
    THROTTLE = Setting[Sequence[str]]((), names)
    #: throttles.replica_lag: seconds.
    MAX_REPLICA_LAG = Setting[float](5.0, seconds(0, 86_400))
    #: throttles.active_connections.
    MAX_ACTIVE_CONNECTIONS = Setting[int](20, whole_number(0, 100_000))
    #: throttles.hours: the part of the day in which runs work, such as "22:00-06:00"; None: the whole day.
    HOURS = Setting[str | None](None, part_of_a_day)
    #: How many links of a build a cluster may work on at once; SQLite, which has one writer: 1.
    WORKERS = Setting[int](1, whole_number(1, 64))
    #: So many failures in a row of the smallest chunk fail the run.
    MAX_FAILURES = Setting[int](5, whole_number(1, 1_000))
    #: So many revivals in a row without progress fail the run.
    MAX_REVIVALS = Setting[int](10, whole_number(1, 1_000))
    #: How often the scheduled task keeps up; 0 turns it off.
    TEND_MINUTES = Setting[int](1, whole_number(0, 10_080))
    #: MariaDB and MySQL: how long after a target was fixed its ids are taken to be inserted.
    SETTLE_SECONDS = Setting[float](1.0, seconds(0, 3_600))
    #: How long an answer inside the caller's transaction goes on trying while the aggregates move.
    READ_SECONDS = Setting[float](5.0, seconds(0, 600))
    #: The django-q2 cluster that gets the tasks; None: the default one.
    CLUSTER = Setting[str | None](None, text_or_none)

    def all(self) -> Iterator[Setting[Any]]:
        return (setting for setting in vars(type(self)).values() if isinstance(setting, Setting))


conf = Conf()
