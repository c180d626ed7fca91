"""Template tags: numbers of the statistics; docs/statistics.md#in-templates."""

from __future__ import annotations

from django import template

from django_pagestats import showing

register = template.Library()

register.simple_tag(showing.page_views)
register.simple_tag(showing.unique_visitors)
register.simple_tag(showing.top_pages)
