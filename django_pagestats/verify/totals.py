"""What rows of days add up to, subject by subject, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pyroaring import BitMap

from django_pagestats.tally import SITE_SUBJECT
from django_pagestats.verify.groups import Entry
from django_pagestats.verify.stored import StoredRow

#: page views and visitors after which lists are made sets, and the memory is looked at
MOST_ADDED = 250_000
#: what the sets may take, those of pages and of named dimensions together
MOST_BYTES = 50_000_000
#: of one subject without its visitors, and of one container of its set
SUBJECT_BYTES, CONTAINER_BYTES = 400, 64


class Room:
    """What several totals may take together: where that is too much, the largest gives up half of its subjects."""

    def __init__(self) -> None:
        self._sizes: dict[Totals, int] = {}

    def take(self, totals: Totals, size: int) -> None:
        self._sizes[totals] = size
        while sum(self._sizes.values()) > MOST_BYTES:
            largest = max((it for it in self._sizes if it.can_give_up), key=self._sizes.__getitem__, default=None)
            if largest is None:
                return
            self._sizes[largest] = largest.give_up_half()

    def leave(self, totals: Totals) -> None:
        """It is done with: the others may take what it took."""
        self._sizes.pop(totals, None)


class Totals:
    """The page views and visitors of each subject `low <= subject < high`, None: without bound.

    When they take too much memory the upper half of the subjects is given up, and `high` is lower from then on: ask for
    `entries` before you look at it.
    """

    def __init__(self, low: int | None = None, *, room: Room | None = None) -> None:
        self.low = low
        self.high: int | None = None
        self.room = room or Room()
        self._entries: dict[int, Entry] = {}
        #: subject -> the visitor of each page view that is not yet in its entry
        self._loose: dict[int, list[int]] = {}
        #: page views and visitors since the memory was looked at
        self._added = 0

    def add_counted(self, rows: Iterable[tuple[int, list[int]]]) -> None:
        """Rows that were found equal to what was counted: subject, and the visitor of each page view.

        The lists are the receiver's from then on.
        """
        loose, count = self._loose, 0
        for subject, seen in rows:
            count += len(seen)
            if subject in loose:
                loose[subject] += seen
            else:
                loose[subject] = seen
        self._settle_after(count)

    def add_stored(self, row: StoredRow) -> None:
        """A row as it is stored; of a damaged set only the page views."""
        if self._has(row.subject):
            repeats = row.repeats if row.subject == SITE_SUBJECT else None
            self._add_entry(row.subject, Entry(row.page_views, row.visitor_set, repeats=repeats))

    def add(self, other: Totals) -> None:
        """What was added up elsewhere, of other rows of the same subjects: those that both have kept stay."""
        theirs = other.entries()
        if other.high is not None and (self.high is None or other.high < self.high):
            self.high = other.high
            self._entries = {subject: entry for subject, entry in self.entries().items() if self._has(subject)}
        for subject, added in theirs.items():
            if self._has(subject):
                self._add_entry(subject, added)

    def _add_entry(self, subject: int, added: Entry) -> None:
        entry = self._entry(subject)
        before = len(entry.visitors)
        entry.unite(added)
        self._settle_after(1 + len(entry.visitors) - before)

    def entries(self) -> dict[int, Entry]:
        self._settle()
        return self._entries

    def bounds(self) -> dict[str, int]:
        """The range of subjects as a queryset's condition."""
        bounds = {"subject__gte": self.low, "subject__lt": self.high}
        return {name: subject for name, subject in bounds.items() if subject is not None}

    def _has(self, subject: int) -> bool:
        return (self.low is None or subject >= self.low) and (self.high is None or subject < self.high)

    def _entry(self, subject: int) -> Entry:
        entry = self._entries.get(subject)
        if entry is None:
            entry = self._entries[subject] = Entry(repeats=BitMap() if subject == SITE_SUBJECT else None)
        return entry

    def _settle_after(self, added: int) -> None:
        self._added += added
        if self._added > MOST_ADDED:
            self._settle()

    def _settle(self) -> None:
        for subject, seen in self._loose.items():
            if self._has(subject):
                entry = self._entry(subject)
                entry.page_views += len(seen)
                entry.visitors |= BitMap(seen)
        self._loose, self._added = {}, 0
        self.room.take(self, sum(self._sizes()))

    @property
    def can_give_up(self) -> bool:
        return len(self._entries) > 1

    def give_up_half(self) -> int:
        """Give up the upper half of the subjects; the bytes that the others take."""
        middle = sorted(self._entries)[len(self._entries) // 2]
        self.high = middle
        self._entries = {subject: entry for subject, entry in self._entries.items() if subject < middle}
        return sum(self._sizes())

    def _sizes(self) -> Iterator[int]:
        for entry in self._entries.values():
            shape = entry.visitors.get_statistics()
            size = (
                shape["n_bytes_array_containers"] + shape["n_bytes_bitset_containers"] + shape["n_bytes_run_containers"]
            )
            yield SUBJECT_BYTES + CONTAINER_BYTES * shape["n_containers"] + size
