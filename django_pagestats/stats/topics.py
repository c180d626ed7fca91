"""What a question is about: the whole site, which is no topic, or one value of a dimension."""

from __future__ import annotations

from typing import NamedTuple

from django_pagestats.buckets import Dimension
from django_pagestats.dimensions import NamedDimension

#: the pages, as one more dimension: its values are the paths
PAGES = NamedDimension("page", Dimension.PAGE, "path")


class Topic(NamedTuple):
    """One value of a dimension, such as one path."""

    dimension: NamedDimension
    value: str
