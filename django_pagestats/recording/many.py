"""Storing many page views at once, for scripts and imports of a site's own."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter

from django.db import router, transaction

from django_pagestats import intake
from django_pagestats.merging import database_for
from django_pagestats.models import PageView
from django_pagestats.sequences import sequence_told

#: What `record_page_views` takes: the keyword arguments of `record_page_view`, or the same in order, or a model object.
Item = Mapping[str, object] | tuple[object, ...] | list[object] | PageView

_VALUES = ("path", "session_key", "viewed_at", "attributes")


def record_page_views(items: Iterable[Item], *, using: str | None = None) -> int:
    """Store many page views, all or none, in one transaction; gives their number.

    Each item is a mapping with the keys of `record_page_view`, a tuple or list (path, session_key[, viewed_at[,
    attributes]]) or an unsaved PageView (which is copied, not changed). Memory is bounded: items are taken as they come
    and written in batches, with the transaction open. Raises ValueError for a bad item, naming its position, the value
    and the fix, SequenceBehindError, and the database's errors.
    """
    alias = using or router.db_for_write(PageView)
    written = 0
    with transaction.atomic(using=alias):
        for batch in intake.batches(_page_views(items), attrgetter("path")):
            for page_view in batch:
                _refuse_garbling(page_view, alias)
            with sequence_told(alias):
                PageView.objects.using(alias).bulk_create(batch)
            written += len(batch)
    return written


def _refuse_garbling(page_view: PageView, alias: str) -> None:
    """ASCII, which nearly all page views are, is the same in every character set of a connection."""
    if not (page_view.path.isascii() and page_view.session_key.isascii()):
        database_for(alias).refuse_garbling()


def _page_views(items: Iterable[Item]) -> Iterator[PageView]:
    for number, item in enumerate(items):
        try:
            yield _page_view(item)
        except ValueError as error:
            raise ValueError(f"Item {number}: {error}") from error


def _page_view(item: Item) -> PageView:
    if isinstance(item, PageView):
        return _copy(item)
    if isinstance(item, Mapping):
        values = dict(item)
    elif isinstance(item, (tuple, list)) and 2 <= len(item) <= len(_VALUES):
        values = dict(zip(_VALUES, item, strict=False))
    else:
        raise ValueError(
            f"{intake.shown(item)} is no page view: give a mapping or a PageView, or (path, session_key, viewed_at,"
            " attributes)"
        )
    if unknown := values.keys() - set(_VALUES):
        raise ValueError(f"a page view has no {intake.shown(str(min(unknown, key=str)))}: give {', '.join(_VALUES)}")
    return intake.page_view(
        path=values.get("path"),
        session_key=values.get("session_key"),
        viewed_at=values.get("viewed_at"),
        attributes=values.get("attributes"),
    )


def _copy(given: PageView) -> PageView:
    key: object = given.pk
    if key is not None:
        raise ValueError(f"the page view {key} has a primary key already: give it without one")
    checked = intake.page_view(
        path=given.path, session_key=given.session_key, viewed_at=given.viewed_at, attributes=given.attributes
    )
    copied = copy.copy(given)  # with whatever other columns it has
    copied.path, copied.session_key, copied.viewed_at = checked.path, checked.session_key, checked.viewed_at
    copied.attributes = checked.attributes
    return copied
