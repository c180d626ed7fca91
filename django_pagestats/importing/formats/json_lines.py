"""Logs of one JSON object a line: by the names of their keys, with dots for what is inside of another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import lru_cache

from django_pagestats.exceptions import ImportFailedError
from django_pagestats.importing.formats.base import Format, Parts, Reading
from django_pagestats.importing.formats.fields import HeaderNames, Names

#: deeper is no log's
_DEEPEST = 8

CADDY = Names(
    time=("ts",),
    address=("request.client_ip", "request.remote_ip", "request.remote_addr"),
    method=("request.method",),
    target=("request.uri",),
    status=("status",),
    agent=("request.headers.User-Agent",),
    referrer=("request.headers.Referer",),
    host=("request.host",),
    content_type=("resp_headers.Content-Type",),
    headers=HeaderNames(inside="request.headers"),
)
TRAEFIK = Names(
    time=("StartUTC",),
    address=("ClientHost", "ClientAddr"),
    method=("RequestMethod",),
    target=("RequestPath",),
    status=("DownstreamStatus", "OriginStatus"),
    agent=("request_User-Agent",),
    referrer=("request_Referer",),
    host=("RequestHost", "RequestAddr"),
    content_type=("downstream_Content-Type",),
    headers=HeaderNames(prefix="request_"),
)
CLOUDFLARE = Names(
    time=("EdgeStartTimestamp",),
    address=("ClientIP",),
    method=("ClientRequestMethod",),
    target=("ClientRequestURI", "ClientRequestPath"),
    status=("EdgeResponseStatus",),
    agent=("ClientRequestUserAgent",),
    referrer=("ClientRequestReferer",),
    host=("ClientRequestHost",),
    country=("ClientCountry",),
    content_type=("EdgeResponseContentType",),
    headers=HeaderNames(inside="RequestHeaders"),
)
#: what people call the variables in a log_format of JSON
NGINX = Names(
    time=("time",),
    address=("remote_addr", "client_ip", "client", "remote_ip", "ip"),
    request=("request",),
    method=("request_method", "method"),
    target=("request_uri", "uri", "path", "url"),
    query=("args", "query_string"),
    status=("status",),
    agent=("http_user_agent", "user_agent", "agent"),
    referrer=("http_referer", "http_referrer", "referer", "referrer"),
    host=("host", "http_host", "server_name", "vhost"),
    content_type=("sent_http_content_type",),
    headers=HeaderNames(prefix="http_"),
)
_NGINX_TIMES = ("time_iso8601", "time_local", "@timestamp", "timestamp", "msec", "ts")


class JsonLines(Format):
    """One object a line; it is of this format if it has a time, a target and a status."""

    has_names, has_places = True, False

    def __init__(self, reading: Reading, name: str, names: Names) -> None:
        self.name = name
        self._zone = reading.time_zone
        self._names = names.with_address(reading.address)
        self._header = lru_cache(maxsize=1_000)(names.headers.wsgi_name)

    def parts(self, line: str) -> Parts | None:
        found = _object(line)
        if found is None:
            return None
        return self._names.parts(
            lambda key: _text(_inside(found, key)),
            zone=self._zone,
            has=lambda key: _inside(found, key) is not None,
            headers=self._headers(found),
        )

    def _headers(self, found: Mapping[str, object]) -> dict[str, str]:
        names = self._names.headers
        if names.named:
            pairs = [(name, _inside(found, key)) for name, key in names.named.items()]
        elif names.inside or names.prefix:
            where = _inside(found, names.inside) if names.inside else found
            pairs = [(self._header(key), value) for key, value in where.items()] if isinstance(where, dict) else []
        else:
            pairs = []
        return {
            name: text
            for name, value in pairs
            if name and (text := _text(value[0] if isinstance(value, list) and value else value)) not in (None, "", "-")
        }

    def sent(self, logged: str) -> bytes:
        return logged.encode(errors="replace")

    def is_whole(self, line: str) -> bool:
        return _object(line) is not None


def preset(name: str) -> type[JsonLines]:
    """The format of one of the presets, as a class of its own."""
    names = PRESETS[name]

    class Preset(JsonLines):
        def __init__(self, reading: Reading) -> None:
            super().__init__(reading, name, names)

    return Preset


PRESETS = {
    "caddy": CADDY,
    "traefik": TRAEFIK,
    "cloudflare": CLOUDFLARE,
    "nginx-json": NGINX,
    **{f"nginx-json-{time.strip('@')}": replace(NGINX, time=(time,)) for time in _NGINX_TIMES},
}


def by_keys(text: str, reading: Reading) -> JsonLines:
    """The format that the user describes as "time=ts,address=client.ip,target=url,..". Raises ImportFailedError."""
    known = {known.name for known in fields(Names)} - {"headers"}
    given: dict[str, tuple[str, ...]] = {}
    for pair in text.split(","):
        name, equals, key = pair.strip().partition("=")
        if name not in known or not equals or not key:
            raise ImportFailedError(
                f"{pair!r} in --format: give NAME=KEY, where NAME is one of {', '.join(sorted(known))}, and KEY that of"
                " the log, with dots for what is inside of another"
            )
        given[name] = (key,)
    if "time" not in given or not given.keys() & {"request", "target"} or "status" not in given:
        raise ImportFailedError("--format needs the keys of time, of status, and of request or target")
    return JsonLines(reading, "JSON by the keys of --format", Names(**given))  # type: ignore[arg-type]


def _object(line: str) -> Mapping[str, object] | None:
    text = line.removeprefix("\xef\xbb\xbf")
    if not text.startswith("{"):
        return None
    try:
        found = json.loads(text.encode("latin-1").decode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _inside(found: object, key: str) -> object:
    """What a key leads to: as it is, or else by its dots; of a list, as Caddy has headers, the first."""
    for _ in range(_DEEPEST):
        if not isinstance(found, dict):
            return None
        if key in found:
            value = found[key]
            return value[0] if isinstance(value, list) and value else value
        head, dot, rest = key.partition(".")
        if not dot:
            return None
        found, key = found.get(head), rest
    return None


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.6f}" if abs(value) < 1e18 else None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**19 else None


def lasting_of_json(line: bytes) -> bytes | None:
    """The object, if it is whole."""
    return None if _object(line.decode("latin-1")) is None else line.rstrip()
