"""The dashboard, for a site to mount: the page, and its tables as CSV; docs/dashboard.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import IO, Any

from django.contrib.auth.mixins import PermissionRequiredMixin
from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, connections, router, transaction
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.csrf import csrf_protect
from django.views.generic import TemplateView

from django_pagestats import tasks
from django_pagestats.dashboard.exporting import table_csv
from django_pagestats.dashboard.page import page_of
from django_pagestats.dashboard.scope import Places
from django_pagestats.dashboard.sections import Section, sections_of
from django_pagestats.decorators import not_counted
from django_pagestats.exceptions import PageStatsError
from django_pagestats.models import Aggregate, RunEvent
from django_pagestats.views.starting import may_start, may_view_runs, start_backfill, start_check

#: what is said of a button that failed
FAILED = {
    "backfill": _("The backfill could not be started: %s"),
    "check": _("The recount could not be started: %s"),
}
#: the name under which `dashboard_urls()` are included
SECTIONS_APP = "pagestats"


def csv_response(name: str, file: IO[bytes]) -> FileResponse:
    """A file to be saved under a name."""
    return FileResponse(file, as_attachment=True, filename=name, content_type="text/csv; charset=utf-8")


@method_decorator(not_counted, name="dispatch")
class DashboardView(PermissionRequiredMixin, TemplateView):
    """For whoever may view statistics; with `public=True` for anybody, and then without numbers of a few visitors.

    Its buttons are for whoever may start a backfill, too: they POST to the page itself, never to a public one.
    """

    permission_required = "django_pagestats.view_statistics"
    template_name = "django_pagestats/dashboard.html"
    http_method_names = ["get", "head", "post", "options"]
    public = False

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponse]:
        is_public = initkwargs.get("public", cls.public)
        if is_public:
            initkwargs.setdefault("http_method_names", [name for name in cls.http_method_names if name != "post"])
        view = super().as_view(**initkwargs)
        if not is_public:  # a site may have no CsrfViewMiddleware; and what anybody sees asks for no cookie
            view = csrf_protect(view)
        # a transaction of the request's that shows what others commit could keep an answer from settling
        for alias in connections:
            transaction.non_atomic_requests(using=alias)(view)
        if is_public:
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
            return csv_response(name, file)
        return super().get(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """A button: start what it says, and show the same page, which tells of it."""
        name = request.POST.get("start", "")
        try:
            if name == "backfill" and self.backfill_url("?"):
                start_backfill(request, via=RunEvent.Via.DASHBOARD)
            elif name == "check" and self.check_url("?"):
                start_check(request)
            else:
                raise PermissionDenied
        except (PageStatsError, DatabaseError) as error:
            told = FAILED[name] % error
            return self.render_to_response(self.get_context_data(failed=[told], **kwargs), status=503)
        return HttpResponseRedirect(request.get_full_path())

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """`failed` are sentences about what could not be started."""
        page = self.page()
        page["refused"] = [*kwargs.pop("failed", ()), *page["refused"]]
        sections = self.sections(page["state"].of_everybody().query())
        return super().get_context_data(**page, **self.buttons(page["state"].query()), sections=sections, **kwargs)

    def buttons(self, query: str) -> dict[str, Any]:
        """Where those of a page with this query lead."""
        return {
            "backfill_url": self.backfill_url(query),
            "check_url": self.check_url(query),
            "check_by_hand": self.may_start(),
            "backfill_command": f"manage.py backfill_aggregates{'' if tasks.queue_is_installed() else ' --sync'}",
        }

    def may_start(self) -> bool:
        """Whether what its buttons start is told to the user."""
        return not self.public and may_start(self.request)

    def backfill_url(self, query: str) -> str:
        """What starts a backfill: this page; empty for who may not, and where no cluster would work on it."""
        may_push = self.may_start() and may_view_runs(self.request)
        return query if may_push and tasks.queue_is_installed() else ""

    def check_url(self, query: str) -> str:
        """What recounts the days that are shown, likewise."""
        return query if self.may_start() and tasks.queue_is_installed() else ""

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
