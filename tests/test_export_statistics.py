"""The command export_statistics compared with `stats`: everything, ranges, both formats, and how it streams."""

from __future__ import annotations

import csv
import gc
import io
import json
import os
import tracemalloc
from datetime import date, datetime, timezone
from pathlib import Path
from stat import S_IFREG
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings
from hypothesis import given, strategies
from hypothesis.extra.django import TestCase

from django_pagestats import folding, stats
from django_pagestats.management.commands.export_statistics import Command, _open
from django_pagestats.models import Generation
from django_pagestats.stats import walking
from tests.factories import insert_page_views, make_page_views
from tests.stats_oracle import clean, fold_naively
from tests.test_api import HOSTILE

COLUMNS = ["granularity", "start", "dimension", "value", "page_views", "visitors"]
AT = datetime(2025, 3, 20, tzinfo=timezone.utc)
RANGE = ["--start", "2025-03-05", "--end", "2025-04-01"]
BOUNDS = {"start": date(2025, 3, 5), "end": date(2025, 4, 1)}


def exported(*arguments: str) -> str:
    out = io.StringIO()
    call_command("export_statistics", *arguments, stdout=out)
    return out.getvalue()


def refused(told: str, *arguments: str) -> None:
    """With an error, before anything is written."""
    out = io.StringIO()
    with pytest.raises(CommandError, match=told):
        call_command("export_statistics", *arguments, stdout=out)
    assert out.getvalue() == "", arguments


def rows_of(text: str) -> list[tuple[str, ...]]:
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    assert head == COLUMNS
    return [tuple(row) for row in rows]


def expected(
    bounds: dict[str, Any], series: str | None = "day", days: dict[str, Any] | None = None
) -> list[tuple[Any, ...]]:
    """In no order."""
    found: list[tuple[Any, ...]] = [
        ("all", None, "site", None, stats.count_page_views(**bounds), stats.count_unique_visitors(**bounds))
    ]
    if series:
        points = stats.time_series(series, **(days or bounds))
        found += [(series, it.start, "site", None, it.page_views, it.visitors) for it in points]
    found += [("all", None, "page", it.path, it.page_views, it.visitors) for it in stats.top_pages(10**6, **bounds)]
    for dimension in stats.dimensions():
        values = stats.top(dimension.name, 10**6, **bounds)
        found += [("all", None, dimension.name, it.value, it.page_views, it.visitors) for it in values]
    return found


def as_csv(row: tuple[Any, ...]) -> tuple[str, ...]:
    texts = [
        "" if it is None else it.isoformat().replace("+00:00", "Z") if isinstance(it, date) else str(it) for it in row
    ]
    return tuple(f"'{text}" if text[:1] in ("=", "-", "'") else text for text in texts)


@pytest.fixture
def site(transactional_db: None, no_settling: None) -> None:
    make_page_views(1_200, paths=30, visitors=100, with_attributes=True)
    folding.keep_up("default", seconds=60)
    insert_page_views((path, f"key{n}", AT, {"source": "direct"}) for n, path in enumerate(HOSTILE * 2))


@pytest.mark.usefixtures("site")
def test_everything_and_a_range_in_both_formats(tmp_path: Path) -> None:
    days = {"start": date(2025, 3, 1), "end": date(2025, 4, 10)}
    for arguments, bounds, of in (([], {}, days), (RANGE, BOUNDS, BOUNDS)):
        wanted = expected(bounds, days=of)
        found = rows_of(exported(*arguments))
        assert sorted(found) == sorted(map(as_csv, wanted))
        head, *lines = map(json.loads, exported(*arguments, "--format", "jsonl").splitlines())
        assert head["time_zone"] == "UTC" and head["is_exact"] and head["pending"] == 2 * len(HOSTILE)
        assert (head["start"], head["end"]) == (("2025-03-05", "2025-04-01") if arguments else (None, None))
        assert sorted(as_csv(tuple(line.values())) for line in lines) == sorted(found)
        assert {line["value"] for line in lines if line["dimension"] == "page"} >= set(HOSTILE)
    target = tmp_path / "statistics.csv"
    told = exported("--output", str(target))
    assert told == f"{len(rows_of(exported())):,} rows are in {target}.\n"
    assert target.read_bytes().decode() == exported() and os.listdir(tmp_path) == [target.name]


@pytest.mark.usefixtures("site")
def test_a_part_only() -> None:
    assert {row[2] for row in rows_of(exported("--pages"))} == {"page"}
    assert {row[2] for row in rows_of(exported("--dimension", "source", "--dimension", "country"))} == {
        "source",
        "country",
    }
    (totals,) = rows_of(exported("--totals", *RANGE))
    assert totals == (
        "all",
        "",
        "site",
        "",
        *map(str, (stats.count_page_views(**BOUNDS), stats.count_unique_visitors(**BOUNDS))),
    )
    hours = [row for row in map(as_csv, expected(BOUNDS, series="hour")) if row[0] == "hour"]
    assert rows_of(exported("--series", "hour", *RANGE)) == hours and len(hours) == 27 * 24


