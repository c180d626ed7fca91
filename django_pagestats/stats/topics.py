"""What a question is about: the whole site, which is no topic, one value of a dimension, or a group of values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeGuard

from django_pagestats.buckets import Dimension
from django_pagestats.dimensions import NamedDimension

#: the pages, as one more dimension: its values are the paths
PAGES = NamedDimension("page", Dimension.PAGE, "path")


#: the group of a value, such as the channel of a source; pure
GroupOf = Callable[[str], str]


class Topic(NamedTuple):
    """One value of a dimension, such as one path, or all values of one group together, such as a channel's sources."""

    dimension: NamedDimension
    #: of a group its name
    value: str
    #: which group a value is of; None: it is one value
    group_of: GroupOf | None = None

    def numbers_in(self, numbers: Mapping[str, int]) -> set[int]:
        """The numbers of its values, of those that have one."""
        if self.group_of is None:
            return {numbers[self.value]} if self.value in numbers else set()
        return {number for value, number in numbers.items() if self.group_of(value) == self.value}


def is_group(topic: Topic | None) -> TypeGuard[Topic]:
    """Whether it has several values, and so several rows in a bucket."""
    return topic is not None and topic.group_of is not None
