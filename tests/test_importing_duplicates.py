from __future__ import annotations

import io
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from hypothesis import given, settings
from hypothesis import strategies as st

from django_pagestats.importing import Fields, Skip, Summary, duplicates, import_log, import_model
from django_pagestats.models import ImportSource, PageView, VisitorPolicy
from tests.logs import COMBINED

NOON = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
CLF = "28/Nov/2026:10:00:00 +0000"
WINDOW = 1_800


def line(seconds: float, path: str = "/a", address: str = "192.0.2.1") -> bytes:
    at = NOON + timedelta(seconds=seconds)
    text = COMBINED.format(path=path).replace(CLF, f"{at:%d/%b/%Y:%H:%M:%S} +0000").replace("192.0.2.10", address)
    return f"{text}\n".encode()


def load(log: bytes, name: str = "access.log", **options: Any) -> Summary:
    return import_log(io.BytesIO(log), name=name, **options)


def seconds() -> list[int]:
    times = PageView.objects.order_by("pk").values_list("viewed_at", flat=True)
    return [int((at - NOON).total_seconds()) for at in times]


def forget() -> None:
    PageView.objects.all().delete()
    ImportSource.objects.all().delete()


def plain(views: list[tuple[int, str, str]], window: int = WINDOW) -> list[tuple[int, str, str]]:
    """The rule, looked at one by one against all that were kept."""
    kept: list[tuple[int, str, str]] = []
    for view in views:
        if not any(view[1:] == other[1:] and abs(view[0] - other[0]) < window for other in kept):
            kept.append(view)
    return kept


views = st.lists(
    st.tuples(st.integers(-9_000, 9_000), st.sampled_from(["/a", "/b"]), st.sampled_from(["192.0.2.1", "192.0.2.2"])),
    max_size=40,
)


@pytest.mark.django_db
class TestWindow:
    def test_runs_from_the_first_view(self) -> None:
        summary = load(b"".join(map(line, (0, 1_000, 1_799, 1_800, 3_599, 3_600))))
        assert seconds() == [0, 1_800, 3_600]
        assert summary.skipped == {Skip.DUPLICATE: 3}

    def test_is_of_one_visitor_on_one_path(self) -> None:
        load(line(0) + line(1, "/b") + line(2, address="192.0.2.2") + line(3))
        assert seconds() == [0, 1, 2]

    def test_lines_out_of_order(self) -> None:
        load(line(10) + line(0) + line(-1_789) + line(-1_790))
        assert seconds() == [10, -1_790]

    def test_may_be_none(self, settings: Any) -> None:
        settings.PAGESTATS_DUPLICATE_SECONDS = 0
        load(line(0) + line(0))
        assert seconds() == [0, 0]

    @pytest.mark.parametrize("window", [1, 60, 86_400])
    def test_may_be_another(self, window: int, settings: Any) -> None:
        settings.PAGESTATS_DUPLICATE_SECONDS = window
        load(line(0) + line(window - 1) + line(window))
        assert seconds() == [0, window]

    def test_reaches_over_the_ends_of_logs(self) -> None:
        load(line(0) + line(5, "/b"), "access.log.1")
        load(line(600) + line(2_000))
        assert seconds() == [0, 5, 2_000]

    @given(views=views, cuts=st.lists(st.integers(0, 40), max_size=3))
    @settings(max_examples=40)
    def test_an_import_in_pieces_decides_as_one_at_once(
        self, views: list[tuple[int, str, str]], cuts: list[int]
    ) -> None:
        """Also with times anyhow, and with hardly any memory."""
        lines = [line(*view) for view in views]
        forget()
        for cut in [*sorted(cuts), len(lines)]:
            if cut:
                load(b"".join(lines[:cut]))
        expected = plain(views)
        assert seconds() == [at for at, _path, _address in expected]

    def test_memory_is_bounded_and_nothing_is_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(duplicates, "HELD_VIEWS", 3)
        for start in range(0, 40_000, 4_000):
            load(b"".join(line(at, f"/{at % 7}") for at in range(0, start + 4_000, 100)))
        expected = plain([(at, f"/{at % 7}", "") for at in range(0, 40_000, 100)])
        assert seconds() == [at for at, _path, _address in expected]

    def test_tables_too(self) -> None:
        user = User.objects.create(username="ann")
        for at in (0, 1_700, 1_900):
            LogEntry.objects.create(
                user=user, object_repr="/a", action_flag=1, action_time=NOON + timedelta(seconds=at)
            )
        fields = Fields(path="object_repr", session="user_id", time="action_time")
        assert import_model(LogEntry, fields=fields, chunk_rows=1).skipped == {Skip.DUPLICATE: 1}
        assert seconds() == [0, 1_900]


@pytest.mark.django_db
class TestPolicies:
    def test_each_import_says_of_which_time_it_is(self) -> None:
        load(line(60) + line(0, "/b") + line(10_000, "/c"))
        row = VisitorPolicy.objects.get()
        assert (row.policy, row.origin) == ("import", "imported")
        assert (row.since, row.until) == (NOON, NOON + timedelta(seconds=10_000))
        load(line(60) + line(0, "/b") + line(10_000, "/c") + line(20_000, "/d"))
        assert VisitorPolicy.objects.count() == 2

    def test_it_grows_with_the_import(self) -> None:
        user = User.objects.create(username="ann")
        for at in (50, 0, 100):
            LogEntry.objects.create(
                user=user, object_repr=f"/{at}", action_flag=1, action_time=NOON + timedelta(seconds=at)
            )
        import_model(LogEntry, fields=Fields("object_repr", "user_id", "action_time"), chunk_rows=1)
        row = VisitorPolicy.objects.get()
        assert (row.since, row.until) == (NOON, NOON + timedelta(seconds=100))

    def test_an_import_of_nothing_has_none(self) -> None:
        load(line(0))
        load(line(0) + b"junk\n")
        assert VisitorPolicy.objects.count() == 1
