"""Named dimensions: their values, and how page views are spread over them."""

from __future__ import annotations

import enum
import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_pagestats.buckets import Calendar
from django_pagestats.dimensions import NamedDimension, Spreading, entry, section
from django_pagestats.exceptions import DimensionError
from django_pagestats.tally import tally

CALLS: Counter[tuple[object, ...]] = Counter()
HERE = __name__


def by_length(path: str) -> str | None:
    CALLS["by_length", path] += 1
    return str(len(path)) if len(path) % 2 else None


def plan_of_section(attributes: Mapping[str, str], path: str) -> str | None:
    CALLS["plan_of_section", path, json.dumps(dict(attributes), sort_keys=True)] += 1
    return f"{attributes['plan']} in {section(path)}" if "plan" in attributes else None


def changes_its_argument(attributes: dict[str, str]) -> str | None:
    return attributes.pop("source", None)


def raises(path: str) -> str:
    raise ZeroDivisionError(path)


def takes_the_time(path: str, viewed_at: object) -> str:
    return path


def given_by_path(path: str) -> Any:
    return {"long": "x" * 256, "number": 5, "empty": "", "nul": "a\0", "half": "\ud800", "fits": "x" * 255}[path]


def dimensions(*sources: str) -> list[NamedDimension]:
    return [NamedDimension(f"d{number}", number, source) for number, source in enumerate(sources, 3)]


class Numbers:
    """Numbers that no two dimensions share, as of the rows of subjects."""

    def __init__(self) -> None:
        self.of: dict[tuple[int, str], int] = {}
        self.asked: Counter[int] = Counter()

    def __call__(self, dimension: int, values: set[str]) -> Mapping[str, int]:
        self.asked[dimension] += 1
        return {value: self.of.setdefault((dimension, value), 1_000 + len(self.of)) for value in values}


SOURCES = ("source", "country", f"{HERE}.by_length", "django_pagestats.dimensions.entry", f"{HERE}.plan_of_section")
attributes = st.none() | st.dictionaries(st.sampled_from(["source", "country", "plan"]), st.sampled_from("abc"))
page_views = st.lists(
    st.tuples(st.sampled_from(["/", "/a/", "/a/b", "/c"]), attributes, st.integers(0, 5), st.integers(0, 10**6)),
    max_size=60,
)


