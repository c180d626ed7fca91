"""Which page a request asked for, if any: by its target."""

from __future__ import annotations

import re
from typing import NamedTuple

from django_pagestats import intake
from django_pagestats.importing.outcomes import Skip

_NOT_PAGES = (
    # styles, scripts, fonts
    "css js mjs map wasm swf htc xsl eot otf ttf woff woff2",
    # images
    "apng avif bmp cur gif heic ico jpe jpeg jpg jxl png svg svgz tif tiff webp",
    # sound and film
    "aac avi flac flv m3u8 m4a m4v mid mkv mov mp3 mp4 mpeg mpg oga ogg ogv opus ts wav weba webm wmv vtt",
    # for machines: feeds, robots.txt, sitemaps
    "atom csv json rdf rss txt webmanifest xml yaml yml",
    # documents and downloads
    "7z apk bin bz2 deb dmg doc docx epub exe gem gz img iso jar msi odp ods odt pcap pdf pkg ppt pptx ps pyc rar rpm",
    "tar tgz whl xls xlsx xz zip zst",
)
#: Extensions of what is served with pages or beside them; docs/importing.md lists them.
STATIC_EXTENSIONS = frozenset(" ".join(_NOT_PAGES).split())

_HOST = re.compile(rb"https?://([^/?#]{1,255})", re.IGNORECASE)


class Page(NamedTuple):
    """A page's path, with what PAGESTATS_QUERY keeps; the query, which is not stored; the host, if it is there."""

    path: str
    query: str
    host: str


def page(target: bytes) -> Page | Skip:
    """The page of a request's target, or why it is none."""
    try:
        path = intake.path_of_target(target)
    except intake.RefusedError:
        return Skip.INVALID_PATH
    if is_static(path):
        return Skip.STATIC_FILE
    query = target.partition(b"#")[0].partition(b"?")[2].decode("ascii", "replace")
    try:
        path = intake.check_path(path + intake.query_of_page(query))
    except intake.RefusedError:
        return Skip.INVALID_PATH
    host = None if target.startswith(b"/") else _HOST.match(target)
    return Page(path, query, host[1].decode("ascii", "replace") if host else "")


def is_static(path: str) -> bool:
    """Whether a path ends as those of files do that are no pages."""
    _name, dot, extension = path.rpartition("/")[2].rpartition(".")
    return bool(dot) and extension.lower() in STATIC_EXTENSIONS
