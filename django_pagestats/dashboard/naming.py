"""How a value is shown: as it is counted, or under a name that readers know."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from django.conf.locale import LANG_INFO
from django.utils.functional import Promise
from django.utils.translation import get_language_info, pgettext_lazy

from django_pagestats.dashboard.kinds import CHANNEL, SOURCE, Kind
from django_pagestats.headers import channels

#: control characters, line and paragraph separators, and what turns the direction of a text
UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
#: of a channel, a source, and a device
WORDS: dict[str, dict[str, Promise]] = {
    CHANNEL: {
        channels.SEARCH: pgettext_lazy("channel", "Search"),
        channels.SOCIAL: pgettext_lazy("channel", "Social"),
        channels.AI: pgettext_lazy("channel", "AI assistants"),
        channels.EMAIL: pgettext_lazy("channel", "E-mail"),
        channels.CAMPAIGN: pgettext_lazy("channel", "Campaign"),
        channels.LINK: pgettext_lazy("channel", "Link"),
        channels.DIRECT: pgettext_lazy("channel", "Direct"),
        channels.OTHER: pgettext_lazy("channel", "Others, too many to tell apart"),
    },
    SOURCE: {
        "(direct)": pgettext_lazy("source", "Direct, or not known"),
        "(other)": pgettext_lazy("source", "Others, too many to tell apart"),
    },
    "device": {
        "desktop": pgettext_lazy("device", "Desktop"),
        "mobile": pgettext_lazy("device", "Phone"),
        "tablet": pgettext_lazy("device", "Tablet"),
        "tv": pgettext_lazy("device", "TV or console"),
    },
}
#: what a browser that has its names in the reader's language may put in the place of a code
REGION, LANGUAGE = "region", "language"
CODES = {"country": (REGION, re.compile("[A-Z]{2}")), "language": (LANGUAGE, re.compile("[a-z]{2,3}"))}


@dataclass(frozen=True, slots=True)
class Name:
    """A value as a table shows it."""

    text: str
    #: where it is on the site; empty for what is no path of a URL
    href: str = ""
    #: REGION or LANGUAGE: the value is a code of one, and so is the text as long as no name is known
    code: str = ""


def name_of(kind: Kind, value: str) -> Name:
    if kind.are_paths:
        return Name(visible(value), href_of(value))
    if (word := WORDS.get(kind.source, {}).get(value)) is not None:
        return Name(str(word))
    code, pattern = CODES.get(kind.source, ("", None))
    if pattern is None or not pattern.fullmatch(value):
        return Name(visible(value))
    if code == LANGUAGE and value in LANG_INFO:
        return Name(get_language_info(value)["name_translated"])
    return Name(value, code=code)


def href_of(path: str) -> str:
    """A link to a page of this site; empty for what is none, such as "//elsewhere" or "javascript:"."""
    if not path.startswith("/") or path.startswith(("//", "/\\")):
        return ""
    # a stored path is decoded: a per cent sign in it is one of its own
    return quote(path, safe="/?=&;:@+$,!*'()~")


def visible(text: str) -> str:
    """A text as it may be read: what is not seen, and would make it look like another one, is named."""
    return UNSEEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", text)
