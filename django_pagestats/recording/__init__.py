"""Recording page views; docs/recording.md."""

from django_pagestats.intake import normalise_path
from django_pagestats.recording.background import flush
from django_pagestats.recording.many import record_page_views
from django_pagestats.recording.notices import dismiss as dismiss_notice
from django_pagestats.recording.paths import is_counted_url, page_of_url
from django_pagestats.recording.proxies import shown as proxy_notices
from django_pagestats.recording.storing import record_page_view

__all__ = [
    "dismiss_notice",
    "flush",
    "is_counted_url",
    "normalise_path",
    "page_of_url",
    "proxy_notices",
    "record_page_view",
    "record_page_views",
]
