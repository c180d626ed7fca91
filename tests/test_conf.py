"""Settings: defaults, values, and the page that describes them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from django_pagestats.conf import Conf, conf

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
DEFAULTS = {setting.name: setting.value() for setting in conf.all()}
#: defaults that are another setting's, or a long list
IN_WORDS = {
    "PAGESTATS_TIME_ZONE": "TIME_ZONE",
    "PAGESTATS_EXCLUDE_STAFF": "not DEBUG",
    "PAGESTATS_ATTRIBUTES": "all",
    "PAGESTATS_DIMENSIONS": "nine",
}
ROW = re.compile(r"^\| `(PAGESTATS_[A-Z_]+)` \| `([^`]+)` \|", re.MULTILINE)


def test_defaults_are_valid() -> None:
    assert [setting.complaint() for setting in conf.all() if setting.complaint()] == []
    assert len(DEFAULTS) >= 11


def test_a_setting_is_read_when_it_is_used(settings: Any) -> None:
    assert conf.TAIL_LIMIT == 50_000
    settings.PAGESTATS_TAIL_LIMIT = 7
    assert conf.TAIL_LIMIT == 7
    del settings.PAGESTATS_TAIL_LIMIT
    assert conf.TAIL_LIMIT == 50_000


def test_the_first_read_sets_django_up() -> None:
    """They are read past Django's lazy object, which is what loads the site's settings."""
    script = (
        "from django.conf import settings\n"
        "from django_pagestats.conf import conf\n"
        "assert not settings.configured\n"
        "assert conf.TAIL_LIMIT == 50_000\n"
        "assert settings.configured\n"
        "assert conf.TIME_ZONE == settings.TIME_ZONE\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=PAGE.parent.parent, check=True)


def test_the_time_zone_is_the_sites_by_default(settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Kathmandu"
    assert conf.TIME_ZONE == "Asia/Kathmandu"
    settings.PAGESTATS_TIME_ZONE = "Europe/Berlin"
    assert conf.TIME_ZONE == "Europe/Berlin"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("TIME_ZONE", ["", "Mars/Olympus", "../etc/passwd", None, 7]),
        ("TAIL_LIMIT", [0, 1.5, "50000", True, None, 10**7]),
        ("MAX_CHUNK_SIZE", [0, -1, "many"]),
        ("LINK_SECONDS", [0, "2", None, False, 601, float("nan")]),
        ("LEASE_SECONDS", [1, None]),
        ("NICE", [-1, "1", True, 101]),
        ("MAX_FAILURES", [0]),
        ("TEND_MINUTES", [-1, 0.5]),
        ("SETTLE_SECONDS", [-0.1]),
        ("READ_SECONDS", [-1]),
        ("CLUSTER", ["", 3]),
        ("ENABLED", [0, "yes"]),
        ("RECORD_WITH", ["pixel", None, True]),
        ("VISITOR_KEY", ["ip", None, "", "site.", 7]),
        ("CONSENT", ["yes", 1]),
        ("TRUSTED_PROXIES", ["10.0.0.1", ["10.0.0.1/8"], ["proxy"], [1]]),
        ("ADDRESS_HEADER", ["", "CF Connecting", 3]),
        ("EXCLUDE_PATHS", ["^/x", ["("], [None]]),
        ("ATTRIBUTES", ["source", ["colour"], ["mysite.Plan"], [3], None]),
        ("DIMENSIONS", [["source"], "source", None, 3]),
        ("BEACON_ORIGINS", [["example.com"], ["https://example.com/"]]),
        ("RATE_LIMIT", ["300", "0/m", 300, "3/w"]),
        ("KEEP_UP", [None, 1, "always"]),
        ("FIRST_DAY_OF_WEEK", [-1, 7, True, "1", 1.0]),
        ("MAIL_TO", [None, "a@example.com", ["a"], ["a@b\nBcc: c@d"], ["a@b, c@d"], [1], ["@b"]]),
        (
            "MAIL_TO",
            [["a@b,"], [",a@b"], ["A <a@b>, <c@d>"], ["A, B <a@b>"], ["a@b <c@d>"], ["a@b c@d"], ["A (c, d@e) <a@b>"]],
        ),
        ("MAIL_EVERY", [None, "day", ["week"]]),
        ("DASHBOARD_URL", ["", "/statistics/", "https://a/?b", "https://a b/", "javascript:1"]),
        ("NOTES_FROM_LOG", [None, "auth.User", ["User"], ["a.b.c"], [1]]),
        ("SITEMAPS", ["sitemaps", ["mysite.urls.sitemaps", "Article"], {"pages": "mysite.Pages"}, 7, ""]),
    ],
)
def test_values_that_will_not_do(settings: Any, name: str, values: list[object]) -> None:
    for value in values:
        setattr(settings, f"PAGESTATS_{name}", value)
        complaint = getattr(Conf, name).complaint()
        assert complaint is not None, value
        assert repr(value) in complaint, "a message names the value"


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("TIME_ZONE", ["UTC", "America/Argentina/Buenos_Aires"]),
        ("LINK_SECONDS", [1, 0.1, 600]),
        ("NICE", [None, 0, 0.5, 100]),
        ("TEND_MINUTES", [0, 10_080]),
        ("CLUSTER", [None, "long"]),
        ("ENABLED", [None, True, False]),
        ("VISITOR_KEY", ["daily", "cookie", "mysite.visitors.key"]),
        ("TRUSTED_PROXIES", [["unix", "10.0.0.0/8", "::1"], ()]),
        ("ADDRESS_HEADER", [None, "CF-Connecting-IP"]),
        ("ATTRIBUTES", [[], ["source", "mysite.attributes.plan"]]),
        ("DIMENSIONS", [{}, [], (), {"plan": "plan"}, {"section": "mysite.statistics.section"}]),
        ("BEACON_ORIGINS", [["https://shop.example.com:8443"]]),
        ("RATE_LIMIT", ["300/m", "1/s"]),
        ("KEEP_UP", ["auto", True, False]),
        ("FIRST_DAY_OF_WEEK", [None, 0, 6]),
        (
            "MAIL_TO",
            [[], ("a@example.com", "Ada Ö <ada@example.com>", '"Doe, \\"J\\" @ x" <j@example.com>', "<a@b.c>")],
        ),
        ("MAIL_EVERY", ["week", "month"]),
        ("DASHBOARD_URL", [None, "https://example.com", "http://a:8000/statistics/"]),
        ("NOTES_FROM_LOG", [[], ("auth.User", "blog.article")]),
        ("SITEMAPS", [None, "mysite.urls.sitemaps", ["blog.Article", "mysite.sitemaps.Pages"], ()]),
    ],
)
def test_values_that_do(settings: Any, name: str, values: list[object]) -> None:
    for value in values:
        setattr(settings, f"PAGESTATS_{name}", value)
        assert getattr(Conf, name).complaint() is None, value
        assert getattr(conf, name) == value


@pytest.mark.parametrize(
    ("dimensions", "named"),
    [
        ({"Plan": "plan"}, "'Plan'"),
        ({"site": "source"}, "'site'"),
        ({"page": "source"}, "'page'"),
        ({"path": "source"}, "'path'"),
        ({"x" * 33: "source"}, "'xxx"),
        ({"": "source"}, "''"),
        ({3: "source"}, "3"),
        ({"plan": None}, "None"),
        ({"plan": "The plan"}, "'The plan'"),
        ({"plan": "mysite..plan"}, "'mysite..plan'"),
        ({"fine": "source", "plan": len}, "'plan'"),
    ],
)
def test_a_dimension_that_will_not_do_is_named(settings: Any, dimensions: Any, named: str) -> None:
    settings.PAGESTATS_DIMENSIONS = dimensions
    complaint = Conf.DIMENSIONS.complaint()
    assert complaint is not None and named in complaint


def test_whether_a_setting_is_the_default_s(settings: Any) -> None:
    assert Conf.DIMENSIONS.is_default()
    settings.PAGESTATS_DIMENSIONS = conf.DIMENSIONS
    assert not Conf.DIMENSIONS.is_default()
    del settings.PAGESTATS_DIMENSIONS
    assert Conf.DIMENSIONS.is_default()


def test_the_page_has_every_setting_with_its_default() -> None:
    described = dict(ROW.findall(PAGE.read_text()))
    assert described == {name: IN_WORDS.get(name, repr(default)) for name, default in DEFAULTS.items()}
