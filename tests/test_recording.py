from __future__ import annotations

import asyncio
import gettext
import logging
import re
from datetime import datetime, timedelta, timezone, tzinfo
from io import BytesIO
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.db import DatabaseError, connection, transaction
from django.db.transaction import TransactionManagementError
from django.test import RequestFactory, override_settings
from django.utils.safestring import mark_safe
from hypothesis import example, given
from hypothesis import strategies as st

from django_pagestats.models import PATH_MAX_LENGTH, SESSION_KEY_MAX_LENGTH, PageView, Reason
from django_pagestats.recording import left_out, normalise_path, record_page_view, record_page_views, storing

NOON = datetime(2025, 5, 1, 12, tzinfo=timezone.utc)


def stored() -> list[tuple[str, str, datetime]]:
    return list(PageView.objects.order_by("pk").values_list("path", "session_key", "viewed_at"))


class Refused:
    """How many page views were refused since this was made."""

    def __init__(self) -> None:
        self._before = left_out.counted()

    def since(self) -> dict[str, int]:
        now = left_out.counted()
        return {
            reason: count - self._before.get(reason, 0)
            for reason, count in now.items()
            if count != self._before.get(reason, 0)
        }


class failing_inserts:  # noqa: N801 - read as a verb
    """Every INSERT goes to a table that does not exist: the database's own error, on the caller's connection."""

    def __enter__(self) -> None:
        self._wrapper = connection.execute_wrapper(self._execute)
        self._wrapper.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._wrapper.__exit__(*error)

    def _execute(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.startswith("INSERT"):
            return execute("INSERT INTO pagestats_nowhere VALUES (1)", (), many, context)
        return execute(sql, params, many, context)


class OddZone(tzinfo):
    def utcoffset(self, when: datetime | None) -> timedelta:
        raise RuntimeError("no offset")


class OddText(str):
    def __len__(self) -> int:
        raise RuntimeError("no length")


class RaisingRouter:
    def db_for_write(self, model: Any, **hints: Any) -> str:
        raise RuntimeError("no route")


class LostRouter:
    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "nowhere"


@pytest.mark.django_db
class TestRecordPageView:
    def test_stores_what_it_is_given(self) -> None:
        path = "/" + "ü😀 " * 682 + "x"
        key = "k" * SESSION_KEY_MAX_LENGTH
        assert len(path) == PATH_MAX_LENGTH
        at = datetime(2199, 12, 31, 23, 59, 59, 123456, tzinfo=timezone.utc)
        assert record_page_view(path=path, session_key=key, viewed_at=at) is True
        assert stored() == [(path, key, at)]

    def test_the_time_defaults_to_now(self) -> None:
        before = datetime.now(timezone.utc)
        assert record_page_view(path="/", session_key="k")
        assert before <= stored()[0][2] <= datetime.now(timezone.utc)

    def test_other_zones_are_converted(self) -> None:
        assert record_page_view(path="/", session_key="k", viewed_at=NOON.astimezone(timezone(timedelta(hours=5))))
        assert stored() == [("/", "k", NOON)]

    def test_safe_strings_are_text(self) -> None:
        assert record_page_view(path=mark_safe("/a"), session_key=mark_safe("k"))

    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            ({"path": ""}, Reason.INVALID_PATH),
            ({"path": "/" * (PATH_MAX_LENGTH + 1)}, Reason.INVALID_PATH),
            ({"path": "/a\x00"}, Reason.INVALID_PATH),
            ({"path": "/\ud800"}, Reason.INVALID_PATH),
            ({"path": None}, Reason.INVALID_PATH),
            ({"path": b"/a"}, Reason.INVALID_PATH),
            ({"path": gettext.gettext}, Reason.INVALID_PATH),
            ({"path": OddText("/a")}, Reason.UNEXPECTED),
            ({"session_key": ""}, Reason.INVALID_SESSION_KEY),
            ({"session_key": "k" * (SESSION_KEY_MAX_LENGTH + 1)}, Reason.INVALID_SESSION_KEY),
            ({"session_key": "\x00"}, Reason.INVALID_SESSION_KEY),
            ({"session_key": "\udfff"}, Reason.INVALID_SESSION_KEY),
            ({"session_key": 10**10_000}, Reason.UNEXPECTED),
            ({"session_key": None}, Reason.INVALID_SESSION_KEY),
            ({"viewed_at": NOON.replace(tzinfo=None)}, Reason.INVALID_TIME),
            ({"viewed_at": NOON.replace(year=1969)}, Reason.INVALID_TIME),
            ({"viewed_at": NOON.replace(year=2200)}, Reason.INVALID_TIME),
            (
                {"viewed_at": datetime(2199, 12, 31, 23, tzinfo=timezone(timedelta(hours=-2)))},
                Reason.INVALID_TIME,
            ),
            (
                {"viewed_at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-2)))},
                Reason.INVALID_TIME,
            ),
            ({"viewed_at": NOON.date()}, Reason.INVALID_TIME),
            ({"viewed_at": 1_700_000_000}, Reason.INVALID_TIME),
            ({"viewed_at": NOON.replace(tzinfo=OddZone())}, Reason.UNEXPECTED),
            ({"using": "nowhere"}, Reason.UNEXPECTED),
        ],
    )
    def test_refuses_counts_and_logs(
        self, values: dict[str, Any], reason: Reason, caplog: pytest.LogCaptureFixture
    ) -> None:
        refused = Refused()
        assert record_page_view(**{"path": "/", "session_key": "k", **values}) is False
        assert refused.since() == {reason.value: 1}
        assert [record.name for record in caplog.records] == ["django_pagestats.recording.storing"]
        assert len(caplog.messages[0]) < 450
        assert stored() == []

    def test_the_log_shows_200_characters_of_the_value(self, caplog: pytest.LogCaptureFixture) -> None:
        record_page_view(path="/" + "a" * 3_000, session_key="k")
        assert "'/" + "a" * 199 + "'" in caplog.text
        assert "a" * 200 not in caplog.text

    def test_a_log_handler_that_raises_is_kept_from_the_request(self) -> None:
        class Raising(logging.Handler):
            def handle(self, record: logging.LogRecord) -> bool:
                raise RuntimeError("no log")

        handler = Raising()
        storing.logger.addHandler(handler)
        try:
            assert record_page_view(path="", session_key="k") is False
        finally:
            storing.logger.removeHandler(handler)

    @pytest.mark.parametrize("router", [RaisingRouter, LostRouter])
    def test_a_router_without_an_answer(self, router: type) -> None:
        refused = Refused()
        with override_settings(DATABASE_ROUTERS=[router()]):
            assert record_page_view(path="/", session_key="k") is False
        assert refused.since() == {Reason.UNEXPECTED.value: 1}

    def test_inside_a_running_event_loop(self) -> None:
        async def view() -> bool:
            return record_page_view(path="/", session_key="k")

        assert asyncio.run(view()) is False

    def test_a_database_error_leaves_the_transaction_whole(self) -> None:
        refused = Refused()
        with transaction.atomic():
            PageView.objects.create(path="/before", session_key="k", viewed_at=NOON)
            with failing_inserts():
                assert record_page_view(path="/", session_key="k") is False
            PageView.objects.create(path="/after", session_key="k", viewed_at=NOON)
        assert [path for path, _key, _at in stored()] == ["/before", "/after"]
        assert refused.since() == {Reason.DATABASE.value: 1}

    def test_a_broken_transaction_stays_broken_and_no_more(self) -> None:
        refused = Refused()
        with transaction.atomic():
            transaction.set_rollback(True)
            assert record_page_view(path="/", session_key="k") is False
            assert transaction.get_rollback()
            with pytest.raises(TransactionManagementError):
                PageView.objects.exists()
        assert refused.since() == {Reason.DATABASE.value: 1}
        assert stored() == []

    def test_one_insert_and_a_savepoint_in_a_transaction(self, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(3) as captured:
            record_page_view(path="/", session_key="k")
        assert [query["sql"].split()[0] for query in captured.captured_queries] == ["SAVEPOINT", "INSERT", "RELEASE"]


@pytest.mark.django_db(transaction=True)
class TestRecordPageViewWithoutTransaction:
    def test_one_insert(self, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(1):
            assert record_page_view(path="/", session_key="k")

    def test_a_closed_connection_is_opened(self) -> None:
        connection.close()
        assert record_page_view(path="/", session_key="k")

    def test_a_database_error(self) -> None:
        with failing_inserts():
            assert record_page_view(path="/", session_key="k") is False
        assert record_page_view(path="/", session_key="k")

    def test_a_connection_closed_inside_the_transaction(self) -> None:
        refused = Refused()
        with transaction.atomic():
            connection.close()
            assert record_page_view(path="/", session_key="k") is False
        assert refused.since() == {Reason.DATABASE.value: 1}

    def test_a_transaction_that_the_database_has_aborted_unnoticed(self) -> None:
        with pytest.raises(DatabaseError), transaction.atomic():
            with connection.cursor() as cursor:
                for _time in range(2):
                    try:
                        cursor.execute("SELECT 1 FROM pagestats_nowhere")
                    except DatabaseError:
                        record_page_view(path="/", session_key="k")
            raise DatabaseError
        assert record_page_view(path="/", session_key="k")

    def test_a_transaction_by_hand_stays_whole(self) -> None:
        transaction.set_autocommit(False)
        try:
            PageView.objects.create(path="/before", session_key="k", viewed_at=NOON)
            with failing_inserts():
                assert record_page_view(path="/", session_key="k") is False
            assert record_page_view(path="/recorded", session_key="k")
            transaction.commit()
            record_page_view(path="/undone", session_key="k")
            transaction.rollback()
        finally:
            transaction.set_autocommit(True)
        assert [path for path, _key, _at in stored()] == ["/before", "/recorded"]


@pytest.mark.django_db
class TestRecordPageViews:
    def test_takes_mappings_tuples_lists_and_objects(self) -> None:
        unsaved = PageView(path="/d", session_key="k", viewed_at=NOON)
        items = [
            {"path": "/a", "session_key": "k", "viewed_at": NOON},
            ("/b", "k", NOON),
            ["/c", "k", NOON],
            unsaved,
        ]
        assert record_page_views(iter(items)) == 4
        assert stored() == [(path, "k", NOON) for path in ("/a", "/b", "/c", "/d")]
        assert unsaved.pk is None

    def test_the_time_may_be_left_out(self) -> None:
        before = datetime.now(timezone.utc)
        assert record_page_views([("/a", "k"), {"path": "/b", "session_key": "k"}]) == 2
        assert all(at >= before for _path, _key, at in stored())

    def test_nothing(self) -> None:
        assert record_page_views([]) == 0

    def test_more_than_a_batch(self) -> None:
        assert record_page_views((f"/{number}", "k", NOON) for number in range(1_234)) == 1_234
        assert PageView.objects.values("path").distinct().count() == 1_234

    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            (("/x",), "a value of type tuple is no page view"),
            ("/x", "'/x' is no page view"),
            (("", "k"), "the path '' is empty: it needs"),
            (("/", "k" * 256), "has 256 characters: at most 255"),
            (("/", "k", NOON.replace(tzinfo=None)), "2025-05-01T12:00:00 has no time zone: make it aware"),
            ({"path": "/"}, "the session key must be text, not None"),
            ({"path": "/", "session_key": "k", "view_at": NOON}, "has no 'view_at': give path, session_key, viewed_at"),
            (PageView(pk=7, path="/", session_key="k", viewed_at=NOON), "the page view 7 has a primary key already"),
        ],
    )
    def test_a_bad_item_stores_nothing(self, bad: Any, message: str) -> None:
        items = [(f"/{number}", "k", NOON) for number in range(600)]
        with pytest.raises(ValueError, match="Item 600: .*" + message):
            record_page_views([*items, bad])
        assert stored() == []


