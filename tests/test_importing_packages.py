"""The tables of other packages, as these make them; docs/importing.md says with which of them imports were tried."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import connection, models
from django.test.utils import isolate_apps

from django_pagestats.importing import Skip, Summary, import_rows, package_reader, packages
from django_pagestats.models import PageView
from tests.logs import FIREFOX

NOON = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
ROBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"

with isolate_apps("testproject"):

    class Request(models.Model):
        response = models.SmallIntegerField(default=200)
        method = models.CharField(default="GET", max_length=7)
        path = models.CharField(max_length=255)
        time = models.DateTimeField(default=NOON)
        is_ajax = models.BooleanField(default=False)
        ip = models.GenericIPAddressField(default="192.0.2.10")
        referer = models.URLField(max_length=255, null=True)  # noqa: DJ001
        user_agent = models.CharField(max_length=255, null=True, default=FIREFOX)  # noqa: DJ001
        language = models.CharField(max_length=255, null=True)  # noqa: DJ001

        class Meta:
            app_label = "testproject"

        def __str__(self) -> str:
            return self.path

    class Visitor(models.Model):
        session_key = models.CharField(max_length=40, primary_key=True)
        ip_address = models.CharField(max_length=39)
        user_agent = models.TextField(null=True)  # noqa: DJ001

        class Meta:
            app_label = "testproject"

        def __str__(self) -> str:
            return self.session_key

    class Pageview(models.Model):
        visitor = models.ForeignKey(Visitor, on_delete=models.CASCADE)
        url = models.TextField()
        referer = models.TextField(null=True)  # noqa: DJ001
        query_string = models.TextField(null=True)  # noqa: DJ001
        method = models.CharField(max_length=20, null=True)  # noqa: DJ001
        view_time = models.DateTimeField(default=NOON)

        class Meta:
            app_label = "testproject"

        def __str__(self) -> str:
            return self.url

    class HitCount(models.Model):
        content_type = models.ForeignKey(ContentType, on_delete=models.CASCADE)
        object_pk = models.PositiveIntegerField()

        class Meta:
            app_label = "testproject"

        def __str__(self) -> str:
            return str(self.object_pk)

    class Hit(models.Model):
        created = models.DateTimeField(default=NOON)
        ip = models.CharField(max_length=40, default="192.0.2.10")
        session = models.CharField(max_length=40, default="")
        user_agent = models.CharField(max_length=255, default=FIREFOX)
        hitcount = models.ForeignKey(HitCount, on_delete=models.CASCADE)

        class Meta:
            app_label = "testproject"

        def __str__(self) -> str:
            return str(self.pk)


TABLES = (Request, Visitor, Pageview, HitCount, Hit)
MODELS = {"request.Request": Request, "tracking.Pageview": Pageview, "hitcount.Hit": Hit}


@pytest.fixture
def tables(transactional_db: None, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[None]:
    settings.PAGESTATS_DUPLICATE_SECONDS = 0
    monkeypatch.setattr(packages, "_model", MODELS.__getitem__)
    with connection.schema_editor() as editor:
        for model in TABLES:
            editor.create_model(model)
    yield
    with connection.schema_editor() as editor:
        for model in reversed(TABLES):
            editor.delete_model(model)


def load(name: str) -> Summary:
    return import_rows(package_reader(name, using="default"), chunk_rows=3)


def stored() -> list[tuple[str, Any]]:
    return list(PageView.objects.order_by("pk").values_list("path", "attributes"))


@pytest.mark.usefixtures("tables")
class TestPackages:
    def test_django_request(self, settings: Any) -> None:
        settings.PAGESTATS_OWN_HOSTS = ["example.org"]
        for values in (
            {"path": "/café %41/", "language": "de-AT,de", "referer": "https://search.example/"},
            {"path": "/b", "referer": "https://example.org/"},
            {"path": "/c", "response": 404},
            {"path": "/d", "method": "POST"},
            {"path": "/e", "is_ajax": True},
            {"path": "/f.css"},
            {"path": "/g", "user_agent": ROBOT},
            {"path": "/h", "user_agent": None},
        ):
            Request.objects.create(**values)
        summary = load("django-request")
        browser = {"browser": "Firefox", "device": "desktop", "system": "Linux"}
        assert stored() == [
            ("/café %41/", {**browser, "language": "de", "source": "search.example"}),
            ("/b", browser),
        ]
        assert summary.skipped == {
            Skip.STATUS: 1,
            Skip.METHOD: 1,
            Skip.NO_PAGE: 1,
            Skip.STATIC_FILE: 1,
            Skip.ROBOT: 2,
        }
        assert load("django-request").read == 0
        Request.objects.create(path="/new")
        assert load("django-request").imported == 1

    def test_tracking2(self) -> None:
        ann = Visitor.objects.create(session_key="a-session-key", ip_address="192.0.2.10", user_agent=FIREFOX)
        bot = Visitor.objects.create(session_key="b", ip_address="192.0.2.11", user_agent=ROBOT)
        Pageview.objects.create(visitor=ann, url="/a", method="GET", query_string="utm_source=Mail")
        Pageview.objects.create(visitor=ann, url="/b", method=None)
        Pageview.objects.create(visitor=bot, url="/a", method="GET")
        assert load("tracking2").skipped == {Skip.ROBOT: 1}
        assert [path for path, _attributes in stored()] == ["/a", "/b"]
        assert stored()[0][1]["source"] == "mail"
        keys = set(PageView.objects.values_list("session_key", flat=True))
        assert len(keys) == 1
        assert "a-session-key" not in str(keys), "whoever reads it would be signed in as ann"

    def test_hitcount(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(User, "get_absolute_url", lambda self: f"/people/{self.pk}/", raising=False)
        ann = User.objects.create(username="ann")
        of_ann = HitCount.objects.create(content_type=ContentType.objects.get_for_model(User), object_pk=ann.pk)
        of_nobody = HitCount.objects.create(content_type=of_ann.content_type, object_pk=ann.pk + 1)
        of_a_type = HitCount.objects.create(content_type=ContentType.objects.get_for_model(ContentType), object_pk=1)
        for number, hitcount in enumerate((of_ann, of_ann, of_nobody, of_a_type, of_ann)):
            session = "one" if number < 2 else ""
            Hit.objects.create(hitcount=hitcount, session=session, created=NOON + timedelta(seconds=number))
        Hit.objects.create(hitcount=of_ann, ip="")
        summary = load("hitcount")
        assert [path for path, _attributes in stored()] == [f"/people/{ann.pk}/"] * 3
        assert summary.skipped == {Skip.INVALID_PATH: 2, Skip.NO_ADDRESS: 1}
        assert "is gone, or has no get_absolute_url()" in summary.examples[0]
        assert PageView.objects.values("session_key").distinct().count() == 2

    def test_verify_agrees(self) -> None:
        for number in range(20):
            Request.objects.create(path=f"/{number % 3}", time=NOON + timedelta(hours=number))
        call_command("import_pageviews", from_package="django-request", verbosity=0)
        call_command("backfill_aggregates", sync=True, verbosity=0)
        call_command("verify_aggregates", verbosity=0)
        assert PageView.objects.count() == 20


@pytest.mark.django_db
def test_a_package_that_is_not_installed() -> None:
    with pytest.raises(CommandError, match=r"There is no model tracking\.Pageview"):
        call_command("import_pageviews", from_package="tracking2")
