"""What the dashboard is registered by in the admin, and who may see it."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from django_pagestats.models.page_views import PageView


class Statistics(PageView):
    """No table of its own. It is for its permission, `django_pagestats.view_statistics`: a dashboard has no other."""

    class Meta:
        proxy = True
        verbose_name = _("statistics")
        verbose_name_plural = _("statistics")
        default_permissions = ()
        permissions = [("view_statistics", "Can view statistics")]
