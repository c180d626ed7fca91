from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection

from django_pagestats.importing import Progress
from django_pagestats.management.commands import import_pageviews
from django_pagestats.models import ImportSource, PageView
from tests.logs import log_of

ROOT = Path(__file__).resolve().parent.parent
LINE = (
    '192.0.2.1 - - [17/May/2025:12:00:00 +0000] "GET {} HTTP/1.1" 200 123 "-" '
    '"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"\n'
)
MODEL = {
    "from_model": "admin.LogEntry",
    "path_field": "object_repr",
    "session_field": "user",
    "time_field": "action_time",
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(*args: str, stdout: io.StringIO | None = None, **options: Any) -> str:
    out = stdout or io.StringIO()
    errors = io.StringIO()
    call_command("import_pageviews", *args, stdout=out, stderr=errors, **options)
    return out.getvalue() + errors.getvalue()


@pytest.fixture
def log(tmp_path: Path) -> str:
    path = tmp_path / "access.log"
    path.write_text(LINE.format("/a") + LINE.format("/b.css") + "junk\n" + LINE.format("/c"))
    return str(path)


@pytest.mark.django_db
class TestLogs:
    def test_tells_what_it_did(self, log: str) -> None:
        assert run(log) == (
            "2 page views imported from 4 lines.\n"
            "Format: combined.\n"
            "2 lines skipped:\n"
            "  static file: 1\n"
            "  malformed: 1\n"
            "The first bad lines:\n"
            "  line 3: 'junk'\n"
        )
        assert run(log) == (
            "0 page views imported from 0 lines.\nFormat: combined.\nAn earlier import ended after line 4: went on "
            "from there.\n"
        )

    def test_a_last_line_without_a_newline_is_counted_in_the_note(self, log: str) -> None:
        Path(log).write_bytes(Path(log).read_bytes().removesuffix(b"\n"))
        assert run(log).startswith("2 page views imported from 4 lines.")
        assert "An earlier import ended after line 4: went on from there." in run(log)

    def test_a_complete_log_of_the_common_format(self, tmp_path: Path) -> None:
        log = tmp_path / "access.log.1"
        log.write_text('192.0.2.1 - - [17/May/2025:12:00:00 +0000] "GET /a HTTP/1.1" 200 123')
        assert run(str(log)) == (
            "0 page views imported from 0 lines.\nThe last line is not whole yet: it was left for the next import. If "
            "nothing more is written to this log, --complete takes it as it is.\n"
        )
        assert run(str(log), complete=True) == (
            "1 page views imported from 1 lines.\nFormat: combined.\n1 of the page views have no user agent in this "
            "log: robots among them cannot be told, and an address is a visitor.\n"
        )
        assert run(str(log), "--complete").startswith("0 page views imported from 0 lines.")

    def test_the_standard_input_plain_and_gzipped(self, log: str) -> None:
        read = Path(log).read_bytes()
        run("-", stdin=io.BytesIO(gzip.compress(read)))
        run("-", stdin=io.TextIOWrapper(io.BytesIO(read)))
        run(log)
        assert PageView.objects.count() == 2
        assert ImportSource.objects.get().name == "the standard input"

    def test_says_nothing_if_asked_to(self, log: str) -> None:
        assert run(log, verbosity=0) == ""

    def test_another_log(self, log: str, tmp_path: Path) -> None:
        run(log)
        other = tmp_path / "other.log"
        other.write_text(LINE.format("/a") + LINE.format("/x"))
        with pytest.raises(CommandError, match="--another-log"):
            run(str(other))
        assert "1 page views imported from 2 lines.\nFormat: combined.\n1 lines skipped:\n  duplicate: 1" in run(
            str(other), another_log=True
        )

    def test_a_bar_on_a_terminal(self, log: str) -> None:
        told = run(log, stdout=Terminal())
        assert "100%" in told
        assert "2 page views" in told

    def test_missing_files_and_directories(self, tmp_path: Path) -> None:
        with pytest.raises(CommandError, match=r"Cannot read .*nowhere\.log: No such file"):
            run(str(tmp_path / "nowhere.log"))
        with pytest.raises(CommandError, match=r"Cannot read .*: Is a directory"):
            run(str(tmp_path))

    def test_what_is_no_log(self, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("hello\n")
        with pytest.raises(CommandError, match=r"notes\.txt is no access log .* \(line 1: 'hello'\)"):
            run(str(tmp_path / "notes.txt"))

    def test_a_database_error(self, log: str) -> None:
        def fail(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            wanted = "SELECT nothing FROM pagestats_nowhere" if "importsource" in sql else sql
            return execute(wanted, None if wanted != sql else params, many, context)

        with connection.execute_wrapper(fail), pytest.raises(CommandError, match="again goes on from there") as raised:
            run(log)
        assert raised.value.returncode == 1

    def test_an_interrupt(self) -> None:
        class Interrupting(io.BytesIO):
            def read1(self, size: int | None = -1, /) -> bytes:
                raise KeyboardInterrupt

        with pytest.raises(CommandError, match="Stopped") as raised:
            run("-", stdin=Interrupting())
        assert raised.value.returncode == 130


@pytest.mark.django_db
class TestSeveralLogs:
    """Two files that were rotated: the later one has the earlier name."""

    @pytest.fixture
    def logs(self, tmp_path: Path, settings: Any) -> Path:
        settings.PAGESTATS_DUPLICATE_SECONDS = 1_800
        early, late = LINE.replace("12:00:00", "11:50:00"), LINE
        (tmp_path / "access.log").write_text(late.format("/a") + late.format("/b"))
        (tmp_path / "access.log.1.gz").write_bytes(gzip.compress((early.format("/a") + "junk\n").encode()))
        (tmp_path / "access.log.2").write_text("")
        return tmp_path

    def test_in_the_order_of_their_first_lines(self, logs: Path) -> None:
        told = run(str(logs / "access.log"), str(logs / "access.log.1.gz"))
        assert list(PageView.objects.order_by("pk").values_list("path", "viewed_at__minute")) == [("/a", 50), ("/b", 0)]
        assert told == (
            "2 page views imported from 4 lines.\n"
            "Format: combined.\n"
            "2 lines skipped:\n"
            "  malformed: 1\n"
            "  duplicate: 1\n"
            "The first bad lines:\n"
            f"  {logs}/access.log.1.gz: line 2: 'junk'\n"
        )
        assert run(f"{logs}/access.log*") == "0 page views imported from 0 lines.\nFormat: combined.\n"

    def test_patterns_and_names_are_taken_once(self, logs: Path) -> None:
        assert run(f"{logs}/*.log*", str(logs / "access.log")).startswith("2 page views imported from 4 lines.")
        with pytest.raises(CommandError, match=r"No file matches .*nothing\*"):
            run(f"{logs}/nothing*")

    def test_one_that_fails_does_not_stop_the_others(self, logs: Path) -> None:
        (logs / "access.log.0").write_text("hello\n")
        with pytest.raises(CommandError, match=r"access\.log\.0 is no access log(.|\n)*Cannot read .*missing"):
            run(f"{logs}/access.log*", str(logs / "missing"))
        assert PageView.objects.count() == 2

    def test_two_formats(self, logs: Path) -> None:
        (logs / "json.log").write_bytes(log_of("caddy", "/c"))
        assert "Format: combined; caddy." in run(f"{logs}/*.log*")


@pytest.mark.django_db
class TestHowALogIsRead:
    def test_format_address_host_and_time_zone(self, tmp_path: Path) -> None:
        log = tmp_path / "access.log"
        log.write_bytes(log_of("vhost-combined", "/a") + b"shop." + log_of("vhost-combined", "/b")[4:])
        assert "other host: 1" in run(str(log), "--host", "example.org")
        log.write_text('10.0.0.1 [28/Nov/2026:10:00:00] "GET /x HTTP/1.1" 200 "Mozilla/5.0 (X11; Linux)" "192.0.2.9"\n')
        string = '%h [%{%d/%b/%Y:%T}t] "%r" %>s "%{User-Agent}i" "%{X-Forwarded-For}i"'
        options = ["--format", string, "--time-zone", "Europe/Berlin", "--address", "last-quoted"]
        assert "Format: Apache LogFormat." in run(str(log), *options)
        assert PageView.objects.get(path="/x").viewed_at.hour == 9

    @pytest.mark.parametrize(
        ("option", "value", "message"),
        [
            ("--format", "clf", "There is no format 'clf'"),
            ("--address", "0", "'0': say first, last-quoted"),
            ("--address", "", "'': say first"),
            ("--time-zone", "Mars/Olympus", "'Mars/Olympus' is no time zone"),
        ],
    )
    def test_what_is_wrong(self, option: str, value: str, message: str, log: str) -> None:
        with pytest.raises(CommandError, match=message):
            run(log, option, value)


@pytest.mark.django_db
class TestModels:
    def test_tells_what_it_did(self) -> None:
        user = User.objects.create(username="ann")
        for path in ("/a", "b"):
            LogEntry.objects.create(
                user=user, object_repr=path, action_flag=1, action_time=datetime(2025, 5, 17, tzinfo=timezone.utc)
            )
        told = run(**MODEL)
        assert told.startswith("1 page views imported from 2 rows.\n1 rows skipped:\n  invalid path: 1\n")
        assert "the path 'b' must begin with '/'" in told
        assert run(**MODEL, stdout=Terminal()).count("0 page views imported from 0 rows.") == 1

    def test_attributes(self) -> None:
        user = User.objects.create(username="ann", first_name="Pro", is_staff=True)
        for path, message in (("/a", "x"), ("/b", ""), ("/c", "y" * 256)):
            LogEntry.objects.create(
                user=user,
                object_repr=path,
                action_flag=1,
                change_message=message,
                action_time=datetime.now(timezone.utc),
            )
        named = ["plan=user__first_name", "staff=user__is_staff", "what=change_message"]
        told = run(*[f"--attribute={pair}" for pair in named], **MODEL)
        assert list(PageView.objects.order_by("pk").values_list("path", "attributes")) == [
            ("/a", {"plan": "Pro", "staff": "true", "what": "x"}),
            ("/b", {"plan": "Pro", "staff": "true"}),
        ]
        assert "invalid attribute: 1" in told
        assert "the attribute what 'yyy" in told
        assert run(**MODEL).startswith("0 page views imported from 0 rows."), "they are the same rows"

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({}, "Give either a log"),
            ({**MODEL, "from_package": "hitcount"}, "Give either a log"),
            ({"file": "-", "from_database": "default"}, "--from-database: only with --from-model or --from"),
            ({"file": "-", "attribute": [("a", "b")]}, "--attribute: only with --from-model"),
            ({"from_package": "hitcount", "path_field": "x"}, "--path-field: only with --from-model"),
            ({"from_package": "hitcount", "host": ["x"]}, "--host is for a log: leave it out with --from"),
            ({**MODEL, "format": "combined"}, "--format is for a log"),
            ({**MODEL, "address": "last-quoted"}, "--address is for a log"),
            ({**MODEL, "attribute": [("Plan", "user")]}, "the attribute 'Plan' needs a name"),
            ({**MODEL, "attribute": [("plan", "nothing")]}, "has no field 'nothing'"),
            ({**MODEL, "file": "-"}, "Give either a log"),
            ({"from_model": "admin.LogEntry"}, "--from-model needs --path-field, --session-field, --time-field too"),
            ({**MODEL, "another_log": True}, "--another-log is for a log"),
            ({**MODEL, "complete": True}, "--complete is for a log"),
            ({"file": "-", "path_field": "x"}, "--path-field: only with --from-model"),
            ({**MODEL, "from_model": "nonsense"}, "There is no model 'nonsense': write app_label.ModelName"),
            ({**MODEL, "from_model": "admin.Nothing"}, "There is no model 'admin.Nothing'"),
            ({**MODEL, "path_field": "nothing"}, "has no field 'nothing'"),
            ({**MODEL, "database": "nowhere"}, "There is no database 'nowhere'; DATABASES has default"),
            ({**MODEL, "from_database": "nowhere"}, "There is no database 'nowhere'"),
        ],
    )
    def test_wrong_options(self, options: dict[str, Any], message: str) -> None:
        file = [options.pop("file")] if "file" in options else []
        with pytest.raises(CommandError, match=message):
            run(*file, **options)


def test_lines_of_progress_come_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.core.management.base import OutputWrapper

    out = io.StringIO()
    lines = import_pageviews.Lines(OutputWrapper(out), "bytes")
    lines(Progress(1, 9, 0))
    monkeypatch.setattr(import_pageviews, "LINE_SECONDS", 0)
    lines = import_pageviews.Lines(OutputWrapper(out), "bytes")
    lines(Progress(5_000, 9_000, 3))
    lines(Progress(6_000, None, 4))
    assert out.getvalue() == (
        "5,000 of 9,000 bytes read, 3 page views imported\n6,000 bytes read, 4 page views imported\n"
    )


@pytest.mark.once
@pytest.mark.django_db(transaction=True)
def test_from_a_shell(log: str) -> None:
    """Through a real pipe, in a real process; and its exit status when it fails."""
    environment = {**os.environ, "PAGESTATS_DB_NAME": str(connection.settings_dict["NAME"])}
    command = [sys.executable, "manage.py", "import_pageviews"]

    def shell(*args: str, read: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*command, *args], input=read, cwd=ROOT, env=environment, capture_output=True, check=False
        )

    done = shell("-", read=gzip.compress(Path(log).read_bytes()))
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, b"2 page views imported from 4 lines.")
    assert shell(log).stdout.startswith(b"0 page views imported")
    failed = shell("nowhere.log")
    assert failed.returncode == 1
    assert failed.stderr.endswith(b"CommandError: Cannot read nowhere.log: No such file or directory\n")
    assert b"Traceback" not in failed.stderr
    assert PageView.objects.count() == 2
