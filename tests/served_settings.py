"""The site of testproject with a few pages, as servers of the tests and benchmarks serve it (tests/served.py).

PAGESTATS_RECORDS   0: without the middleware
PAGESTATS_BUFFER   1: page views are gathered in the process
PAGESTATS_BUFFER_SECONDS   as the setting
PAGESTATS_CONN_MAX_AGE   seconds that a connection is kept
"""

import os

from testproject.settings import *  # noqa: F403
from testproject.settings import DATABASES

ROOT_URLCONF = "tests.served"
MIDDLEWARE = ["django_pagestats.middleware.PageViewMiddleware"] if os.environ.get("PAGESTATS_RECORDS") != "0" else []
PAGESTATS_DUPLICATE_SECONDS = 0
PAGESTATS_BUFFER = os.environ.get("PAGESTATS_BUFFER") == "1"
PAGESTATS_BUFFER_SECONDS = float(os.environ.get("PAGESTATS_BUFFER_SECONDS", "1"))
if "PAGESTATS_CONN_MAX_AGE" in os.environ:
    DATABASES["default"]["CONN_MAX_AGE"] = int(os.environ["PAGESTATS_CONN_MAX_AGE"])
