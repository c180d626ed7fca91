"""Says, once a process, that a dump which is being loaded holds what a backfill makes again; see docs/operations.md."""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Any

from django.db.models.signals import pre_save

from django_pagestats.models import Aggregate

logger = logging.getLogger(__name__)


def watch_loads() -> None:
    """Called when the app is ready."""
    pre_save.connect(tell_of_derived, sender=Aggregate, dispatch_uid="django_pagestats.dumps")


def tell_of_derived(sender: type[Aggregate], raw: bool, **kwargs: Any) -> None:
    if raw:  # only loaddata, and tests' fixtures, save an aggregate at all
        _tell()


@lru_cache(maxsize=1)
def _tell() -> None:
    logger.warning(
        "This dump holds aggregates, which are loaded one by one, on MariaDB each more slowly than the one before: "
        "leave them out with `dumpdata --exclude`, as docs/operations.md#dump-and-restore says, and let `manage.py "
        "backfill_aggregates` make them again."
    )
