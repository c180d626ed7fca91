"""Importing the page views of another model's table, by its primary key: what is new since the last time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError
from django.db import connections, models, router
from django.db.models import Count, Q

from django_pagestats import intake
from django_pagestats.conf import conf
from django_pagestats.exceptions import ImportFailedError
from django_pagestats.importing import positions
from django_pagestats.importing.duplicates import Duplicates
from django_pagestats.importing.outcomes import OnProgress, Progress, Skip, Summary
from django_pagestats.importing.policies import ImportedPolicy
from django_pagestats.importing.rows import Fields, FieldsReader, RowReader, check_model
from django_pagestats.keys import key_column
from django_pagestats.merging.charsets import refuse_garbling
from django_pagestats.models import ImportSource, PageView

CHUNK_ROWS = 5_000


class _Place(NamedTuple):
    """An import's position in a table: the last primary key, as text, and how many rows there were up to it."""

    pk: str
    rows: int


def import_model(
    model: type[models.Model],
    *,
    fields: Fields,
    attributes: Mapping[str, str] | None = None,
    using: str | None = None,
    source_using: str | None = None,
    chunk_rows: int = CHUNK_ROWS,
    on_progress: OnProgress | None = None,
) -> Summary:
    """Store a page view for each row of the model's default manager after the last primary key of an earlier import.

    `attributes`: the names of attributes -> the fields that have their values; null and empty are none. Session keys
    are taken as they are. Rows with a bad value are counted and skipped.
    Otherwise as `import_rows`. Raises ImportFailedError for a model or field that will not do.
    """
    return import_rows(
        FieldsReader(model, fields, attributes or {}),
        using=using,
        source_using=source_using,
        chunk_rows=chunk_rows,
        on_progress=on_progress,
    )


def import_rows(
    reader: RowReader,
    *,
    using: str | None = None,
    source_using: str | None = None,
    chunk_rows: int = CHUNK_ROWS,
    on_progress: OnProgress | None = None,
) -> Summary:
    """Store the page views of a table's rows after the last primary key of an earlier import.

    Rows are read in the order of the primary key, `chunk_rows` at a time; each chunk's page views and the new position
    are stored in one durable transaction on `using`, so it may be stopped and run again. Rows that appear at or below
    the position afterwards are not imported: their number is in the summary's notes.
    Raises ImportFailedError if no row at all is a page view, which then are all read again the next time; and the
    databases' errors.
    """
    model = reader.model
    check_model(model)
    source = connections[source_using or router.db_for_read(model)]
    if source.vendor == "mysql":
        refuse_garbling(source)
    table = _Table(reader, using or router.db_for_write(PageView), source.alias)
    table.find_place()
    while table.store_chunk(chunk_rows):
        if on_progress is not None:
            on_progress(Progress(table.summary.read, table.total, table.summary.imported))
    table.check_any_usable()
    return table.summary


class _Table:
    """One import of one table."""

    def __init__(self, reader: RowReader, using: str, source_using: str) -> None:
        model = reader.model
        self.summary = Summary()
        #: the rows to read, as counted at the start
        self.total = 0
        self._label = model._meta.label
        self._reader = reader
        self._using = using
        self._source_using = source_using
        self._policy = ImportedPolicy(using)
        self._duplicates = Duplicates(conf.DUPLICATE_SECONDS, using)
        self._pk = key_column(model)
        self._rows = model._default_manager.using(source_using).order_by("pk")
        self._key = _key(self._label, reader.key, source_using)

    def find_place(self) -> None:
        """Go to where an earlier import of this table ended."""
        found = ImportSource.objects.using(self._using).filter(key=self._key).first()
        self._source = found or ImportSource(key=self._key, name=self._label[:255])
        if found is None:
            self._place = None
            self.total = self._rows.count()
            return
        self._place = _Place(*json.loads(found.position))
        last = self._pk.to_python(self._place.pk)
        counts = self._rows.order_by().aggregate(rows=Count("pk"), before=Count("pk", filter=Q(pk__lte=last)))
        self.total = counts["rows"] - counts["before"]
        self.summary.went_on = True
        self.summary.notes.append(f"An earlier import ended at primary key {self._place.pk}: went on from there.")
        if (late := counts["before"] - self._place.rows) > 0:
            self.summary.notes.append(
                f"At least {late} rows appeared at or below that key since: they were not imported. It is so where "
                "keys do not grow (UUIDs), or where a transaction was open during the import."
            )

    def store_chunk(self, rows: int) -> bool:
        """Store the next chunk; False if there was nothing left."""
        following = self._rows
        if self._place is not None:
            following = following.filter(pk__gt=self._pk.to_python(self._place.pk))
        # Not values_list: Django 5.2.0 gives a field that is named twice only once.
        chunk = list(following.values("pk", *self._reader.columns)[:rows])
        if not chunk:
            return False
        page_views = self._page_views(chunk)
        place = _Place(self._key_text(chunk[-1]["pk"]), len(chunk) + (self._place.rows if self._place else 0))
        if page_views or self._is_known:
            self.summary.imported += positions.advance(
                self._source, page_views, policy=self._policy, position=json.dumps(place), using=self._using
            )
            self._duplicates.stored()
        self._place = place
        self.summary.read += len(chunk)
        return True

    def check_any_usable(self) -> None:
        """Raise ImportFailedError where every row was skipped, now and in earlier imports: a field is a wrong one."""
        if self.summary.read and not self._is_known:
            raise ImportFailedError(
                f"None of the {self.summary.read} rows of {self._label} is a page view ({self._why})"
            )

    @property
    def _why(self) -> str:
        if self.summary.examples:
            return self.summary.examples[0]
        return ", ".join(f"{reason.value}: {count}" for reason, count in self.summary.skipped.most_common())

    @property
    def _is_known(self) -> bool:
        """Whether any row was understood, now or in an earlier import; before that nothing is stored."""
        return not self._source._state.adding

    def _key_text(self, pk: object) -> str:
        text = str(pk)
        try:
            is_same = self._pk.to_python(text) == pk
        except ValidationError:
            is_same = False
        if not is_same:
            raise ImportFailedError(
                f"{self._label} has a primary key that cannot be kept as text: {intake.shown(text)}"
            )
        return text

    def _page_views(self, chunk: list[dict[str, Any]]) -> list[intake.Row]:
        page_views = []
        for row, outcome in zip(chunk, self._reader.page_views(chunk, self._source_using), strict=True):
            if isinstance(outcome, intake.Row):
                if self._duplicates.is_first(outcome):
                    page_views.append(outcome)
                else:
                    self.summary.skip(Skip.DUPLICATE)
            elif isinstance(outcome, Skip):
                self.summary.skip(outcome)
            else:
                self.summary.skip(Skip[outcome.reason.name], f"primary key {row['pk']}: {outcome}")
        return page_views


def _key(label: str, columns: str, source_using: str) -> str:
    key = f"model:{label} {columns} {source_using}"
    return key if len(key) <= 255 else f"model:{hashlib.sha256(key.encode()).hexdigest()}"
