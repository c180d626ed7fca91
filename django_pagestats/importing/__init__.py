"""Bringing in page views from elsewhere: access logs and other tables; docs/importing.md."""

from django_pagestats.importing.formats import Reading
from django_pagestats.importing.formats import names as format_names
from django_pagestats.importing.logs import import_log
from django_pagestats.importing.outcomes import OnProgress, Progress, Skip, Summary
from django_pagestats.importing.packages import PACKAGES, package_reader
from django_pagestats.importing.rows import Fields
from django_pagestats.importing.several import in_order, matching
from django_pagestats.importing.tables import import_model, import_rows

__all__ = [
    "PACKAGES",
    "Fields",
    "OnProgress",
    "Progress",
    "Reading",
    "Skip",
    "Summary",
    "format_names",
    "import_log",
    "import_model",
    "import_rows",
    "in_order",
    "matching",
    "package_reader",
]
