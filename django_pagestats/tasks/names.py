"""What our tasks are called in the queue, where they outlive the release that made them; and how a site gets one."""

from __future__ import annotations

from typing import Any

from django_pagestats.conf import conf

LINK = "django_pagestats.tasks.link"
CHECK = "django_pagestats.tasks.check"
TEND = "django_pagestats.tasks.tend"
GROUP = "pagestats"

#: settings to paste, for a site that has no cluster yet
A_CLUSTER = (
    'Q_CLUSTER = {"name": "mysite", "orm": "default", "workers": 1, "queue_limit": 1, "bulk": 1, "poll": 0.2,'
    ' "timeout": 60, "retry": 240, "max_attempts": 5, "save_limit": 100, "catch_up": False}'
)
HOW_TO_HAVE_A_CLUSTER = (
    f'add "django_q" to INSTALLED_APPS and write {A_CLUSTER}, run manage.py migrate, and keep manage.py qcluster'
    " running."
)


def queue_options() -> dict[str, Any]:
    """How our tasks are given to the queue."""
    options: dict[str, Any] = {"save": False, "group": GROUP}
    if conf.CLUSTER is not None:
        options["cluster"] = conf.CLUSTER
    return options
