"""A Wagtail site with the middleware, in a SQLite file of its own, and with the numbers in Wagtail's admin."""

import os

from testproject.settings import *  # noqa: F403

DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("PAGESTATS_WAGTAIL_NAME", ":memory:")}
}
INSTALLED_APPS = [
    *INSTALLED_APPS,  # noqa: F405
    "django_pagestats.contrib.wagtail",
    "wagtail.sites",
    "wagtail.users",
    "wagtail.images",
    "wagtail.documents",
    "wagtail.search",
    "wagtail.admin",
    "wagtail",
    "modelcluster",
    "taggit",
]
MIDDLEWARE = ["django_pagestats.middleware.PageViewMiddleware", *MIDDLEWARE]  # noqa: F405
TEMPLATES = [{**TEMPLATES[0], "DIRS": [BASE_DIR / "tests" / "wagtail_templates"]}]  # noqa: F405
ROOT_URLCONF = "tests.wagtail_urls"
WAGTAIL_SITE_NAME = "A site"
WAGTAILADMIN_BASE_URL = "http://testserver"
PAGESTATS_ENABLED = True
PAGESTATS_ATTRIBUTES = ["source"]
PAGESTATS_EXCLUDE_PATHS = ["^/cms/"]
