"""The site without a cluster: a new project, three lines of settings, SQLite, and real requests under gunicorn."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest

from testproject import traffic
from testproject.settings import BASE_DIR
from tests.checking import only
from tests.cluster import wait_until
from tests.factories import START

pytestmark = pytest.mark.once

RUNS = "/admin/django_pagestats/backfillrun/"
CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{}.0.0.0 Safari/537.36"
#: what a process of the site looks at each minute it looks at all the time here
HURRY = """
from django_pagestats import tending
tending.LOOK_SECONDS = 0.1
"""
URLS = """
from django.contrib import admin
from django.http import HttpResponse
from django.urls import path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("page/<int:number>/", lambda request, number: HttpResponse(f"<title>{number}</title>")),
]
"""


class Project:
    """What `django-admin startproject` makes, with our three lines."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PAGESTATS_", "DJANGO_"))},
            "PYTHONPATH": str(BASE_DIR),
        }
        self._run("-m", "django", "startproject", "mysite", ".")
        module = folder / "mysite" / "settings.py"
        text = module.read_text()
        text = text.replace("INSTALLED_APPS = [", 'INSTALLED_APPS = [\n    "django_pagestats",')
        text = text.replace("MIDDLEWARE = [", 'MIDDLEWARE = [\n    "django_pagestats.middleware.PageViewMiddleware",')
        text += "".join(f"{name} = {value!r}\n" for name, value in settings.items())
        module.write_text(text)
        (folder / "mysite" / "urls.py").write_text(URLS)
        with (folder / "mysite" / "wsgi.py").open("a") as wsgi:
            wsgi.write(HURRY)

    def manage(self, *words: str, **environment: str) -> str:
        return self._run("manage.py", *words, **environment)

    def _run(self, *words: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{words} exited with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def summary(self) -> dict[str, Any]:
        code = (
            "import dataclasses, json; from django_pagestats import stats;"
            "print(json.dumps(dataclasses.asdict(stats.summary()), default=str))"
        )
        return dict(json.loads(self.manage("shell", "-v", "0", "-c", code).strip().splitlines()[-1]))

    def ask(self, sql: str, *values: object) -> list[Any]:
        """The database, past Django."""
        with closing(sqlite3.connect(self.folder / "db.sqlite3", timeout=20)) as connection, connection:
            return connection.execute(sql, values).fetchall()

    def record(self, count: int) -> None:
        """A history, as if it had been imported: past the app, in one transaction."""
        views = traffic.page_views(count, seed=1, paths=200, visitors=count // 5, days=60, start=START)
        with closing(sqlite3.connect(self.folder / "db.sqlite3", timeout=20)) as connection, connection:
            connection.executemany(
                "INSERT INTO django_pagestats_pageview (path, session_key, viewed_at) VALUES (?, ?, ?)",
                [(path, key, at.replace(tzinfo=None).isoformat(" ", "microseconds")) for path, key, at in views],
            )

    def go_by(self, **time: float) -> None:
        """As if so much time had gone by since anybody kept up, or since the first look."""
        seconds = f"-{timedelta(**time).total_seconds()} seconds"
        self.ask(
            # with the six digits that Django writes
            "UPDATE django_pagestats_generation SET"
            " created_at = strftime('%Y-%m-%d %H:%M:%f', created_at, ?1) || '000',"
            " tended_at = strftime('%Y-%m-%d %H:%M:%f', tended_at, ?1) || '000'",
            seconds,
        )

    def folded(self) -> tuple[int, int] | None:
        """The cursor, and the highest id of a page view."""
        found = self.ask(
            "SELECT cursor, (SELECT MAX(id) FROM django_pagestats_pageview) FROM django_pagestats_generation"
        )
        return found[0] if found else None

    def worker_pids(self) -> list[int]:
        log = (self.folder / "gunicorn.log").read_text()
        return [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", log)]

    @contextmanager
    def serve(self) -> Iterator[Visitors]:
        """Two workers of gunicorn, which end as systemd ends them."""
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = self.folder / "gunicorn.log"
        with log.open("wb") as out:
            server = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "mysite.wsgi", "--workers", "2", "--bind", f"127.0.0.1:{port}"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(lambda: len(self.worker_pids()) >= 2, "gunicorn's workers")
            yield Visitors(f"http://127.0.0.1:{port}")
            assert server.poll() is None, log.read_text()
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=30)
        assert "Traceback" not in log.read_text(), log.read_text()


class Visitors:
    """Browsers, each told from the others by its version."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cookies = CookieJar()
        self.admin = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def view(self, path: str, *, version: int) -> None:
        headers = {"User-Agent": CHROME.format(version), "Accept": "text/html", "Accept-Language": "en"}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, headers=headers), timeout=30) as answer:
            assert answer.status == 200

    def log_in(self, name: str, password: str) -> None:
        login = f"{self.url}/admin/login/"
        token = token_of(self.read("/admin/login/"))
        form = {"username": name, "password": password, "csrfmiddlewaretoken": token, "next": "/admin/"}
        with self.admin.open(login, urllib.parse.urlencode(form).encode(), timeout=30) as answer:
            assert "Log out" in answer.read().decode()

    def push(self, path: str, token: str) -> tuple[str, str]:
        """What pushing a button leads to: the address, and what is there."""
        form = urllib.parse.urlencode({"csrfmiddlewaretoken": token}).encode()
        with self.admin.open(self.url + path, form, timeout=60) as answer:
            return str(answer.url), str(answer.read().decode())

    def read(self, path: str) -> str:
        with self.admin.open(self.url + path, timeout=30) as answer:
            return str(answer.read().decode())


def token_of(page: str) -> str:
    found = re.search('name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert found, page
    return found[1]


@only("sqlite")
def test_three_lines_and_exact_numbers_ten_minutes_later(tmp_path: Path) -> None:
    project = Project(tmp_path)
    assert "pagestats.W" not in project.manage("migrate")
    assert "no issues" in project.manage("check")
    project.manage("createsuperuser", "--noinput", "--username=root", "--email=", DJANGO_SUPERUSER_PASSWORD="secret")
    with project.serve() as visitors:
        for number in range(30):
            for version in (120 + number % 4, 130):
                visitors.view(f"/page/{number}/", version=version)
        wait_until(project.folded, "a generation")
        assert project.summary() | WANTED == project.summary(), "exact before anything is folded"
        assert project.folded() == (0, 60)
        project.go_by(minutes=5)
        wait_until(lambda: project.folded() == (60, 60), "the statistics to keep themselves up")
        visitors.view("/page/1000/", version=120)
        visitors.view("/page/1001/", version=120)
        project.go_by(minutes=1)
        wait_until(lambda: project.folded() == (62, 62), "the next minute's page views")
        visitors.log_in("root", "secret")
        generations = visitors.read("/admin/django_pagestats/generation/")
        assert re.search('class="field-page_views[^"]*">62<', generations), generations
        assert "cluster" not in visitors.read("/admin/django_pagestats/backfillrun/")
    assert project.summary() | {"page_views": 62, "paths": 32, "pending": 0} == project.summary()
    project.manage("verify_aggregates")
    assert "pagestats.W" not in project.manage("check", "--database", "default")


WANTED = {"page_views": 60, "visitors": 5, "paths": 30, "pending": 60, "is_exact": True}


@only("sqlite")
def test_two_open_pages_and_a_worker_that_is_killed(tmp_path: Path) -> None:
    """A history that is too long for keeping up is folded by the pages of its run, and nothing is counted twice."""
    project = Project(tmp_path, PAGESTATS_TAIL_LIMIT=1_000, PAGESTATS_LEASE_SECONDS=5)
    project.manage("migrate")
    project.record(30_000)
    project.manage("createsuperuser", "--noinput", "--username=root", "--email=", DJANGO_SUPERUSER_PASSWORD="secret")
    assert "pagestats.W010" in project.manage("check", "--database", "default")
    with project.serve() as visitors:
        visitors.log_in("root", "secret")
        runs = visitors.read(RUNS)
        assert "too many for keeping up" in runs and "Q_CLUSTER = {" in runs
        url, page = visitors.push(f"{RUNS}backfill/", token_of(runs))
        assert url.endswith("/change/") and "This page is doing the work" in page
        statuses: list[str] = []
        kill_in_time = threading.Event()

        def stay_open() -> None:
            """As the script of the page does."""
            status = "queued"
            while status in ("queued", "running"):
                try:
                    _, answer = visitors.push(f"{RUNS}1/fold/", token_of(page))
                except (OSError, http.client.HTTPException):  # the worker that was killed
                    continue
                status = json.loads(answer)["status"]
                kill_in_time.set()
                time.sleep(0.1)
            statuses.append(status)

        pages = [threading.Thread(target=stay_open) for _ in range(2)]
        for one in pages:
            one.start()
        assert kill_in_time.wait(60)
        os.kill(project.worker_pids()[0], signal.SIGKILL)
        for one in pages:
            one.join(timeout=240)
        assert statuses == ["succeeded", "succeeded"]
        assert len(project.worker_pids()) > 2
    assert project.ask("SELECT rows_folded, taken_by FROM django_pagestats_backfillrun") == [(30_000, "page")]
    assert project.summary() | {"page_views": 30_000, "pending": 0} == project.summary()
    project.manage("verify_aggregates")
    assert "pagestats.W" not in project.manage("check", "--database", "default")