@pytest.mark.usefixtures("site")
def test_without_what_is_not_folded(settings: Any, tmp_path: Path) -> None:
    settings.PAGESTATS_TAIL_LIMIT = 5
    target = tmp_path / "it.csv"
    for arguments in ([], ["--pages"], ["--totals", "--dimension", "source"], ["--format", "jsonl", *RANGE]):
        refused("backfill_aggregates", *arguments)
        refused("backfill_aggregates", *arguments, "--output", str(target))
    assert os.listdir(tmp_path) == []
    assert rows_of(exported("--totals", "--series", "day", *RANGE))  # which can be counted, slowly
    with stats.snapshot(exact=False) as folded:
        pages = [(it.path, str(it.page_views), str(it.visitors)) for it in folded.top_pages(1_000)]
    rows = rows_of(exported("--pages", "--folded"))
    assert sorted((row[3], *row[4:]) for row in rows) == sorted(pages)
    head = json.loads(exported("--folded", "--format", "jsonl").partition("\n")[0])
    assert not head["is_exact"] and head["pending"] >= 2 * len(HOSTILE)


@pytest.mark.django_db
def test_of_nothing() -> None:
    assert rows_of(exported()) == [("all", "", "site", "", "0", "0")]
    make_page_views(5, with_attributes=True)
    assert {row[4] for row in rows_of(exported("--start", "2024-01-01", "--end", "2024-01-03"))} == {"0"}
    assert rows_of(exported("--start", "2024-01-01", "--end", "2024-01-01")) == [("all", "", "site", "", "0", "0")]


@pytest.mark.django_db
def test_what_it_refuses(tmp_path: Path) -> None:
    for arguments, told in (
        (["--start", "2025-03-02", "--end", "2025-03-01"], "start=2025-03-02 is after end=2025-03-01"),
        (["--totals", "--start", "2025-03-02", "--end", "2025-03-01"], "start=2025-03-02 is after end=2025-03-01"),
        (["--series", "day", "--start", "2025-03-02", "--end", "2025-03-01"], "is after end=2025-03-01"),
        (["--start", "March"], "must be a day such as 2025-03-01, not 'March'"),
        (["--start", "2025-03-02", "--end", "2025-03-01", "--pages", "--format", "jsonl"], "is after end=2025-03-01"),
        (["--series", "hour", "--end", "9999-01-01"], "end=9999-01-01 is out of range"),
        (["--end", "9999-12-31"], "end=9999-12-31 is out of range for a series"),
        (["--series", "day", "--start", "9999-12-30", "--end", "9999-12-31"], "start=9999-12-30 is out of range"),
        (["--start", "0001-01-01", "--format", "jsonl"], "start=0001-01-01 is out of range.* 1970-01-01 to 2200-01-01"),
        (["--dimension", "nothing"], "no dimension 'nothing'. There are: source, "),
        (["--totals", "--dimension", "source", "--dimension", "nothing"], "no dimension 'nothing'"),
        (["--output", str(tmp_path / "no" / "it.csv")], "cannot be written"),
        (["--database", "nowhere"], "There is no database 'nowhere'"),
    ):
        refused(told, *arguments)


@pytest.mark.django_db
def test_days_at_the_ends_of_all_years() -> None:
    insert_page_views([("/", "a", datetime(1970, 1, 1, tzinfo=timezone.utc))])
    insert_page_views([("/", "a", datetime(2199, 12, 31, tzinfo=timezone.utc))])
    for start, end in (("1970-01-01", "1970-01-02"), ("2199-12-31", "2200-01-01")):
        assert rows_of(exported("--series", "day", "--start", start, "--end", end)) == [
            ("day", start, "site", "", "1", "1")
        ]
    assert rows_of(exported("--totals", "--start", "0001-01-01", "--end", "9999-12-31"))[0][4] == "2"


@pytest.mark.django_db
def test_a_file_keeps_its_mode_and_a_link_its_target(tmp_path: Path) -> None:
    target, link, fresh = tmp_path / "it.csv", tmp_path / "link.csv", tmp_path / "fresh.csv"
    target.touch(mode=0o600)
    link.symlink_to(target)
    for output in (target, fresh, link):
        target.write_text("")
        exported("--output", str(output))
        assert output.read_bytes().decode() == exported()
    plain = tmp_path / "plain"
    plain.touch()
    assert (target.stat().st_mode, fresh.stat().st_mode) == (S_IFREG | 0o600, plain.stat().st_mode)
    assert link.is_symlink() and len(os.listdir(tmp_path)) == 4


@pytest.mark.django_db
def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    exported("--output", str(pipe), "--verbosity", "0")
    assert os.read(reader, 10_000).decode() == exported() and pipe.is_fifo()
    os.close(reader)
    reader, writer = os.pipe()
    exported("--output", f"/dev/fd/{writer}", "--verbosity", "0")  # as >(gzip) and /dev/stdout: a link
    assert os.read(reader, 10_000).decode() == exported()
    os.close(reader)
    with pytest.raises(CommandError, match="went away before its end"):
        exported("--output", f"/dev/fd/{writer}")
    os.close(writer)
    exported("--output", os.devnull)
    assert Path(os.devnull).is_char_device()


