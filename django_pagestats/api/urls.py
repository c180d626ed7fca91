"""For a site's URLconf: `path("statistics-api/", include("django_pagestats.api.urls"))`; off until it is there.

Beside `django_pagestats.urls`, which sites include for the beacon: these must not come to have an API by an upgrade.
"""

from __future__ import annotations

from django.urls import path

from django_pagestats.api.operations import OPERATIONS
from django_pagestats.api.views import openapi, view_of

app_name = "django_pagestats_api"

urlpatterns = [
    path("openapi.json", openapi(), name="openapi"),
    *(path(operation.name, view_of(operation), name=operation.name) for operation in OPERATIONS),
]
