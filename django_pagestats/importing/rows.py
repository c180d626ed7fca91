"""From a row of another table to a page view, or to the reason why it is none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.core.exceptions import FieldDoesNotExist
from django.db import models

from django_pagestats import intake
from django_pagestats.conf.complaints import ATTRIBUTE_NAME
from django_pagestats.exceptions import ImportFailedError
from django_pagestats.importing.outcomes import Skip
from django_pagestats.models import PageView

#: a page view, or why it is none, with a message where a value is bad
Outcome = intake.Row | Skip | intake.RefusedError


class Fields(NamedTuple):
    """The names of the fields of path, session key and time; `__` follows foreign keys."""

    path: str
    session: str
    time: str


class RowReader(ABC):
    """Reads the rows of one table."""

    def __init__(self, model: type[models.Model], columns: Sequence[str], key: str) -> None:
        self.model = model
        #: what is read of each row
        self.columns = columns
        #: by what it is known that these rows were imported before, together with model and database
        self.key = key

    @abstractmethod
    def page_views(self, rows: Sequence[Mapping[str, Any]], using: str) -> Iterable[Outcome]:
        """The outcome of each row, in their order; `using` is the rows' database."""


class FieldsReader(RowReader):
    """Rows that have a path, a session key and a time of their own."""

    def __init__(self, model: type[models.Model], fields: Fields, attributes: Mapping[str, str]) -> None:
        check_model(model)
        _check_fields(model, fields)
        for name, field in attributes.items():
            if not ATTRIBUTE_NAME.fullmatch(name):
                raise ImportFailedError(f"the attribute {name!r} needs a name of 1 to 32 characters of a-z0-9_")
            field_of(model, field)
        self._fields = fields
        self._attributes = attributes
        # not the attributes: with others they are the same rows still
        super().__init__(model, (*fields, *attributes.values()), " ".join(fields))

    def page_views(self, rows: Sequence[Mapping[str, Any]], using: str) -> Iterable[Outcome]:
        return map(self._page_view, rows)

    def _page_view(self, row: Mapping[str, Any]) -> intake.Row | intake.RefusedError:
        path, session, time = (row[field] for field in self._fields)
        try:
            return intake.row(
                path=intake.normalise_path(path),
                session_key=_text(session),
                viewed_at=intake.check_time(time),
                attributes={
                    name: _text(row[field])
                    for name, field in self._attributes.items()
                    if row[field] is not None and row[field] != ""
                },
            )
        except intake.RefusedError as error:
            return error


def check_model(model: type[models.Model]) -> None:
    """Raise ImportFailedError for a model whose rows cannot be imported."""
    label = model._meta.label
    if issubclass(model, PageView):
        raise ImportFailedError(f"{label} is where the imported page views go: name the model that they come from")
    if len(model._meta.pk_fields) > 1:
        raise ImportFailedError(
            f"{label} has a composite primary key: an import needs one of a single column to keep its place"
        )


def field_of(model: type[models.Model], name: str) -> models.Field[Any, Any]:
    """The column that a name like "page__url" leads to, along foreign keys. Raises ImportFailedError."""
    current: type[models.Model] | None = model
    field: Any = None
    for part in name.split("__"):
        if current is None:
            raise ImportFailedError(f"{name!r}: {field.name} is no foreign key, so nothing can follow it")
        try:
            field = current._meta.pk if part == "pk" else current._meta.get_field(part)
        except FieldDoesNotExist as error:
            names = ", ".join(sorted(known.name for known in current._meta.concrete_fields))
            raise ImportFailedError(f"{current._meta.label} has no field {part!r}: it has {names}") from error
        if not getattr(field, "concrete", False) or field.many_to_many:
            raise ImportFailedError(f"{name!r}: {part} of {current._meta.label} has not one value a row")
        current = field.related_model
    found: models.Field[Any, Any] = field
    return found


def _check_fields(model: type[models.Model], fields: Fields) -> None:
    for name in fields:
        field = field_of(model, name)
        if name == fields.time and not isinstance(field, models.DateTimeField):
            raise ImportFailedError(f"{name} of {model._meta.label} is a {type(field).__name__}: name a DateTimeField")


def _text(value: object) -> object:
    """Numbers and UUIDs as text; the rest as it is, for the checks to judge."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, UUID)) else value
