"""What can be wrong with the settings and the databases; docs/checks.md has a line for each id.

Checks of the settings alone run with every command. Those that ask a database run where it is named: at `migrate`, and
with `check --database`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from math import ceil
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage
from django.core.checks import Error as _Error
from django.core.checks import Warning as _Warning
from django.db import connections, router
from django.utils.module_loading import import_string

from django_pagestats.conf import Conf, Setting, conf
from django_pagestats.models import ExactCharField, Generation, PageView

VENDORS = ("mysql", "postgresql", "sqlite")
UTC_NAMES = (None, "UTC", "Etc/UTC")
#: what the ORM broker's tables may take besides the tasks' own time
RETRY_MARGIN_SECONDS = 5
LINKS_PER_TIMEOUT = 3
MINIMUM_VERSIONS = {
    "MariaDB": (10, 6),
    "MySQL": (8, 0, 11),
    "PostgreSQL": (14,),
    "SQLite": (3, 35),
}


def error(number: int, message: str, hint: str) -> CheckMessage:
    return _Error(message, hint=hint, id=f"pagestats.E{number:03}")


def warning(number: int, message: str, hint: str) -> CheckMessage:
    return _Warning(message, hint=hint, id=f"pagestats.W{number:03}")


def register_checks() -> None:
    """Called when the app is ready."""
    checks.register(check_settings, checks.Tags.compatibility)
    checks.register(check_queue, checks.Tags.compatibility)
    checks.register(check_database_settings, checks.Tags.compatibility)
    checks.register(check_databases, checks.Tags.database)


Apps = Sequence[AppConfig] | None


# -- our settings


def check_settings(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    found = [invalid_setting(setting, complaint) for setting in conf.all() if (complaint := setting.complaint())]
    known = {setting.name for setting in conf.all()}
    found += [unknown_setting(name) for name in dir(settings) if name.startswith("PAGESTATS_") and name not in known]
    if not Conf.THROTTLE.complaint():
        reasons = ((path, _why_not_imported(path)) for path in conf.THROTTLE)
        found += [throttle_unknown(path, reason) for path, reason in reasons if reason]
    if not settings.USE_TZ:
        found.append(time_zones_off())
    return found


def invalid_setting(setting: Setting[Any], complaint: str) -> CheckMessage:
    return error(1, f"{setting.name} {complaint}.", f"Correct {setting.name}, or remove it for its default.")


def unknown_setting(name: str) -> CheckMessage:
    return warning(3, f"There is no setting {name}.", "Correct its name, or remove it; docs/settings.md has them all.")


def throttle_unknown(path: str, reason: str) -> CheckMessage:
    return error(
        4,
        f"PAGESTATS_THROTTLE names {path!r}, which cannot be imported ({reason}): a run would wait for ever.",
        'Correct it; ready-made are "django_pagestats.throttles.replica_lag", ".active_connections" and ".hours".',
    )


def time_zones_off() -> CheckMessage:
    return error(
        2,
        "USE_TZ is False: page views need to know which instant they were recorded at.",
        "Write USE_TZ = True. PAGESTATS_TIME_ZONE, by default TIME_ZONE, is the zone of the statistics' days.",
    )


# -- the queue


def check_queue(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    if not apps.is_installed("django_q"):
        return [queue_missing()]
    if not isinstance(getattr(settings, "Q_CLUSTER", None), dict):
        return [cluster_missing()]
    return list(_check_cluster(Cluster.from_settings()))


class Cluster:
    """The options of the cluster that works our tasks off, with django-q2's defaults."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.is_sync = bool(options.get("sync"))
        self.timeout: int | None = options.get("timeout")
        self.retry: int = options.get("retry", 60)
        self.workers: int = options.get("workers") or os.cpu_count() or 4
        squared = self.workers**2 if isinstance(self.workers, int) else 1
        self.queue_limit: int = options.get("queue_limit", squared)
        self.bulk: int = options.get("bulk", 1)
        #: a dotted path, for a broker of the site's own
        self.broker_class: str | None = options.get("broker_class")
        other = any(options.get(name) for name in ("broker_class", "iron_mq", "sqs"))
        self.orm: str | None = None if other else options.get("orm")
        #: Redis hands a task out once: what is not done is lost, and `retry` means nothing
        self.is_redis = not (other or self.orm or options.get("mongo"))
        names = (options.get("name", "default"), options.get("cluster_name"), *(options.get("ALT_CLUSTERS") or {}))
        #: whether the settings have a cluster of the name that our tasks are given to
        self.is_known = conf.CLUSTER is None or conf.CLUSTER in names

    @classmethod
    def from_settings(cls) -> Cluster:
        options: dict[str, Any] = dict(settings.Q_CLUSTER)
        alternatives: dict[Any, dict[str, Any]] = options.get("ALT_CLUSTERS") or {}
        return cls({**options, **alternatives.get(conf.CLUSTER, {})})

    def invalid_options(self) -> list[tuple[str, object]]:
        """Options that are no whole numbers above 0; `timeout` may be None."""
        numbers = {"retry": self.retry, "workers": self.workers, "queue_limit": self.queue_limit, "bulk": self.bulk}
        if self.timeout is not None:
            numbers["timeout"] = self.timeout
        return [(name, value) for name, value in numbers.items() if not (isinstance(value, int) and value > 0)]

    @property
    def retry_floor(self) -> float:
        """The time after which a task that waited behind others in memory must have ended."""
        rounds = 1 + ceil((self.queue_limit + 1) / self.workers)
        return (self.timeout or 0) * rounds + RETRY_MARGIN_SECONDS


