"""The settings of a process on a machine whose clock is wrong, by PAGESTATS_SKEW seconds: all of Python's clocks.

PAGESTATS_WITHOUT names a protection that is taken away too, if any.
"""

import datetime as datetimes
import logging
import os
import time

from django.apps import AppConfig

from testproject.settings import *  # noqa: F403

SKEW = float(os.environ["PAGESTATS_SKEW"])
right_time = time.time


class WrongDatetime(datetimes.datetime):
    @classmethod
    def now(cls, tz: datetimes.tzinfo | None = None) -> datetimes.datetime:  # type: ignore[override]
        return super().now(tz) + datetimes.timedelta(seconds=SKEW)


class Skewed(AppConfig):
    name = "tests"

    def ready(self) -> None:
        from django.utils import timezone

        time.time = lambda: right_time() + SKEW
        timezone.now = lambda: WrongDatetime.now(tz=datetimes.timezone.utc)
        if without := os.environ.get("PAGESTATS_WITHOUT"):
            from tests.unprotected import WITHOUT

            WITHOUT[without]()
        logging.getLogger("django-q").warning("the clock is wrong by %g s", time.time() - right_time())


INSTALLED_APPS = [*INSTALLED_APPS, "tests.skewed_settings.Skewed"]  # noqa: F405
