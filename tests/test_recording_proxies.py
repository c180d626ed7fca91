"""A proxy that was forgotten in the settings: one warning, one notice, and no address anywhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection
from django.test import Client, RequestFactory, override_settings
from hypothesis import given
from hypothesis import strategies as st

from django_pagestats import checks
from django_pagestats.models import Notice, NoticeName, Reason
from django_pagestats.recording import flush, notices, proxies
from django_pagestats.recording.proxies import IN_A_ROW, LOOKED_AT, Watch, watch
from django_pagestats.recording.requests import record_request
from tests.checking import ids

LISTS = ["/admin/django_pagestats/pageview/", "/admin/django_pagestats/backfillrun/"]
BROWSER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/157.0.0.0 Safari/537.36"
)
PROXY = "10.20.30.40"
VISITOR = "198.51.100.77"
FORWARDED = {"REMOTE_ADDR": PROXY, "HTTP_X_FORWARDED_FOR": VISITOR}


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing has been seen yet, and nothing noted."""
    monkeypatch.setattr(proxies, "_watch", Watch())
    monkeypatch.setattr(notices, "_noted", {})
    yield


def warned(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == proxies.__name__]


def look(*addresses: str | None, at: Watch | None = None) -> list[NoticeName]:
    at = at or Watch()
    found = (at.look({"REMOTE_ADDR": address or ""}, address) for address in addresses)
    return [name for name in found if name]


class TestForwardingHeaders:
    @pytest.mark.parametrize("remote", ["", "127.0.0.1", "::1", "10.0.0.1", "172.17.0.1", "192.168.0.1", "fd00::1"])
    @pytest.mark.parametrize("header", proxies.FORWARDING)
    def test_from_a_private_address_that_is_not_trusted(self, remote: str, header: str) -> None:
        meta = {"REMOTE_ADDR": remote, header: "for=198.51.100.7"}
        assert Watch().look(meta, remote or None) is NoticeName.FORGOTTEN_PROXY

    def test_from_out_in_the_world_anybody_may_send_them(self) -> None:
        assert Watch().look({**FORWARDED, "REMOTE_ADDR": "8.8.8.8"}, "8.8.8.8") is None

    def test_none(self) -> None:
        assert Watch().look({"REMOTE_ADDR": PROXY, "HTTP_X_FORWARDED_FOR": ""}, PROXY) is None

    def test_from_a_proxy_that_is_trusted(self, settings: Any) -> None:
        settings.PAGESTATS_TRUSTED_PROXIES = ["10.0.0.0/8"]
        assert Watch().look(FORWARDED, VISITOR) is None
        settings.PAGESTATS_TRUSTED_PROXIES = ["unix"]
        assert Watch().look({**FORWARDED, "REMOTE_ADDR": ""}, VISITOR) is None

    def test_from_another_one_than_those_trusted(self, settings: Any) -> None:
        settings.PAGESTATS_TRUSTED_PROXIES = ["127.0.0.1"]
        assert Watch().look(FORWARDED, PROXY) is NoticeName.FORGOTTEN_PROXY


