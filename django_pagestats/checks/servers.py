"""What can be wrong with a server of one kind: SQLite, PostgreSQL, MariaDB or MySQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage

from django_pagestats.checks.database_settings import is_read_uncommitted, read_uncommitted, text_garbled
from django_pagestats.checks.messages import choice, error, warning
from django_pagestats.merging.charsets import VARIABLES as TEXT_VARIABLES
from django_pagestats.merging.charsets import not_faithful
from django_pagestats.models import PageView
from django_pagestats.models.fields import exact_collation

STRICT_MODES = {"STRICT_ALL_TABLES", "STRICT_TRANS_TABLES"}
MYSQL_VARIABLES = (
    "auto_increment_increment",
    "binlog_format",
    "log_bin",
    "sql_mode",
    "transaction_isolation",
    "tx_isolation",
    "wsrep_on",
    *TEXT_VARIABLES,
)


def fetch(connection: Any, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def check_sqlite(alias: str, connection: Any, has_table: bool) -> Iterator[CheckMessage]:
    mode = fetch(connection, "PRAGMA journal_mode")[0][0]
    if mode != "wal" and not connection.is_in_memory_db() and apps.is_installed("django_q"):
        yield journal_not_wal(alias, mode)


def check_postgresql(alias: str, connection: Any, has_table: bool) -> Iterator[CheckMessage]:
    if not has_table:
        return
    found = fetch(
        connection,
        "SELECT seqcache, seqrelid::regclass::text FROM pg_sequence"
        " WHERE seqrelid = pg_get_serial_sequence(%s, 'id')::regclass",
        [connection.ops.quote_name(PageView._meta.db_table)],
    )
    for cached, sequence in found:
        if cached > 1:
            yield sequence_caches(alias, sequence, cached)
    yield from _check_subscriptions(alias, connection)


def _check_subscriptions(alias: str, connection: Any) -> Iterator[CheckMessage]:
    # the catalogue of subscriptions itself is not for everybody
    found = fetch(
        connection,
        "SELECT DISTINCT s.subname FROM pg_subscription_rel r JOIN pg_stat_subscription s ON s.subid = r.srsubid"
        " WHERE r.srrelid = %s::regclass ORDER BY s.subname",
        [connection.ops.quote_name(PageView._meta.db_table)],
    )
    if found:
        yield subscribed(alias, [name for (name,) in found])


def check_mysql(alias: str, connection: Any, has_table: bool) -> Iterator[CheckMessage]:
    names = ", ".join(map(repr, MYSQL_VARIABLES))
    variables = dict(fetch(connection, f"SHOW SESSION VARIABLES WHERE Variable_name IN ({names})"))
    yield from _check_mysql_text(alias, variables)
    level = variables.get("tx_isolation", variables.get("transaction_isolation"))
    if is_read_uncommitted(level):
        yield read_uncommitted(alias, "the server's default, or an init_command")
    if variables.get("wsrep_on") == "ON":
        yield several_writers(alias, "it is a node of a Galera cluster (wsrep_on)")
    elif int(variables.get("auto_increment_increment", 1)) > 1:
        yield several_writers(alias, "its ids are drawn in steps (auto_increment_increment)")
    if variables["log_bin"] == "ON" and variables["binlog_format"] == "STATEMENT":
        yield binary_log_of_statements(alias)
    collation = exact_collation(connection)
    known = "SELECT 1 FROM information_schema.collations WHERE collation_name = %s"
    if not fetch(connection, known, [collation]):
        yield collation_missing(alias, str(collation))


def _check_mysql_text(alias: str, variables: dict[str, str]) -> Iterator[CheckMessage]:
    if wrong := not_faithful(variables):
        yield text_garbled(alias, wrong)
    if STRICT_MODES.isdisjoint(variables["sql_mode"].split(",")):
        yield not_strict(alias, variables["sql_mode"])


BY_VENDOR = {"mysql": check_mysql, "postgresql": check_postgresql, "sqlite": check_sqlite}


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
    return choice(
        33,
        f"DATABASES[{alias!r}]: {why}. Where two servers write page views, one can get an id below others that were"
        " counted already, and never be counted itself.",
        "Write page views through one server only; verify_aggregates finds what was missed.",
    )


def not_strict(alias: str, mode: str) -> CheckMessage:
    return error(
        38,
        f"DATABASES[{alias!r}] has the sql_mode {mode!r}, which is not strict: a value that cannot be stored is changed"
        " without an error, such as a path that is cut.",
        f'Write DATABASES[{alias!r}]["OPTIONS"]["init_command"] = "SET sql_mode=\'STRICT_TRANS_TABLES\'"; or give the'
        " app an alias of its own with it.",
    )


def binary_log_of_statements(alias: str) -> CheckMessage:
    return error(
        39,
        f"DATABASES[{alias!r}] is on a server whose binlog_format is STATEMENT: it refuses what a READ COMMITTED"
        " transaction writes, so nothing can be folded (error 1665).",
        "Set binlog_format = MIXED or ROW in the server's configuration, and restart it.",
    )


def subscribed(alias: str, names: Sequence[str]) -> CheckMessage:
    return warning(
        40,
        f"DATABASES[{alias!r}] gets page views by logical replication (subscription {', '.join(names)}), in the order"
        " of commits and not of ids: one can appear below others that were counted already, and never be counted"
        " itself.",
        "Run backfills on the publisher, and leave the table of page views out of the publication; verify_aggregates"
        " finds what was missed.",
    )


def collation_missing(alias: str, collation: str) -> CheckMessage:
    return error(
        34,
        f"DATABASES[{alias!r}] has no collation {collation}: paths that differ in case or in spaces at the end would be"
        " taken for one.",
        "Upgrade: MariaDB has had it since 10.2, MySQL since 8.0.17.",
    )
