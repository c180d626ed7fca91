"""Rows of days add up to what a plain count has, in whichever way they come, and however little room there is."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from django_pagestats.verify import totals
from django_pagestats.verify.stored import StoredRow
from django_pagestats.verify.totals import Totals

#: subject, the visitor of each page view, and whether the row comes as it is stored
ROWS = st.lists(st.tuples(st.integers(1, 9), st.lists(st.integers(0, 200_000), min_size=1, max_size=9), st.booleans()))


def stored_row(subject: int, seen: list[int]) -> StoredRow:
    members = BitMap(seen)
    return StoredRow(20_000, subject, len(seen), len(members), members.serialize())


@settings(max_examples=50)
@given(rows=ROWS, most_added=st.integers(1, 20), subjects=st.integers(1, 9))
def test_what_rows_add_up_to(rows: list[tuple[int, list[int], bool]], most_added: int, subjects: int) -> None:
    naive: defaultdict[int, list[int]] = defaultdict(list)
    for subject, seen, _ in rows:
        naive[subject] += seen
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(totals, "MOST_ADDED", most_added)
        monkeypatch.setattr(totals, "MOST_BYTES", subjects * 1_000)
        summed = Totals()
        for subject, seen, is_stored in rows:
            if is_stored:
                summed.add_stored(stored_row(subject, seen))
            else:
                summed.add_counted([(subject, seen.copy())])
        entries = summed.entries()
    high = 10 if summed.high is None else summed.high
    assert {subject: (entry.page_views, entry.visitors) for subject, entry in entries.items()} == {
        subject: (len(seen), BitMap(seen)) for subject, seen in naive.items() if subject < high
    }
    assert not naive or entries, "of one subject there is always room"


def test_when_there_is_no_room_the_upper_half_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(totals, "MOST_ADDED", 0)
    monkeypatch.setattr(totals, "MOST_BYTES", 8 * (totals.SUBJECT_BYTES + totals.CONTAINER_BYTES + 2))
    summed = Totals()
    for subject in range(1, 21):
        summed.add_counted([(subject, [5])])
        assert len(summed.entries()) <= 8
    assert (summed.high, sorted(summed.entries())) == (5, [1, 2, 3, 4])
    assert summed.bounds() == {"subject__lt": 5}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_what_was_added_up_in_several_places(monkeypatch: pytest.MonkeyPatch, order: tuple[int, ...]) -> None:
    """Those subjects are left that all have kept."""
    parts = [Totals(), Totals(), Totals()]
    monkeypatch.setattr(totals, "MOST_BYTES", 10_000)
    for number, part in enumerate(parts):
        for subject in range(1, (10, 30, 60)[number]):
            part.add_counted([(subject, [number, 70_000])])
        part.entries()
    assert [part.high for part in parts] == [None, 15, 15]
    summed = Totals()
    for number in order:
        summed.add(parts[number])
    assert summed.high == 15
    assert {subject: (entry.page_views, len(entry.visitors)) for subject, entry in summed.entries().items()} == {
        subject: (6, 4) if subject < 10 else (4, 3) for subject in range(1, 15)
    }


def test_of_a_damaged_set_the_page_views_count() -> None:
    summed = Totals()
    summed.add_stored(StoredRow(20_000, 7, 3, 2, b"rubbish"))
    (entry,) = summed.entries().values()
    assert (entry.page_views, len(entry.visitors)) == (3, 0)
