"""Bringing in page views from elsewhere: access logs and other tables; docs/importing.md."""

from django_pagestats.importing.logs import import_log
from django_pagestats.importing.outcomes import OnProgress, Progress, Skip, Summary
from django_pagestats.importing.tables import Fields, import_model

__all__ = ["Fields", "OnProgress", "Progress", "Skip", "Summary", "import_log", "import_model"]
