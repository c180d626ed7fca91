"""Brings the vendored lists up to date: `make update-lists`. Users of the package do not run it.

Each is read from its repository, or from a clone of it that is named. Both are public domain (CC0 1.0); of which commit
they are stands in the files' first lines.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

REPOSITORY = "https://github.com/matomo-org/referrer-spam-list"
CHANNELS_REPOSITORY = "https://github.com/matomo-org/searchengine-and-social-list"
HEADERS = Path(__file__).resolve().parent.parent / "django_pagestats" / "headers"
TARGET, CHANNELS_TARGET = HEADERS / "referrer_spam.txt", HEADERS / "channels.txt"
#: a list with fewer hosts is broken, or another file
FEWEST_HOSTS = 1_000
FEWEST_OF_CHANNEL = {"ai": 15, "social": 150, "search": 400}
#: the first one that has a host is the one that it belongs to
FILES = {"ai": "AIAssistants.yml", "social": "Socials.yml", "search": "SearchEngines.yml"}

HEADER = """\
# Hosts whose referrers only advertise: the referrer spam list of the Matomo community.
# {repository}, spammers.txt
# Version: commit {commit} of {date}
# Licence: public domain (CC0 1.0). Written by tools/update_lists.py: do not edit.
"""
CHANNELS_HEADER = """\
# Hosts and apps of AI assistants, social networks and search engines: a list of the Matomo community.
# {repository}, AIAssistants.yml, Socials.yml, SearchEngines.yml
# Version: commit {commit} of {date}
# Licence: public domain (CC0 1.0). Written by tools/update_lists.py: do not edit.
"""

#: of these files: the name of a site, a key below it, and an item of a list
NAME, KEY, ITEM = re.compile(r"\S.*:\s*"), re.compile(r"\s+(\w+):.*"), re.compile(r"""\s+-\s+['"]?([^'"\s]+)['"]?\s*""")
#: a host, or an app's id; {} is any country, at one end
HOST = re.compile(r"(?:\{\}\.)?[^/:#{}\s.]+(?:\.[^/:#{}\s.]+)*(?:\.\{\})?")


def git(*words: str) -> str:
    done = subprocess.run(["git", *words], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def hosts_of(text: str) -> list[str]:
    """The hosts in lower case, each once, in order; raises ValueError for what cannot be the list."""
    hosts = sorted({line.strip().lower() for line in text.splitlines()} - {""})
    if wrong := [host for host in hosts if "." not in host or set(host) & set("/:# ")]:
        raise ValueError(f"no host: {wrong[0]!r}")
    if len(hosts) < FEWEST_HOSTS:
        raise ValueError(f"{len(hosts)} hosts: fewer than {FEWEST_HOSTS} are no list")
    return hosts


def urls_of(text: str) -> Iterator[str]:
    """What stands below the name of a site, or below its `urls`, in lower case and without `www.`."""
    key = ""
    for line in text.splitlines():
        if NAME.fullmatch(line):
            key = "urls"
        elif found := KEY.fullmatch(line):
            key = found[1]
        elif (found := ITEM.fullmatch(line)) and key == "urls":
            yield found[1].lower().removeprefix("www.")


def channel_lines(texts: dict[str, str]) -> list[str]:
    """channel -> the text of its file: "channel host", each host once; raises ValueError for what is no such file."""
    channel_of: dict[str, str] = {}
    for channel, text in texts.items():
        # a part of a site, as "x.com/i/grok", cannot be told by a host
        hosts = {url for url in urls_of(text) if HOST.fullmatch(url) and "." in url}
        if len(hosts) < FEWEST_OF_CHANNEL[channel]:
            raise ValueError(f"{len(hosts)} hosts of {channel}: fewer than {FEWEST_OF_CHANNEL[channel]} are no list")
        for host in hosts:
            channel_of.setdefault(host, channel)
    return sorted(f"{channel} {host}" for host, channel in channel_of.items())


def newest(repository: str, header: str, lines: Callable[[Callable[[str], str]], list[str]]) -> str:
    """The text of a vendored file, made of the newest commit of a repository or of a clone of it."""
    with tempfile.TemporaryDirectory() as folder:
        git("clone", "--quiet", "--bare", "--depth", "1", repository, folder)
        commit, date = git("-C", folder, "log", "-1", "--format=%H %cs").split()
        found = lines(lambda name: git("-C", folder, "show", f"HEAD:{name}"))
    return header.format(repository=repository, commit=commit, date=date) + "\n".join(found) + "\n"


def referrer_spam(repository: str) -> str:
    return newest(repository, HEADER, lambda file: hosts_of(file("spammers.txt")))


def channels(repository: str) -> str:
    def lines(file: Callable[[str], str]) -> list[str]:
        return channel_lines({channel: file(name) for channel, name in FILES.items()})

    return newest(repository, CHANNELS_HEADER, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    where = "the list's repository, or a clone of it"
    parser.add_argument("--referrer-spam", default=REPOSITORY, help=where)
    parser.add_argument("--channels", default=CHANNELS_REPOSITORY, help=where)
    options = parser.parse_args()
    texts = {TARGET: referrer_spam(options.referrer_spam), CHANNELS_TARGET: channels(options.channels)}
    for target, text in texts.items():  # both are had before one is written
        target.write_text(text, encoding="utf-8")
        print(f"{target.name}: {sum(not line.startswith('#') for line in text.splitlines())} hosts")


if __name__ == "__main__":
    main()