class TestFewAddresses:
    @pytest.mark.parametrize("cycle", [["a"], ["a", "b"], ["a", "a", "b"], [None], [None, "a"]])
    def test_a_hundred_of_two_at_the_most(self, cycle: list[str | None]) -> None:
        addresses = (cycle * IN_A_ROW)[:IN_A_ROW]
        assert look(*addresses) == [NoticeName.FEW_ADDRESSES]
        assert look(*addresses[:-1]) == []

    def test_a_third_one_begins_anew_with_the_latest_of_one(self) -> None:
        before = ["a", "b"] * 20 + ["b"] * 8 + ["c"]  # nine of b in a row, and c
        assert look(*before, *["b"] * (IN_A_ROW - 11)) == []
        assert look(*before, *["b"] * (IN_A_ROW - 10)) == [NoticeName.FEW_ADDRESSES]

    def test_three_in_turn_go_on_for_ever(self) -> None:
        assert look(*["a", "b", "c"] * IN_A_ROW) == []

    @given(st.lists(st.sampled_from("aaaabbbbc"), max_size=60))
    def test_as_a_naive_count_has_it(self, addresses: list[str]) -> None:
        seen = Watch()
        for number, address in enumerate(addresses, start=1):
            seen.look({"REMOTE_ADDR": address}, address)
            naive = next(back for back in range(number, 0, -1) if len({*addresses[number - back : number]}) <= 2)
            assert seen._in_a_row == naive

    def test_no_more_than_the_first_requests_are_looked_at(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert LOOKED_AT > IN_A_ROW
        monkeypatch.setattr(proxies, "LOOKED_AT", 3)
        at = Watch()
        assert look("a", "b", "c", at=at) == []
        assert at.look(FORWARDED, VISITOR) is None


class TestTold:
    def test_one_warning_in_the_life_of_a_process(self, caplog: pytest.LogCaptureFixture) -> None:
        for _ in range(IN_A_ROW + 5):
            watch(FORWARDED, PROXY)
        (record,) = warned(caplog)
        assert record.levelno == logging.WARNING
        assert "PAGESTATS_TRUSTED_PROXIES" in record.getMessage()

    def test_one_warning_of_many_threads(self, caplog: pytest.LogCaptureFixture) -> None:
        barrier = threading.Barrier(8)

        def request() -> None:
            barrier.wait()
            watch(FORWARDED, PROXY)

        threads = [threading.Thread(target=request) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(warned(caplog)) == 1

    def test_not_at_ones_desk(self, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
        settings.DEBUG = True
        for _ in range(IN_A_ROW):
            watch({"REMOTE_ADDR": "127.0.0.1"}, "127.0.0.1")
        assert warned(caplog) == []

    def test_no_address_is_kept_in_memory(self) -> None:
        seen = Watch()
        seen.look({"REMOTE_ADDR": VISITOR}, VISITOR)
        kept = repr(vars(seen))
        assert VISITOR not in kept
        assert len(seen._addresses) == 1
        other = Watch()
        other.look({"REMOTE_ADDR": VISITOR}, VISITOR)
        assert other._addresses != seen._addresses, "each process has a key of its own"

    def test_once_told_it_looks_no_more(self) -> None:
        seen = Watch()
        seen.look(FORWARDED, PROXY)
        assert seen._left == 0
        assert seen.look(FORWARDED, PROXY) is None


@pytest.mark.django_db
class TestNotice:
    def noticed(self) -> list[str]:
        flush()
        return [notice.name for notice in proxies.shown("default")]

    def test_a_request_writes_nothing(self, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(0):
            watch(FORWARDED, PROXY)
        assert self.noticed() == [NoticeName.FORGOTTEN_PROXY]

    def test_few_addresses(self) -> None:
        for _ in range(IN_A_ROW):
            watch({"REMOTE_ADDR": "8.8.8.8"}, "8.8.8.8")
        assert self.noticed() == [NoticeName.FEW_ADDRESSES]

    def test_no_address_is_in_log_or_table(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        watch(FORWARDED, PROXY)
        flush()
        (row,) = Notice.objects.values()
        for address in (PROXY, VISITOR):
            assert address not in caplog.text
            assert address not in str(row)

    def test_one_row_of_many_processes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for _ in range(3):
            monkeypatch.setattr(proxies, "_watch", Watch())
            watch(FORWARDED, PROXY)
            flush()
        assert Notice.objects.count() == 1

    def test_it_goes_away_once_the_proxy_is_trusted(self, settings: Any) -> None:
        watch(FORWARDED, PROXY)
        assert self.noticed()
        settings.PAGESTATS_TRUSTED_PROXIES = ["10.0.0.0/8"]
        assert self.noticed() == []

    def test_and_comes_again_if_that_was_the_wrong_one(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        watch(FORWARDED, PROXY)
        flush()
        before = Notice.objects.get().since
        settings.PAGESTATS_TRUSTED_PROXIES = ["127.0.0.1"]
        monkeypatch.setattr(proxies, "_watch", Watch())
        watch(FORWARDED, PROXY)
        assert self.noticed() == [NoticeName.FORGOTTEN_PROXY]
        assert Notice.objects.get().since > before

    def test_dismissed_it_stays_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        watch(FORWARDED, PROXY)
        flush()
        assert notices.dismiss("default", NoticeName.FORGOTTEN_PROXY)
        assert not notices.dismiss("default", NoticeName.FORGOTTEN_PROXY)
        monkeypatch.setattr(proxies, "_watch", Watch())
        watch(FORWARDED, PROXY)
        assert self.noticed() == []

    def test_dismissed_it_comes_again_under_other_settings(
        self, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watch(FORWARDED, PROXY)
        flush()
        notices.dismiss("default", NoticeName.FORGOTTEN_PROXY)
        settings.PAGESTATS_ADDRESS_HEADER = "X-Real-IP"
        monkeypatch.setattr(proxies, "_watch", Watch())
        watch(FORWARDED, PROXY)
        assert self.noticed() == [NoticeName.FORGOTTEN_PROXY]

    def test_what_cannot_be_written_is_kept(self, caplog: pytest.LogCaptureFixture) -> None:
        def fail(*args: object) -> object:
            raise RuntimeError("the database is away")

        watch(FORWARDED, PROXY)
        with connection.execute_wrapper(fail):
            flush()
        assert "writing what was noticed failed" in caplog.text
        assert self.noticed() == [NoticeName.FORGOTTEN_PROXY]


@pytest.mark.django_db
class TestRequests:
    """What is recorded of real requests is looked at."""

    def record(self, **meta: str) -> Reason | None:
        request = RequestFactory().get("/", headers={"user-agent": BROWSER, "sec-fetch-dest": "document"}, **meta)
        return record_request(request, path="/", query="", referrer=None, seen_by="middleware")

    def test_one_through_a_forgotten_proxy(self, caplog: pytest.LogCaptureFixture) -> None:
        assert self.record(**FORWARDED) is None
        assert len(warned(caplog)) == 1
        flush()
        assert [notice.name for notice in proxies.shown("default")] == [NoticeName.FORGOTTEN_PROXY]

    def test_one_through_a_proxy_that_is_trusted(self, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
        settings.PAGESTATS_TRUSTED_PROXIES = ["10.0.0.0/8"]
        assert self.record(**FORWARDED) is None
        assert warned(caplog) == []

    def test_one_that_is_left_out_says_nothing(self, settings: Any, caplog: pytest.LogCaptureFixture) -> None:
        settings.PAGESTATS_ROBOTS_ADD = ["chrome"]
        assert self.record(**FORWARDED) is Reason.ROBOT
        assert warned(caplog) == []


@pytest.mark.django_db
class TestAdmin:
    @pytest.fixture
    def noticed(self) -> None:
        watch(FORWARDED, PROXY)
        flush()

    def client(self, *permissions: str) -> Client:
        user = User.objects.create_user("ada", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client = Client()
        client.force_login(user)
        return client

    @pytest.mark.parametrize("page", LISTS)
    def test_the_lists_say_what_to_write(self, page: str, noticed: None, admin_client: Client) -> None:
        text = admin_client.get(page).content.decode()
        assert "PAGESTATS_TRUSTED_PROXIES = [" in text
        assert "It is meant so" in text
        assert PROXY not in text

    @pytest.mark.parametrize("page", LISTS)
    def test_there_is_none(self, page: str, admin_client: Client) -> None:
        assert "PAGESTATS_TRUSTED_PROXIES" not in admin_client.get(page).content.decode()

    @pytest.mark.parametrize("page", LISTS)
    def test_it_is_meant_so(self, page: str, noticed: None, admin_client: Client) -> None:
        url = f"{page}notices/{NoticeName.FORGOTTEN_PROXY}/dismiss/"
        assert admin_client.get(url).url == page
        assert proxies.shown("default"), "a GET changes nothing"
        answer = admin_client.post(url, follow=True)
        assert "It is not shown again" in answer.content.decode()
        assert "PAGESTATS_TRUSTED_PROXIES" not in answer.content.decode()
        assert proxies.shown("default") == []

    def test_who_may(self, noticed: None) -> None:
        client = self.client("view_pageview")
        text = client.get(LISTS[0]).content.decode()
        assert "PAGESTATS_TRUSTED_PROXIES" in text
        assert "It is meant so" not in text
        assert client.post(f"{LISTS[0]}notices/{NoticeName.FORGOTTEN_PROXY}/dismiss/").status_code == 403
        assert proxies.shown("default")

    def test_who_may_not_see_the_list(self, noticed: None) -> None:
        client = self.client("change_notice")
        assert client.post(f"{LISTS[0]}notices/{NoticeName.FORGOTTEN_PROXY}/dismiss/").status_code == 403
        assert proxies.shown("default")

    def test_another_name(self, admin_client: Client) -> None:
        answer = admin_client.post(f"{LISTS[0]}notices/nothing/dismiss/", follow=True)
        assert "It is not shown again" not in answer.content.decode()


class TestChecks:
    @pytest.fixture(autouse=True)
    def django_knows_of_a_proxy(self, settings: Any) -> None:
        settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
        settings.USE_X_FORWARDED_HOST = True

    def test_and_we_do_not(self, settings: Any) -> None:
        assert ids(checks.check_proxies()) == ["pagestats.W050", "pagestats.W051"]
        settings.USE_X_FORWARDED_HOST = False
        assert ids(checks.check_proxies()) == ["pagestats.W050"]
        settings.SECURE_PROXY_SSL_HEADER = None
        assert ids(checks.check_proxies()) == []

    def test_and_so_do_we(self, settings: Any) -> None:
        settings.PAGESTATS_TRUSTED_PROXIES = ["127.0.0.1"]
        assert ids(checks.check_proxies()) == []

    @pytest.mark.django_db
    @override_settings(SILENCED_SYSTEM_CHECKS=["mail.E001"])  # tests send no mail in earnest
    def test_told_with_deploy_only(self) -> None:
        def told(**options: bool) -> str:
            err = StringIO()
            call_command("check", stdout=StringIO(), stderr=err, **options)
            return err.getvalue()

        assert "pagestats.W050" in told(deploy=True)
        assert "pagestats.W05" not in told()
