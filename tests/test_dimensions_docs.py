"""docs/dimensions.md and the README's dimension of one's own: what they show is what happens."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import date, datetime, timezone
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from django.core.management import call_command

from django_pagestats import stats
from django_pagestats.conf import DIMENSIONS
from django_pagestats.dimensions import section
from django_pagestats.models import PageView
from tests.checking import of_settings
from tests.test_docs import FENCE

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("no_settling")]

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "dimensions.md").read_text()
README = (ROOT / "README.md").read_text()
NOON = datetime(2025, 3, 1, 12, tzinfo=timezone.utc)


def shown(text: str, name: str) -> dict[str, str]:
    """The files of the block that has a function of this name: by name, what is shown of each."""
    (block,) = (it for it in FENCE.findall(text) if f"def {name}(" in it and "# settings.py" in it)
    lines = block.partition("\n")[2].rpartition("```")[0]
    parts = re.split(r"^# (\S+\.py)\n", lines, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture
def mysite(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Any]:
    """Has a site do what a block shows."""

    def does(text: str, name: str) -> None:
        for file, source in shown(text, name).items():
            module = ModuleType(file.removesuffix(".py").replace("/", "."))
            exec(source, vars(module))
            if file != "settings.py":
                monkeypatch.setitem(sys.modules, module.__name__, module)
                continue
            for setting in filter(str.isupper, vars(module)):
                if setting.startswith("PAGESTATS_"):
                    setattr(settings, setting, getattr(module, setting))

    monkeypatch.setitem(sys.modules, "mysite", ModuleType("mysite"))
    yield does


def record(path: str, key: str, **attributes: str) -> None:
    PageView.objects.create(path=path, session_key=key, viewed_at=NOON, attributes=attributes or None)


def test_the_default_ones_are_those_of_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([\w.]+)` \| ", PAGE, re.MULTILINE)
    assert dict(rows) == DIMENSIONS and [name for name, _ in rows] == list(DIMENSIONS)
    assert "there are nine:" in PAGE and len(DIMENSIONS) == 9
    assert (section("/blog/2026/"), section("/")) == ("blog", "/")
    assert [section(path) for path in ("/blog/?page=2", "/?page=2", "//blog/")] == ["blog", "/", "blog"]
    assert [section(path) for path in ("about", "app/start", "blog?page=2")] == ["about", "app", "blog"]


@pytest.mark.django_db
@pytest.mark.parametrize("text", [PAGE, README], ids=["docs", "README"])
def test_a_section_by_author_has_its_whole_history_by_a_rebuild(text: str, mysite: Any) -> None:
    for path, key in (("/articles/ada/exact-numbers/", "a"), ("/articles/ada/", "a"), ("/articles/", "b"), ("/", "b")):
        record(path, key)
    record("/articles/ada/more/", "b")
    record("/articles/eve/other/", "b")
    call_command("backfill_aggregates", sync=True, verbosity=0)
    mysite(text, "author")
    assert of_settings() == []
    assert [it.is_current for it in stats.dimensions()] == [True] * 9
    call_command("backfill_aggregates", rebuild=True, sync=True, verbosity=0)
    found = [(it.value, it.page_views, it.visitors) for it in stats.top("author", limit=3, start=date(2020, 1, 1))]
    assert found == [("ada", 3, 2), ("eve", 1, 1)]
    assert stats.count_unique_visitors(where={"author": "ada"}) == 2
    assert stats.count_page_views(where={"section": "articles"}) == 5


@pytest.mark.django_db
def test_signed_in_counts_what_was_recorded(mysite: Any) -> None:
    record("/", "before")
    mysite(PAGE, "signed_in")
    assert of_settings() == []
    attribute = sys.modules["mysite.attributes"].signed_in
    for key, is_in in (("a", True), ("b", False), ("c", False)):
        request = SimpleNamespace(user=SimpleNamespace(is_authenticated=is_in))
        record("/", key, signed_in=attribute(request, None))
    call_command("backfill_aggregates", rebuild=True, sync=True, verbosity=0)
    assert [(it.value, it.page_views) for it in stats.top("signed_in")] == [("no", 2), ("yes", 1)]
    assert stats.count_page_views() == 4


@pytest.mark.django_db
def test_a_variant_is_counted_on_its_page_only(mysite: Any) -> None:
    mysite(PAGE, "pricing_variant")
    assert of_settings() == []
    attribute = sys.modules["mysite.attributes"].variant
    for number, cookie in enumerate(("a", "b", "a", "x" * 999, None)):
        value = attribute(SimpleNamespace(COOKIES={} if cookie is None else {"variant": cookie}), None)
        for path in ("/pricing/", "/"):
            record(path, f"k{number}", **({} if value is None else {"variant": value}))
    call_command("backfill_aggregates", rebuild=True, sync=True, verbosity=0)
    assert [(it.value, it.page_views) for it in stats.top("pricing")] == [("a", 2), ("b", 1)]


@pytest.mark.django_db
def test_what_is_asked_for_can_be_asked() -> None:
    record("/blog/", "k", source="news.example", country="DE")
    call_command("backfill_aggregates", sync=True, verbosity=0)
    (block,) = (it for it in FENCE.findall(PAGE) if "count_values" in it)
    for line in block.splitlines()[1:-1]:
        exec(line, {"stats": stats, "date": date})
    assert {it.name for it in stats.dimensions()} == set(DIMENSIONS)