@pytest.mark.django_db
def test_two_exports_to_one_file_are_both_whole(tmp_path: Path) -> None:
    target = tmp_path / "it.csv"
    with _open(Command(), str(target)) as first, _open(Command(), str(target)) as second:
        first("first")
        second("second")
    assert target.read_text() == "first" and os.listdir(tmp_path) == [target.name]


class Exports(TestCase):
    """In a transaction of the caller's; any page views, any part of them folded, and few values at a time."""

    @override_settings(PAGESTATS_DIMENSIONS={"section": "django_pagestats.dimensions.section"})
    @given(data=strategies.data())
    def test_have_every_value_once(self, data: Any) -> None:
        clean()
        texts = strategies.sampled_from(["/", "/a", "/A", "/b/c", "é", "~", "😀"])
        days = strategies.integers(0, 5)
        views = data.draw(strategies.lists(strategies.tuples(texts, strategies.sampled_from("abc"), days), max_size=25))
        rows = insert_page_views(
            (it, key, datetime(2025, 3, 1 + day, 12, tzinfo=timezone.utc)) for it, key, day in views
        )
        if rows and (folded := data.draw(strategies.integers(0, len(rows)))):
            fold_naively(rows[:folded], all_time=data.draw(strategies.integers(0, folded)))
        first, last = sorted([data.draw(days), data.draw(days)])
        bounds = {"start": date(2025, 3, 1 + first), "end": date(2025, 3, 1 + last)}
        arguments = [f"--start={bounds['start']}", f"--end={bounds['end']}"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(walking, "VALUES_AT_A_TIME", data.draw(strategies.integers(1, 3)))
            of_range, of_all = rows_of(exported(*arguments)), rows_of(exported("--pages"))
        assert sorted(of_range) == sorted(map(as_csv, expected(bounds)))
        pages = [("all", None, "page", it.path, it.page_views, it.visitors) for it in stats.top_pages(1_000)]
        assert sorted(of_all) == sorted(map(as_csv, pages))


def test_days_whose_page_views_are_gone_are_in_it(site: None) -> None:
    before = rows_of(exported("--series", "day"))
    Generation.objects.update(pruned_before=date(2025, 3, 10))
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_pagestats_pageview WHERE viewed_at < '2025-03-10'")
    assert rows_of(exported("--series", "day")) == before


# -- streaming


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_it_streams_in_bounded_memory(no_settling: None, settings: Any) -> None:
    settings.PAGESTATS_ANSWERS_MEGABYTES = 0  # of which what is kept has a bound of its own

    def measured(pages: int) -> tuple[int, int]:
        """Statements, and the most bytes that were held whenever something was written."""
        clean()
        insert_page_views((f"/{n:05}/{'x' * 100}", f"key{n % 50}", AT) for n in range(pages))
        folding.keep_up("default", seconds=60)
        assert Generation.objects.get(is_active=True).cursor
        written, statements = Weighing(), Counting()
        gc.collect()
        gc.freeze()  # so that to collect what the export leaves behind is quick
        tracemalloc.start()
        with connection.execute_wrapper(statements.count):
            call_command("export_statistics", "--pages", *RANGE, stdout=written)
        tracemalloc.stop()
        gc.unfreeze()
        assert written.lines == pages + 1
        return statements.lines, written.most_bytes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walking, "VALUES_AT_A_TIME", 192)
        patch.setattr("django_pagestats.stats.folded.MOST_NAMED", 192)  # values whose subjects are remembered
        measured(100)  # what is made once is there from now on
        (statements, few), (statements_of_many, many) = measured(800), measured(2_800)
    # drivers keep up to 128 statements, of a kilobyte each; the numbers of 2,000 pages alone have 250 kilobytes
    assert many - few < 2_000 * 75, (few, many)
    # of 64 pages one that has their paths, and three their sets of 27 days; of 192 one that counts them
    assert statements_of_many - statements < 2_000 * (4 / 64 + 1 / 192) * 1.1


class Counting(io.TextIOBase):
    """What is written is counted, and let go."""

    def __init__(self) -> None:
        self.lines = 0

    def write(self, text: str) -> int:
        self.lines += text.count("\n")
        return len(text)

    def count(self, execute: Any, *arguments: Any) -> Any:
        self.lines += 1
        return execute(*arguments)


class Weighing(Counting):
    """What is held is weighed, without what is only waiting to be collected."""

    most_bytes = 0

    def write(self, text: str) -> int:
        gc.collect()
        self.most_bytes = max(self.most_bytes, tracemalloc.get_traced_memory()[0])
        return super().write(text)


@pytest.mark.usefixtures("site")
def test_on_a_terminal_of_another_character_set() -> None:
    file = io.BytesIO()
    out = io.TextIOWrapper(file, encoding="ascii")
    call_command("export_statistics", stdout=out)
    assert file.getvalue().decode() == exported() and "/😀/" in file.getvalue().decode()


@pytest.mark.usefixtures("site")
def test_whoever_reads_may_go_away() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as out, pytest.raises(CommandError, match="went away before its end"):
        call_command("export_statistics", stdout=out)
