"""The settings of a cluster that lacks protections, for controls: PAGESTATS_WITHOUT names them, with commas between."""

import os

from django.apps import AppConfig

from testproject.settings import *  # noqa: F403


class Unprotected(AppConfig):
    name = "tests"

    def ready(self) -> None:
        from tests.unprotected import WITHOUT

        for name in os.environ["PAGESTATS_WITHOUT"].split(","):
            WITHOUT[name]()


INSTALLED_APPS = [*INSTALLED_APPS, "tests.unprotected_settings.Unprotected"]  # noqa: F405