def _check_cluster(cluster: Cluster) -> Iterator[CheckMessage]:
    if invalid := cluster.invalid_options():
        yield from (option_invalid(name, value) for name, value in invalid)
        return
    link_seconds = 0 if Conf.LINK_SECONDS.complaint() else conf.LINK_SECONDS
    if cluster.is_sync:
        yield cluster_sync()
    if cluster.timeout is None:
        yield timeout_missing()
    elif cluster.timeout / LINKS_PER_TIMEOUT < link_seconds:
        yield link_too_long("timeout", cluster.timeout)
    if not cluster.is_redis:
        if cluster.timeout is not None and cluster.retry <= cluster.retry_floor:
            yield retry_too_short(cluster)
        if cluster.retry / LINKS_PER_TIMEOUT < link_seconds:
            yield link_too_long("retry", cluster.retry)
    yield from _check_where(cluster)


def _check_where(cluster: Cluster) -> Iterator[CheckMessage]:
    if cluster.is_redis and find_spec("redis") is None:
        yield redis_missing()
    if cluster.broker_class is not None and (reason := _why_not_imported(cluster.broker_class)):
        yield broker_unknown(cluster.broker_class, reason)
    aliases = _sure_aliases()
    if cluster.orm is not None and cluster.orm not in connections:
        yield queue_nowhere(cluster.orm)
    elif cluster.orm is not None and aliases and cluster.orm not in aliases:
        yield queue_elsewhere(cluster.orm, aliases)
    if not cluster.is_known:
        yield cluster_unknown()


def _why_not_imported(path: str) -> str:
    try:
        import_string(path)
    except Exception as error:  # whatever the module does when it is imported
        return f"{type(error).__name__}: {error}"
    return ""


def queue_missing() -> CheckMessage:
    return warning(
        10,
        "django_q is not in INSTALLED_APPS: no backfill can run in a cluster, and nothing keeps the statistics up.",
        'Add "django_q" to INSTALLED_APPS and a Q_CLUSTER, run migrate and start manage.py qcluster; or silence this'
        " check and run backfill_aggregates --sync from time to time.",
    )


def cluster_missing() -> CheckMessage:
    return warning(
        11,
        "Q_CLUSTER is missing: django-q2 then takes a Redis on this machine, without a time limit for tasks.",
        'Write for example Q_CLUSTER = {"name": "mysite", "orm": "default", "workers": 1, "queue_limit": 1, "bulk": 1,'
        ' "poll": 0.2, "timeout": 60, "retry": 240, "max_attempts": 5, "save_limit": 100, "catch_up": False}.',
    )


def timeout_missing() -> CheckMessage:
    return warning(
        12,
        'Q_CLUSTER has no "timeout": a task that hangs keeps its worker for ever.',
        'Write "timeout": 60 and "retry": 240 into Q_CLUSTER.',
    )


def retry_too_short(cluster: Cluster) -> CheckMessage:
    return warning(
        13,
        f'Q_CLUSTER["retry"] is {cluster.retry:g}, so a task that only waits its turn is handed out a second time.',
        f'Write "retry": {ceil(cluster.retry_floor) + 1} or more, that is above timeout * (1 + ceil((queue_limit + 1) /'
        f" workers)) + {RETRY_MARGIN_SECONDS} = {cluster.retry_floor:g}; or a lower timeout or queue_limit.",
    )


