"""PostgreSQL's array literals, as the parameters of one statement about many values."""

from __future__ import annotations

from collections.abc import Iterable


def number_array(numbers: Iterable[int]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"


def text_array(values: Iterable[str]) -> str:
    """An array literal, escaped all at once: the driver does it element by element, ten times as slowly.

    A NUL between the values cannot be part of one: PostgreSQL has no text with a NUL.
    """
    joined = "\0".join(values).replace("\\", "\\\\").replace('"', '\\"')
    return '{"' + joined.replace("\0", '","') + '"}'
