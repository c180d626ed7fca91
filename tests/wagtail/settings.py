"""The Wagtail site of `tests.wagtail_settings`, whose tables are made at once: migrations take longer than tests."""

from tests.wagtail_settings import *  # noqa: F403

DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
MIGRATION_MODULES = dict.fromkeys(
    ["wagtailcore", "wagtailadmin", "wagtailusers", "wagtailimages", "wagtaildocs", "wagtailsearch", "taggit"]
)
WAGTAILSEARCH_BACKENDS = {"default": {"BACKEND": "wagtail.search.backends.database.fallback"}}
PAGESTATS_ENABLED = False