# What a server makes of a request target is PATH_INFO: its octets, as Latin-1.
def path_info(target: bytes) -> str:
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": unquote_to_bytes(target).decode("latin-1"),
        "wsgi.input": BytesIO(),
    }
    return WSGIRequest(environ).path_info


CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
octets = st.binary(max_size=30).map(lambda raw: b"/" + raw.translate(None, b"?#"))
rests = st.sampled_from(["", "?", "?a=/b?c", "#f", "?q#f", "#f?q", "?http://x/y"])


class TestNormalisePath:
    @given(octets, rests, st.sampled_from(["", "http://example.com", "HTTPS://u:p@[::1]:8000", "a+b-c.d://x"]))
    @example(b"/\xff\xfe%ff%C3%A9%c3", "", "")
    @example(b"//example.com//a", "", "")
    @example(b"/%3Fa%23b", "?x", "")
    def test_is_what_django_decodes(self, target: bytes, rest: str, origin: str) -> None:
        escaped = quote_from_bytes(target, safe="/%:@!$&'()*+,;=")
        expected = path_info(escaped.encode())
        if CONTROL.search(expected):
            with pytest.raises(ValueError, match=r"NUL|control"):
                normalise_path(origin + escaped + rest)
        else:
            assert normalise_path(origin + escaped + rest) == expected

    @given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="?#"), max_size=30))
    def test_text_that_is_not_escaped(self, text: str) -> None:
        assert normalise_path("/" + text) == path_info(("/" + text).encode())

    @given(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="?#"), max_size=30),
        rests,
    )
    def test_is_what_the_test_client_sends(self, text: str, rest: str) -> None:
        url = "http://testserver/" + text.strip() + rest
        request = RequestFactory().get(url)
        if all(ord(character) > 0x20 for character in url):  # urlsplit strips others from the ends
            assert normalise_path(url) == request.path_info

    def test_a_host_alone_is_its_root(self) -> None:
        assert normalise_path("https://example.com") == normalise_path("https://example.com?a=b") == "/"

    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            ("", "'' must begin with '/'"),
            ("?a", "must begin with '/'"),
            ("*", "must begin with '/'"),
            ("example.com:443", "must begin with '/'"),
            ("http://[::1/a", "must begin with '/', or with a scheme and a host"),
            ("%2Fa", "must begin with '/'"),
            ("/a%00", "NUL"),
            ("/a%0Ab", r"control character \('\\n'\)"),
            ("/a\x85b", "control character"),
            ("/\ud800", "surrogate"),
            ("/" * 3_000, "3000 characters"),
            ("/" + "%ff" * 100_000, "100001 characters"),  # the slow repair of its octets is left out
            (None, "must be text, not None"),
            (b"/a", "must be text, not a value of type bytes"),
        ],
    )
    def test_what_is_no_path(self, bad: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            normalise_path(bad)
