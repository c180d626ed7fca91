"""Page views of objects that have a page: of a list of articles, say, each with its number."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, TypeVar

from django.utils.functional import Promise

from django_pagestats import stats
from django_pagestats.recording import page_of_url

T = TypeVar("T")

_NO_URL = object()


def with_page_views(
    objects: Iterable[T],
    *,
    start: date | datetime | None = None,
    end: date | datetime | None = None,
    using: str | None = None,
) -> list[T]:
    """The objects in their order, each with its number in `.page_views`, 0 where its page was never viewed.

    What an object's page is says its `get_absolute_url()` or, where it has none, its `url`. All numbers are of one
    instant and come by a few statements for each 500 objects. Ranges of days only, as everywhere for paths.
    """
    found = list(objects)
    paths = [path_of(item) for item in found]
    counted = stats.count_page_views_of([path for path in paths if path is not None], start=start, end=end, using=using)
    for item, path in zip(found, paths, strict=True):
        counts: Any = item
        counts.page_views = 0 if path is None else counted[path]
    return found


def path_of(page: object) -> str | None:
    """The path under which the page views of a URL, or of an object that has one, are recorded.

    None where there can be none: there is no object, it has no page, or its URL would not be recorded. Raises TypeError
    for what is neither a URL nor an object with one.
    """
    url = page if page is None or isinstance(page, (str, Promise)) else url_of(page)
    return None if url is None else page_of_url(str(url))


def url_of(item: object) -> object:
    """The URL of an object's page: what its `get_absolute_url()` gives, or its `url`, as a page of Wagtail has it.

    None: it has no page. Raises TypeError where it has neither, or a `url` that is no text.
    """
    if callable(get_absolute_url := getattr(item, "get_absolute_url", None)):
        return get_absolute_url()
    url = getattr(item, "url", _NO_URL)
    if url is None or isinstance(url, (str, Promise)):
        return url
    raise TypeError(
        f"{type(item).__name__} has no get_absolute_url(), nor a url that is text, so that it has no page: a URL as"
        " text would do."
    )
