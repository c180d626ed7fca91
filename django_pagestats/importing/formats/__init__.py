"""The formats of logs: which there are, and which one a line is in."""

from __future__ import annotations

from collections.abc import Callable

from django_pagestats.exceptions import ImportFailedError
from django_pagestats.importing.formats.balancers import AwsBalancer, HaProxy
from django_pagestats.importing.formats.base import FIRST, Format, Parts, Reading
from django_pagestats.importing.formats.combined import Combined, VirtualHosts, lasting_of_combined
from django_pagestats.importing.formats.consoles import Daphne, Granian, Heroku, Uvicorn
from django_pagestats.importing.formats.json_lines import PRESETS, by_keys, lasting_of_json, preset
from django_pagestats.importing.formats.server_formats import server_format
from django_pagestats.importing.formats.w3c import W3C, CloudFrontJson, is_directive

__all__ = ["FIRST", "Format", "Parts", "Reading", "is_directive", "lasting", "named", "names", "recognised"]

_Make = Callable[[Reading], Format]

#: in the order in which a line is tried
_FORMATS: dict[str, _Make] = {
    "daphne": Daphne,  # with --time-zone its lines are of the common format too
    "combined": Combined,
    "vhost-combined": VirtualHosts,
    "w3c": W3C,
    "cloudfront-v2": CloudFrontJson,
    **{name: preset(name) for name in PRESETS},
    "aws-alb": AwsBalancer,
    "haproxy": HaProxy,
    "heroku": Heroku,
    "granian": Granian,
    "uvicorn": Uvicorn,
}
#: other names of the same
_ALIASES = {"common": "combined", "iis": "w3c", "cloudfront": "w3c", "nginx": "nginx-json"}


def names() -> list[str]:
    """What --format may be, beside a server's own string and the keys of JSON."""
    return sorted({*_FORMATS, *_ALIASES} - {"uvicorn"})


def named(reading: Reading) -> Format:
    """The format that the user has named or described. Raises ImportFailedError."""
    text = (reading.format or "").strip()
    if make := _FORMATS.get(_ALIASES.get(text, text)):
        return make(reading)
    if "%" in text or "$" in text:
        return server_format(text, reading)
    if "=" in text:
        return by_keys(text, reading)
    raise ImportFailedError(
        f"There is no format {text!r}: give a LogFormat of Apache, a log_format of nginx, the keys of JSON lines as"
        f" NAME=KEY,.., or one of {', '.join(names())}"
    )


def recognised(line: str, reading: Reading) -> Format | None:
    """The format that a line is in; None for none that is known. Raises ImportFailedError for one that is refused."""
    for make in _FORMATS.values():
        format_ = make(reading)
        if format_.parts(line) is not None or format_.is_comment(line):
            return format_
    return None


def lasting(line: bytes) -> bytes | None:
    """What stays as it is of a line without a newline, however much is still written to it; None: that is not known.

    By it a log is known again, whatever its format is said to be.
    """
    return lasting_of_json(line) if line.startswith(b"{") else lasting_of_combined(line)
