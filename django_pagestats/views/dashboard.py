"""The dashboard, for a site to mount: the page, and its tables as CSV; docs/dashboard.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any

from django.contrib.auth.mixins import PermissionRequiredMixin
from django.db import connections, router, transaction
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.decorators import method_decorator
from django.views.generic import TemplateView

from django_pagestats.dashboard.exporting import table_csv
from django_pagestats.dashboard.page import page_of
from django_pagestats.dashboard.scope import Places
from django_pagestats.dashboard.sections import Section, sections_of
from django_pagestats.decorators import not_counted
from django_pagestats.models import Aggregate

#: the name under which `dashboard_urls()` are included
SECTIONS_APP = "pagestats"


@method_decorator(not_counted, name="dispatch")
class DashboardView(PermissionRequiredMixin, TemplateView):
    """For whoever may view statistics; with `public=True` for anybody, and then without numbers of a few visitors."""

    permission_required = "django_pagestats.view_statistics"
    template_name = "django_pagestats/dashboard.html"
    http_method_names = ["get", "head", "options"]
    public = False

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponse]:
        view = super().as_view(**initkwargs)
        # a transaction of the request's that shows what others commit could keep an answer from settling
        for alias in connections:
            transaction.non_atomic_requests(using=alias)(view)
        if initkwargs.get("public", cls.public):
            view.login_required = False  # type: ignore[attr-defined] # of LoginRequiredMiddleware
        return view

    def has_permission(self) -> bool:
        return self.public or super().has_permission()

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        response = super().dispatch(request, *args, **kwargs)
        if not self.public:
            add_never_cache_headers(response)
        return response

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        # not for the public: it reads the visitors of all pages, and tells of each page that only one has seen
        table = "" if self.public else request.GET.get("csv", "")
        if table and (made := table_csv(request.GET, table, **self.asked())) is not None:
            name, file = made
            return FileResponse(file, as_attachment=True, filename=name, content_type="text/csv; charset=utf-8")
        return super().get(request, *args, **kwargs)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        page = self.page()
        return super().get_context_data(**page, sections=self.sections(page["state"].of_everybody().query()), **kwargs)

    def page(self) -> dict[str, Any]:
        """What the template gets, with the state of the URL."""
        return page_of(self.request.GET, **self.asked(), is_public=self.public, places=self.places())

    def sections(self, query: str) -> Sequence[Section]:
        """The ways to the pages beside this one, for who may see them, where `dashboard_urls()` has mounted them."""
        match = self.request.resolver_match
        if match is None or match.app_names[-1:] != [SECTIONS_APP] or not self._may_see_all():
            return []

        def url_of(name: str) -> str:
            return reverse(f"{match.namespace}:{name}", args=match.args, kwargs=match.kwargs)

        return sections_of(url_of, match.url_name or "", query)

    def _may_see_all(self) -> bool:
        user = getattr(self.request, "user", None)
        return user is not None and user.has_perms(self.get_permission_required())

    def places(self) -> Places:
        """Where the dashboards of the site and of one page are; here, which of both it is says `path` in the query."""
        return Places()

    def asked(self) -> dict[str, Any]:
        """Where it is asked, and when."""
        return {"using": router.db_for_read(Aggregate), "now": datetime.now(timezone.utc)}
