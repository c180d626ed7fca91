"""The pages of the statistics, each of which is linked from the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import pgettext_lazy

#: name -> its label
SECTIONS: dict[str, Promise] = {
    "dashboard": pgettext_lazy("page of the statistics", "Overview"),
    "loyalty": pgettext_lazy("page of the statistics", "Loyalty"),
    "audit": pgettext_lazy("page of the statistics", "Content audit"),
}


@dataclass(frozen=True, slots=True)
class Section:
    """A page, as a link to it."""

    label: Promise
    url: str
    is_current: bool


def sections_of(url_of: Callable[[str], str], current: str, query: str) -> Sequence[Section]:
    """All of them, of the same range."""
    return [Section(label, url_of(name) + query, name == current) for name, label in SECTIONS.items()]
