"""What is drawn: well-formed, within its frame, without a style or a script of its own, whatever the texts are."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Any
from xml.etree import ElementTree

import pytest
from django.template.loader import render_to_string
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from django_pagestats.buckets import Calendar
from django_pagestats.charts import MOST_POINTS, Slot, axis_end, columns, small_line, ticks
from django_pagestats.charts.columns import ABOVE, BASE
from django_pagestats.dashboard.comparing import Against, compare
from django_pagestats.dashboard.drawing import drawn
from django_pagestats.dashboard.ranges import FREE, Choice, Days
from django_pagestats.dashboard.series import Asked, Count, Point

HOSTILE = "<script>alert('é')</script> \"=cmd\" \u202eabc & 😀"
COUNTS = st.one_of(st.none(), st.integers(0, 10**12))


def slot(page_views: int | None = 3, visitors: int | None = 2, **options: Any) -> Slot:
    return Slot(options.pop("label", "2 Nov"), options.pop("name", "Monday"), page_views, visitors, **options)


def parsed(svg: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter())


def with_class(svg: str, name: str) -> list[ElementTree.Element]:
    return [element for element in parsed(svg) if name in element.get("class", "").split()]


@pytest.mark.parametrize(
    ("most", "end"), [(0, 1), (1, 1), (1.5, 2), (2, 2), (4_999, 5_000), (5_001, 10_000), (999, 1_000), (1_000, 1_000)]
)
def test_the_end_of_an_axis(most: float, end: float) -> None:
    assert axis_end(most) == end


@given(st.integers(0, 10**15))
def test_an_axis_has_few_round_steps(most: int) -> None:
    found = ticks(most)
    step = found[1]
    assert found == [step * number for number in range(len(found))]
    assert str(step).rstrip("0") in ("1", "2", "5")
    assert 2 <= len(found) <= 5
    assert found[-1] >= most > found[-2] or (most, found) == (0, [0, 1])


@given(st.lists(st.tuples(COUNTS, COUNTS, COUNTS, st.booleans(), st.booleans()), max_size=60))
def test_a_chart_stays_within_its_frame(values: list[tuple[Any, ...]]) -> None:
    slots = [
        slot(views, visitors, page_views_before=before, is_running=is_running, is_cut=is_cut)
        for views, visitors, before, is_running, is_cut in values
    ]
    drawing = columns(slots, title="Page views")
    bars = with_class(drawing.svg, "pagestats-bar")
    assert len(bars) == sum(1 for views, *_ in values if views)
    for bar in bars:
        x, width = (float(bar.get(name, "").removesuffix("%")) for name in ("x", "width"))
        y, height = (float(bar.get(name, "")) for name in ("y", "height"))
        assert 0 <= x <= x + width <= 100.01
        assert y >= ABOVE - 1
        assert y + height == pytest.approx(BASE, abs=0.11)


def test_a_bar_is_as_high_as_its_number_and_says_what_it_is() -> None:
    slots = [slot(50, is_cut=True), slot(None, None), slot(0), slot(100, name="Tuesday", is_running=True)]
    drawing = columns(slots, title="Page views")
    cut, running = with_class(drawing.svg, "pagestats-bar")
    assert [float(bar.get("height", "")) for bar in (cut, running)] == [100, 200]
    assert cut.get("fill") == "url(#pagestats-chart-hatched)"
    assert (cut.get("stroke-dasharray"), running.get("stroke-dasharray")) == (None, "4 3")
    assert drawing.has == {"running", "cut"}
    assert [name for name, _ in drawing.rows] == ["Monday (in part)", "Monday", "Monday", "Tuesday (so far)"]
    assert drawing.rows[1][1] == ["-", "-"], "no data is not 0"
    assert drawing.rows[2][1] == ["0", "2"]
    titles = [element.text for element in parsed(drawing.svg) if element.tag == "title"]
    assert titles[-1] == "Tuesday (so far): page views 100, visitors 2"


def test_only_the_line_to_what_is_not_over_is_dashed_and_none_goes_over_a_gap() -> None:
    slots = [slot(page_views_before=1) for _ in range(3)] + [
        slot(None, None),
        slot(is_running=True, page_views_before=1),
    ]
    svg = columns(slots, title="x").svg
    visitors, dashed = with_class(svg, "pagestats-visitors")
    assert len(visitors.get("points", "").split()) == 3
    assert (visitors.get("stroke-dasharray"), dashed.get("stroke-dasharray")) == (None, "3 3")
    assert all(line.get("stroke-dasharray") is None for line in with_class(svg, "pagestats-before"))


def test_the_table_ends_with_the_last_number_and_tells_what_is_compared() -> None:
    before = {"name_before": "a week before", "page_views_before": 7, "visitors_before": 5}
    drawing = columns([slot(), slot(None, None, **before), slot(None, None)], title="x")
    assert len(drawing.heads) == 6
    assert [texts for _, texts in drawing.rows] == [["3", "2", "-", "-", "-"], ["-", "-", "a week before", "7", "5"]]


def test_hostile_texts_are_text_and_nothing_needs_a_style() -> None:
    drawing = columns([slot(label=HOSTILE, name=HOSTILE, name_before=HOSTILE, page_views_before=1)], title=HOSTILE)
    page = render_to_string("django_pagestats/chart.html", {"chart": drawing})
    assert "<script" not in page
    assert "style=" not in page
    assert HOSTILE in {element.text for element in parsed(drawing.svg)}
    assert parsed(drawing.svg)[0].get("aria-label") == HOSTILE
    told = parsed(drawing.svg)[0].get("aria-describedby")
    assert f'<desc id="{told}">' in drawing.svg


def test_a_chart_of_a_year_by_hour_is_refused() -> None:
    assert len(columns([slot()] * MOST_POINTS, title="x").svg) < 250_000
    with pytest.raises(ValueError, match="751 points"):
        columns([slot()] * (MOST_POINTS + 1), title="x")


def test_an_empty_chart_says_so() -> None:
    for slots in [], [slot(None, None)]:
        drawing = columns(slots, title="x")
        assert "There is nothing to show." in drawing.svg
        assert drawing.rows == []


@given(st.lists(st.one_of(st.none(), st.integers(0, 10**12)), max_size=40))
def test_a_small_line_has_every_number_and_a_gap_for_none(values: list[int | None]) -> None:
    svg = small_line(values, HOSTILE)
    lines = [element.get("points", "").split() for element in parsed(svg) if element.tag == "polyline"]
    alone = sum(
        1 for line in lines if line and "." in line[0].split(",")[0] and not line[0].split(",")[0].endswith(".0")
    )
    assert sum(map(len, lines)) - alone == sum(1 for value in values if value is not None)
    assert all(0 < float(point.split(",")[1]) < 20 for line in lines for point in line)
    assert parsed(svg)[0].get("aria-label") == HOSTILE
    assert 'aria-hidden="true"' in small_line(values)


# --- in the words of a language


def asked(interval: str, span: Days) -> Asked:
    now, calendar = datetime(2026, 11, 30, 13, 55, tzinfo=timezone.utc), Calendar("Asia/Kathmandu")
    comparison = compare(Choice(FREE, span), span, Against(), now, calendar)
    return Asked(span, interval, now, calendar, 1, None, comparison)


def test_times_are_named_in_full_with_weekday_and_year() -> None:
    day = Days(date(2026, 11, 30), date(2026, 12, 1))
    week = Days(date(2026, 11, 23), date(2026, 11, 30))
    month = Days(date(2026, 11, 1), date(2026, 12, 1))
    hour = datetime(2026, 11, 30, 8, 15, tzinfo=timezone.utc)
    count = Count(12_345, 7)
    for language, names in {
        "en": (
            "Monday, Nov. 30, 2026, 2 p.m.",
            "Monday, Nov. 30, 2026",
            "Nov. 23, 2026 to Nov. 29, 2026",
            "November 2026",
        ),
        "de": (
            "Montag, 30. November 2026, 14:00",
            "Montag, 30. November 2026",
            "23. November 2026 bis 29. November 2026",
            "November 2026",
        ),
    }.items():
        with translation.override(language):
            points = {
                "hour": Point(day, hour, count),
                "day": Point(day, None, count),
                "week": Point(week, None, count),
                "month": Point(month, None, count),
            }
            drawings = {
                interval: drawn([point], asked(interval, point.days), title="x") for interval, point in points.items()
            }
            assert tuple(drawing.rows[0][0] for drawing in drawings.values()) == names
            assert drawings["day"].rows[0][1][0] == {"en": "12,345", "de": "12.345"}[language]
            labels = [with_class(drawing.svg, "pagestats-time")[0].text for drawing in drawings.values()]
            assert labels[1] == {"en": "November 30", "de": "30. November"}[language]
