"""The site of testproject with a few pages that record, as servers of the tests and benchmarks serve it.

PAGESTATS_BUFFER   1: page views are gathered in the process
PAGESTATS_BUFFER_SECONDS, PAGESTATS_BUFFER_ROWS   as the settings
PAGESTATS_CONN_MAX_AGE   seconds that a connection is kept
"""

import os

from testproject.settings import *  # noqa: F403
from testproject.settings import DATABASES

ROOT_URLCONF = "tests.served"
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware"]
PAGESTATS_BUFFER = os.environ.get("PAGESTATS_BUFFER") == "1"
PAGESTATS_BUFFER_SECONDS = float(os.environ.get("PAGESTATS_BUFFER_SECONDS", "1"))
PAGESTATS_BUFFER_ROWS = int(os.environ.get("PAGESTATS_BUFFER_ROWS", "500"))
if "PAGESTATS_CONN_MAX_AGE" in os.environ:
    DATABASES["default"]["CONN_MAX_AGE"] = int(os.environ["PAGESTATS_CONN_MAX_AGE"])
