"""What is left in the queue when the tables are taken away: nothing, once `migrate django_pagestats zero` is done."""

from __future__ import annotations

import logging
from typing import Any

from django.db import transaction

from django_pagestats.conf import conf
from django_pagestats.tasks.names import CHECK, LINK, TEND
from django_pagestats.tasks.schedules import queue_is_installed, remove_all

logger = logging.getLogger(__name__)


def forget(using: str) -> None:
    """Remove the schedules and the queued tasks of a database whose tables are gone.

    From the ORM's queue and from Redis; another broker keeps its tasks, which say that they came for nothing.
    """
    remove_all(using)
    if not queue_is_installed():
        return
    try:
        removed = _remove_queued(using)
    except Exception as error:  # each broker has its own; what is left there does no harm
        logger.warning("tasks of the statistics on %s may be left in the queue: %s", using, error)
        return
    if removed:
        logger.info("%d tasks of the statistics on %s are removed from the queue", removed, using)


def _remove_queued(using: str) -> int:
    from django_q.brokers import get_broker
    from django_q.conf import Conf

    if Conf.ORM:
        return _remove_from_table(using)
    broker = get_broker(conf.CLUSTER)
    if not (hasattr(broker, "connection") and hasattr(broker.connection, "lrem")):
        return 0
    packages = broker.connection.lrange(broker.list_key, 0, -1)
    return sum(broker.connection.lrem(broker.list_key, 1, each) for each in packages if _is_for(using, each))


def _remove_from_table(using: str) -> int:
    from django_q.conf import Conf
    from django_q.models import OrmQ

    tasks = OrmQ.objects.using(Conf.ORM)
    with transaction.atomic(using=Conf.ORM):
        ours = [pk for pk, package in tasks.values_list("pk", "payload").iterator() if _is_for(using, package)]
        removed: int = tasks.filter(pk__in=ours).delete()[0]
    return removed


def _is_for(using: str, package: Any) -> bool:
    """Whether a task in the queue is one of ours for this database."""
    from django_q.signing import SignedPackage

    try:
        task = SignedPackage.loads(package.decode() if isinstance(package, bytes) else package)
    except Exception:  # of another site, or of classes that are gone: whatever it is, it is none of ours
        return False
    return task.get("func") in (CHECK, LINK, TEND) and tuple(task.get("args", ()))[:1] == (using,)
