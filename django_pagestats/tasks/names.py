"""What our tasks are called in the queue, where tasks and schedules outlive the release that made them."""

from __future__ import annotations

LINK = "django_pagestats.tasks.link"
TEND = "django_pagestats.tasks.tend"
GROUP = "pagestats"
