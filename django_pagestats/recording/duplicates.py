"""The same visitor on the same path twice within a short time: one page view."""

from __future__ import annotations

import hashlib

from django_pagestats.conf import conf
from django_pagestats.recording.memory import memory

#: PAGESTATS_RECORD_WITH = "both": so long a beacon's request belongs to the page view that the middleware counted
MARK_SECONDS = 60.0
#: of one client on one page within that time
MOST_MARKS = 4


def is_first(session_key: str, path: str) -> bool:
    """Whether this visitor was not on this path within PAGESTATS_DUPLICATE_SECONDS; from now on she was.

    The time runs from the first view: who reloads a page every minute is counted every half an hour.
    """
    seconds = conf.DUPLICATE_SECONDS
    return seconds <= 0 or memory().add(_key("view", session_key, path), seconds)


def forget(session_key: str, path: str) -> None:
    """The view could not be stored: the next one is the first."""
    if conf.DUPLICATE_SECONDS > 0:
        memory().delete(_key("view", session_key, path))


def mark(client: str, path: str) -> None:
    """The middleware has counted this view: the beacon of the same page need not.

    `client` is who asked, by what page and beacon have in common; the session key may change between the two.
    """
    for number in range(MOST_MARKS):  # a mark for each view, where each is counted
        if memory().add(_key(f"mark{number}", client, path), MARK_SECONDS):
            return


def take_mark(client: str, path: str) -> bool:
    """Whether the middleware has counted the view that a beacon tells of; true once for each."""
    return any(memory().delete(_key(f"mark{number}", client, path)) for number in range(MOST_MARKS))


def _key(kind: str, session_key: str, path: str) -> str:
    digest = hashlib.blake2b(f"{session_key}\0{path}".encode(), digest_size=16).hexdigest()
    return f"{kind}:{digest}"
