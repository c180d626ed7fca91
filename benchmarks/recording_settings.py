"""The site of testproject with whichever other apps that count page views are installed, for benchmarks.recording."""

from importlib.util import find_spec
from typing import Any

from testproject.settings import *  # noqa: F403
from testproject.settings import DATABASES, INSTALLED_APPS, REDIS

ROOT_URLCONF = "tests.served"
#: the app, and what it is installed as
PEERS = {
    name: label
    for name, label in {
        "request": "django-request",
        "tracking": "django-tracking2",
        "hitcount": "dj-hitcount",
        "sitepulse": "django-sitepulse",
    }.items()
    if find_spec(name)
}
INSTALLED_APPS = [*INSTALLED_APPS, *PEERS]
DATABASES["default"]["CONN_MAX_AGE"] = None
DATABASES["default"]["CONN_HEALTH_CHECKS"] = False
CACHES: dict[str, Any] = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "shared": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": f"redis://{REDIS['host']}:{REDIS['port']}/{REDIS['db']}",
    },
}
TRACK_PAGEVIEWS = True
TRACK_ANONYMOUS_USERS = True
SILENCED_SYSTEM_CHECKS = ["pagestats.W003"]
