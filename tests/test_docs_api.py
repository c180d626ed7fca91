"""The examples of docs/api.md: each answer is what the question gives."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import include, path

from django_pagestats.api.openapi import document
from django_pagestats.api.problems import ProblemError
from tests.factories import insert_page_views

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.test_docs_api"), pytest.mark.once]

urlpatterns = [path("statistics-api/", include("django_pagestats.api.urls"))]

PAGE = Path(__file__).resolve().parent.parent / "docs" / "api.md"
EXAMPLES = re.findall(
    r"^```http\nGET (\S+)\n```\n\n```(json|csv)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL
)


def test_the_table_of_statuses_has_those_of_the_document() -> None:
    described = {code for it in document("/")["paths"].values() for code in it["get"]["responses"]}
    assert set(re.findall(r"^\| ([0-9]{3}) \|", PAGE.read_text(), re.MULTILINE)) == described - {"200", "304"}
    assert {str(it.status) for it in ProblemError.__subclasses__()} <= described


def test_each_answer_is_as_it_is_written() -> None:
    day = datetime(2025, 3, 1, 9, tzinfo=timezone.utc)
    of = [{"source": "news.example" if n % 4 == 0 else "direct"} for n in range(20)]
    insert_page_views(("/", f"key{n}", day, of[n]) for n in range(20))
    insert_page_views(
        (path, f"key{n}", day, {}) for path, many in (("/pricing/", 8), ("/thanks/", 3)) for n in range(many)
    )
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    assert len(EXAMPLES) == PAGE.read_text().count("```http") >= 5
    for url, kind, written in EXAMPLES:
        response: Any = client.get(url)
        if kind == "json":
            assert response.json() == json.loads(written), url
        else:
            assert response.content.decode().splitlines() == written.splitlines(), url
