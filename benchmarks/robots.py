"""How well, and how fast, robots are told from people by their user agents: one Markdown table of several ways.

    python -m benchmarks.robots --robots FILE|URL .. --people FILE|URL ..

The agents are those of public test suites, which are read where they are, and are no part of this package; the YAML of
https://github.com/matomo-org/device-detector/tree/HEAD/Tests/fixtures (of its people only those in a browser are taken,
since apps ask for no pages) and of https://github.com/omrilotan/isbot/tree/HEAD/fixtures. `--modern` takes people's
agents of today's browsers only. `pip install crawlerdetect` adds the way of before.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import statistics
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import django

Answer = Callable[[str], object]

#: as both suites write one agent: `  user_agent: ..` of an entry with its facts, or `  - ..` of a list
ENTRY = re.compile(r"^\s*user_agent: (.+?)\s*$", re.MULTILINE)
ITEM = re.compile(r"^  - (.+?)\s*$", re.MULTILINE)
#: said of an entry whose client is a browser, and not an app
IN_A_BROWSER = re.compile(r"^  client:\n    type: browser$", re.MULTILINE)
VERSION = re.compile(r"(Chrome|Firefox|Version)/(\d+)")
#: browsers of the last years
SINCE = {"Chrome": 90, "Firefox": 90, "Version": 15}
LONGEST = 512
TIMED = 400
#: what makes patterns go back and forth
PIECES = (".", "a", "1.", "a.", "@a", "-a", "; x", " a/1.1", "bo", "(", "\\", " ", "%(", "a 1.1.1")
BEGINNINGS = ("", "Mozilla/5.0 ", "Mozilla/5.0 (compatible;", "Mozilla/5.0 (Linux; Android 1;")


def text_of(place: str) -> str:
    if not place.startswith("https://"):
        return Path(place).read_text(encoding="utf-8")
    with urllib.request.urlopen(place, timeout=60) as answer:
        return str(answer.read().decode())


def agents_of(text: str, *, only_browsers: bool) -> list[str]:
    """Without the quotes of YAML; each once."""
    if ENTRY.search(text):
        entries = [entry for entry in text.split("\n-\n") if not only_browsers or IN_A_BROWSER.search(entry)]
        found = [match[1] for entry in entries if (match := ENTRY.search(entry))]
    else:
        found = ITEM.findall(text)
    return list(dict.fromkeys(agent[1:-1] if agent[0] in "\"'" and agent[-1] == agent[0] else agent for agent in found))


def is_modern(agent: str) -> bool:
    version = VERSION.search(agent)
    return version is not None and int(version[2]) >= SINCE[version[1]]


def ways() -> dict[str, Answer]:
    """Each anew, so that nothing is remembered of the agents before."""
    from is_bot import Bots

    from django_pagestats.headers import robots

    found: dict[str, Answer] = {
        "is-bot alone": Bots().is_bot,
        "how it is built": robots.is_built_as_robots,
        "built, then is-bot, without what is remembered": robots._is_robot.__wrapped__,
    }
    try:
        detector = importlib.import_module("crawlerdetect").CrawlerDetect
    except ImportError:
        return found
    return {"crawlerdetect": lambda agent: detector().isCrawler(agent), **found}


def microseconds(answer: Answer, agents: list[str]) -> float:
    took = []
    for agent in agents:
        started = time.perf_counter()
        answer(agent)
        took.append((time.perf_counter() - started) * 1e6)
    return statistics.fmean(took)


def worst(answer: Answer) -> float:
    """The longest that any hostile agent takes, in milliseconds; of three tries of it the shortest counts."""
    hostile = [(beginning + piece * LONGEST)[:LONGEST] for beginning in BEGINNINGS for piece in PIECES]
    return max(min(microseconds(answer, [agent]) for _ in range(3)) for agent in hostile) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robots", nargs="+", default=[], metavar="FILE|URL")
    parser.add_argument("--people", nargs="+", default=[], metavar="FILE|URL")
    parser.add_argument("--modern", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    django.setup()
    suites = [(place, True, agents_of(text_of(place), only_browsers=False)) for place in options.robots]
    suites += [(place, False, agents_of(text_of(place), only_browsers=True)) for place in options.people]
    if options.modern:
        suites = [(place, are, agents if are else list(filter(is_modern, agents))) for place, are, agents in suites]
    heads = [
        f"{Path(place).name}: {'robots found' if are else 'people taken for robots'} of {len(agents):,}"
        for place, are, agents in suites
    ]
    print("|", *(f"{head} |" for head in ("", *heads, "a person's, new, µs", "the worst, ms")))
    print("|" + "---|" * (len(heads) + 3))
    people = [agent for _, are, agents in suites if not are for agent in agents]
    timed = people[:: max(1, len(people) // TIMED)]
    for name, answer in ways().items():
        answer("Mozilla/5.0 (warms up)")
        counts = [sum(bool(answer(agent)) for agent in agents) for _, _, agents in suites]
        times = f"{microseconds(answer, timed):,.0f}" if timed else ""
        print(f"| {name} |", *(f"{count:,} |" for count in counts), f"{times} |", f"{worst(answer):.2f} |", flush=True)


if __name__ == "__main__":
    main()
