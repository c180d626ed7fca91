"""The site of testproject with the named dimensions that benchmarks.compare asks for, as JSON in the environment."""

import json
import os

from testproject.settings import *  # noqa: F403

PAGESTATS_DIMENSIONS = json.loads(os.environ.get("PAGESTATS_DIMENSIONS", "{}"))
