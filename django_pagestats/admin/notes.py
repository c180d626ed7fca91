"""Notes, as people write them: reached from the dashboard with the day filled in, and back there once it is saved."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django import forms
from django.contrib import admin
from django.contrib.admin import AdminSite
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils.dateparse import parse_date
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from django_pagestats.admin.readonly import dashboard_url
from django_pagestats.exceptions import PageStatsError
from django_pagestats.models import Note
from django_pagestats.notes import FIRST_DAY, LAST_DAY, check_note_path, check_text

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
    ModelForm = forms.ModelForm[Any]
else:
    ModelAdmin = admin.ModelAdmin
    ModelForm = forms.ModelForm

#: the parameter of a form's URL that says which page of the dashboard it was opened from
BACK = "back"


class NoteForm(ModelForm):
    """Takes what a chart can show, and says why it does not take the rest."""

    def clean_day(self) -> date:
        day: date = self.cleaned_data["day"]
        if not FIRST_DAY <= day <= LAST_DAY:
            raise ValidationError(
                _("A note is of a day from %(first)s to %(last)s."), params={"first": FIRST_DAY, "last": LAST_DAY}
            )
        return day

    def clean_path(self) -> str:
        return self._checked(check_note_path, "path")

    def clean_text(self) -> str:
        return self._checked(check_text, "text")

    def _checked(self, check: Any, name: str) -> str:
        try:
            return str(check(self.cleaned_data[name]))
        except PageStatsError as error:
            raise ValidationError(str(error)) from error


@admin.register(Note)
class NoteAdmin(ModelAdmin):
    form = NoteForm
    fields = ("day", "text", "path", "is_public")
    list_display = ("text", "day", "path", "is_public")
    list_filter = ("is_public",)
    list_per_page = 100
    date_hierarchy = "day"
    search_fields = ("text", "path")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = capfirst(str(self.opts.verbose_name_plural))
        context = {"title": title, "dashboard_url": dashboard_url(self.admin_site, request)}
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if db_field.name == "path" and isinstance(field, forms.CharField):
            field.strip = False  # "/x " is another path than "/x"
        return field

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """The day of the dashboard's link is ISO's, and the form's is that of the reader's language."""
        found: dict[str, Any] = super().get_changeform_initial_data(request)
        try:
            day = parse_date(found.get("day", ""))
        except ValueError:  # such as 30 February
            day = None
        return {**found, "day": day} if day else {name: value for name, value in found.items() if name != "day"}

    def response_post_save_add(self, request: HttpRequest, obj: Note) -> HttpResponseRedirect:
        return self._back(request) or super().response_post_save_add(request, obj)

    def response_post_save_change(self, request: HttpRequest, obj: Note) -> HttpResponseRedirect:
        return self._back(request) or super().response_post_save_change(request, obj)

    def _back(self, request: HttpRequest) -> HttpResponseRedirect | None:
        """To the dashboard that the form was opened from; of its URL only the query is the request's."""
        url, query = dashboard_url(self.admin_site, request), request.GET.get(BACK, "")
        if not url or not query.startswith("?"):
            return None
        if QueryDict(query[1:]).get("path"):  # it was the dashboard of that page
            url = reverse("admin:django_pagestats_page", current_app=self.admin_site.name)
        return HttpResponseRedirect(url + query)

    class Media:
        css = {"all": ["django_pagestats/admin.css"]}


def note_links(site: AdminSite, request: HttpRequest, day: date, query: str, path: str = "") -> dict[str, str]:
    """Where the dashboard's user may write notes: empty texts for what she may not, or where the site has none.

    `query` is that of the dashboard's page, to come back to; `path` is what a new note is of.
    """
    links = {"note_add_url": "", "note_change_url": "", "note_back": urlencode({BACK: query})}
    if not site.is_registered(Note):
        return links
    notes = site.get_model_admin(Note)
    if notes.has_add_permission(request):
        asked = urlencode({"day": day.isoformat(), **({"path": path} if path else {}), BACK: query})
        add = reverse("admin:django_pagestats_note_add", current_app=site.name)
        links["note_add_url"] = f"{add}?{asked}"
    if notes.has_change_permission(request):
        links["note_change_url"] = reverse("admin:django_pagestats_note_changelist", current_app=site.name)
    return links
