"""What can be wrong with the databases themselves, on any kind of server: asked of each that is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage
from django.db import DEFAULT_DB_ALIAS, DatabaseError, InterfaceError, connections

from django_pagestats import aliases, folding, tasks
from django_pagestats.checks import servers
from django_pagestats.checks.database_settings import check_one
from django_pagestats.checks.messages import Apps, choice, command, error, told, warning
from django_pagestats.checks.tables import check_tables
from django_pagestats.conf import conf
from django_pagestats.dimensions import change_told, unusable_told
from django_pagestats.exceptions import TableWentBackError
from django_pagestats.models import Generation, PageView

MINIMUM_VERSIONS = {
    "MariaDB": (10, 6),
    "MySQL": (8, 0, 11),
    "PostgreSQL": (14,),
    "SQLite": (3, 35),
}


def check_databases(
    app_configs: Apps = None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    home = aliases.home()
    found = []
    is_about_to_be = command() == "migrate" and home in (databases or ())
    if not is_about_to_be and {home, DEFAULT_DB_ALIAS} & set(databases or ()) and is_not_migrated(home):
        found.append(not_migrated(home))
    named = [alias for alias in aliases.possible() if alias in (databases or ())]
    return told([*found, *(message for alias in named for message in _check_database(alias))])


def is_not_migrated(home: str) -> bool:
    """Whether our tables are missing where the router writes page views to."""
    try:
        return home in connections and home in aliases.possible() and not aliases.has_tables(home)
    except (DatabaseError, InterfaceError):  # it is down, and a check of it by its name says so
        return False


def _check_database(alias: str) -> Iterator[CheckMessage]:
    connection: Any = connections[alias]
    if connection.vendor not in servers.BY_VENDOR:
        return
    connection.ensure_connection()
    name, version = server_version(connection)
    if version < MINIMUM_VERSIONS[name]:
        yield old_server(alias, name, version)
    tables = connection.introspection.table_names()
    if PageView._meta.db_table in tables and alias not in aliases.sure():
        yield from check_one(alias)
    yield from servers.BY_VENDOR[connection.vendor](alias, connection, PageView._meta.db_table in tables)
    if PageView._meta.db_table in tables:
        yield from check_tables(alias, connection)
    if Generation._meta.db_table in tables and has_all_columns(connection):
        yield from _check_zone(alias)
        yield from _check_dimensions(alias)
        if not apps.is_installed("django_q"):
            yield from _check_tail(alias)


def has_all_columns(connection: Any) -> bool:
    """Whether generations can be read: before the `migrate` of a new release they have columns to come."""
    with connection.cursor() as cursor:
        described = connection.introspection.get_table_description(cursor, Generation._meta.db_table)
    return {field.column for field in Generation._meta.concrete_fields} <= {column.name for column in described}


def server_version(connection: Any) -> tuple[str, tuple[int, ...]]:
    if connection.vendor == "mysql":
        return ("MariaDB" if connection.mysql_is_mariadb else "MySQL"), connection.mysql_version
    if connection.vendor == "postgresql":
        return "PostgreSQL", divmod(connection.pg_version, 10_000)
    return "SQLite", connection.Database.sqlite_version_info


def _check_zone(alias: str) -> Iterator[CheckMessage]:
    for generation in Generation.objects.using(alias).filter(is_active=True):
        if generation.time_zone != conf.TIME_ZONE:
            yield zone_changed(alias, generation.time_zone)
        elif folding.has_other_rules(generation):
            yield zone_rules_changed(alias, generation.time_zone)


def _check_dimensions(alias: str) -> Iterator[CheckMessage]:
    for generation in Generation.objects.using(alias).filter(is_active=True):
        change, unusable = change_told(generation.dimensions), unusable_told(generation.dimensions)
        if change or unusable:
            yield dimensions_changed(alias, " ".join(filter(None, (change and f"{change}.", unusable))))


def _check_tail(alias: str) -> Iterator[CheckMessage]:
    with suppress(TableWentBackError):  # which is told where its cure is
        if folding.tail_length(alias, conf.TAIL_LIMIT) > conf.TAIL_LIMIT:
            yield cluster_wanted(alias)


def not_migrated(home: str) -> CheckMessage:
    return warning(
        36,
        f"Page statistics belong on {home!r}, by the database router or as the default, and are not migrated on"
        f" {home!r}.",
        f"Run {aliases.migrate_command(home)}.",
    )


def old_server(alias: str, name: str, version: Sequence[int]) -> CheckMessage:
    wanted = ".".join(map(str, MINIMUM_VERSIONS[name]))
    return error(
        30,
        f"DATABASES[{alias!r}] is {name} {'.'.join(map(str, version))}: page statistics need {wanted} or newer.",
        f"Upgrade to {name} {wanted} or newer.",
    )


def cluster_wanted(alias: str) -> CheckMessage:
    return choice(
        10,
        f"More than {conf.TAIL_LIMIT:,} page views in DATABASES[{alias!r}] are not folded yet, more than a site keeps"
        " up with by itself, and django_q is not in INSTALLED_APPS: answers count them, slowly.",
        f"Start a backfill in the admin, or run backfill_aggregates --sync --database {alias}. If that comes again, let"
        f" a cluster keep up: {tasks.HOW_TO_HAVE_A_CLUSTER}",
    )


def zone_changed(alias: str, zone: str) -> CheckMessage:
    return warning(
        35,
        f"The aggregates in DATABASES[{alias!r}] are cut by the days and hours of {zone}, and PAGESTATS_TIME_ZONE is"
        f" {conf.TIME_ZONE}.",
        f"Run backfill_aggregates --rebuild --database {alias}; until then statistics stay in {zone}. Or write"
        f" PAGESTATS_TIME_ZONE = {zone!r}.",
    )


def zone_rules_changed(alias: str, zone: str) -> CheckMessage:
    return warning(
        35,
        f"The aggregates in DATABASES[{alias!r}] are cut by other rules of {zone} than this machine's tzdata has: it"
        " was updated since, or machines have different ones.",
        "Bring all machines to the same tzdata, restart what runs there, and run backfill_aggregates --rebuild"
        f" --database {alias}; until then some days and hours are those of other clocks.",
    )


def dimensions_changed(alias: str, change: str) -> CheckMessage:
    return warning(
        96,
        f"In DATABASES[{alias!r}]: {change}",
        f"Run backfill_aggregates --rebuild --database {alias}, which brings the whole history, without downtime; until"
        " then answers go on with what the aggregates have.",
    )
