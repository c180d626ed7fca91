"""Named dimensions: what page views are counted by, beside site and page.

Each takes its values from an attribute, or from a pure function of `path` and `attributes`. The functions here are
those of the default setting; a site's own look the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from django_pagestats.dimensions.changes import change_told, is_current, unusable_told
from django_pagestats.dimensions.named import ENTRY, NamedDimension, of_generation, of_settings, stored
from django_pagestats.dimensions.spreading import Column, Spread, Spreading
from django_pagestats.dimensions.values import Values, all_attributes_of

__all__ = [
    "ENTRY",
    "Column",
    "NamedDimension",
    "Spread",
    "Spreading",
    "Values",
    "all_attributes_of",
    "change_told",
    "entry",
    "is_current",
    "of_generation",
    "of_settings",
    "section",
    "stored",
    "unusable_told",
]


def entry(path: str, attributes: Mapping[str, str]) -> str | None:
    """The path of an arrival, which is a page view with a source; None for any other."""
    return path if attributes.get("source") is not None else None


def section(path: str) -> str:
    """The first segment of a path, without its query: "blog" of "/blog/2026/" and "blog?page=2"; "/" of none."""
    return next((segment for segment in path.partition("?")[0].split("/") if segment), "/")
