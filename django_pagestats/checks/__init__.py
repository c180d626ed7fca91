"""What can be wrong with the settings and the databases; docs/checks.md has a line for each id.

Checks of the settings alone run with every command. Those that ask a database run where it is named: at `migrate`, and
with `check --database`.
"""

from __future__ import annotations

from django.core import checks

from django_pagestats.checks.attributes import check_attributes
from django_pagestats.checks.beacon import check_beacon
from django_pagestats.checks.dashboard import check_dashboard
from django_pagestats.checks.database_settings import check_database_settings
from django_pagestats.checks.databases import check_databases
from django_pagestats.checks.dimensions import check_dimensions
from django_pagestats.checks.load import check_load
from django_pagestats.checks.middleware import check_recording
from django_pagestats.checks.proxies import check_proxies
from django_pagestats.checks.queue import check_queue
from django_pagestats.checks.settings import check_settings
from django_pagestats.checks.sitemaps import check_sitemaps

__all__ = [
    "check_attributes",
    "check_beacon",
    "check_dashboard",
    "check_database_settings",
    "check_databases",
    "check_dimensions",
    "check_load",
    "check_proxies",
    "check_queue",
    "check_recording",
    "check_settings",
    "check_sitemaps",
    "register_checks",
]


def register_checks() -> None:
    """Called when the app is ready."""
    checks.register(check_settings, checks.Tags.compatibility)
    checks.register(check_attributes, checks.Tags.compatibility)
    checks.register(check_dimensions, checks.Tags.compatibility)
    checks.register(check_queue, checks.Tags.compatibility)
    checks.register(check_recording, checks.Tags.compatibility)
    checks.register(check_sitemaps, checks.Tags.compatibility)
    checks.register(check_load, checks.Tags.compatibility)
    checks.register(check_proxies, checks.Tags.security, deploy=True)
    checks.register(check_beacon, checks.Tags.compatibility)
    checks.register(check_dashboard, checks.Tags.compatibility)
    checks.register(check_database_settings, checks.Tags.compatibility)
    checks.register(check_databases, checks.Tags.database)
