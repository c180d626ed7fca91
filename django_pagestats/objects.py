"""Page views of objects that have a page: of a list of articles, say, each with its number."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, TypeVar

from django.utils.functional import Promise

from django_pagestats import stats
from django_pagestats.recording import page_of_url

T = TypeVar("T")


def with_page_views(
    objects: Iterable[T],
    *,
    start: date | datetime | None = None,
    end: date | datetime | None = None,
    using: str | None = None,
) -> list[T]:
    """The objects in their order, each with its number in `.page_views`, 0 where its page was never viewed.

    What an object's page is says its `get_absolute_url()`. All numbers are of one instant and come by a few statements
    for each 500 objects. Ranges of days only, as everywhere for paths.
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

    None where there can be none: the object has no page, or its URL would not be recorded. Raises TypeError for what is
    neither.
    """
    if isinstance(page, (str, Promise)):
        url: object = page
    elif callable(get_absolute_url := getattr(page, "get_absolute_url", None)):
        url = get_absolute_url()
    else:
        raise TypeError(
            f"{type(page).__name__} has no get_absolute_url(), so that it has no page: a URL as text would do."
        )
    return None if url is None else page_of_url(str(url))
