"""Made-up lines of the logs that servers write, for the tests of imports: one visitor, one page, one time."""

from __future__ import annotations

import json
from datetime import datetime, timezone

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
ADDRESS = "192.0.2.10"
AT = datetime(2026, 11, 28, 10, tzinfo=timezone.utc)
CLF = "28/Nov/2026:10:00:00 +0000"
REST = f'- - [{CLF}] "GET {{path}} HTTP/1.1" 200 512 "-" "{FIREFOX}"'
COMBINED = f"{ADDRESS} {REST}"
IIS = "#Fields: date time cs-method cs-uri-stem cs-uri-query c-ip cs(User-Agent) cs(Referer) sc-status"
CLOUDFRONT = (
    "#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer)"
    " cs(User-Agent) cs-uri-query x-host-header"
)
_PLUS, _PERCENT = FIREFOX.replace(" ", "+"), FIREFOX.replace(" ", "%20")


def _json(**values: object) -> str:
    return json.dumps(values).replace("{", "{{").replace("}", "}}").replace("/PATH", "{path}")


def _doubled(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}").replace("/PATH", "{path}")


#: what the import calls it, and what else there is to know of it -> a line with {path}; before it, the log's beginning
LINES: dict[str, str] = {
    "combined": COMBINED,
    "combined: an IPv6 address": COMBINED,
    "combined: further fields": COMBINED + ' rt=0.012 uct="0.000"',
    "combined: Traefik": COMBINED + ' 42 "web@docker" "http://198.51.100.7:8000" 13ms',
    "combined: varnishncsa": COMBINED.replace("GET {path}", "GET http://www.example.org{path}"),
    "combined: a port": COMBINED.replace(ADDRESS, f"{ADDRESS}:51234"),
    "combined: in quotes": COMBINED.replace(ADDRESS, f'"{ADDRESS}"'),
    "combined: a list of addresses": COMBINED.replace(ADDRESS, f"10.0.0.3, {ADDRESS}, 198.51.100.7"),
    "combined: ISO time": COMBINED.replace(CLF, "2026-11-28T11:00:00+01:00"),
    "combined: ISO time in UTC": COMBINED.replace(CLF, "2026-11-28T10:00:00Z"),
    "combined: parts of a second": COMBINED.replace(CLF, "28/Nov/2026:10:00:00.000 +0000"),
    "vhost-combined": f"www.example.org:443 {COMBINED}",
    "vhost-combined: no port": f"www.example.org {COMBINED}",
    "combined, after Docker Compose's prefix": f"web-1  | {COMBINED}",
    "combined, after Kubernetes' prefix": f"2026-11-28T10:00:01.123456789Z stdout F {COMBINED}",
    "combined, after syslog's prefix": f"Nov 28 10:00:01 web nginx: {COMBINED}",
    "combined, after syslog's prefix: with a number": f"<134>Nov  8 10:00:01 web httpd[99]: {COMBINED}",
    "combined, after syslog's prefix (RFC 5424)": f"<134>1 2026-11-28T10:00:01.5Z web nginx 99 - - {COMBINED}",
    "combined, after a time": f"2026-11-28T10:00:01.5Z {COMBINED}",
    "combined, in Docker's JSON": _json(log=COMBINED.replace("{path}", "/PATH") + "\n", stream="stdout", time="x"),
    "nginx-json": _json(
        time="2026-11-28T10:00:00+00:00",
        remote_addr=ADDRESS,
        request="GET /PATH HTTP/2.0",
        status=200,
        http_user_agent=FIREFOX,
        http_referer="",
        host="www.example.org",
    ),
    "nginx-json-msec": _json(
        msec="1795860000.000",
        remote_addr=ADDRESS,
        request_method="GET",
        request_uri="/PATH",
        status="200",
        http_user_agent=FIREFOX,
        http_referer="-",
    ),
    "caddy": _json(
        ts=1795860000.0,
        logger="http.log.access",
        request={
            "remote_ip": "10.0.0.2",
            "client_ip": ADDRESS,
            "method": "GET",
            "host": "www.example.org",
            "uri": "/PATH?q=1",
            "headers": {"User-Agent": [FIREFOX], "Sec-Fetch-Dest": ["document"]},
        },
        resp_headers={"Content-Type": ["text/html; charset=utf-8"]},
        status=200,
    ),
    "traefik": _json(
        ClientHost=ADDRESS,
        RequestMethod="GET",
        RequestPath="/PATH",
        RequestHost="www.example.org",
        DownstreamStatus=200,
        StartUTC="2026-11-28T10:00:00.0Z",
        **{"request_User-Agent": FIREFOX},
    ),
    "cloudflare": _json(
        ClientIP=ADDRESS,
        ClientRequestHost="www.example.org",
        ClientRequestMethod="GET",
        ClientRequestURI="/PATH?q=1",
        EdgeResponseStatus=200,
        EdgeStartTimestamp="2026-11-28T10:00:00Z",
        ClientRequestUserAgent=FIREFOX,
        ClientCountry="de",
    ),
    "cloudflare: nanoseconds": _json(
        ClientIP=ADDRESS,
        ClientRequestMethod="GET",
        ClientRequestURI="/PATH",
        EdgeResponseStatus=200,
        EdgeStartTimestamp=1795860000000000000,
        ClientRequestUserAgent=FIREFOX,
    ),
    "cloudfront-v2": _json(
        date="2026-11-28",
        time="10:00:00",
        **{
            "c-ip": ADDRESS,
            "cs-method": "GET",
            "cs-uri-stem": "/PATH",
            "sc-status": "200",
            "cs(User-Agent)": _PERCENT,
            "cs(Referer)": "-",
        },
    ),
    "w3c": f"2026-11-28 10:00:00 GET {{path}} - {ADDRESS} {_PLUS} - 200",
    "w3c (CloudFront)": "\t".join(
        (
            "2026-11-28",
            "10:00:00",
            "FRA56",
            "512",
            ADDRESS,
            "GET",
            "d1.example.org",
            "{path}",
            "200",
            "-",
            _PERCENT,
            "-",
        )
    )
    + "\twww.example.org",
    "aws-alb": (
        f"https 2026-11-28T10:00:00.000000Z app/lb/1 {ADDRESS}:51234 10.0.0.5:8000 0.000 0.012 0.000 200 200 300 512 "
        f'"GET https://www.example.org:443{{path}} HTTP/2.0" "{FIREFOX}" ECDHE TLSv1.3 arn "Root=1" "-" "-" 0 x'
    ),
    "aws-alb: classic": (
        f"2026-11-28T10:00:00.000000Z lb {ADDRESS}:51234 10.0.0.5:8000 0.000 0.012 0.000 200 200 0 512 "
        f'"GET http://www.example.org:80{{path}} HTTP/1.1" "{FIREFOX}" - -'
    ),
    "haproxy, after syslog's prefix": _doubled(
        f"Nov 28 11:00:00 lb haproxy[99]: {ADDRESS}:51234 [28/Nov/2026:11:00:00.000] web~ app/s1 0/0/1/12/13 200 512 - "
        f'- ---- 3/2/1/1/0 0/0 {{www.example.org|{FIREFOX}}} "GET /PATH HTTP/1.1"'
    ),
    "daphne": f'{ADDRESS}:51234 - - [28/Nov/2026:11:00:00] "GET {{path}}" 200 512',
    "granian": f'[2026-11-28 10:00:00 +0000] {ADDRESS} - "GET {{path}} HTTP/1.1" 200 12.345',
    "heroku": (
        '2026-11-28T10:00:00.000000+00:00 heroku[router]: at=info method=GET path="{path}" host=www.example.org '
        f'request_id=1 fwd="{ADDRESS}" dyno=web.1 connect=0ms service=12ms status=200 bytes=512 protocol=https'
    ),
}
LINES["combined: an IPv6 address"] = COMBINED.replace(ADDRESS, "2001:db8:0:1:2:3:4:5")
BEGINNINGS = {"w3c": f"#Software: IIS\n#Version: 1.0\n{IIS}\n", "w3c (CloudFront)": f"#Version: 1.0\n{CLOUDFRONT}\n"}
#: formats whose lines do not have the user agent
WITHOUT_AGENT = ("daphne", "granian", "heroku")


def log_of(name: str, *paths: str) -> bytes:
    """A log of that format with a line for each path."""
    return (BEGINNINGS.get(name, "") + "".join(LINES[name].format(path=path) + "\n" for path in paths)).encode()
