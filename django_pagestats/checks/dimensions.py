"""What can be wrong with the named dimensions of the settings: each function is called as a fold would call it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage

from django_pagestats.checks.messages import Apps, choice, error, told, warning
from django_pagestats.checks.settings import why_not_called
from django_pagestats.conf import Conf, conf
from django_pagestats.dimensions import NamedDimension, Values, of_settings
from django_pagestats.exceptions import DimensionError

#: of an arrival, as the middleware records it; not those of the site's own, which no page view need have
ATTRIBUTES = {
    "source": "news.example",
    "medium": "email",
    "campaign": "spring",
    "term": "shoes",
    "content": "button",
    "browser": "Firefox",
    "system": "Android",
    "device": "phone",
    "language": "en",
    "country": "DE",
    "host": "www.example.com",
}
#: an arrival, and a page view of which nothing is known, as all are that were recorded before there were attributes
EXAMPLES: tuple[dict[str, Any], ...] = (
    {"path": "/example/page/", "attributes": ATTRIBUTES},
    {"path": "/example/page/", "attributes": {}},
)
#: what anybody may ask a site for, and some sites answer
STRANGE_PATHS = ("/", "//", "/example//page/", f"/example/{'x' * 2_000}/page/", "/\N{SNOWMAN}/", "/a" * 1_000)


def check_dimensions(app_configs: Apps = None, **kwargs: Any) -> list[CheckMessage]:
    """A setting whose value will not do at all is told of by check_settings."""
    if Conf.DIMENSIONS.complaint():
        return []
    return told(message for dimension in of_settings() for message in _of_one(dimension))


def _of_one(dimension: NamedDimension) -> Iterator[CheckMessage]:
    if dimension.is_attribute:
        if not _is_recorded(dimension.source):
            yield attribute_not_recorded(dimension)
    elif reason := why_not_called(dimension.source):
        yield function_unknown(dimension, reason)
    else:
        yield from _of_function(dimension)


def _is_recorded(attribute: str) -> bool:
    """Only of what a site has chosen itself; the default is one for all sites, whatever they record."""
    if Conf.DIMENSIONS.is_default() or Conf.ATTRIBUTES.complaint():
        return True
    recorded = {path.rpartition(".")[2] for path in conf.ATTRIBUTES}
    return attribute in recorded and (attribute != "host" or conf.RECORD_HOST)


def _of_function(dimension: NamedDimension) -> Iterator[CheckMessage]:
    try:
        values = Values(dimension)
    except DimensionError as failure:
        yield function_fails(dimension, str(failure))
        return
    try:
        for example in EXAMPLES if "attributes" in values.takes else EXAMPLES[:1]:
            values.value(**{name: example[name] for name in values.takes})
    except DimensionError as failure:
        yield function_fails(dimension, str(failure))
        return
    try:
        for path in STRANGE_PATHS if "path" in values.takes else ():
            values.value(**{name: (EXAMPLES[0] | {"path": path})[name] for name in values.takes})
    except DimensionError as failure:
        yield function_fails_for_some(dimension, str(failure))


def function_unknown(dimension: NamedDimension, reason: str) -> CheckMessage:
    return error(
        97,
        f"PAGESTATS_DIMENSIONS has {dimension.name!r} from {dimension.source!r}, which {reason}: nothing would be"
        " folded.",
        "Correct it: it is the name of an attribute, or the dotted path of a function of path, of attributes, or of"
        " both.",
    )


def function_fails(dimension: NamedDimension, reason: str) -> CheckMessage:
    return error(
        98,
        f"PAGESTATS_DIMENSIONS has {dimension.name!r}, and nothing would be folded. {reason}",
        "A function of path, of attributes, or of both, gives text of 1 to 255 characters for every page view, or None"
        " for one that is not to count there; any attribute may be missing.",
    )


def function_fails_for_some(dimension: NamedDimension, reason: str) -> CheckMessage:
    return warning(
        100,
        f"PAGESTATS_DIMENSIONS has {dimension.name!r}, and page views of some paths would keep all from being folded."
        f" {reason}",
        "Let it give None for what it does not know, and cut what may be long: a visitor may ask for any path.",
    )


def attribute_not_recorded(dimension: NamedDimension) -> CheckMessage:
    return choice(
        99,
        f"PAGESTATS_DIMENSIONS has {dimension.name!r} from the attribute {dimension.source!r}, which is not recorded.",
        "Correct it, or have it recorded: by PAGESTATS_ATTRIBUTES, or the host by PAGESTATS_RECORD_HOST. Page views"
        " that were imported may have others.",
    )
