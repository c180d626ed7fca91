"""What a page view counts for in each named dimension, by functions apart from the package's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any, NamedTuple

from django.utils.module_loading import import_string

from django_pagestats.conf import conf

#: of a page view; None: none were recorded, as of every one that is older than the column
Attributes = Mapping[str, str] | None


class Named(NamedTuple):
    """A named dimension: whose values come from an attribute, or from a function by its dotted path."""

    name: str
    id: int
    source: str

    def value(self, path: str, attributes: Attributes) -> str | None:
        """What a page view counts for in it, if it does: written anew, apart from the package's own functions."""
        attributes = attributes or {}
        if "." not in self.source:
            return attributes.get(self.source)
        if own := OUR_FUNCTIONS.get(self.source):
            return own(path, attributes)
        function = import_string(self.source)
        given: dict[str, Any] = {"path": path, "attributes": dict(attributes)}
        found: str | None = function(**{name: given[name] for name in signature(function).parameters})
        return found


def _entry(path: str, attributes: Mapping[str, str]) -> str | None:
    return path if attributes.get("source") is not None else None


def _section(path: str, attributes: Mapping[str, str]) -> str:
    before_query = path.split("?", 1)[0]
    return before_query.strip("/").split("/")[0] or "/"


OUR_FUNCTIONS: dict[str, Callable[[str, Mapping[str, str]], str | None]] = {
    "django_pagestats.dimensions.entry": _entry,
    "django_pagestats.dimensions.section": _section,
}


def named_dimensions(stored: Sequence[Mapping[str, Any]] | None) -> list[Named]:
    """Those of `Generation.dimensions`."""
    return [Named(it["name"], it["id"], it["source"]) for it in stored or ()]


def dimensions_of_settings() -> list[dict[str, Any]]:
    """What the first generation of a site keeps of the settings: numbered from 3 on, since site and page come first."""
    settings = dict(conf.DIMENSIONS)
    return [{"name": name, "id": number, "source": source} for number, (name, source) in enumerate(settings.items(), 3)]
