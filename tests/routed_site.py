"""Visits a site whose statistics are in a database of their own; prints as JSON what was counted there."""

from __future__ import annotations

import json
import re
import sys

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth.models import Permission, User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import setup_test_environment  # noqa: E402

from django_pagestats import recording, stats  # noqa: E402
from django_pagestats.models import LeftOut, Salt  # noqa: E402
from tests.recording_site import BROWSER, MIDDLEWARE  # noqa: E402

settings.ROOT_URLCONF = "tests.recording_site"
settings.MIDDLEWARE = [MIDDLEWARE, *settings.MIDDLEWARE]
settings.PAGESTATS_ENABLED = True
for alias in ("default", "stats"):
    call_command("migrate", database=alias, verbosity=0)
for path, headers in (
    ("/", {}),
    ("/", {}),
    ("/", {"REMOTE_ADDR": "192.0.2.2"}),
    ("/users/7/", {}),
    ("/", {"HTTP_USER_AGENT": "curl/8.0"}),
):
    assert Client(**{**BROWSER, **headers}).get(path).status_code == 200
recording.flush()


def shown_beside() -> dict[str, object]:
    """What an editor sees of objects, who are in the other database, and of the statistics."""
    User.get_absolute_url = lambda user: f"/{'users/7' if user.pk == 7 else 'nobody'}/"  # type: ignore[attr-defined]
    settings.ROOT_URLCONF, settings.PAGESTATS_ENABLED = "tests.objects_site", False
    settings.MIDDLEWARE = settings.MIDDLEWARE[1:]
    User.objects.bulk_create([User(pk=pk, username=f"user{pk}") for pk in (5, 6, 7, 8)])
    editor = User.objects.create_user("~editor", is_staff=True)
    wanted = ("view_user", "change_user", "view_statistics")
    editor.user_permissions.set(Permission.objects.filter(codename__in=wanted))
    client = Client()
    client.force_login(editor)

    def text(url: str) -> str:
        response = client.get(url)
        assert response.status_code == 200, (url, response.status_code)
        return response.content.decode()

    setup_test_environment()  # for the context of an answer
    users = "/admin/auth/user/"
    columns = client.get(users).context["cl"].list_display
    numbers = re.findall(r'pagestats-count"><a [^>]*>(.*?)</a>', text(f"{users}?o=-{columns.index('page_statistics')}"))
    box = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", text(f"{users}7/change/"))
    audit = text("/admin/django_pagestats/dashboard/audit/")
    return {"column": numbers, "box": dict(box), "unseen": "nobody saw 1 in these days" in audit}


beside = shown_beside()
sys.stdout.write(
    json.dumps(
        {
            "pages": [(page.path, page.page_views, page.visitors) for page in stats.top_pages()],
            "left_out": dict(LeftOut.objects.using("stats").values_list("reason", "count")),
            "beside": beside,
            "salts": Salt.objects.using("stats").count(),
        }
    )
)
