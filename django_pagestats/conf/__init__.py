"""Settings, read when used, so that `override_settings` works. docs/settings.md says what each is for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, Generic, TypeVar, overload

from django.conf import settings
from django.utils.functional import empty

from django_pagestats.conf.complaints import (
    Complaint,
    attributes_of,
    boolean,
    boolean_or_none,
    country,
    dimensions,
    header_or_none,
    hosts,
    mail_addresses,
    model_labels,
    name_or_path,
    names,
    names_or_none,
    networks,
    one_of,
    origins,
    part_of_a_day,
    path_or_none,
    patterns,
    rate,
    rest_factor,
    seconds,
    text_or_none,
    texts,
    url_or_none,
    weekday_or_none,
    whole_number,
    zone_name,
)

__all__ = ["ATTRIBUTES", "DIMENSIONS", "MOST_ROWS", "Conf", "Setting", "conf"]

T = TypeVar("T")

_MISSING: Any = object()

#: page views of one chunk, and of a tail in memory, at the very most
MOST_ROWS = 1_000_000
#: the attributes of a page view that are known here; a site may have more of its own
ATTRIBUTES = (
    "source",
    "medium",
    "campaign",
    "term",
    "content",
    "browser",
    "system",
    "device",
    "language",
    "country",
    "host",
)
#: the named dimensions that there are by default
DIMENSIONS = {
    "source": "source",
    "campaign": "campaign",
    "entry": "django_pagestats.dimensions.entry",
    "section": "django_pagestats.dimensions.section",
    "country": "country",
    "browser": "browser",
    "system": "system",
    "device": "device",
    "language": "language",
}


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

    def is_default(self) -> bool:
        """Whether the site's settings leave it out."""
        return not hasattr(settings, self.name)

    def value(self) -> T:
        # past the lazy object: by it one that is not set takes 4 µs, and recording reads a dozen for each page view
        in_force = object.__getattribute__(settings, "_wrapped")
        found = getattr(settings if in_force is empty else in_force, self.name, _MISSING)
        if found is not _MISSING:
            value: T = found
            return value
        return self._default() if callable(self._default) else self._default

    def complaint(self) -> Complaint:
        """What is wrong with the value in force, or None."""
        return self.complaint_about(self.value())

    def complaint_about(self, value: object) -> Complaint:
        """What would be wrong with a value, or None."""
        return self._complain(value)


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
    #: How much memory of each process answers from aggregates may take, so that who asks again is not kept waiting.
    ANSWERS_MEGABYTES = Setting[int](64, whole_number(0, 1_000_000))
    #: The django-q2 cluster that gets the tasks; None: the default one.
    CLUSTER = Setting[str | None](None, text_or_none)

    #: Named dimensions: where the values of each come from, an attribute or a function of path and attributes.
    DIMENSIONS = Setting[Mapping[str, str]](DIMENSIONS, dimensions)

    # -- recording

    #: Whether the middleware and the beacon record: None: yes, but not while a test environment is set up.
    ENABLED = Setting[bool | None](None, boolean_or_none)
    #: What records: the middleware, the beacon, or both, each page view once.
    RECORD_WITH = Setting[str]("middleware", one_of("middleware", "beacon", "both"))
    #: What tells visitors apart: a policy, or the dotted path of a callable(request) -> str | None.
    VISITOR_KEY = Setting[str]("daily", name_or_path("daily", "monthly", "session", "user", "cookie"))
    #: A dotted path of a callable(request) -> bool, without whose yes nothing is recorded; None: nobody is asked.
    CONSENT = Setting[str | None](None, path_or_none)
    #: Whether `Sec-GPC: 1` leaves a page view out.
    HONOUR_GPC = Setting[bool](True, boolean)
    #: Whether `DNT: 1` leaves a page view out.
    HONOUR_DNT = Setting[bool](True, boolean)
    #: The addresses and networks of one's own proxies, whose X-Forwarded-For is believed; 'unix': an empty one.
    TRUSTED_PROXIES = Setting[Sequence[str]]((), networks)
    #: The header of a trusted proxy that names the client in place of X-Forwarded-For.
    ADDRESS_HEADER = Setting[str | None](None, header_or_none)
    #: Regular expressions of paths that are not counted.
    EXCLUDE_PATHS = Setting[Sequence[str]]((), patterns)
    #: Whether staff is left out; None: except under DEBUG.
    EXCLUDE_STAFF = Setting[bool](lambda: not settings.DEBUG, boolean)
    #: A dotted path of a callable(request, path) -> str | None, which may change a path, or leave it out.
    PATH = Setting[str | None](None, path_or_none)
    #: The parameters of a query that make a page of their own.
    QUERY = Setting[Sequence[str]]((), texts)
    #: Within so many seconds the same visitor on the same path is one page view; 0: each is one.
    DUPLICATE_SECONDS = Setting[float](1_800.0, seconds(0, 86_400))
    #: The alias of a cache that all processes share; None: each process remembers for itself.
    CACHE = Setting[str | None](None, text_or_none)
    #: Texts that make a user agent a robot's, and such as make it nobody's.
    ROBOTS_ADD = Setting[Sequence[str]]((), texts)
    ROBOTS_REMOVE = Setting[Sequence[str]]((), texts)
    #: Which attributes are recorded; dotted paths of callables(request, response) -> str | None are the site's own.
    ATTRIBUTES = Setting[Sequence[str]](ATTRIBUTES, attributes_of(ATTRIBUTES))
    #: Hosts that are this site too; a referrer of theirs makes no arrival.
    OWN_HOSTS = Setting[Sequence[str]]((), hosts)
    #: Whether the host is recorded as an attribute.
    RECORD_HOST = Setting[bool](False, boolean)
    #: Where the country comes from: a header of a trusted proxy, an MMDB file, or a dotted path; None: it is not known.
    COUNTRY = Setting[str | PathLike[str] | None](None, country)
    #: So many never-seen values of an attribute are recorded a day in one process.
    NEW_VALUES_PER_DAY = Setting[int](1_000, whole_number(0, 1_000_000_000))
    #: So many never-seen paths a day come in by the beacon in one process.
    NEW_PATHS_PER_DAY = Setting[int](1_000, whole_number(0, 1_000_000_000))
    #: Other sites whose pages may send to the beacon's endpoint.
    BEACON_ORIGINS = Setting[Sequence[str]]((), origins)
    #: How many requests of one client the beacon's endpoint takes.
    RATE_LIMIT = Setting[str]("300/m", rate)
    #: An INSERT that takes longer suspends recording in its process for 30 seconds.
    SLOW_SECONDS = Setting[float](1.0, seconds(0.01, 600))
    #: Whether page views are gathered in the process and written by a thread.
    BUFFER = Setting[bool](False, boolean)
    #: The buffer is written so often, and as soon as it has so many rows; beyond the limit page views are left out.
    BUFFER_SECONDS = Setting[float](1.0, seconds(0.01, 600))
    BUFFER_ROWS = Setting[int](500, whole_number(1, 100_000))
    BUFFER_LIMIT = Setting[int](10_000, whole_number(1, 10_000_000))
    #: Whether the process that records keeps the aggregates up where no cluster does; "auto": so it is.
    KEEP_UP = Setting[bool | str]("auto", one_of("auto", True, False))
    #: How long template tags keep their numbers.
    TAG_SECONDS = Setting[float](60.0, seconds(0, 86_400))
    #: A warning is shown when no page view came in for so many hours; 0: never.
    SILENCE_HOURS = Setting[float](0.0, seconds(0, 8_760))

    # -- the dashboard

    #: Where the pages are that the site has: dotted paths of sitemaps, and models; None: nobody says.
    SITEMAPS = Setting[str | Sequence[str] | None](None, names_or_none)
    #: The day on which weeks begin: 0 is Sunday, 1 Monday; None: Django's FIRST_DAY_OF_WEEK, that of the language.
    FIRST_DAY_OF_WEEK = Setting[int | None](None, weekday_or_none)
    #: Models, as "app_label.Model", whose additions and changes in the admin are notes on the chart of their page.
    NOTES_FROM_LOG = Setting[Sequence[str]]((), model_labels)
    #: Who gets a mail with the statistics of the last week or month; nobody: none is sent.
    MAIL_TO = Setting[Sequence[str]]((), mail_addresses)
    #: Of which days the mail is: "week" or "month".
    MAIL_EVERY = Setting[str]("week", one_of("week", "month"))
    #: Where the dashboard is, with scheme and host, for the mail's link; None: as django.contrib.sites knows it.
    DASHBOARD_URL = Setting[str | None](None, url_or_none)

    def all(self) -> Iterator[Setting[Any]]:
        return (setting for setting in vars(type(self)).values() if isinstance(setting, Setting))


conf = Conf()
