"""What Wagtail's pages have to do with statistics: which path is a page's, who sees its numbers, where they lead to."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode

from django_pagestats.beside.addresses import page_beside

PERMISSION = "django_pagestats.view_statistics"


def may_view(request: HttpRequest) -> bool:
    return request.user.has_perm(PERMISSION)


def path_of_page(page: Any, request: HttpRequest) -> str | None:
    """The path under which a page's page views are recorded; None: it has no URL, or one of a host that is not ours."""
    # the request has the roots of the sites, which are asked for once
    return page_beside(page, lambda item: item.get_url(request))


def statistics_url(path: str, request: HttpRequest) -> str:
    """The dashboard of one page in Django's admin, for those who may go there; empty where there is none."""
    if not getattr(request.user, "is_staff", False):
        return ""
    try:
        return f"{reverse('admin:django_pagestats_page')}?{urlencode({'path': path})}"
    except NoReverseMatch:
        return ""
