"""The page views that rows of days count already, and rows of all time not yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django_pagestats.buckets import Dimension
from django_pagestats.ids import IdCache, known_subject_ids, known_visitor_ids
from django_pagestats.models import Generation, PageView
from django_pagestats.tally import SITE_SUBJECT, Level
from django_pagestats.verify.counting import PORTION_ROWS
from django_pagestats.verify.groups import Entries, Entry
from django_pagestats.verify.stored import StoredRow


class Gap:
    """The page views of one gap, counted for some subjects at a time."""

    def __init__(self, using: str, generation: Generation) -> None:
        self.using = using
        self.after, self.upto = generation.all_cursor, generation.cursor
        self.subjects, self.visitors = IdCache(100_000), IdCache(100_000)

    def counted(self, level: Level, low: int | None, high: int | None) -> Entries:
        """What the page views of the subjects `low <= subject < high` add up to; None: no bound.

        Those without a row of their path or visitor are told of where days are compared.
        """
        entries: Entries = {}
        for subject, visitor in self._page_views():
            if level.dimension == Dimension.SITE:
                subject = SITE_SUBJECT
            if subject is None or (low is not None and subject < low) or (high is not None and subject >= high):
                continue
            entry = entries.get(subject)
            if entry is None:
                entry = entries[subject] = Entry()
            entry.add(visitor)
        return entries

    def _page_views(self) -> Iterator[tuple[int | None, int | None]]:
        """The subject and the visitor of each; None where they have no row."""
        after, using = self.after, self.using
        while after < self.upto:
            following = PageView.objects.using(using).filter(pk__gt=after, pk__lte=self.upto).order_by("pk")
            rows = list(following.values_list("pk", "path", "session_key")[:PORTION_ROWS])
            if not rows:
                return
            _, paths, keys = zip(*rows, strict=True)
            subjects = self.subjects.resolve(paths, lambda missing: known_subject_ids(using, missing))
            visitors = self.visitors.resolve(keys, lambda missing: known_visitor_ids(using, missing))
            yield from zip(map(subjects.get, paths), map(visitors.get, keys), strict=True)
            after = rows[-1][0]


def with_gap(stored: Iterable[StoredRow], bucket: int, gap: Entries) -> Iterator[StoredRow]:
    """Rows of all time, under this number, as they would be without a gap; those with a damaged set as they are."""
    left = dict(gap)
    for row in stored:
        entry = left.pop(row.subject, None)
        members = None if entry is None else row.visitor_set
        if entry is None or members is None:
            yield row
            continue
        united = members | entry.visitors
        # a wrong number of visitors stays as wrong as it is
        visitors = row.visitors + len(united) - len(members)
        yield StoredRow(row.bucket, row.subject, row.page_views + entry.page_views, visitors, united.serialize())
    for subject, entry in left.items():
        yield StoredRow(bucket, subject, entry.page_views, len(entry.visitors), entry.visitors.serialize())
