"""What an import tells of itself."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

#: So many bad lines or rows are shown; all are counted.
EXAMPLES = 5


class Skip(str, enum.Enum):
    """Why a line or row is no page view; in the order in which a line is asked."""

    MALFORMED = "malformed"  #: no line of the log's format, or longer than 128 KiB
    COMMENT = "comment"  #: a line about the log, as a W3C log has them
    METHOD = "method"  #: no GET, or no request at all
    STATUS = "status"  #: neither 200 to 299 nor 304
    INVALID_PATH = "invalid path"  #: no path, or one that cannot be stored
    STATIC_FILE = "static file"  #: by the extension of its path
    EXCLUDED_PATH = "excluded path"  #: PAGESTATS_EXCLUDE_PATHS
    OTHER_HOST = "other host"  #: not one of --host
    NO_PAGE = "no page"  #: a frame, or what a script asks for, by its headers; or no HTML
    PREFETCH = "fetched ahead"  #: by its headers
    GPC = "Global Privacy Control"  #: by its headers
    DNT = "Do Not Track"  #: by its headers
    ROBOT = "robot"  #: by its user agent, or for want of one
    NO_ADDRESS = "no address"  #: nothing tells the visitor from others
    REFERRER_SPAM = "referrer spam"  #: its referrer is on the list of those that only advertise
    DUPLICATE = "duplicate"  #: the same visitor was on the same path just before
    INVALID_SESSION_KEY = "invalid session key"  #: a row's only
    INVALID_TIME = "invalid time"  #: a row's only
    INVALID_ATTRIBUTE = "invalid attribute"  #: a row's only


class Progress(NamedTuple):
    """How far an import is: `done` of `total` (None: not known) compressed bytes or rows."""

    done: int
    total: int | None
    imported: int


OnProgress = Callable[[Progress], None]


@dataclass
class Summary:
    """What one import did; lines or rows that an earlier one has taken are not in the counts."""

    #: what the log is in, once that is known
    format: str = ""
    #: lines or rows that were read
    read: int = 0
    imported: int = 0
    skipped: Counter[Skip] = field(default_factory=Counter)
    #: what was wrong with the first bad ones, each with its line number or primary key
    examples: list[str] = field(default_factory=list)
    #: what the user should know besides; of an import that went on, first where that was
    notes: list[str] = field(default_factory=list)
    #: whether an earlier import had taken the beginning
    went_on: bool = False
    #: of several logs: why some could not be imported
    failures: list[str] = field(default_factory=list)

    def skip(self, reason: Skip, example: str | None = None) -> None:
        self.skipped[reason] += 1
        if example is not None and len(self.examples) < EXAMPLES:
            self.examples.append(example)

    def add(self, other: Summary, name: str) -> None:
        """Take in what the import of another log did. Where each went on is of no interest with many."""
        self.read += other.read
        self.imported += other.imported
        self.skipped += other.skipped
        self.examples += [f"{name}: {example}" for example in other.examples[: EXAMPLES - len(self.examples)]]
        self.notes += [f"{name}: {note}" for note in other.notes[other.went_on :]]
        known = self.format.split("; ") if self.format else []
        if other.format and other.format not in known:
            self.format = "; ".join([*known, other.format])
