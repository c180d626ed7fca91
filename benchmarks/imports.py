"""How many lines of a log are imported in a second of one core's time, for each format.

    python -m benchmarks.imports [--lines 200000] [--rounds 3] [--only combined,caddy]

Made-up logs of one site: a quarter of the lines are style sheets, the pages follow Zipf's law, there are some thousands
of visitors, and each referrer is either none, the site itself, or another. Each log is imported into an empty table of
page views, with the settings as they are by default: attributes, duplicates, robots. The time is the processor's of
this process, so that of a database server is not in it; the lines that are only read are measured beside it.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import random
import statistics
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")

START = datetime(2026, 11, 1, tzinfo=timezone.utc)
VERSIONS = range(90, 150)
REFERRERS = ("-", "https://www.example.org/", "https://www.example.org/blog/", "https://search.example/?q=x")


def log_in(name: str, lines: int) -> bytes:
    """A log in the format of one line of the tests' made-up ones, with everything in it that differs changed."""
    from tests.logs import ADDRESS, BEGINNINGS, FIREFOX, LINES

    rng = random.Random(1)
    template = LINES[name]
    made = [BEGINNINGS.get(name, "")]
    weights = list(itertools.accumulate(1 / rank for rank in range(1, 2_001)))
    for number in range(lines):
        at = START + timedelta(seconds=number / 5)
        rank = rng.choices(range(2_000), cum_weights=weights)[0]
        path = f"/static/a{rank % 50}.css" if rng.random() < 0.25 else f"/page/{rank}/"
        version = str(rng.choice(VERSIONS))
        line = template.format(path=path).replace("128.0", f"{version}.0")
        line = line.replace(ADDRESS, f"192.0.2.{rng.randrange(50)}").replace('"-"', f'"{rng.choice(REFERRERS)}"', 1)
        made.append(_at(line, at) + "\n")
    assert FIREFOX
    return "".join(made).encode()


def _at(line: str, at: datetime) -> str:
    """The line with another time, however it has it."""
    return (
        line.replace("28/Nov/2026:10:00:00", f"{at:%d/%b/%Y:%H:%M:%S}")
        .replace("28/Nov/2026:11:00:00", f"{at:%d/%b/%Y:%H:%M:%S}")
        .replace("2026-11-28T10:00:00", f"{at:%Y-%m-%dT%H:%M:%S}")
        .replace("2026-11-28 10:00:00", f"{at:%Y-%m-%d %H:%M:%S}")
        .replace("2026-11-28\t10:00:00", f"{at:%Y-%m-%d\t%H:%M:%S}")
        .replace("1795860000", str(int(at.timestamp())))
    )


def import_once(log: bytes, name: str) -> dict[str, float]:
    """Seconds of the processor's time: of reading alone, and of the whole import into an empty table."""
    from django_pagestats.importing import Reading, import_log
    from django_pagestats.importing.lines import LineReader
    from django_pagestats.models import ImportSource, PageView

    reading = Reading(time_zone=timezone.utc)
    reader = LineReader(b"secret", reading)
    began = time.process_time()
    for line in log.decode("latin-1").split("\n"):
        reader.page_view(line)
    read = time.process_time() - began
    PageView.objects.all().delete()
    ImportSource.objects.all().delete()
    began = time.process_time()
    summary = import_log(io.BytesIO(log), name=name, reading=reading)
    return {"read": read, "import": time.process_time() - began, "page views": float(summary.imported)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lines", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    django.setup()
    from django.core.management import call_command

    from tests.logs import LINES

    call_command("migrate", verbosity=0)
    only = [name for name in options.only.split(",") if name]
    names = [name for name in LINES if name in only or (not only and ":" not in name)]
    logs = {name: log_in(name, options.lines) for name in names}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name, log in logs.items():
            found[name].append(import_once(log, name))
    print(f"{options.lines:,} lines, medians of {options.rounds} rounds, lines a second of one core")
    print("| format | read | imported | page views |\n|---|---|---|---|")
    for name, rounds in found.items():
        rates = [options.lines / statistics.median(one[what] for one in rounds) for what in ("read", "import")]
        print(f"| {name} | {rates[0]:,.0f} | {rates[1]:,.0f} | {rounds[0]['page views']:,.0f} |")


if __name__ == "__main__":
    main()
