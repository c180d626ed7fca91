"""Brings the vendored lists up to date: `make update-lists`. Users of the package do not run it.

The list of referrer spam is read from its repository, or from a clone of it that is named. It is public domain
(CC0 1.0); of which commit it is stands in the file's first lines.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

REPOSITORY = "https://github.com/matomo-org/referrer-spam-list"
TARGET = Path(__file__).resolve().parent.parent / "django_pagestats" / "headers" / "referrer_spam.txt"
#: a list with fewer hosts is broken, or another file
FEWEST_HOSTS = 1_000

HEADER = """\
# Hosts whose referrers only advertise: the referrer spam list of the Matomo community.
# {repository}, spammers.txt
# Version: commit {commit} of {date}
# Licence: public domain (CC0 1.0). Written by tools/update_lists.py: do not edit.
"""


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


def referrer_spam(repository: str) -> str:
    """The text of the vendored file, made of the newest commit of a repository or of a clone of it."""
    with tempfile.TemporaryDirectory() as folder:
        git("clone", "--quiet", "--bare", "--depth", "1", repository, folder)
        commit, date = git("-C", folder, "log", "-1", "--format=%H %cs").split()
        hosts = hosts_of(git("-C", folder, "show", "HEAD:spammers.txt"))
    return HEADER.format(repository=REPOSITORY, commit=commit, date=date) + "\n".join(hosts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repository", nargs="?", default=REPOSITORY, help="the list's repository, or a clone of it")
    text = referrer_spam(parser.parse_args().repository)
    TARGET.write_text(text, encoding="utf-8")
    print(f"{TARGET.name}: {text.count(chr(10)) - HEADER.count(chr(10))} hosts")


if __name__ == "__main__":
    main()
