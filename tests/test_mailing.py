"""The mail of the last week or month: what it says, to whom, and that it is sent once."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from email import policy
from io import StringIO
from typing import Any
from zoneinfo import ZoneInfo

import django
import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import translation

from django_pagestats import folding, mailing, tasks
from django_pagestats.dashboard.ranges import Days
from django_pagestats.mailing import MailError, claims, contents, sending
from django_pagestats.mailing.periods import last_period, period_before
from django_pagestats.models import Mailing
from tests.chains import only_on
from tests.factories import insert_page_views, make_page_views
from tests.patching import replace
from tests.smtp import MailServer

pytestmark = [pytest.mark.django_db, pytest.mark.in_turn(1)]

#: a Wednesday: the last week, from Sunday on, is that from 23 to 29 March 2025
NOW = datetime(2025, 4, 2, 12, tzinfo=timezone.utc)
WEEK_ENDED = datetime(2025, 3, 30, tzinfo=timezone.utc)
HOSTILE = ['/"><script>alert(1)</script>', "/" + "x" * 2_047, "/\u202egpj.exe", "/a\r\nBcc: c@example.com", "/😀 &amp;"]


@pytest.fixture(autouse=True)
def somebody(settings: Any) -> None:
    settings.PAGESTATS_MAIL_TO = ["Ada Ö <ada@example.com>", "bob@example.com"]


@pytest.fixture
def page_views(db: None) -> None:
    """Of the last two weeks before NOW: 5 a day, of the week before 3."""
    for day in range(14):
        at = WEEK_ENDED + timedelta(days=day - 14, hours=9)
        insert_page_views(("/a", f"key{n}", at) for n in range(5 if day >= 7 else 3))
    insert_page_views((path, "key", WEEK_ENDED - timedelta(days=2)) for path in HOSTILE * 6)


def send(now: datetime = NOW, **options: Any) -> sending.Outcome:
    return mailing.mail_last_period("default", now=now, **options)


def sent() -> list[Any]:
    return list(mail.outbox)


def html_of(message: Any) -> str:
    ((html, kind),) = message.alternatives
    assert kind == "text/html"
    return str(html)


# -- of which days


@pytest.mark.parametrize(
    ("every", "first", "today", "expected"),
    [
        ("week", 1, "2026-11-30", ("2026-11-23", "2026-11-30")),
        ("week", 0, "2026-11-30", ("2026-11-22", "2026-11-29")),
        ("week", 6, "2026-11-28", ("2026-11-21", "2026-11-28")),
        ("month", 1, "2026-01-01", ("2025-12-01", "2026-01-01")),
        ("month", 1, "2024-03-31", ("2024-02-01", "2024-03-01")),
    ],
)
def test_the_last_period_is_over_and_whole(every: str, first: int, today: str, expected: tuple[str, str]) -> None:
    found = last_period(every, date.fromisoformat(today), first)
    assert found == Days(*map(date.fromisoformat, expected))
    before = period_before(every, found)
    assert before.end == found.start and before == last_period(every, found.start, first)


def test_days_and_weeks_are_those_of_the_statistics_and_the_settings(settings: Any, page_views: None) -> None:
    settings.PAGESTATS_TIME_ZONE = "Asia/Tokyo"
    settings.PAGESTATS_FIRST_DAY_OF_WEEK = 1
    at_midnight = datetime(2025, 3, 31, tzinfo=ZoneInfo("Asia/Tokyo"))
    send(at_midnight - timedelta(seconds=1))
    send(at_midnight)
    assert [row.start for row in Mailing.objects.order_by("start")] == [date(2025, 3, 17), date(2025, 3, 24)]
    assert "Days and hours are those of Asia/Tokyo." in sent()[1].body
    settings.PAGESTATS_MAIL_EVERY = "month"
    insert_page_views([("/", "key", WEEK_ENDED - timedelta(days=60))])
    send(at_midnight)
    assert sent()[2].subject == "Statistics: Feb. 1, 2025 to Feb. 28, 2025"


# -- what it says


def test_it_has_the_totals_their_change_and_the_top_pages(page_views: None) -> None:
    send()
    (message,) = sent()
    assert message.subject == "Statistics: March 23, 2025 to March 29, 2025"
    assert message.to == ["Ada Ö <ada@example.com>", "bob@example.com"] and message.from_email == "webmaster@localhost"
    for told in (message.body, html_of(message)):
        told = re.sub(r"<[^>]*>|\s+", " ", told)
        assert "March 16, 2025 to March 22, 2025" in told
        assert "+210 % from 21" in told, "65 page views"
        assert "Busiest" not in told and "The busiest day was Friday, March 28, 2025: 35 page views." in told
        assert "Visits" in told and "Days and hours are those of UTC." in told
        assert "Open the dashboard" not in told
    assert "Page views: 65 (+210 % from 21)" in message.body
    assert re.search(r"^/a\n    Page views: 35 \(\+67 % from 21\); Visitors: 5$", message.body, re.MULTILINE)


def test_hostile_paths_are_text_on_one_line_of_their_own(page_views: None) -> None:
    send()
    (message,) = sent()
    assert "<script" not in html_of(message) and "&lt;script&gt;" in html_of(message)
    assert '/"><script>alert(1)</script>\n' in message.body, "a text is no HTML"
    assert "/a[U+000D][U+000A]Bcc: c@example.com\n" in message.body
    assert "\u202e" not in message.body + html_of(message)
    assert max(map(len, message.body.splitlines())) < 400
    as_sent = message.message(policy=policy.SMTP) if django.VERSION >= (6, 0) else message.message()
    assert as_sent["Bcc"] is None and as_sent["To"].count("@") == 2


def test_sources_are_in_it_where_they_are_counted(db: None) -> None:
    make_page_views(400, start=WEEK_ENDED - timedelta(days=6), days=5, with_attributes=True)
    folding.keep_up("default", seconds=60)
    send()
    assert "\nSources\n" in sent()[0].body and "\nPages\n" in sent()[0].body


def test_its_language_is_that_of_the_site(page_views: None, settings: Any) -> None:
    settings.LANGUAGE_CODE = "de"
    with translation.override("fr"):
        send()
        assert translation.get_language() == "fr"
    assert sent()[0].subject.endswith("Statistik: 24. März 2025 bis 30. März 2025")
    assert '<html lang="de"' in html_of(sent()[0])


def test_its_templates_can_be_another_ones(page_views: None, settings: Any, tmp_path: Any) -> None:
    own = tmp_path / "django_pagestats" / "mail"
    own.mkdir(parents=True)
    (own / "statistics.txt").write_text("{{ figures.0.text }} seen")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    send()
    assert sent()[0].body == "65 seen\n"


def test_a_link_leads_to_the_dashboard_where_that_is_known(page_views: None, settings: Any) -> None:
    settings.PAGESTATS_DASHBOARD_URL = "https://example.org/numbers/"
    send()
    (message,) = sent()
    assert message.subject.startswith("Statistics of example.org: March 23")
    link = "https://example.org/numbers/?range=free&from=2025-03-23&to=2025-03-29&compare=free&compare_from=2025-03-16"
    assert link in message.body and link.replace("&", "&amp;") in html_of(message)


def test_the_site_of_the_sites_framework_is_named_on_one_line(
    page_views: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Current:
        domain, name = "shop.example", "The\r\nBcc: c@example.com shop"

    replace(monkeypatch.setattr, contents._current_site, lambda: Current)
    send()
    (message,) = sent()
    assert message.subject.startswith("Statistics of The Bcc: c@example.com shop: March")
    assert "https://shop.example/admin/django_pagestats/dashboard/?range=free" in message.body


def test_a_week_without_page_views_is_told_and_one_before_the_first_is_not(db: None) -> None:
    assert "no page view was recorded by then" in send().told
    insert_page_views([("/", "key", WEEK_ENDED)])
    assert "no page view was recorded by then" in send().told and sent() == []
    assert send(NOW + timedelta(days=7)).is_sent and "Page views: 1" in sent()[0].body
    assert send(NOW + timedelta(days=14)).is_sent and "Page views: 0" in sent()[1].body


# -- once


def test_it_is_sent_once_however_often_it_is_asked_for(page_views: None) -> None:
    told = [send().told for _ in range(3)]
    assert len(sent()) == 1
    assert told[0] == "The mail of the week from 2025-03-23 to 2025-03-29 was sent; addresses: 2."
    assert told[1] == told[2] == "The mail of the week from 2025-03-23 to 2025-03-29 was sent at 2025-04-02 12:00 UTC."
    send(NOW + timedelta(days=7))
    assert len(sent()) == 2
    assert send(is_again=True).is_sent and len(sent()) == 3


def test_of_two_that_have_seen_the_same_one_sends_it(page_views: None) -> None:
    seen = claims.find("default", "week", date(2025, 3, 23))
    same = claims.find("default", "week", date(2025, 3, 23))
    assert claims.claim("default", seen, NOW) is not None
    assert claims.claim("default", same, NOW) is None
    assert "is being sent or, if that process was killed, may have been sent" in send().told
    assert sent() == []


def test_another_process_in_the_middle_of_it(page_views: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It made its mail while this one did: the statement that claims it is the one that counts."""
    wrote = sending._written

    def write(*args: Any) -> sending.Written:
        made = wrote(*args)
        monkeypatch.undo()
        assert send().is_sent
        return made

    replace(monkeypatch.setattr, sending._written, write)
    outcome = send()
    assert (outcome.is_sent, len(sent())) == (False, 1) and "by another process" in outcome.told


