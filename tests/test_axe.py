"""Nobody is kept out: axe-core finds nothing on our pages and in the mail, light and dark, the main ones narrow too."""

from __future__ import annotations

import re
import shutil
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils import translation

from django_pagestats import folding
from django_pagestats.mailing import sending
from django_pagestats.models import Generation, Note
from django_pagestats.views import DashboardView
from testproject.urls import urlpatterns as of_project
from tests import axe, servers
from tests.factories import insert_page_views
from tests.test_admin import make_run
from tests.test_admin_browser import Browser, browser, driver, window  # noqa: F401 - fixtures

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.test_axe"), pytest.mark.once]


def in_german(request: HttpRequest) -> HttpResponse:
    with translation.override("de"):
        return DashboardView.as_view(public=True)(request).render()


urlpatterns = [path("open/", DashboardView.as_view(public=True)), path("offen/", in_german), *of_project]

ADMIN = "/admin/django_pagestats/"
PAGE = f"{ADMIN}dashboard/"
#: of the whole site, of a part of it, beside it, for everybody, and the page of a run: narrow, too
MAIN = [
    f"{PAGE}?range=28d",
    f"{PAGE}?range=7d&f=source:news.example&goal=/docs/3/",
    f"{PAGE}page/?path=/blog/1/",
    f"{PAGE}loyalty/?range=28d",
    f"{PAGE}audit/?range=28d",
    "/open/?range=28d",
    f"{ADMIN}backfillrun/%(run)s/change/",
]
#: the same of other questions and in another language, and the lists, forms and questions of the admin
OTHERS = [
    f"{PAGE}?range=91d&interval=week&compare=year",
    f"{PAGE}?range=7d&f=source:news.example&f=country:DE",
    f"{PAGE}?range=free&from=2010-01-02&to=2010-01-01",
    "/offen/?range=28d",
    "/ps/choice",
    f"{ADMIN}note/",
    f"{ADMIN}note/add/",
    f"{ADMIN}backfillrun/",
    f"{ADMIN}backfillrun/%(run)s/cancel/",
    f"{ADMIN}generation/",
    f"{ADMIN}generation/%(kept)s/change/",
    f"{ADMIN}generation/%(kept)s/activate/",
    f"{ADMIN}generation/%(kept)s/discard/",
    f"{ADMIN}pageview/",
    f"{ADMIN}leftout/",
    f"{ADMIN}token/",
]
PILLS = ".pagestats-pills a .pagestats-unseen"
OPENED = "document.querySelectorAll('.pagestats details, #content-main details').forEach((it) => { it.open = true; })"


@pytest.fixture
def source(pytestconfig: pytest.Config) -> str:
    if shutil.which("npm") is None:
        servers.missing("npm is not installed")
    try:
        return axe.script(pytestconfig.cache.mkdir("axe-core"))
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        servers.missing(f"npm pack axe-core: {error} {error.stderr}")


def found(shown: Browser, source: str, pages: list[str], *, widths: tuple[int, ...]) -> dict[str, list[str]]:
    """Where axe says what of these pages."""
    said: dict[str, list[str]] = {}
    for page in pages:
        shown.driver.get(page)
        assert "Not Found" not in shown.driver.title, page
        assert shown.run(f"return document.querySelectorAll('{PILLS}').length") == len(
            re.findall("[?&](?:f|goal|path)=", page)
        )
        shown.run(OPENED)
        for width in widths:
            # only colours are other ones in another theme
            for theme, rules in (("light", None), ("dark", ["color-contrast"])):
                shown.show_at(width, theme)
                for line in axe.violations(shown.driver, source, rules):
                    said.setdefault(line, []).append(f"{page} {width} {theme}")
    return said


def test_it_finds_nothing_on_any_page(browser: Browser, source: str, settings: Any, tmp_path: Path) -> None:  # noqa: F811
    settings.PAGESTATS_SITEMAPS = "tests.test_dashboard_audit.BROKEN"
    said = found(browser, source, [browser.url + PAGE], widths=(1_280, 360))
    record()
    mail = tmp_path / "mail.html"  # no page of the site: its policy would stop the styles within it
    mail.write_text(sending.written("default", now=datetime.now(timezone.utc)).html)
    rows = {"run": make_run(status="paused").pk, "kept": an_old_generation().pk}
    main, others = ([browser.url + page % rows for page in pages] for pages in (MAIN, OTHERS))
    for pages, widths in (([*main, mail.as_uri()], (1_280, 360)), (others, (1_280,))):
        for line, where in found(browser, source, pages, widths=widths).items():
            said.setdefault(line, []).extend(where)
    assert not said, "\n".join(f"{line}\n    {', '.join(where)}" for line, where in said.items())


def an_old_generation() -> Generation:
    now = datetime.now(timezone.utc)
    return Generation.objects.create(time_zone="UTC", created_at=now, kept_at=now)


def record() -> None:
    """A site of some weeks, with something in each panel, a tail, a note, and hostile paths."""
    now = datetime.now(timezone.utc)
    attributes = [
        {"source": "news.example", "country": "DE", "device": "mobile", "browser": "Firefox", "campaign": "spring"},
        {"source": "(direct)", "country": "FR", "device": "desktop", "browser": "Chrome"},
        {},
    ]
    insert_page_views(
        (f"/{'blog' if n % 3 else 'docs'}/{n % 40}/", f"key{n % 90}", now - timedelta(hours=n, minutes=1), it)
        for n in range(1_500)
        for it in [attributes[n % 3]]
    )
    folding.keep_up("default", seconds=60)
    hostile = ["/" + "x" * 2_047, '/"><img src=x onerror=alert(1)>', "/\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe"]
    insert_page_views((path, "key", now) for path in hostile * 9)
    Note.objects.create(day=now.date(), text="deploy 4.2", is_public=True)


def test_it_finds_what_is_wrong(browser: Browser, source: str) -> None:  # noqa: F811
    """A control: a picture, a field and a link that nobody is told the name of, and grey that is too dark by night."""
    browser.show_at(360, "dark")
    browser.open(PAGE)
    broken = '<img src="/static/django_pagestats/dashboard.css"><input><a href="/"></a><p id="grey">grey</p>'
    browser.run(f"document.querySelector('.pagestats').insertAdjacentHTML('afterbegin', '{broken}')")
    browser.run("document.getElementById('grey').style.color = '#555'")
    rules = [line.partition(":")[0] for line in axe.violations(browser.driver, source)]
    assert {"color-contrast", "image-alt", "label", "link-name"} <= set(rules)
    assert axe.violations(browser.driver, source, ["label"])[0].startswith("label: ")
