"""The examples of docs/visitors.md, and the conversion in the README: each number in a comment is what they give."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from django_pagestats import backfill
from tests.factories import View, insert_page_views
from tests.stats_oracle import fold_naively

ROOT = Path(__file__).resolve().parent.parent


def blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


BLOCKS = blocks(ROOT / "docs" / "visitors.md")
(CONVERSION,) = (block for block in blocks(ROOT / "README.md") if "now.visitors" in block)

#: how many visitors, and what each of them viewed on which days of March; days below 1 are of February
VISITS: list[tuple[int, dict[int, str]]] = [
    (25, {4: "/pricing/ /thanks/"}),  # these came from news.example
    (15, {4: "/pricing/ /thanks/"}),
    (12, {5: "/pricing/", 12: "/thanks/"}),
    (8, {6: "/thanks/", 20: "/pricing/"}),  # bought before they looked
    (25, {10: "/pricing/"}),  # these, too, came from news.example
    (115, {10: "/pricing/"}),
    (30, {-8: "/docs/", 3: "/"}),  # came back
    (100, {3: "/ /docs/"}),
    (50, {11: "/", 18: "/", 25: "/"}),
    (20, {3: "/", 10: "/", 17: "/", 24: "/"}),
    (25, {19: "/"}),
    (15, {27: "/ /"}),
]
OF_NEWS = (0, 4)


def page_views() -> Iterator[View]:
    for group, (count, days) in enumerate(VISITS):
        for number in range(count):
            for day, paths in days.items():
                viewed_at = datetime(2025, 2, 28, 12, tzinfo=timezone.utc) + timedelta(days=day, seconds=number)
                for path in paths.split():
                    attributes = {"source": "news.example"} if group in OF_NEWS and path == "/pricing/" else None
                    yield path, f"{group}-{number}", viewed_at, attributes


def run(block: str, known: dict[str, Any]) -> int:
    """Run an example; how many of its lines say what they give, which must be so."""
    checked = 0
    lines = block.splitlines()
    for statement in ast.parse(block).body:
        if isinstance(statement, ast.Expr):
            expression, _, told = lines[statement.lineno - 1].partition("  # ")
            assert eval(expression, known) == ast.literal_eval(told), expression
            checked += 1
        else:
            exec(compile(ast.Module([statement], []), "visitors.md", "exec"), known)
    return checked


@pytest.mark.django_db
@pytest.mark.parametrize("folded", ["nothing", "some", "everything"])
def test_every_number_is_what_the_example_gives(folded: str) -> None:
    rows = insert_page_views(page_views())
    if folded == "some":
        fold_naively(rows[: len(rows) // 2], all_time=len(rows) // 3)
    elif folded == "everything":
        backfill.run_here("default", via="test")
    known: dict[str, Any] = {}
    assert [run(block, known) for block in BLOCKS] == [1, 4, 3, 1, 1, 1]
    assert run(CONVERSION, known) == 3


def test_each_example_takes_about_ten_lines() -> None:
    assert max(len(block.splitlines()) for block in (*BLOCKS, CONVERSION)) <= 11
