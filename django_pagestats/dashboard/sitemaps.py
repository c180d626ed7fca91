"""Which pages the site has, by its own word: the addresses in its sitemaps, and of the objects of its models.

What runs here is the site's code, which may raise anything, and write. So it is done before a snapshot begins.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from django.apps import apps
from django.contrib.sitemaps import Sitemap
from django.db.models import Model
from django.utils.module_loading import import_string

from django_pagestats.conf import conf
from django_pagestats.headers.sources import is_own_host
from django_pagestats.objects import url_of
from django_pagestats.recording import page_of_url

logger = logging.getLogger(__name__)

#: objects that one statement reads
CHUNK = 2_000
#: characters of an error that are shown
MOST_CHARACTERS = 200


class Address(NamedTuple):
    """A page that the site says it has."""

    #: the path under which its page views are recorded
    path: str
    url: str
    #: the name of the sitemap, or of the model
    section: str


@dataclass(frozen=True, slots=True)
class Site:
    """What an address needs to be told from one of another site."""

    #: gives what `get_current_site()` does; may raise
    current: Callable[[], Any]
    #: names of hosts that are this site
    hosts: Sequence[str]
    #: name -> gives the URLs of objects; where PAGESTATS_SITEMAPS names nothing
    objects: Mapping[str, Callable[[], Iterator[object]]] = field(default_factory=dict)


@dataclass(slots=True)
class Stretch:
    """Some of the addresses, each path once."""

    addresses: list[Address] = field(default_factory=list)
    #: how many of other hosts, and of pages whose views are not recorded, were left out
    elsewhere: int = 0
    not_recorded: int = 0
    #: of sitemaps that failed: the name, and the error
    problems: list[tuple[str, str]] = field(default_factory=list)
    #: there are more
    is_cut: bool = False


def stretches(site: Site, *, size: int, seconds: float | None = None) -> Iterator[Stretch]:
    """All addresses in stretches of so many; at least one. A stretch ends after so many seconds, too."""
    paths: set[str] = set()
    stretch = Stretch()
    deadline = None if seconds is None else time.monotonic() + seconds
    for found in _found(site):
        is_late = deadline is not None and time.monotonic() >= deadline
        if len(stretch.addresses) >= size or is_late:
            stretch.is_cut = True
            yield stretch
            stretch, paths = Stretch(), set()
        _take(stretch, paths, found, site)
    yield stretch


@dataclass(frozen=True, slots=True)
class _Failed:
    section: str
    error: str


def _take(stretch: Stretch, paths: set[str], found: tuple[str, str] | _Failed, site: Site) -> None:
    if isinstance(found, _Failed):
        stretch.problems.append((found.section, found.error))
        return
    section, url = found
    host = (urlsplit(url).hostname or "").lower()
    if host and not is_own_host(host, site.hosts):
        stretch.elsewhere += 1
    elif (path := page_of_url(url)) is None:
        stretch.not_recorded += 1
    elif path not in paths:
        paths.add(path)
        stretch.addresses.append(Address(path, url, section))


def _found(site: Site) -> Iterator[tuple[str, str] | _Failed]:
    """(section, URL) of all of them; where a section fails, that it did, and then the others."""
    for section, urls in _sections(site):
        try:
            for url in urls:
                yield section, str(url)
        except Exception as error:  # whatever the site's code raises
            logger.exception("The sitemap %s, which PAGESTATS_SITEMAPS names, failed", section)
            told = f"{type(error).__name__}: {error}"
            yield _Failed(section, f"{told[:MOST_CHARACTERS]}…" if len(told) > MOST_CHARACTERS else told)


def _sections(site: Site) -> Iterator[tuple[str, Iterator[Any]]]:
    """Each section with its URLs, which are read as they are asked for."""
    if not names():
        yield from ((name, urls()) for name, urls in site.objects.items())
    for name in names():
        try:
            things = sections_of(name)
        except Exception as error:
            yield name, _raising(error)
            continue
        for section, thing in things.items():
            is_model = isinstance(thing, type) and issubclass(thing, Model)
            yield str(section), _of_model(thing) if is_model else _of_sitemap(thing, site)


def _raising(error: Exception) -> Iterator[Any]:
    """No URLs: whoever asks for the first one gets the error."""
    yield from ()
    raise error


def names() -> Sequence[str]:
    """What PAGESTATS_SITEMAPS names."""
    return [conf.SITEMAPS] if isinstance(conf.SITEMAPS, str) else conf.SITEMAPS or ()


def sections_of(name: str) -> Mapping[str, Any]:
    """section -> a sitemap, its class, or a model; raises what the import does, and TypeError for what is none."""
    if name.count(".") == 1 and (model := _model(name)) is not None:
        found: Any = {name: model}
    else:
        found = import_string(name)
    sections = found if isinstance(found, Mapping) else {name.rpartition(".")[2]: found}
    for section, thing in sections.items():
        kinds = (Sitemap, Model)
        if not (isinstance(thing, Sitemap) or (isinstance(thing, type) and issubclass(thing, kinds))):
            raise TypeError(f"{section!r} of {name} is {thing!r}: a sitemap, its class, or a model would do")
        if isinstance(thing, type) and issubclass(thing, Model) and not _has_pages(thing):
            raise TypeError(f"{thing._meta.label} has no get_absolute_url() and no url: its objects have no page")
    return sections


def _has_pages(model: type[Model]) -> bool:
    return hasattr(model, "get_absolute_url") or hasattr(model, "url")


def _model(label: str) -> type[Model] | None:
    try:
        return apps.get_model(label)
    except LookupError:
        return None


def _of_model(model: Any) -> Iterator[Any]:
    for item in model._default_manager.order_by("pk").iterator(chunk_size=CHUNK):
        if (url := url_of(item)) is not None:
            yield url


def _of_sitemap(thing: Any, site: Site) -> Iterator[Any]:
    """As the site's own sitemap gives them, a page of it in memory at a time.

    Each language of an `i18n` sitemap is an address of its own. Its alternates are these once more, and "x-default",
    which leads to one of them.
    """
    sitemap = thing() if isinstance(thing, type) else thing
    for page in range(1, sitemap.paginator.num_pages + 1):
        for found in sitemap.get_urls(page=page, site=site.current()):
            yield found["location"]
