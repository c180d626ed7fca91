"""`{% load django_pagestats %}`: the beacon (docs/beacon.md), and numbers (docs/statistics.md#in-templates)."""

from __future__ import annotations

from typing import Any

from django import template
from django.template import Context
from django.utils.safestring import SafeString

from django_pagestats import charted, showing
from django_pagestats.beacon import markup

register = template.Library()

register.simple_tag(showing.page_views)
register.simple_tag(showing.unique_visitors)
register.simple_tag(showing.top_pages)
register.simple_tag(charted.pagestats_chart)


@register.simple_tag(takes_context=True)
def pagestats_beacon(
    context: Context,
    *,
    nonce: Any = None,
    endpoint: str | None = None,
    auto: bool = True,
    hash: bool = False,  # noqa: A002 - as the attribute is called
    exclude: str | None = None,
    consent: bool = False,
) -> SafeString:
    """The script that tells the site of page views, for the head of a page; nothing where the middleware records."""
    attributes = {
        "endpoint": endpoint,
        "auto": None if auto else "false",
        "hash": hash,
        "exclude": exclude,
        "consent": consent,
    }
    return markup.script_html(context, nonce=nonce, attributes=attributes)


@register.simple_tag(takes_context=True)
def pagestats_pixel(context: Context) -> SafeString:
    """An image by which browsers without scripts are counted, for the body of a page."""
    return markup.pixel_html(context)


@register.simple_tag
def pagestats_opt_out(label: str | None = None) -> SafeString:
    """A button with which a visitor, or the owner, takes this browser out."""
    return markup.opt_out_html(label)
