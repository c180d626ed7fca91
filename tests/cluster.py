"""A site of the tests' database with real processes: manage.py, qcluster, and the queue between them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from io import StringIO
from pathlib import Path

from django.core.management import call_command
from django.db import connection
from django_q.models import OrmQ

from testproject import settings
from testproject.cluster import MANAGE, Cluster
from tests import servers

#: the brokers to try on each database
BROKERS = {"sqlite": ["orm"], "postgresql": ["orm", "redis"], "mariadb": ["orm"]}[settings.KIND]


class Site:
    """What other processes need to work on the database of the test, which must commit (`transaction=True`)."""

    def __init__(self, folder: Path, *, broker: str = "orm", **environment: str) -> None:
        self.broker = broker
        self.log = folder / "qcluster.log"
        # the ORM's queue has the name that this process uses too; Redis is shared with others, so a name of our own
        self.name = settings.Q_CLUSTER["name"] if broker == "orm" else f"pagestats-{uuid.uuid4().hex}"
        self.environment = {
            "PAGESTATS_DB": settings.KIND,
            "PAGESTATS_DB_NAME": str(connection.settings_dict["NAME"]),
            "PAGESTATS_BROKER": broker,
            "PAGESTATS_CLUSTER_NAME": self.name,
            "PAGESTATS_POLL": "0.02",
            **environment,
        }

    def cluster(self) -> Cluster:
        return Cluster(log=self.log, environment=self.environment)

    def another_cluster(self, **environment: str) -> Cluster:
        """After one that was killed, or beside it, with a log of its own."""
        log = self.log.with_name(f"qcluster-{uuid.uuid4().hex[:8]}.log")
        return Cluster(log=log, environment={**self.environment, **environment})

    def manage(self, *words: str) -> str:
        """The output of a command that uses the queue; a failure of it fails the test, and shows the cluster's log."""
        if self.broker == "orm":
            out = StringIO()
            call_command(*words, stdout=out, stderr=out)
            return out.getvalue()
        # django-q2 settles its broker when it is imported: another one needs another process
        done = subprocess.run(
            [sys.executable, str(MANAGE), *words],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, f"{words} exited with {done.returncode}:\n{done.stdout}\n{self.log.read_text()}"
        return done.stdout

    def queue_size(self) -> int:
        """Tasks that wait, or that were taken and not acknowledged (the ORM's queue only)."""
        if self.broker == "orm":
            return OrmQ.objects.count()
        with servers.connect_redis() as redis:
            return int(redis.llen(f"django_q:{self.name}:q"))

    def forget(self) -> None:
        """Leave nothing in a Redis that is shared."""
        if self.broker == "redis":
            with servers.connect_redis() as redis:
                for key in redis.scan_iter(match=f"django_q:{self.name}*"):
                    redis.delete(key)


def wait_until(condition: Callable[[], object], what: str, *, timeout: float = 60) -> None:
    """Look again and again; fails the test when the time is over."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not after {timeout:g} s"
        time.sleep(0.02)