def test_who_is_killed_while_sending_sends_it_at_most_once(page_views: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class KilledError(BaseException):
        pass

    def die(self: Any, *args: Any, **kwargs: Any) -> int:
        raise KilledError

    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(sending.EmailMultiAlternatives, "send", die)
        send()
    assert not send().is_sent and sent() == []
    assert send(is_again=True).is_sent


def test_nobody_is_no_mail_and_no_statement(db: None, settings: Any) -> None:
    settings.PAGESTATS_MAIL_TO = []
    with CaptureQueriesContext(connection) as queries:
        assert "names nobody" in send().told
    assert len(queries) == 0


def test_a_tick_after_it_costs_two_statements(page_views: None) -> None:
    send()
    with CaptureQueriesContext(connection) as queries:
        send()
    assert len(queries) == 2


# -- what fails


@pytest.fixture
def server(settings: Any) -> Iterator[MailServer]:
    with MailServer() as server:
        options = {"host": "127.0.0.1", "port": server.port, "timeout": 20}
        if django.VERSION >= (6, 1):
            settings.MAILERS = {
                "default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": options}
            }
        else:
            settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
            settings.EMAIL_HOST, settings.EMAIL_PORT = options["host"], options["port"]
        yield server


def test_a_mail_server_gets_both_forms_of_it(page_views: None, server: MailServer) -> None:
    assert send().is_sent
    (message,) = server.messages
    assert message["To"] == "Ada Ö <ada@example.com>, bob@example.com"
    assert message["Subject"] == "Statistics: March 23, 2025 to March 29, 2025"
    parts = {part.get_content_type(): part.get_content() for part in message.iter_parts()}
    assert set(parts) == {"text/plain", "text/html"}
    assert "Page views: 65 (+210 % from 21)" in parts["text/plain"] and "😀" in parts["text/html"]


