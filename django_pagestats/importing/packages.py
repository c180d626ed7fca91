"""The tables of other packages that count visits: django-hitcount, django-request, django-tracking2.

What they have of a request goes through the same rules as a line of a log: robots, files, other methods and failures
are no page views, and the visitor is a keyed hash.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.db import models

from django_pagestats import intake
from django_pagestats.exceptions import ImportFailedError
from django_pagestats.importing.formats.base import Parts
from django_pagestats.importing.lines import LineReader
from django_pagestats.importing.rows import Outcome, RowReader
from django_pagestats.importing.visitors import site_secret
from django_pagestats.keys import keys_of
from django_pagestats.models import Reason

_Rows = Sequence[Mapping[str, Any]]


class PackageReader(RowReader):
    """Rows of a package's table, by what each says of its request."""

    #: the table's model, as the package is installed
    label: str
    fields: tuple[str, ...]

    def __init__(self, using: str) -> None:
        super().__init__(_model(self.label), self.fields, "preset")
        self._lines = LineReader(site_secret(using))

    def page_views(self, rows: _Rows, using: str) -> Iterable[Outcome]:
        return map(self._outcome, self.requests(rows, using))

    def requests(self, rows: _Rows, using: str) -> Iterable[Parts | intake.RefusedError]:
        """What each row says of its request; `at` is checked afterwards."""
        return map(self.request, rows)

    def request(self, row: Mapping[str, Any]) -> Parts:
        """What one row says of its request."""
        raise NotImplementedError

    def _outcome(self, parts: Parts | intake.RefusedError) -> Outcome:
        if not isinstance(parts, Parts):
            return parts
        try:
            checked = parts._replace(at=intake.check_time(parts.at))
        except intake.RefusedError as error:
            return error
        return self._lines.of_parts(checked)


class DjangoRequest(PackageReader):
    """django-request: a row for each response."""

    label = "request.Request"
    fields = ("response", "method", "path", "time", "is_ajax", "ip", "referer", "user_agent", "language")

    def request(self, row: Mapping[str, Any]) -> Parts:
        headers = {"HTTP_ACCEPT_LANGUAGE": row["language"] or ""}
        if row["is_ajax"]:
            headers["HTTP_X_REQUESTED_WITH"] = "XMLHttpRequest"
        return Parts(
            address=row["ip"] or "",
            at=row["time"],
            method=row["method"],
            target=quote(row["path"]),
            status=str(row["response"]),
            agent=row["user_agent"] or "",
            referrer=row["referer"] or "",
            headers=headers,
        )


class Tracking2(PackageReader):
    """django-tracking2: a row for each request of a session; TRACK_PAGEVIEWS was on."""

    label = "tracking.Pageview"
    fields = (
        *("url", "referer", "query_string", "method", "view_time"),
        *("visitor_id", "visitor__ip_address", "visitor__user_agent"),
    )

    def request(self, row: Mapping[str, Any]) -> Parts:
        query = row["query_string"]
        return Parts(
            address=row["visitor__ip_address"] or "",
            at=row["view_time"],
            method=row["method"] or "GET",  # rows of before the package kept it
            target=quote(row["url"]) + (f"?{query}" if query else ""),
            status="200",
            agent=row["visitor__user_agent"] or "",
            referrer=row["referer"] or None,  # the package keeps it only where it was told to
            session=row["visitor_id"],
        )


class HitCount(PackageReader):
    """django-hitcount: a row for each hit of an object, whose page is the object's own."""

    label = "hitcount.Hit"
    fields = ("created", "ip", "session", "user_agent", "hitcount__content_type_id", "hitcount__object_pk")

    def requests(self, rows: _Rows, using: str) -> Iterator[Parts | intake.RefusedError]:
        urls = _urls(rows, using)
        for row in rows:
            url = urls[row["hitcount__content_type_id"]].get(str(row["hitcount__object_pk"]))
            if url is None:
                yield intake.RefusedError(
                    Reason.INVALID_PATH,
                    f"its object {row['hitcount__object_pk']} is gone, or has no get_absolute_url()",
                )
                continue
            yield Parts(
                address=row["ip"] or "",
                at=row["created"],
                method="GET",
                target=url,
                status="200",
                agent=row["user_agent"] or "",
                session=row["session"] or "",
            )


def _urls(rows: _Rows, using: str) -> dict[int, dict[str, str]]:
    """The pages of the objects that were hit: type of content -> primary key as text -> URL."""
    texts: dict[int, set[str]] = defaultdict(set)
    for row in rows:
        texts[row["hitcount__content_type_id"]].add(str(row["hitcount__object_pk"]))
    urls: dict[int, dict[str, str]] = {}
    for content_type, of_type in texts.items():
        model = ContentType.objects.db_manager(using).get_for_id(content_type).model_class()
        keys: dict[str, Any] = {}
        objects: dict[Any, Any] = {}
        if model is not None and hasattr(model, "get_absolute_url"):
            keys = keys_of(model, of_type, using=using)
            objects = model._default_manager.using(using).in_bulk(keys.values())
        urls[content_type] = {text: objects[key].get_absolute_url() for text, key in keys.items() if key in objects}
    return urls


#: what --from may be
PACKAGES: dict[str, type[PackageReader]] = {
    "hitcount": HitCount,
    "django-request": DjangoRequest,
    "tracking2": Tracking2,
}


def package_reader(name: str, *, using: str) -> PackageReader:
    """The reader of a package's table; `using` is where the page views go. Raises ImportFailedError."""
    return PACKAGES[name](using)


def _model(label: str) -> type[models.Model]:
    try:
        return apps.get_model(label)
    except LookupError as error:
        raise ImportFailedError(
            f"There is no model {label}: the package must be in INSTALLED_APPS, and its tables in a database"
        ) from error