def link_too_long(option: str, seconds: float) -> CheckMessage:
    most = seconds / LINKS_PER_TIMEOUT
    return warning(
        14,
        f'PAGESTATS_LINK_SECONDS is {conf.LINK_SECONDS:g}, more than a third of Q_CLUSTER["{option}"] ({seconds:g}): a'
        " link that is a little late would be killed or run twice.",
        f'Write PAGESTATS_LINK_SECONDS = {most:g} or less, or raise "{option}" to {conf.LINK_SECONDS * 3:g} or more.',
    )


def queue_elsewhere(orm: str, aliases: Sequence[str]) -> CheckMessage:
    return warning(
        15,
        f'Q_CLUSTER["orm"] is {orm!r}, and the page views are on {", ".join(map(repr, aliases))}: a chunk and the task'
        " that follows it cannot be committed as one. It works; after a crash between the two the run waits for its"
        " lease to run out.",
        f'Write "orm": {aliases[0]!r} into Q_CLUSTER if the queue may live there; else silence this check.',
    )


def cluster_sync() -> CheckMessage:
    return warning(
        16,
        'Q_CLUSTER["sync"] is true: a backfill runs within the command or request that starts it.',
        'Remove "sync" from Q_CLUSTER, except for tests.',
    )


def option_invalid(name: str, value: object) -> CheckMessage:
    return error(
        17,
        f'Q_CLUSTER["{name}"] must be a whole number above 0, not {value!r}: django-q2 would fail every task.',
        f'Correct "{name}" in Q_CLUSTER, for example "timeout": 60, "retry": 240, "workers": 1, "queue_limit": 1,'
        ' "bulk": 1.',
    )


def queue_nowhere(orm: str) -> CheckMessage:
    return error(
        18,
        f'Q_CLUSTER["orm"] is {orm!r}, and DATABASES has {", ".join(map(repr, sorted(connections)))} only.',
        'Write the alias of the database of the page views as "orm" into Q_CLUSTER.',
    )


def cluster_unknown() -> CheckMessage:
    return error(
        19,
        f"PAGESTATS_CLUSTER is {conf.CLUSTER!r}, and Q_CLUSTER has no cluster of that name: nobody would work the tasks"
        " off.",
        'Write the "name" of Q_CLUSTER, or one of its "ALT_CLUSTERS"; or remove PAGESTATS_CLUSTER.',
    )


def redis_missing() -> CheckMessage:
    return error(
        28,
        "Q_CLUSTER takes Redis for its queue, as it does if no other broker is named, and the package redis is not"
        " installed.",
        'Write "orm": "default" into Q_CLUSTER for a queue in the database, or run'
        ' pip install "django-pagestats[redis]".',
    )


def broker_unknown(path: str, reason: str) -> CheckMessage:
    return error(
        29,
        f'Q_CLUSTER["broker_class"] is {path!r}, which cannot be imported ({reason}).',
        'Correct it; or remove it and name a broker, for example by "orm": "default".',
    )


# -- the settings of databases


def _aliases() -> Iterator[str]:
    """The databases that may hold our tables."""
    for alias in connections:
        if connections[alias].vendor != "unknown" and router.allow_migrate_model(alias, PageView):
            yield alias


def _sure_aliases() -> list[str]:
    """Those that hold our tables by the settings alone: without a router any database may, and the default one does."""
    used = router.db_for_write(PageView)
    return [alias for alias in _aliases() if router.routers or alias == used]


