"""Each check of how the beacon is set up, by what brings it about."""

from __future__ import annotations

from typing import Any

import pytest

from django_pagestats import checks
from tests.checking import ids

urlpatterns: list[Any] = []


@pytest.mark.urls("tests.test_checks_beacon")
@pytest.mark.parametrize(
    ("record_with", "wanted"), [("beacon", ["pagestats.W070"]), ("both", ["pagestats.W070"]), ("middleware", [])]
)
def test_without_its_addresses(settings: Any, record_with: str, wanted: list[str]) -> None:
    settings.PAGESTATS_RECORD_WITH = record_with
    assert ids(checks.check_beacon()) == wanted


@pytest.mark.parametrize(
    ("record_with", "policy", "wanted"),
    [("beacon", "cookie", ["pagestats.W071"]), ("both", "cookie", []), ("beacon", "daily", [])],
)
def test_a_cookie_that_nobody_sets(settings: Any, record_with: str, policy: str, wanted: list[str]) -> None:
    settings.PAGESTATS_RECORD_WITH, settings.PAGESTATS_VISITOR_KEY = record_with, policy
    assert ids(checks.check_beacon()) == wanted
