"""A real gunicorn and a real uvicorn under load, with and without recording, in turn.

    PAGESTATS_DB=postgresql PAGESTATS_DB_NAME=pagestats_bench python -m benchmarks.served [--rounds 3] [--seconds 5]

Four visitors load a page of a few bytes one request after the other, each on a connection of its own; they, the server
and the database share the machine, so read the ratios. After each round all page views that were answered must be
stored, once the server has been told to end: else this says so and exits with 1.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.served_settings"

import django
from django.core.management import call_command

from benchmarks.data import make_database
from testproject.load import Load, Server, gunicorn, uvicorn

WITHOUT, DIRECT, BUFFERED = "without", "direct", "buffered"
ENVIRONMENTS = {
    WITHOUT: {"PAGESTATS_RECORDS": "0"},
    DIRECT: {"PAGESTATS_BUFFER": "0"},
    BUFFERED: {"PAGESTATS_BUFFER": "1"},
}
SERVERS = {
    "gunicorn, 2 workers": (gunicorn("--workers", "2"), "/page/a/", {"PAGESTATS_CONN_MAX_AGE": "600"}),
    "gunicorn, 2 workers of 4 threads": (
        gunicorn("--workers", "2", "--worker-class", "gthread", "--threads", "4"),
        "/page/a/",
        {"PAGESTATS_CONN_MAX_AGE": "600"},
    ),
    # a connection that is kept leaks under ASGI: see docs/recording.md
    "uvicorn, async view": (uvicorn(), "/async/a/", {"PAGESTATS_CONN_MAX_AGE": "0"}),
}


def measure(server: str, way: str, seconds: float, folder: Path) -> tuple[float, int]:
    """Requests a second, and how many page views are missing, or too many."""
    from django_pagestats.models import PageView

    command, page, more = SERVERS[server]
    before = PageView.objects.count()
    with Server(command, {**os.environ, **ENVIRONMENTS[way], **more}, folder / "log") as running:
        warm = Load(running.port, [page])
        warm.run(seconds=0.5)
        load = Load(running.port, [page])
        rate = load.run(seconds=seconds)
        running.stop()
    answered = 0 if way == WITHOUT else sum(load.answered.values()) + sum(warm.answered.values())
    if load.failed or warm.failed:
        sys.stderr.write(f"{server}, {way}: {(load.failed + warm.failed)[:3]}\n")
    return rate, PageView.objects.count() - before - answered


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    django.setup()
    make_database()
    call_command("migrate", verbosity=0)
    call_command("flush", verbosity=0, interactive=False)
    rates: dict[tuple[str, str], list[float]] = {(server, way): [] for server in SERVERS for way in ENVIRONMENTS}
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            for server, way in rates if number % 2 else reversed(rates):
                rate, difference = measure(server, way, options.seconds, Path(folder))
                rates[server, way].append(rate)
                wrong += abs(difference)
    print("| server | requests/s without | direct | buffered | direct / without | buffered / without |")
    print("|---|---|---|---|---|---|")
    for server in SERVERS:
        of = {way: rates[server, way] for way in ENVIRONMENTS}
        ratios = {
            way: statistics.median(mine / bare for mine, bare in zip(of[way], of[WITHOUT], strict=True))
            for way in (DIRECT, BUFFERED)
        }
        shown = " | ".join(f"{statistics.median(of[way]):.0f}" for way in ENVIRONMENTS)
        print(f"| {server} | {shown} | {ratios[DIRECT]:.2f} | {ratios[BUFFERED]:.2f} |")
    print(f"\npage views that are missing or too many: {wrong}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