@given(page_views)
def test_page_views_are_counted_by_each_of_their_values(rows: list[tuple[str, Any, int, int]]) -> None:
    numbers, pages = Numbers(), {"/": 1, "/a/": 2, "/a/b": 3, "/c": 4}
    wanted: dict[int, dict[tuple[int, str], list[int]]] = defaultdict(lambda: defaultdict(list))
    for path, given_attributes, visitor, seconds in rows:
        known = given_attributes or {}
        values = (known.get("source"), known.get("country"), by_length(path), entry(path, known))
        for number, value in enumerate((*values, plan_of_section(known, path)), 3):
            if value is not None:
                wanted[number][seconds // 86_400, value].append(visitor)
    spreading = Spreading(dimensions(*SOURCES), numbers)
    paths = [row[0] for row in rows]
    texts = [None if row[1] is None else json.dumps(row[1]) for row in rows]
    spread = spreading.spread(paths, list(map(pages.__getitem__, paths)), texts)
    counted = tally(((pages[row[0]], row[2], row[3]) for row in rows), Calendar("UTC"), spread)
    plain = tally(((pages[row[0]], row[2], row[3]) for row in rows), Calendar("UTC"))
    assert (counted.page_days, counted.site_hours, counted.page_views) == (
        plain.page_days,
        plain.site_hours,
        plain.page_views,
    )
    found = {
        number: {key: sorted(visitors) for key, visitors in counts.items()}
        for number, counts in counted.value_days.items()
    }
    assert found == {
        number: {(day, numbers.of[number, value]): sorted(visitors) for (day, value), visitors in counts.items()}
        for number, counts in wanted.items()
    }
    for counts in counted.value_days.values():
        assert list(counts) == sorted(counts)


@given(page_views)
def test_attributes_by_name_count_as_their_text_does(rows: list[tuple[str, Any, int, int]]) -> None:
    numbers, pages = Numbers(), {"/": 1, "/a/": 2, "/a/b": 3, "/c": 4}
    sources = ("source", "country", f"{HERE}.by_length", "django_pagestats.dimensions.entry")
    spreading = Spreading(dimensions(*sources), numbers)
    assert spreading.names == ["country", "source"]
    paths = [row[0] for row in rows]
    subjects = list(map(pages.__getitem__, paths))
    by_text = spreading.spread(paths, subjects, [None if row[1] is None else json.dumps(row[1]) for row in rows])
    named = {name: [(row[1] or {}).get(name) for row in rows] for name in spreading.names}
    assert spreading.spread(paths, subjects, [], named) == by_text


def test_where_a_function_takes_attributes_all_of_them_are_wanted() -> None:
    assert Spreading(dimensions(*SOURCES), Numbers()).names is None


@pytest.mark.parametrize("value", [5, "", ["a"], {"a": "b"}, True])
def test_a_named_value_that_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(DimensionError, match="attribute"):
        Spreading(dimensions("source"), Numbers()).spread(["/"], [1], [], {"source": [value]})


def test_a_function_is_called_once_for_each_distinct_argument_and_remembered() -> None:
    CALLS.clear()
    numbers = Numbers()
    spreading = Spreading(dimensions(*SOURCES), numbers)
    text, other = '{"plan": "pro"}', '{"plan": "free"}'
    for _ in range(2):
        spreading.spread(["/a/", "/a/", "/b", "/a/"], [2, 2, 3, 2], [text, text, other, None])
    assert set(CALLS.values()) == {1}
    # (with no attributes it was called too, to say None)
    assert {key[0]: sum(1 for it in CALLS if it[0] == key[0]) for key in CALLS} == {
        "by_length": 2,
        "plan_of_section": 3,
    }
    assert set(numbers.asked.values()) == {1}


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_pagestats.dimensions.spreading.MOST_REMEMBERED", 10)
    spreading = Spreading(dimensions(*SOURCES), Numbers())
    for number in range(100):
        spreading.spread([f"/{number}"], [number], [f'{{"source": "{number}"}}'])
        of_all = (spreading._contexts, spreading._pages, spreading._pairs, spreading._entries)
        assert max(len(it.subjects) for it in of_all) <= 12


def test_a_function_that_changes_its_argument_changes_nothing() -> None:
    numbers = Numbers()
    spreading = Spreading(dimensions(f"{HERE}.changes_its_argument", "source"), numbers)
    columns = spreading.spread(["/"], [1], ['{"source": "a"}']).columns
    assert {number for number, (subject,) in columns.items() if subject is not None} == {3, 4}


@pytest.mark.parametrize("path", ["long", "number", "empty", "nul", "half"])
def test_a_value_that_cannot_be_stored_is_refused_by_name(path: str) -> None:
    spreading = Spreading(dimensions(f"{HERE}.given_by_path"), Numbers())
    with pytest.raises(DimensionError, match=rf"d3: tests\..*given_by_path\(path='{path}'\) gave .*1 to 255"):
        spreading.spread([path], [1], [None])


def test_a_value_of_255_characters_and_a_path_of_2048_will_do() -> None:
    numbers = Numbers()
    Spreading(dimensions(f"{HERE}.given_by_path"), numbers).spread(["fits"], [1], [None])
    path = "/" + "x" * 2_047
    sources = ("django_pagestats.dimensions.entry", "django_pagestats.dimensions.section")
    Spreading(dimensions(*sources), numbers).spread([path], [1], ['{"source": "a"}'])
    assert set(numbers.of) == {(3, "x" * 255), (3, path), (4, "x" * 2_047)}


def test_a_function_that_raises_is_told_with_its_arguments() -> None:
    with pytest.raises(DimensionError, match=r"raises\(path='/a'\) raised ZeroDivisionError: /a") as caught:
        Spreading(dimensions(f"{HERE}.raises"), Numbers()).spread(["/a"], [1], [None])
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("name", ["takes_the_time", "nowhere", "HERE"])
def test_what_is_no_function_of_path_and_attributes_is_refused(name: str) -> None:
    with pytest.raises(DimensionError):
        Spreading(dimensions(f"{HERE}.{name}"), Numbers())


@pytest.mark.parametrize("text", ["[1]", '"x"', "{", '{"source": 5}', '{"source": ["a"]}'])
def test_attributes_that_are_no_names_and_texts_are_refused(text: str) -> None:
    with pytest.raises(DimensionError, match="attribute"):
        Spreading(dimensions("source"), Numbers()).spread(["/"], [1], [text])


@pytest.mark.parametrize("text", [None, "", "null", "{}", '{"other": "a"}'])
def test_without_the_attribute_nothing_is_counted(text: str | None) -> None:
    assert Spreading(dimensions("source"), Numbers()).spread(["/"], [1], [text]).columns == {3: [None]}


@pytest.mark.parametrize(
    ("path", "found"),
    [("/", "/"), ("/blog/", "blog"), ("/blog/2026/x", "blog"), ("/a", "a"), ("//b/", "b"), ("/?q=1", "/"), ("x", "x")],
)
def test_the_section_is_the_first_segment(path: str, found: str) -> None:
    assert section(path) == found


def test_a_source_that_is_null_is_none() -> None:
    numbers = Numbers()
    sources = ("source", "django_pagestats.dimensions.entry")
    spread = Spreading(dimensions(*sources), numbers).spread(
        ["/", "/"], [1, 1], ['{"source": null}', '{"source": "a"}']
    )
    assert [[subject is not None for subject in column] for column in spread.columns.values()] == [[False, True]] * 2


class Color(str, enum.Enum):
    RED = "red"


def a_color(path: str) -> str:
    return Color.RED


def ends_the_process(path: str) -> str:
    raise SystemExit


def test_of_a_subclass_of_text_the_text_itself_is_taken() -> None:
    numbers = Numbers()
    Spreading(dimensions(f"{HERE}.a_color"), numbers).spread(["/"], [1], [None])
    assert list(numbers.of) == [(3, "red")]


def test_a_function_that_would_end_the_process_fails_like_others() -> None:
    with pytest.raises(DimensionError, match="raised SystemExit"):
        Spreading(dimensions(f"{HERE}.ends_the_process"), Numbers()).spread(["/"], [1], [None])


def test_attributes_that_are_nested_too_deeply_are_refused() -> None:
    text = '{"source": ' + "[" * 100_000 + "]" * 100_000 + "}"
    with pytest.raises(DimensionError, match="attribute"):
        Spreading(dimensions("source"), Numbers()).spread(["/"], [1], [text])
