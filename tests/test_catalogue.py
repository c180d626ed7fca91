"""The catalogues: each text of the package is in them, and each text of its pages comes out of them."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from datetime import datetime, timedelta, timezone
from gettext import GNUTranslations
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import django
import pytest
from django.test import Client
from django.urls import include, path
from django.utils import translation
from django.utils.translation import ngettext, trans_real

from django_pagestats import folding
from django_pagestats.views import DashboardView
from django_pagestats.views.sections import dashboard_urls
from testproject.urls import urlpatterns as of_project
from tests import servers
from tests.factories import insert_page_views
from tests.test_admin import make_run
from tools.messages import PACKAGE, compile_to, extract

LANGUAGES = sorted(folder.name for folder in (PACKAGE / "locale").iterdir())
PUBLIC = "/open/"
urlpatterns = [
    path("numbers/", include(dashboard_urls())),
    path("open/", DashboardView.as_view(public=True)),
    *of_project,
]
#: what is in no catalogue of ours: months and days of the week are Django's, the others are names, and a path
DJANGOS = {"November", "Nov", "Montag", "Dienstag", "Mittwoch", "Donnerstag", "Freitag", "Samstag", "Sonntag"}
NAMES = {"UTC", "CSV", "PAGESTATS_SITEMAPS", "thanks"}
PSEUDO = re.compile(r"\[!!(?:(?!\[!!).)*?!!\]", re.DOTALL)


def catalogue(language: str) -> Path:
    return PACKAGE / "locale" / language / "LC_MESSAGES" / "django.po"


@pytest.fixture
def gettext_tools() -> None:
    if not all(map(shutil.which, ("xgettext", "msgfmt", "msgen", "msgfilter"))):
        servers.missing("GNU gettext is not installed")


@pytest.fixture
def package(tmp_path: Path, gettext_tools: None) -> Path:
    """A copy, in which catalogues can be made."""
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=ignored))


def test_the_catalogues_are_up_to_date_and_complete(package: Path, tmp_path: Path) -> None:
    assert "de" in LANGUAGES
    for language in LANGUAGES:
        assert extract(package, language).read_text() == catalogue(language).read_text(), "make messages"
        compile_to(catalogue(language), tmp_path / "django.mo")
        assert (tmp_path / "django.mo").read_bytes() == catalogue(language).with_suffix(".mo").read_bytes()
        for kind in ("--untranslated", "--only-fuzzy"):
            left = subprocess.run(["msgattrib", kind, str(catalogue(language))], capture_output=True, check=True)
            assert left.stdout == b"", f"{language}, {kind}"


def test_no_text_is_marked_where_gettext_does_not_look_for_it() -> None:
    """xgettext passes over what stands in the braces of an f-string, and nothing says that it is missing."""
    marks = {"gettext", "gettext_lazy", "ngettext", "pgettext", "npgettext", "_"}
    found = [
        (path.relative_to(PACKAGE).as_posix(), call.lineno)
        for path in PACKAGE.rglob("*.py")
        for text in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(text, ast.JoinedStr)
        for call in ast.walk(text)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in marks
    ]
    assert found == []


class Texts(HTMLParser):
    """What somebody reads or hears of a page."""

    ATTRIBUTES = {"aria-label", "placeholder", "data-pagestats-told"}

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._within: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("br", "input", "link", "meta", "img", "rect", "line", "path", "polyline", "circle", "hr"):
            self._within.append(tag)
        self.found += [value or "" for name, value in attrs if name in self.ATTRIBUTES]

    def handle_endtag(self, tag: str) -> None:
        if tag in self._within:
            while self._within.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if not {"style", "script", "code", "bdi", "kbd"} & set(self._within):  # code and bdi hold names and paths
            self.found.append(data)


def words_outside(content: str) -> set[str]:
    """The words of a page that came out of no catalogue of ours."""
    texts = Texts()
    texts.feed(content)
    text = "\n".join(texts.found)
    while (without := PSEUDO.sub(" ", text)) != text:
        text = without
    return set(re.findall(r"[^\W\d]{2,}", text)) - DJANGOS - NAMES


def words_of_django() -> set[str]:
    """What Django and its admin say in German, which stands on the pages of the admin between texts of ours."""
    words: set[str] = set()
    for app in ("conf", "contrib/admin", "contrib/auth", "contrib/contenttypes"):
        with (Path(django.__file__).parent / app / "locale/de/LC_MESSAGES/django.mo").open("rb") as file:
            for text in GNUTranslations(file)._catalog.values():  # type: ignore[attr-defined]
                words |= set(re.findall(r"[^\W\d]{2,}", text))
    return words


def content_of(page: str) -> str:
    """The part of a page of the admin that is of what it shows; the head and the list of all apps are not."""
    return page.partition('id="content"')[2].partition(">")[2].partition('id="footer"')[0]


def record() -> None:
    now = datetime.now(timezone.utc)
    insert_page_views(
        (
            f"/{n % 7}/",
            f"key{n % 30}",
            now - timedelta(days=n % 40, minutes=n),
            {"source": "1.2" if n % 3 else "(direct)", "country": "99", "device": "mobile", "browser": "1"},
        )
        for n in range(400)
    )


@pytest.mark.django_db
@pytest.mark.urls("tests.test_catalogue")
def test_every_text_of_the_pages_is_in_the_catalogue(
    package: Path, tmp_path: Path, settings: Any, admin_client: Client
) -> None:
    """In a language in which each text stands in brackets nothing else is to be read but names and numbers."""
    folder = tmp_path / "pseudo" / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    english, pseudo = tmp_path / "english.po", folder / "django.po"
    subprocess.run(["msgen", "--output-file", str(english), str(catalogue("de"))], check=True)
    bracketed = ["sed", "-z", "-e", "s/^/[!!/", "-e", "s/$/!!]/"]
    subprocess.run(["msgfilter", "--input", str(english), "--output-file", str(pseudo), *bracketed], check=True)
    compile_to(pseudo, folder / "django.mo")
    settings.LOCALE_PATHS = [str(folder.parent.parent)]
    settings.LANGUAGE_CODE = "de"
    settings.MIDDLEWARE = [it for it in settings.MIDDLEWARE if "LocaleMiddleware" not in it]
    trans_real._translations.pop("de", None)
    try:
        with translation.override("de"):
            empty = admin_client.get("/numbers/")
            assert words_outside(empty.content.decode()) == set()
            record()
            folding.keep_up("default", seconds=60)
            for url in (
                "/numbers/?range=28d",
                "/numbers/?range=7d&interval=week&compare=year",
                "/numbers/?f=source:1.2&goal=/2/",
                "/numbers/?f=source:1.2&f=country:99",
                "/numbers/?from=2010-01-02&to=2010-01-01&range=free",
                "/numbers/loyalty/",
                "/numbers/audit/",
                PUBLIC,
            ):
                answer = admin_client.get(url)
                assert answer.status_code == 200, url
                assert "[!!" in answer.content.decode()
                assert answer.content.decode().count("[!!entfernen!!]") == url.count("f=") + url.count("goal=")
                assert words_outside(answer.content.decode()) == set(), url
            # what Django has no German for, keys and values of page views, and objects by the names that logs have
            untranslated = {"Search", "by", "Pagination", "Run", "Select", "option"}
            allowed = words_of_django() | untranslated | {"key", "direct", "at", "generation", "run"}
            run = make_run(status="failed", error="17")
            for url in (
                "dashboard/page/?path=/1/&range=28d",
                "note/",
                "note/add/",
                "token/",
                "leftout/",
                "pageview/",
                "importsource/",
                "generation/",
                f"generation/{run.generation_id}/change/",
                "backfillrun/",
                f"backfillrun/{run.pk}/change/",
            ):
                answer = admin_client.get(f"/admin/django_pagestats/{url}")
                assert answer.status_code == 200, url
                content = content_of(answer.content.decode())
                assert "[!!" in content
                assert words_outside(content) - allowed == set(), url
    finally:
        trans_real._translations.pop("de", None)


def test_plurals_follow_each_language(tmp_path: Path, settings: Any, gettext_tools: None) -> None:
    one, many = "%(count)s page was first seen in these days.", "%(count)s pages were first seen in these days."
    with translation.override("de"):
        assert [ngettext(one, many, n).split()[1] for n in (1, 2, 5, 21)] == ["Seite", "Seiten", "Seiten", "Seiten"]
    folder = tmp_path / "uk" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    forms = ("одна", "кілька", "багато")
    rule = "nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && (n%100<12 || n%100>14) ? 1 : 2);"
    lines = ['msgid ""', 'msgstr ""', '"Content-Type: text/plain; charset=UTF-8\\n"', f'"Plural-Forms: {rule}\\n"', ""]
    lines += [f'msgid "{one}"', f'msgid_plural "{many}"', *(f'msgstr[{n}] "{it}"' for n, it in enumerate(forms))]
    (folder / "django.po").write_text("\n".join(lines) + "\n", encoding="utf-8")
    subprocess.run(["msgfmt", "--output-file", str(folder / "django.mo"), str(folder / "django.po")], check=True)
    settings.LOCALE_PATHS = [str(tmp_path)]
    trans_real._translations.pop("uk", None)
    try:
        with translation.override("uk"):
            found = [ngettext(one, many, n) for n in (1, 2, 5, 21)]
        assert found == [forms[0], forms[1], forms[2], forms[0]]
    finally:
        trans_real._translations.pop("uk", None)
