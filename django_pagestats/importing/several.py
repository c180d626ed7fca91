"""Several logs in one call: which files there are, and in which order they are imported."""

from __future__ import annotations

import contextlib
import glob
import os
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone

from django_pagestats.exceptions import ImportFailedError
from django_pagestats.importing.formats import Reading
from django_pagestats.importing.formats.recognising import Recogniser
from django_pagestats.importing.streams import LogStream

_LAST = datetime.max.replace(tzinfo=timezone.utc)


def matching(names: Iterable[str]) -> list[str]:
    """The files, each once; a name with *, ? or [ that is no file itself is a pattern. Raises ImportFailedError."""
    found: dict[str, None] = {}
    for name in names:
        if glob.has_magic(name) and not os.path.exists(name):
            files = sorted(filter(os.path.isfile, glob.glob(name)))
            if not files:
                raise ImportFailedError(f"No file matches {name}")
            found.update(dict.fromkeys(files))
        else:
            found[name] = None
    return list(found)


def in_order(logs: Sequence[str], reading: Reading) -> list[str]:
    """The logs by the times of their first lines, so that duplicates are found as in one log; unreadable ones last."""
    return sorted(logs, key=lambda log: _begins_at(log, reading))


def _begins_at(log: str, reading: Reading) -> datetime:
    with contextlib.suppress(OSError, ImportFailedError), open(log, "rb") as raw:
        recogniser = Recogniser(reading)
        for block in LogStream(raw, log).blocks():
            if block.is_piece:
                continue
            for line in block.lines.decode("latin-1").split("\n"):
                if (parts := recogniser.parts(line)) is not None:
                    return parts.at
            break
    return _LAST
