"""That page views of some time were imported, kept as a row: a number says what its visitors were."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django_pagestats.intake import Row
from django_pagestats.models import VisitorPolicy
from django_pagestats.sequences import sequence_told

#: an import's visitors: keyed hashes of address and agent with a permanent key, or a table's own keys
POLICY = "import"


class ImportedPolicy:
    """The row of one import: from its earliest page view to its latest."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._row: VisitorPolicy | None = None

    def cover(self, page_views: Sequence[Row]) -> None:
        """Make the row, or let it reach to these too; inside the transaction that stores them."""
        if not page_views:
            return
        times = [row.viewed_at for row in page_views]
        since, until = min(times), max(times)
        if self._row is None:
            self._row = self._made(since, until)
            return
        self._row.since, self._row.until = min(since, self._row.since), max(until, self._row.until or until)
        rows = VisitorPolicy.objects.using(self._using)
        rows.filter(pk=self._row.pk).update(since=self._row.since, until=self._row.until)

    def _made(self, since: datetime, until: datetime) -> VisitorPolicy:
        with sequence_told(self._using):
            return VisitorPolicy.objects.using(self._using).create(
                policy=POLICY, origin=VisitorPolicy.Origin.IMPORTED, since=since, until=until
            )
