"""What can be wrong with the queue, that is with django-q2's settings."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from math import ceil
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage
from django.db import connections

from django_pagestats import aliases, tasks
from django_pagestats.checks.messages import Apps, choice, error, told, warning
from django_pagestats.checks.settings import why_not_imported
from django_pagestats.conf import Conf, conf

#: what the ORM broker's tables may take besides the tasks' own time
RETRY_MARGIN_SECONDS = 5
LINKS_PER_TIMEOUT = 3


def check_queue(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    if not apps.is_installed("django_q"):
        return told([nobody_keeps_up()] if conf.KEEP_UP is False else [])
    if not isinstance(getattr(settings, "Q_CLUSTER", None), dict):
        return [cluster_missing()]
    return told(_check_cluster(Cluster.from_settings()))


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
    if cluster.broker_class is not None and (reason := why_not_imported(cluster.broker_class)):
        yield broker_unknown(cluster.broker_class, reason)
    homes = aliases.sure()
    if cluster.orm is not None and cluster.orm not in connections:
        yield queue_nowhere(cluster.orm)
    elif cluster.orm is not None and homes and cluster.orm not in homes:
        yield queue_elsewhere(cluster.orm, homes)
    if not cluster.is_known:
        yield cluster_unknown()


def nobody_keeps_up() -> CheckMessage:
    return choice(
        60,
        "PAGESTATS_KEEP_UP is False and django_q is not in INSTALLED_APPS: nothing keeps the statistics up, and answers"
        " get slower.",
        "Remove PAGESTATS_KEEP_UP, or run backfill_aggregates --sync from time to time; or let a cluster do it:"
        f" {tasks.HOW_TO_HAVE_A_CLUSTER}",
    )


def cluster_missing() -> CheckMessage:
    return warning(
        11,
        "Q_CLUSTER is missing: django-q2 then takes a Redis on this machine, without a time limit for tasks.",
        f"Write for example {tasks.A_CLUSTER}.",
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


def queue_elsewhere(orm: str, homes: Sequence[str]) -> CheckMessage:
    return choice(
        15,
        f'Q_CLUSTER["orm"] is {orm!r}, and the page views are on {", ".join(map(repr, homes))}: a chunk and the task'
        " that follows it cannot be committed as one. It works; after a crash between the two the run waits for its"
        " lease to run out.",
        f'Write "orm": {homes[0]!r} into Q_CLUSTER if the queue may live there.',
    )


def cluster_sync() -> CheckMessage:
    return choice(
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