def check_database_settings(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    return [message for alias in _sure_aliases() for message in _check_database_settings(alias)]


def _check_database_settings(alias: str) -> Iterator[CheckMessage]:
    connection: Any = connections[alias]
    options = connection.settings_dict.get("OPTIONS") or {}
    if connection.vendor not in VENDORS:
        yield unsupported_vendor(alias, connection.display_name)
        return
    if not connection.settings_dict.get("AUTOCOMMIT", True):
        yield autocommit_off(alias)
    if connection.vendor != "postgresql" and connection.settings_dict.get("TIME_ZONE") not in UTC_NAMES:
        yield database_not_in_utc(alias, connection.settings_dict["TIME_ZONE"])
    if connection.vendor == "postgresql":
        if not _is_psycopg_3():
            yield old_psycopg(alias)
        if options.get("pool") and apps.is_installed("django_q"):
            yield connection_pool(alias)
    elif connection.vendor == "sqlite":
        if str(options.get("transaction_mode")).upper() != "IMMEDIATE" and not connection.is_in_memory_db():
            yield transactions_deferred(alias)
    else:
        yield from _check_mysql_settings(alias, connection, options)


def _check_mysql_settings(alias: str, connection: Any, options: dict[str, Any]) -> Iterator[CheckMessage]:
    if connection.Database.__name__ != "MySQLdb":
        yield other_driver(alias, connection.Database.__name__)
    if _is_read_uncommitted(options.get("isolation_level")):
        yield read_uncommitted(alias, 'OPTIONS["isolation_level"]')


def _is_psycopg_3() -> bool:
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    return bool(is_psycopg3)


def _is_read_uncommitted(level: object) -> bool:
    return str(level).replace("-", " ").strip().lower() == "read uncommitted"


def unsupported_vendor(alias: str, name: str) -> CheckMessage:
    return error(
        20,
        f"DATABASES[{alias!r}] is {name}: page statistics need SQLite, PostgreSQL, MariaDB or MySQL.",
        "Give the app django_pagestats a database of its own by a database router, see docs/settings.md#databases.",
    )


def old_psycopg(alias: str) -> CheckMessage:
    return error(
        21,
        f"DATABASES[{alias!r}] is used through psycopg2: the aggregates are written by COPY as psycopg 3 has it.",
        'Run pip install "psycopg[binary]>=3.1.18"; Django then takes it by itself.',
    )


def connection_pool(alias: str) -> CheckMessage:
    return warning(
        22,
        f'DATABASES[{alias!r}]["OPTIONS"]["pool"] is on: the processes of a qcluster are forked, and would share the'
        " connections of the pool.",
        'Leave "pool" out where manage.py qcluster runs, and write "CONN_MAX_AGE": None, "CONN_HEALTH_CHECKS": True'
        " there; silence this check for the web processes.",
    )


def database_not_in_utc(alias: str, zone: str) -> CheckMessage:
    return error(
        23,
        f'DATABASES[{alias!r}]["TIME_ZONE"] is {zone!r}: page views would be counted in the wrong hours, since the'
        " database takes its times for UTC.",
        f'Remove "TIME_ZONE" from DATABASES[{alias!r}], after converting the times that are stored.',
    )


def transactions_deferred(alias: str) -> CheckMessage:
    return warning(
        24,
        f"DATABASES[{alias!r}] (SQLite) begins transactions as readers: beside a backfill, more than half of those that"
        ' go on to write fail with "database is locked".',
        f'Write DATABASES[{alias!r}]["OPTIONS"] = {{"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command":'
        ' "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"}.',
    )


def read_uncommitted(alias: str, where: str) -> CheckMessage:
    return error(
        25,
        f"DATABASES[{alias!r}] reads what is not committed, by {where}: answers would show half-merged aggregates.",
        f'Write DATABASES[{alias!r}]["OPTIONS"]["isolation_level"] = "read committed".',
    )


def autocommit_off(alias: str) -> CheckMessage:
    return error(
        26,
        f"DATABASES[{alias!r}] has AUTOCOMMIT off: what a backfill writes outside its transactions would be undone.",
        f'Remove "AUTOCOMMIT" from DATABASES[{alias!r}], or give the app django_pagestats a database of its own.',
    )


def other_driver(alias: str, name: str) -> CheckMessage:
    return warning(
        27,
        f"DATABASES[{alias!r}] is used through {name}: page statistics are tested with mysqlclient only.",
        'Run pip install "mysqlclient>=2.2.1" and remove what puts the other driver in its place.',
    )


# -- the databases themselves


def check_databases(
    app_configs: Apps = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    aliases = [alias for alias in _aliases() if alias in (databases or ())]
    return [message for alias in aliases for message in _check_database(alias)]


def _check_database(alias: str) -> Iterator[CheckMessage]:
    connection: Any = connections[alias]
    by_vendor = {"mysql": _check_mysql, "postgresql": _check_postgresql, "sqlite": _check_sqlite}
    if connection.vendor not in by_vendor:
        return
    connection.ensure_connection()
    name, version = _server(connection)
    if version < MINIMUM_VERSIONS[name]:
        yield old_server(alias, name, version)
    tables = connection.introspection.table_names()
    if PageView._meta.db_table in tables and alias not in _sure_aliases():
        yield from _check_database_settings(alias)
    yield from by_vendor[connection.vendor](alias, connection, PageView._meta.db_table in tables)
    if Generation._meta.db_table in tables:
        yield from _check_zone(alias)


def _server(connection: Any) -> tuple[str, tuple[int, ...]]:
    if connection.vendor == "mysql":
        return ("MariaDB" if connection.mysql_is_mariadb else "MySQL"), connection.mysql_version
    if connection.vendor == "postgresql":
        return "PostgreSQL", divmod(connection.pg_version, 10_000)
    return "SQLite", connection.Database.sqlite_version_info


def _fetch(connection: Any, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _check_sqlite(alias: str, connection: Any, has_table: bool) -> Iterator[CheckMessage]:
    mode = _fetch(connection, "PRAGMA journal_mode")[0][0]
    if mode != "wal" and not connection.is_in_memory_db():
        yield journal_not_wal(alias, mode)


def _check_postgresql(alias: str, connection: Any, has_table: bool) -> Iterator[CheckMessage]:
    if not has_table:
        return
    found = _fetch(
        connection,
        "SELECT seqcache, seqrelid::regclass::text FROM pg_sequence"
        " WHERE seqrelid = pg_get_serial_sequence(%s, 'id')::regclass",
        [connection.ops.quote_name(PageView._meta.db_table)],
    )
    for cached, sequence in found:
        if cached > 1:
            yield sequence_caches(alias, sequence, cached)


def _check_mysql(alias: str, connection: Any, has_table: bool) -> Iterator[CheckMessage]:
    names = "'tx_isolation', 'transaction_isolation', 'wsrep_on', 'auto_increment_increment'"
    variables = dict(_fetch(connection, f"SHOW SESSION VARIABLES WHERE Variable_name IN ({names})"))
    level = variables.get("tx_isolation", variables.get("transaction_isolation"))
    if _is_read_uncommitted(level):
        yield read_uncommitted(alias, "the server's default, or an init_command")
    if variables.get("wsrep_on") == "ON":
        yield several_writers(alias, "it is a node of a Galera cluster (wsrep_on)")
    elif int(variables.get("auto_increment_increment", 1)) > 1:
        yield several_writers(alias, "its ids are drawn in steps (auto_increment_increment)")
    collation = ExactCharField._exact_collation(connection)
    known = "SELECT 1 FROM information_schema.collations WHERE collation_name = %s"
    if not _fetch(connection, known, [collation]):
        yield collation_missing(alias, str(collation))


def _check_zone(alias: str) -> Iterator[CheckMessage]:
    zones = Generation.objects.using(alias).filter(is_active=True).values_list("time_zone", flat=True)
    for zone in zones:
        if zone != conf.TIME_ZONE:
            yield zone_changed(alias, zone)


def old_server(alias: str, name: str, version: Sequence[int]) -> CheckMessage:
    wanted = ".".join(map(str, MINIMUM_VERSIONS[name]))
    return error(
        30,
        f"DATABASES[{alias!r}] is {name} {'.'.join(map(str, version))}: page statistics need {wanted} or newer.",
        f"Upgrade to {name} {wanted} or newer.",
    )


def journal_not_wal(alias: str, mode: str) -> CheckMessage:
    return warning(
        31,
        f"DATABASES[{alias!r}] (SQLite) has the journal mode {mode!r}: readers and the writer wait for each other.",
        f'Write DATABASES[{alias!r}]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA'
        ' synchronous=NORMAL;".',
    )


def sequence_caches(alias: str, sequence: str, cached: int) -> CheckMessage:
    return warning(
        32,
        f"DATABASES[{alias!r}]: the sequence {sequence} hands out {cached} ids at once, so a page view can get an id"
        " below others that were counted long ago, and never be counted itself.",
        f"Run ALTER SEQUENCE {sequence} CACHE 1; and verify_aggregates.",
    )


def several_writers(alias: str, why: str) -> CheckMessage:
    return warning(
        33,
        f"DATABASES[{alias!r}]: {why}. Where two servers write page views, one can get an id below others that were"
        " counted already, and never be counted itself.",
        "Write page views through one server only, then silence this check; verify_aggregates finds what was missed.",
    )


def collation_missing(alias: str, collation: str) -> CheckMessage:
    return error(
        34,
        f"DATABASES[{alias!r}] has no collation {collation}: paths that differ in case or in spaces at the end would be"
        " taken for one.",
        "Upgrade: MariaDB has had it since 10.2, MySQL since 8.0.17.",
    )


def zone_changed(alias: str, zone: str) -> CheckMessage:
    return warning(
        35,
        f"The aggregates in DATABASES[{alias!r}] are cut by the days and hours of {zone}, and PAGESTATS_TIME_ZONE is"
        f" {conf.TIME_ZONE}.",
        f"Run backfill_aggregates --rebuild --database {alias}; until then statistics stay in {zone}. Or write"
        f" PAGESTATS_TIME_ZONE = {zone!r}.",
    )
