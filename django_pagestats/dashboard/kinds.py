"""Which tables there are: the pages, and one for each named dimension of the aggregates, with their words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import pgettext, pgettext_lazy

from django_pagestats.conf import DIMENSIONS, conf
from django_pagestats.dimensions import ENTRY
from django_pagestats.stats.answers import DimensionInfo
from django_pagestats.stats.topics import PAGES

#: what only arrivals have: of these the page views of a value are visits
OF_ARRIVALS = frozenset({"channel", "source", "medium", "campaign", "term", "content", ENTRY})
#: the groups of the values of a dimension that comes from the attribute `source`
CHANNEL, SOURCE = "channel", "source"
#: the titles of what comes from these, and of their column, in the order of the panels; others have their name
TITLES: dict[str, tuple[Promise, Promise]] = {
    CHANNEL: (pgettext_lazy("heading", "Channels"), pgettext_lazy("heading", "Channel")),
    "source": (pgettext_lazy("heading", "Sources"), pgettext_lazy("heading", "Source")),
    "campaign": (pgettext_lazy("heading", "Campaigns"), pgettext_lazy("heading", "Campaign")),
    ENTRY: (pgettext_lazy("heading", "Entry pages"), pgettext_lazy("heading", "Page")),
    DIMENSIONS["section"]: (pgettext_lazy("heading", "Sections"), pgettext_lazy("heading", "Section")),
    "country": (pgettext_lazy("heading", "Countries"), pgettext_lazy("heading", "Country")),
    "browser": (pgettext_lazy("heading", "Browsers"), pgettext_lazy("heading", "Browser")),
    "system": (pgettext_lazy("heading", "Systems"), pgettext_lazy("heading", "System")),
    "device": (pgettext_lazy("heading", "Devices"), pgettext_lazy("heading", "Device")),
    "language": (pgettext_lazy("heading", "Languages"), pgettext_lazy("heading", "Language")),
}
#: names in URLs that are no dimensions'; no dimension's name has a hyphen
OURS = frozenset({"pages", "channels"})


@dataclass(frozen=True, slots=True)
class Kind:
    """What the rows of a table are."""

    #: in URLs and in the ids of the page
    name: str
    #: as `stats` has it, and where its values come from: an attribute, a function, or the path
    dimension: str
    source: str
    title: str | Promise
    #: of the first column
    head: str | Promise

    @property
    def are_channels(self) -> bool:
        return self.source == CHANNEL

    @property
    def are_paths(self) -> bool:
        return self.source in (PAGES.source, ENTRY)

    @property
    def are_pages(self) -> bool:
        return self.source == PAGES.source

    @property
    def is_of_visits(self) -> bool:
        """Whether its page views are arrivals, which are visits."""
        return self.source in OF_ARRIVALS

    @property
    def column(self) -> str:
        """The name of the first column, in URLs and in a CSV."""
        return "path" if self.are_pages else "value"

    @property
    def columns(self) -> tuple[str, ...]:
        """By which it can be sorted."""
        return (self.column, "page_views", "visitors", "change")


KIND_OF_PAGES = Kind(
    "pages", PAGES.name, PAGES.source, pgettext_lazy("heading", "Pages"), pgettext_lazy("heading", "Page")
)


def kinds_of(dimensions: Iterable[DimensionInfo]) -> list[Kind]:
    """The pages, what is known here in its order, and the site's own in the order of the setting.

    Channels are those of the first dimension of sources.
    """
    order = list(TITLES)
    kinds = [_kind(it.name, it.source) for it in dimensions]
    of_sources = [Kind("channels", it.dimension, CHANNEL, *TITLES[CHANNEL]) for it in kinds if it.source == SOURCE]
    kinds = [*of_sources[:1], *kinds]
    return [KIND_OF_PAGES, *sorted(kinds, key=lambda it: order.index(it.source) if it.source in order else len(order))]


def missing_titles(kinds: Sequence[Kind]) -> list[str]:
    """Of the dimensions that the setting has and the aggregates do not."""
    there_are = {kind.dimension for kind in kinds}
    return [str(_kind(name, source).title) for name, source in dict(conf.DIMENSIONS).items() if name not in there_are]


def _kind(name: str, source: str) -> Kind:
    own = _own_title(name)
    title, head = TITLES[source] if DIMENSIONS.get(name) == source else (own, own)
    return Kind(f"-{name}" if name in OURS else name, name, source, title, head)


def _own_title(name: str) -> str:
    """The site's own name; its catalogue may have a better one, in the context "dimension"."""
    told = pgettext("dimension", name)
    return told if told != name else name.replace("_", " ").strip().capitalize() or name
