"""A site that has taken the app out, and still has the package installed."""

from testproject.settings import *  # noqa: F403

INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "django_pagestats"]  # noqa: F405
ROOT_URLCONF = "tests.removed_urls"
