"""The page views that rows of days count already, and rows of all time not yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat

from pyroaring import BitMap

from django_pagestats.buckets import Dimension
from django_pagestats.dimensions import of_generation
from django_pagestats.ids import IdCache, known_subject_ids, known_visitor_ids
from django_pagestats.models import Generation, PageView
from django_pagestats.tally import SITE_SUBJECT, Level
from django_pagestats.verify.counting import PORTION_ROWS
from django_pagestats.verify.groups import Entries, Entry
from django_pagestats.verify.stored import StoredRow
from django_pagestats.verify.values import ATTRIBUTES_TEXT, NamedValues


class Gap:
    """The page views of one gap, counted at one level for some subjects at a time."""

    def __init__(self, using: str, generation: Generation, level: Level) -> None:
        self.using = using
        self.after, self.upto = generation.all_cursor, generation.cursor
        self.level = level
        self.subjects, self.visitors = IdCache(100_000), IdCache(100_000)
        dimensions = of_generation(generation.dimensions)
        self.values = NamedValues(using, [it for it in dimensions if it.id == level.dimension])

    def counted(self, low: int | None, high: int | None) -> Entries:
        """What the page views of the subjects `low <= subject < high` add up to; None: no bound.

        Those without a row of their path or visitor are told of where days are compared.
        """
        entries: Entries = {}
        is_site = self.level.dimension == Dimension.SITE
        for subject, visitor in self._page_views():
            if subject is None or (low is not None and subject < low) or (high is not None and subject >= high):
                continue
            entry = entries.get(subject)
            if entry is None:
                entry = entries[subject] = Entry(repeats=BitMap() if is_site else None)
            entry.add(visitor)
        return entries

    def _page_views(self) -> Iterator[tuple[int | None, int | None]]:
        """The subject and the visitor of each, None where they have no row; nothing of one that has no value."""
        after, using = self.after, self.using
        texts = (ATTRIBUTES_TEXT,) if self.values.dimensions else ()
        while after < self.upto:
            following = PageView.objects.using(using).filter(pk__gt=after, pk__lte=self.upto).order_by("pk")
            rows = list(following.values_list("pk", "path", "session_key", *texts)[:PORTION_ROWS])
            if not rows:
                return
            _, paths, keys, *attributes = zip(*rows, strict=True)
            known = self.visitors.resolve(keys, lambda missing: known_visitor_ids(using, missing))
            yield from self._counted_for(paths, list(map(known.get, keys)), *attributes)
            after = rows[-1][0]

    def _counted_for(
        self, paths: Sequence[str], visitors: Sequence[int | None], texts: Sequence[str | None] = ()
    ) -> Iterator[tuple[int | None, int | None]]:
        if self.level.dimension == Dimension.SITE:
            yield from zip(repeat(SITE_SUBJECT), visitors)
        elif self.level.dimension == Dimension.PAGE:
            subjects = self.subjects.resolve(paths, lambda missing: known_subject_ids(self.using, missing))
            yield from zip(map(subjects.get, paths), visitors, strict=True)
        else:
            for keys, targets in self.values.columns(paths, texts):
                for key, visitor in zip(keys, visitors, strict=True):
                    yield from ((subject, visitor) for _, subject in targets.get(key, ()) if subject > 0)


def with_gap(stored: Iterable[StoredRow], bucket: int, gap: Entries) -> Iterator[StoredRow]:
    """Rows of all time, under this number, as they would be without a gap; those with a damaged set as they are."""
    left = dict(gap)
    for row in stored:
        entry = left.pop(row.subject, None)
        members = None if entry is None else row.visitor_set
        if entry is None or members is None:
            yield row
            continue
        both = Entry(row.page_views, members.copy(), repeats=row.repeats)
        both.unite(entry)
        # a wrong number of visitors stays as wrong as it is, and a damaged repeat set as damaged
        visitors = row.visitors + len(both.visitors) - len(members)
        repeats = row.raw_repeats if both.repeats is None else _stored_repeats(both.repeats)
        yield StoredRow(row.bucket, row.subject, both.page_views, visitors, both.visitors.serialize(), repeats)
    for subject, entry in left.items():
        repeats = _stored_repeats(entry.repeats)
        yield StoredRow(bucket, subject, entry.page_views, len(entry.visitors), entry.visitors.serialize(), repeats)


def _stored_repeats(repeats: BitMap | None) -> bytes | None:
    return repeats.serialize() if repeats else None
