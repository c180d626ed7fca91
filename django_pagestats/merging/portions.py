"""Portions of bounded size, of whatever is too much at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def portions(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while portion := list(islice(iterator, size)):
        yield portion


def portions_by_size(items: Iterable[T], limit: int, *, size: Callable[[T], int]) -> Iterator[list[T]]:
    """Portions of so much size in all; an item that is larger makes one by itself."""
    portion: list[T] = []
    total = 0
    for item in items:
        more = size(item)
        if portion and total + more > limit:
            yield portion
            portion, total = [], 0
        portion.append(item)
        total += more
    if portion:
        yield portion
