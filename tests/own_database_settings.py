"""A site that keeps the app in a database of its own, `stats`, as docs/operations.md has it; both are SQLite files."""

import os

from testproject.settings import *  # noqa: F403

DATABASES = {**DATABASES, "stats": {**DATABASE, "NAME": os.environ["PAGESTATS_STATS_NAME"]}}  # noqa: F405
DATABASE_ROUTERS = ["tests.routers.StatsRouter"]
