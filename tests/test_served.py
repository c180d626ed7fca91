"""Real servers under load: each page that was answered is one page view, also after a SIGTERM."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from django.db.models import Count

from django_pagestats.models import PageView
from testproject.load import Load, Server, gunicorn, uvicorn
from tests.cluster import wait_until
from tests.recorders import site_environment

pytestmark = [pytest.mark.once, pytest.mark.in_turn(1), pytest.mark.django_db(transaction=True)]

PAGES = [f"/page/{number}/" for number in range(5)] + ["/async/a/", "/hand/a/"]
REQUESTS = 50
#: never by itself within the test: what is stored was written as the process ended
NEVER = "600"


def stored() -> Counter[str]:
    return Counter(dict(PageView.objects.order_by().values_list("path").annotate(Count("pk"))))


def serve(command: list[str], folder: Path, **environment: str) -> Server:
    return Server(command, site_environment(**environment), folder / "server.log")


GUNICORN = {
    "sync": gunicorn("--workers", "3"),
    "preload": gunicorn("--workers", "3", "--preload"),
    "threads": gunicorn("--workers", "2", "--worker-class", "gthread", "--threads", "4"),
    "recycled": gunicorn("--workers", "2", "--max-requests", "70"),
}
UVICORN = {"one": uvicorn(), "workers": uvicorn("--workers", "2")}


@pytest.mark.parametrize("is_buffered", [False, True], ids=["direct", "buffered"])
@pytest.mark.parametrize("how", GUNICORN)
def test_gunicorn(how: str, is_buffered: bool, tmp_path: Path) -> None:
    environment = {"PAGESTATS_BUFFER": str(int(is_buffered)), "PAGESTATS_BUFFER_SECONDS": NEVER}
    with serve(GUNICORN[how], tmp_path, **environment) as server:
        load = Load(server.port, PAGES, keeps_alive=False)
        for _ in range(20):  # on a busy machine one worker may take all at first
            load.run(requests=REQUESTS)
            if len(load.bodies) > 1:
                break
        before = stored()
        server.stop()
    assert how == "recycled" or not load.failed
    assert len(load.bodies) > 1, "only one worker took part"
    assert stored() == load.answered, server.log.read_text()
    assert how == "recycled" or before == (Counter() if is_buffered else load.answered)


@pytest.mark.parametrize("is_buffered", [False, True], ids=["direct", "buffered"])
@pytest.mark.parametrize("how", UVICORN)
def test_uvicorn(how: str, is_buffered: bool, tmp_path: Path) -> None:
    environment = {"PAGESTATS_BUFFER": str(int(is_buffered)), "PAGESTATS_BUFFER_SECONDS": NEVER}
    with serve(UVICORN[how], tmp_path, PAGESTATS_CONN_MAX_AGE="0", **environment) as server:
        load = Load(server.port, PAGES, keeps_alive=False)
        load.run(requests=REQUESTS)
        before = stored()
        server.stop()
    assert not load.failed
    assert stored() == load.answered, server.log.read_text()
    assert before == (Counter() if is_buffered else load.answered)


def test_without_a_signal_the_thread_writes(tmp_path: Path) -> None:
    command = gunicorn("--workers", "2")
    with serve(command, tmp_path, PAGESTATS_BUFFER="1", PAGESTATS_BUFFER_SECONDS="0.2") as server:
        load = Load(server.port, PAGES)
        load.run(requests=REQUESTS)
        wait_until(lambda: stored() == load.answered, "each page view is stored")


def test_stopped_in_the_middle(tmp_path: Path) -> None:
    """What was answered is stored, whatever became of the rest."""
    import threading

    with serve(gunicorn("--workers", "2"), tmp_path, PAGESTATS_BUFFER="1", PAGESTATS_BUFFER_SECONDS=NEVER) as server:
        load = Load(server.port, PAGES[:5])
        visitors = threading.Thread(target=load.run, kwargs={"seconds": 3})
        visitors.start()
        time.sleep(1)
        server.stop()
        visitors.join()
    found = stored()
    assert sum(found.values()) >= sum(load.answered.values()) > 0
    # one that was on its way to each of the visitors may be counted, and not have come
    assert sum(found.values()) - sum(load.answered.values()) <= load.visitors
