"""A site that is set up as documented has nothing to complain about; and each check has its line in the docs."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import pytest
from django.core import checks as django_checks
from django.core.management import call_command

from django_pagestats import checks, folding
from django_pagestats.admin import beside
from tests.checking import of_database, of_settings

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.django_db(transaction=True)
def test_the_test_project_is_set_up_as_documented() -> None:
    folding.ensure_active_generation("default")
    assert of_settings() == []
    assert of_database() == []


@pytest.mark.django_db
def test_they_are_registered() -> None:
    out = StringIO()
    call_command("check", databases=["default"], stdout=out, stderr=out)
    assert "pagestats" not in out.getvalue()
    registered = {
        check.__name__
        for check in django_checks.registry.registry.get_checks(include_deployment_checks=True)
        if check.__module__.startswith(f"{checks.__name__}.")
    }
    assert registered == {name for name in checks.__all__ if name.startswith("check_")}
    assert len(registered) > 8


def test_without_a_named_database_none_is_asked() -> None:
    """No `db` mark: pytest-django forbids any query."""
    assert checks.check_databases() == []
    assert checks.check_databases(databases=["another"]) == []
    assert of_settings() == []


# -- the page


def built() -> set[str]:
    """Every id that the package can give."""
    files = [*Path(checks.__file__).parent.glob("*.py"), Path(beside.__file__)]  # and the one that a ModelAdmin has
    source = "".join(path.read_text() for path in files)
    calls = re.findall(r"return (error|warning|choice)\(\s*(\d+),", source)
    return {f"pagestats.{'E' if kind == 'error' else 'W'}{int(number):03}" for kind, number in calls}


def test_every_check_has_its_line_in_the_docs() -> None:
    described = re.findall(r"^\| `(pagestats\.[EW]\d{3})` \|", (ROOT / "docs" / "checks.md").read_text(), re.MULTILINE)
    assert len(described) == len(set(described))
    assert set(described) == built()
    assert len(built()) >= 20


def test_numbers_are_given_once() -> None:
    numbers = [name[-3:] for name in built()]
    assert len(numbers) == len(set(numbers))