def test_what_the_mail_server_refuses_is_tried_again_more_and_more_seldom(page_views: None, server: MailServer) -> None:
    server.answer = b"451 not now"
    due = WEEK_ENDED
    tries = []
    for minute in range(20):
        try:
            send(due + timedelta(minutes=minute))
        except MailError as error:
            assert "451" in str(error) and "A cluster tries it again by itself, and so does the next" in str(error)
            tries.append(minute)
    assert tries == [0, 1, 3, 7, 15]
    assert "failed, and is tried again from 2025-03-30 00:31 UTC on" in send(due + timedelta(minutes=20)).told
    server.answer = b"250 taken"
    assert send(due + timedelta(minutes=31)).is_sent and len(server.messages) == 1
    assert not send(due + timedelta(minutes=32)).is_sent


def test_it_is_given_up_in_the_end(page_views: None, server: MailServer) -> None:
    server.answer = b"550 never"
    for _ in range(claims.MOST_FAILURES):
        with pytest.raises(MailError):
            send(NOW + timedelta(days=3))
    assert "failed 12 times, and is not tried again by itself" in send(NOW + timedelta(days=3)).told
    server.answer = b"250 taken"
    assert send(NOW + timedelta(days=3), is_again=True).is_sent


def test_what_cannot_be_made_is_tried_again_and_logged(
    page_views: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any) -> Any:
        raise ZeroDivisionError("a template of the site's own")

    with monkeypatch.context() as patched:
        replace(patched.setattr, sending.contents_of, fail)
        with pytest.raises(MailError, match="a template of the site's own"):
            send()
    assert "could not be made" in caplog.text
    row = Mailing.objects.get()
    assert (row.failures, row.claimed_at, row.sent_at) == (1, None, None)
    assert send().is_sent


