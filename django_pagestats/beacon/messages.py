r"""What the script posts: three lines of text, `path\nquery\nreferrer`, of which the last two may be empty.

/blog/caf%C3%A9/
utm_source=newsletter&page=2
https://www.example.org

The path as `location.pathname` has it; of the query only what the script lets through; of the referrer the scheme and
host. Text, and not JSON: a browser sends it to another origin without asking first, and a URL has no line breaks.
"""

from __future__ import annotations

from typing import NamedTuple

#: a longer body is refused, and never read to its end
MAX_BYTES = 4_096


class MalformedError(ValueError):
    """The body is not what the script sends."""


class Message(NamedTuple):
    """What somebody's browser says of a page view; nothing of it is checked but its form."""

    #: percent-encoded
    path: str
    #: without "?"
    query: str
    #: empty: the browser named none
    referrer: str


def parse(body: bytes) -> Message:
    """The message in a body; raises MalformedError."""
    try:
        lines = body.decode().split("\n")
    except UnicodeDecodeError as error:
        raise MalformedError("the body is no UTF-8") from error
    if len(lines) != len(Message._fields):
        raise MalformedError(f"the body has {len(lines)} lines: path, query and referrer are expected")
    if not lines[0].startswith("/"):
        raise MalformedError("the path does not begin with '/'")
    return Message(*lines)