# -- not folded


def test_it_waits_a_day_for_page_views_that_are_not_folded_and_then_says_so(page_views: None, settings: Any) -> None:
    settings.PAGESTATS_TAIL_LIMIT = 10
    assert "waits for page views that are not folded" in send(WEEK_ENDED + timedelta(hours=23)).told
    assert sent() == [] and not Mailing.objects.exists()
    assert send(WEEK_ENDED + timedelta(hours=24)).is_sent
    (message,) = sent()
    assert message.subject.endswith("(not complete)")
    for told in message.body, html_of(message):
        assert "These numbers are not complete: Folded up to nothing yet" in told


def test_a_mail_of_what_is_folded_is_complete_though_a_tail_is_long(page_views: None, settings: Any) -> None:
    folding.keep_up("default", seconds=60)
    settings.PAGESTATS_TAIL_LIMIT = 10
    insert_page_views(("/a", f"key{n}", NOW) for n in range(40))
    assert send(NOW).is_sent
    assert "not complete" not in sent()[0].subject + sent()[0].body
    assert "Page views: 65 (+210 % from 21)" in sent()[0].body


# -- by the schedule, and by cron


def test_it_goes_out_once_though_the_zone_sets_clocks_back(page_views: None, settings: Any) -> None:
    """In Havana midnight of 2 November 2025 came twice: the week, which began with it, is the same one."""
    settings.PAGESTATS_TIME_ZONE = "America/Havana"
    at = datetime(2025, 11, 2, 3, 30, tzinfo=timezone.utc)
    outcomes = [send(at + timedelta(minutes=15 * n)).is_sent for n in range(12)]
    assert outcomes.count(True) == 2 and {row.start for row in Mailing.objects.all()} == {
        date(2025, 10, 19),
        date(2025, 10, 26),
    }


def test_tending_sends_it_and_a_failure_of_it_is_logged(
    page_views: None, server: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer = b"451 not now"
    tasks.tend("default")
    assert "was not sent" in caplog.text and folding.active_generation("default") is not None
    Mailing.objects.all().delete()
    server.answer = b"250 taken"
    for _ in range(3):
        tasks.tend("default")
    assert len(server.messages) == 1


def test_the_command_sends_it_once_and_shows_it() -> None:
    insert_page_views([("/", "key", WEEK_ENDED)])

    def run(*words: str) -> str:
        out = StringIO()
        call_command("mail_statistics", *words, stdout=out)
        return out.getvalue()

    assert "Page views: 0" in run("--dry-run") and sent() == [] and not Mailing.objects.exists()
    assert run().endswith("was sent; addresses: 2.\n")
    assert "was sent at" in run() and len(sent()) == 1
    assert run("--again").endswith("was sent; addresses: 2.\n") and len(sent()) == 2
    with pytest.raises(CommandError, match="one of them"):
        run("--again", "--dry-run")


def test_the_command_needs_somebody(settings: Any) -> None:
    settings.PAGESTATS_MAIL_TO = []
    with pytest.raises(CommandError, match="names nobody"):
        call_command("mail_statistics")


@only_on("postgresql", "mysql")
@pytest.mark.django_db(transaction=True)
def test_many_at_once_send_one(page_views: None, server: MailServer) -> None:
    from django.db import connections

    start = threading.Barrier(4)
    outcomes: list[bool] = []

    def work() -> None:
        try:
            start.wait(timeout=30)
            outcomes.append(send().is_sent)
        finally:
            connections.close_all()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert sorted(outcomes) == [False, False, False, True] and len(server.messages) == 1
