from __future__ import annotations

import contextlib
import io
import json
import time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from django_pagestats.exceptions import ImportFailedError
from django_pagestats.importing import Reading, Skip, Summary, format_names, import_log
from django_pagestats.importing.formats.recognising import Recogniser
from django_pagestats.importing.lines import LineReader
from django_pagestats.importing.streams import MAX_LINE_BYTES
from django_pagestats.importing.visitors import SessionKeys
from django_pagestats.intake import Row
from django_pagestats.models import ImportSource, PageView
from tests.logs import ADDRESS, AT, COMBINED, FIREFOX, IIS, LINES, REST, WITHOUT_AGENT, log_of

BERLIN = ZoneInfo("Europe/Berlin")
KEY = SessionKeys(b"secret").key(ADDRESS, FIREFOX)


def key_of(client: str, agent: str = FIREFOX) -> str:
    return SessionKeys(b"secret").key(client, agent)


def read(log: bytes | str, **options: Any) -> list[Row | Skip]:
    """What becomes of each line of a log."""
    text = log if isinstance(log, bytes) else log.encode()
    reader = LineReader(b"secret", Reading(**options))
    return [reader.page_view(line) for line in text.decode("latin-1").removesuffix("\n").split("\n")]


def one(log: bytes | str, **options: Any) -> Any:
    return read(log, **options)[-1]


def attributes(log: bytes | str, **options: Any) -> dict[str, str]:
    return json.loads(one(log, **options).attributes or "{}")


def load(log: bytes, **options: Any) -> Summary:
    is_complete = options.pop("is_complete", False)
    return import_log(
        io.BytesIO(log), name="access.log", reading=Reading(time_zone=BERLIN, **options), is_complete=is_complete
    )


@pytest.fixture(autouse=True)
def all_views(settings: Any) -> None:
    settings.PAGESTATS_DUPLICATE_SECONDS = 0


#: those that people open in an editor, which may put a byte order mark before the first line
EDITED = [
    name
    for name in LINES
    if "after" not in name
    and "JSON" not in name
    and name not in WITHOUT_AGENT
    and not name.startswith(("aws", "vhost"))
]


class TestShapes:
    @pytest.mark.parametrize("name", LINES)
    @pytest.mark.parametrize("end", ["", "\r"])
    def test_each_is_recognised_and_read(self, name: str, end: str) -> None:
        log = Recogniser(Reading(time_zone=BERLIN))
        reader = LineReader(b"secret", log=log)
        *before, line = log_of(name, "/a%20b/").decode("latin-1").removesuffix("\n").split("\n")
        assert [reader.page_view(other + end) for other in before] == [Skip.COMMENT] * len(before)
        row = reader.page_view(line + end)
        assert isinstance(row, Row)
        assert (row.path, row.viewed_at) == ("/a b/", AT)
        client = "2001:db8:0:1::/64" if "IPv6" in name else ADDRESS
        assert row.session_key == key_of(client, "" if name in WITHOUT_AGENT else FIREFOX)
        assert log.name == name.partition(":")[0]

    @pytest.mark.parametrize("name", EDITED)
    def test_a_byte_order_mark_is_no_part_of_it(self, name: str) -> None:
        assert isinstance(one(b"\xef\xbb\xbf" + log_of(name, "/a"), time_zone=BERLIN), Row)

    @pytest.mark.parametrize("name", [name for name in LINES if name.partition(":")[0] in format_names()])
    def test_each_can_be_said(self, name: str) -> None:
        said = name.partition(":")[0]
        assert isinstance(one(log_of(name, "/a"), format=said, time_zone=BERLIN), Row)

    @pytest.mark.parametrize("other", ["junk", "{", '{"a": 1}', "[" * 100_000, '{"ts":' * 10_000, "1" * 9_999])
    def test_what_is_none_of_them(self, other: str) -> None:
        assert one(other) is Skip.MALFORMED
        assert one(COMBINED.format(path="/") + "\n" + other) is Skip.MALFORMED

    def test_uvicorns_is_refused(self) -> None:
        with pytest.raises(ImportFailedError, match="uvicorn, which has neither times nor user agents"):
            read('INFO:     192.0.2.10:51234 - "GET /a/ HTTP/1.1" 200 OK')

    @pytest.mark.parametrize("name", ["daphne", "haproxy, after syslog's prefix"])
    def test_times_without_a_zone_need_one(self, name: str) -> None:
        with pytest.raises(ImportFailedError, match="give --time-zone"):
            read(log_of(name, "/a"))

    def test_an_unknown_name(self) -> None:
        with pytest.raises(ImportFailedError, match=r"There is no format 'clf': .*combined"):
            read("x", format="clf")


class TestAddresses:
    MAIN = "10.0.0.2 " + REST.format(path="/a/") + ' "{}"'

    def test_the_last_quotes_of_nginx_main(self) -> None:
        assert one(self.MAIN.format(f"{ADDRESS}, 198.51.100.7"), address="last-quoted").session_key == KEY
        assert one(self.MAIN.format("-"), address="last-quoted").session_key == key_of("10.0.0.2")
        assert one(self.MAIN.format(ADDRESS)).session_key == key_of("10.0.0.2")
        assert one(self.MAIN.format("unknown words"), address="last-quoted") is Skip.NO_ADDRESS

    def test_a_numbered_field(self) -> None:
        line = f'10.0.0.2 {REST.format(path="/a/")} 0.004 "x y" {ADDRESS}'
        assert one(line, address="12").session_key == KEY
        assert one(line, address="99").session_key == key_of("10.0.0.2")

    def test_a_named_field(self) -> None:
        log = f"{IIS} X-Forwarded-For\n" + LINES["w3c"].format(path="/a").replace(ADDRESS, "10.0.0.2") + f" {ADDRESS}"
        assert one(log).session_key == key_of("10.0.0.2")
        assert one(log, address="X-Forwarded-For").session_key == KEY
        caddy = log_of("caddy", "/a")
        assert one(caddy, address="request.remote_ip").session_key == key_of("10.0.0.2")

    @pytest.mark.parametrize(("name", "where"), [("combined", "client"), ("caddy", "last-quoted"), ("w3c", "2")])
    def test_what_does_not_go_together(self, name: str, where: str) -> None:
        with pytest.raises(ImportFailedError, match=f"--address {where}"):
            read(log_of(name, "/a"), address=where)

    @pytest.mark.parametrize("address", ["-", "", "unix:", "not/an@address"])
    def test_without_one_nobody_is_told_from_others(self, address: str) -> None:
        assert one(COMBINED.format(path="/a").replace(ADDRESS, address), format="combined") is Skip.NO_ADDRESS

    @pytest.mark.parametrize(
        ("logged", "client"),
        [
            ("::ffff:192.0.2.10", ADDRESS),
            ("[2001:db8::1]:443", "2001:db8::/64"),
            ("2001:db8::ffff:1", "2001:db8::/64"),
            ("10.0.0.1,10.0.0.2", "10.0.0.1"),
            ("10.0.0.1,192.0.2.10", ADDRESS),
            ("Host.example.com", "host.example.com"),
        ],
    )
    def test_they_are_cleaned(self, logged: str, client: str) -> None:
        assert one(COMBINED.format(path="/a").replace(ADDRESS, logged)).session_key == key_of(client)

    @pytest.mark.django_db
    @pytest.mark.parametrize(
        ("address", "told"),
        [("10.0.0.{}", "100 % of the page views come from private addresses"), ("192.0.2.7", "come from one address")],
    )
    def test_a_proxys_address_is_warned_of_and_not_shown(self, address: str, told: str) -> None:
        lines = [COMBINED.format(path=f"/{n}").replace(ADDRESS, address.format(n % 9)) + "\n" for n in range(120)]
        notes = " ".join(load("".join(lines).encode()).notes)
        assert told in notes
        assert "--address" in notes
        assert "192.0.2.7" not in notes
        other = [COMBINED.format(path=f"/{n}").replace(ADDRESS, f"192.0.2.{n % 9}") + "\n" for n in range(120)]
        assert "Warning" not in " ".join(load("".join(other).encode()).notes)


class TestHosts:
    @pytest.mark.parametrize(
        "name",
        [
            "vhost-combined",
            "combined: varnishncsa",
            "caddy",
            "traefik",
            "cloudflare",
            "aws-alb",
            "heroku",
            "nginx-json",
        ],
    )
    def test_only_what_was_asked_of_it(self, name: str) -> None:
        assert isinstance(one(log_of(name, "/a"), hosts=frozenset({"Example.org"})), Row)
        assert one(log_of(name, "/a"), hosts=frozenset({"shop.example.org"})) is Skip.OTHER_HOST

    def test_a_log_without_hosts_has_none(self) -> None:
        assert one(COMBINED.format(path="/a"), hosts=frozenset({"example.org"})) is Skip.OTHER_HOST

    def test_the_host_is_recorded_where_it_is_wanted(self, settings: Any) -> None:
        assert "host" not in attributes(log_of("vhost-combined", "/a"))
        settings.PAGESTATS_RECORD_HOST = True
        assert attributes(log_of("vhost-combined", "/a"))["host"] == "www.example.org"


class TestAttributes:
    def line(self, referrer: str, path: str = "/a") -> str:
        return f"www.example.org {COMBINED}".format(path=path).replace('"-"', f'"{referrer}"')

    def test_an_arrival_has_a_source(self) -> None:
        found = attributes(self.line("https://www.search.example/?q=x", "/a?utm_campaign=Spring&utm_medium=mail"))
        assert found == {
            "browser": "Firefox",
            "campaign": "spring",
            "device": "desktop",
            "medium": "mail",
            "source": "search.example",
            "system": "Linux",
        }
        assert attributes(self.line("-"))["source"] == "(direct)"
        assert "source" not in attributes(self.line("https://example.org/b"))

    def test_only_those_that_are_wanted(self, settings: Any) -> None:
        settings.PAGESTATS_ATTRIBUTES = ["browser"]
        assert attributes(self.line("-")) == {"browser": "Firefox"}

    def test_own_hosts_are_needed(self, settings: Any) -> None:
        """A log that does not say its host: every referrer might be the site itself."""
        line = COMBINED.format(path="/a?utm_source=Mail").replace('"-"', '"https://example.org/"')
        settings.ALLOWED_HOSTS = ["*"]
        assert attributes(line)["source"] == "mail"
        bare = line.replace("?utm_source=Mail", "")
        assert "source" not in attributes(bare)
        settings.PAGESTATS_OWN_HOSTS = ["shop.example.org"]
        assert attributes(bare)["source"] == "example.org"
        settings.PAGESTATS_OWN_HOSTS = []
        settings.ALLOWED_HOSTS = ["shop.example.org"]
        assert attributes(bare)["source"] == "example.org"

    def test_a_log_without_referrers_has_no_direct_arrivals(self) -> None:
        assert "source" not in attributes(log_of("aws-alb", "/a"))
        assert attributes(log_of("aws-alb", "/a?ref=mail"))["source"] == "mail"

    def test_spam_is_left_out(self) -> None:
        assert one(self.line("https://semalt.com/")) is Skip.REFERRER_SPAM
        with_unknown_host = COMBINED.format(path="/a").replace('"-"', '"https://semalt.com/"')
        assert one(with_unknown_host) is Skip.REFERRER_SPAM

    def test_country_and_language(self) -> None:
        assert attributes(log_of("cloudflare", "/a"))["country"] == "DE"
        caddy = log_of("caddy", "/a").replace(b'"Sec-Fetch-Dest"', b'"Accept-Language": ["fr-CA,fr"], "Sec-Fetch-Dest"')
        assert attributes(caddy)["language"] == "fr"


class TestHeaders:
    """Logs that carry headers: what the middleware would say."""

    @pytest.mark.parametrize(
        ("header", "value", "reason"),
        [
            ("Sec-Fetch-Dest", "iframe", Skip.NO_PAGE),
            ("Sec-Fetch-Dest", "empty", Skip.NO_PAGE),
            ("X-Requested-With", "XMLHttpRequest", Skip.NO_PAGE),
            ("Accept", "application/json", Skip.NO_PAGE),
            ("Sec-Purpose", "prefetch;prerender", Skip.PREFETCH),
            ("Sec-GPC", "1", Skip.GPC),
            ("DNT", "1", Skip.DNT),
            ("Signature-Agent", '"https://agent.example"', Skip.ROBOT),
        ],
    )
    def test_what_is_left_out(self, header: str, value: str, reason: Skip) -> None:
        entry = json.loads(log_of("caddy", "/a"))
        entry["request"]["headers"].pop("Sec-Fetch-Dest")
        assert isinstance(one(json.dumps(entry)), Row)
        entry["request"]["headers"][header] = [value]
        assert one(json.dumps(entry)) is reason

    def test_what_is_no_html(self) -> None:
        entry = json.loads(log_of("caddy", "/a"))
        entry["resp_headers"]["Content-Type"] = ["application/json"]
        assert one(json.dumps(entry)) is Skip.NO_PAGE

    def test_gpc_may_be_counted(self, settings: Any) -> None:
        settings.PAGESTATS_HONOUR_GPC = False
        entry = json.loads(log_of("caddy", "/a"))
        entry["request"]["headers"]["Sec-Gpc"] = entry["request"]["headers"]["Sec-GPC"] = ["1"]
        assert isinstance(one(json.dumps(entry)), Row)

    @pytest.mark.parametrize(("header", "value"), [("Sec-Gpc", "1"), ("Dnt", "1"), ("Hx-Preloaded", "true")])
    def test_go_writes_headers_its_own_way(self, header: str, value: str) -> None:
        entry = json.loads(log_of("caddy", "/a"))
        entry["request"]["headers"][header] = [value]
        assert isinstance(one(json.dumps(entry)), Skip)

    def test_excluded_paths(self, settings: Any) -> None:
        settings.PAGESTATS_EXCLUDE_PATHS = ["^/health/"]
        assert one(COMBINED.format(path="/health/")) is Skip.EXCLUDED_PATH


class TestQuotesInside:
    @pytest.mark.parametrize("rest", ["", ' "203.0.113.7" 0.004', " rt=0.012", " 12 3", "\r"])
    def test_of_an_agent(self, rest: str) -> None:
        agent = 'Mozilla/5.0 (X11; "Linux" x86_64) Gecko/20100101 Firefox/128.0'
        line = COMBINED.format(path="/a").replace(FIREFOX, agent) + rest
        assert one(line).session_key == key_of(ADDRESS, agent)

    def test_of_referrer_and_request(self) -> None:
        line = COMBINED.format(path='/a"b').replace('"-"', '"https://example.org/?q="x""')
        assert (one(line).path, one(line).session_key) == ('/a"b', KEY)

    def test_what_has_no_end(self) -> None:
        assert one(COMBINED.format(path="/").replace('"-"', '"a"b')[:-1]) is Skip.MALFORMED


class TestW3C:
    def test_fields_may_change_in_mid_file(self) -> None:
        line = LINES["w3c"].format(path="/a")
        log = f"{IIS}\n{line}\n#Fields: date time c-ip cs-uri-stem sc-status cs(User-Agent) cs-method\n"
        log += f"2026-11-28 10:00:00 {ADDRESS} /b 200 {FIREFOX.replace(' ', '+')} GET"
        first, second = (outcome for outcome in read(log) if isinstance(outcome, Row))
        assert (first.path, second.path, first.session_key, second.session_key) == ("/a", "/b", KEY, KEY)

    def test_iis_writes_a_plus_for_a_space(self) -> None:
        assert one(f"{IIS}\n" + LINES["w3c"].format(path="/my+page")).path == "/my page"

    def test_cloudfront_escaped_twice_for_years(self) -> None:
        assert one(log_of("w3c (CloudFront)", "/a+b").replace(b"%20", b"%2520")).session_key == KEY
        assert one(log_of("w3c (CloudFront)", "/a+b")).path == "/a+b"

    def test_what_is_short_or_before_its_fields(self) -> None:
        assert read(f"{LINES['w3c'].format(path='/a')}\n{IIS}\n2026-11-28 10:00:00 GET\n#note") == [
            Skip.MALFORMED,
            Skip.COMMENT,
            Skip.MALFORMED,
            Skip.MALFORMED,
        ]

    @pytest.mark.django_db
    def test_files_that_begin_alike_are_told_apart(self) -> None:
        for path in ("/a", "/b"):
            assert load(log_of("w3c (CloudFront)", path)).imported == 1
            assert load(log_of("w3c (CloudFront)", path)).read == 0

    @pytest.mark.django_db
    def test_nothing_is_known_of_a_file_of_directives(self) -> None:
        beginning = log_of("w3c")
        assert load(beginning).imported == 0
        assert load(beginning + log_of("w3c", "/a")).imported == 1
        assert load(beginning + log_of("w3c", "/a")).imported == 0


class TestServerFormats:
    @pytest.mark.parametrize(
        ("string", "line"),
        [
            ('%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i"', COMBINED),
            (r'LogFormat "%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\"" combined', COMBINED),
            (
                '%a %t "%m %U%q %H" %s "%{User-agent}i"',
                f'{ADDRESS} [28/Nov/2026:10:00:00 +0000] "GET {{path}}?q HTTP/1.1" 200 "{FIREFOX}"',
            ),
            (
                "%{%d/%b/%Y:%T}t.%{msec_frac}t %{%z}t|%>s|%a|%{User-Agent}i|%r",
                f"28/Nov/2026:10:00:00.000 +0000|200|{ADDRESS}|{FIREFOX}|GET {{path}} HTTP/1.1",
            ),
            (
                '%{X-Forwarded-For}i %>s %{sec}t "%r" "%{User-Agent}i" %D',
                f'{ADDRESS}, 10.0.0.2 200 1795860000 "GET {{path}} HTTP/1.1" "{FIREFOX}" 99',
            ),
            (
                '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" '
                '"$http_user_agent" "$http_x_forwarded_for"',
                COMBINED + ' "-"',
            ),
            (
                "log_format main '$remote_addr [$time_iso8601] \"$request\" '\n"
                "  '$status \"$http_user_agent\" $request_time';",
                f'{ADDRESS} [2026-11-28T10:00:00+00:00] "GET {{path}} HTTP/1.1" 200 "{FIREFOX}" 0.004',
            ),
            (
                "$msec\t$status\t$remote_addr\t$request_method\t$request_uri\t$http_user_agent",
                f"1795860000.000\t200\t{ADDRESS}\tGET\t{{path}}\t{FIREFOX}",
            ),
        ],
    )
    def test_the_servers_own_string(self, string: str, line: str) -> None:
        row = one(line.format(path="/a"), format=string)
        assert (row.path, row.viewed_at, row.session_key) == ("/a", AT, KEY)

    def test_json_of_nginx(self) -> None:
        string = (
            """log_format j escape=json '{"at":"$time_iso8601","from":{"ip":"$remote_addr"},"asked":"$request",'"""
            """'"answer":$status,"ua":"$http_user_agent","dest":"$http_sec_fetch_dest"}';"""
        )
        line = json.dumps(
            {
                "at": "2026-11-28T10:00:00+00:00",
                "from": {"ip": ADDRESS},
                "asked": "GET /a HTTP/2.0",
                "answer": 200,
                "ua": FIREFOX,
                "dest": "document",
            }
        )
        assert one(line, format=string).session_key == KEY
        assert one(line.replace("document", "image"), format=string) is Skip.NO_PAGE

    def test_keys_of_json(self) -> None:
        line = json.dumps({"t": "2026-11-28T10:00:00Z", "c": {"ip": ADDRESS}, "u": "/a", "s": 200, "ua": FIREFOX})
        row = one(line, format="time=t, address=c.ip, target=u, status=s, agent=ua")
        assert (row.path, row.session_key) == ("/a", KEY)

    def test_headers_are_looked_at(self) -> None:
        string = '%h %t "%r" %>s "%{User-Agent}i" %{Sec-Fetch-Dest}i'
        line = f'{ADDRESS} [28/Nov/2026:10:00:00 +0000] "GET /a HTTP/1.1" 200 "{FIREFOX}" '
        assert isinstance(one(line + "document", format=string), Row)
        assert isinstance(one(line + "-", format=string), Row)
        assert one(line + "iframe", format=string) is Skip.NO_PAGE

    def test_the_address_by_its_name(self) -> None:
        string = '$remote_addr [$time_local] "$request" $status "$http_user_agent" "$http_x_forwarded_for"'
        line = f'10.0.0.2 [28/Nov/2026:10:00:00 +0000] "GET /a HTTP/1.1" 200 "{FIREFOX}" "{ADDRESS}"'
        assert one(line, format=string).session_key == key_of("10.0.0.2")
        assert one(line, format=string, address="http_x_forwarded_for").session_key == KEY
        assert one(line, format=string, address="last-quoted").session_key == KEY
        with pytest.raises(ImportFailedError, match="nothing of that name"):
            one(line, format=string, address="http_x_real_ip")

    @pytest.mark.parametrize(
        ("string", "told"),
        [
            ("%h %>s %r", r"does not have the time"),
            ("%t %h", r"does not have the request"),
            ('%t "%r"', r"does not have the status"),
            ('%t "%r" %>s %Y', r"%Y in --format is nothing that LogFormat has"),
            ("%t %r %>s %", r"' %' in --format"),
            ('%{%A}t "%r" %>s', r"%\{%A\}t in --format cannot be used"),
            ("$remote_addr$request_method $time_local $request $status", "where the one ends cannot be told"),
            ("time=t,colour=c", "'colour=c' in --format: give NAME=KEY"),
            ("time=t,status=s", "needs the keys of time"),
        ],
    )
    def test_says_what_cannot_be_used(self, string: str, told: str) -> None:
        with pytest.raises(ImportFailedError, match=told):
            read("x", format=string)


class TestHostile:
    @settings(max_examples=200)
    @given(name=st.sampled_from(list(LINES)), data=st.data())
    def test_no_line_raises(self, name: str, data: st.DataObject) -> None:
        """Pieces of lines of all formats, cut and put together anyhow."""
        log = Recogniser(Reading(time_zone=BERLIN))
        reader = LineReader(b"secret", log=log)
        for line in log_of(name, "/").decode("latin-1").splitlines():
            reader.page_view(line)
        whole = log_of(name, "/").decode("latin-1").splitlines()[-1]
        piece = st.one_of(
            st.sampled_from([whole, '"', "\\", "{", "[", " ", "\t", "#Fields: ", "%2", "\\x4", "1e999", "NaN", "-"]),
            st.integers(0, len(whole)).map(lambda end: whole[:end]),
            st.integers(0, len(whole)).map(lambda start: whole[start:]),
            st.text(st.characters(max_codepoint=255), max_size=20),
        )
        line = "".join(data.draw(st.lists(piece, max_size=6)))
        with contextlib.suppress(ImportFailedError):  # a piece of uvicorn's
            assert isinstance(reader.page_view(line), (Row, Skip))

    @settings(max_examples=100)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ),
        st.sampled_from(["ts", "status", "request", "request.headers", "request.uri", "resp_headers"]),
    )
    def test_no_json_raises(self, value: object, key: str) -> None:
        entry = json.loads(log_of("caddy", "/a"))
        inner, *rest = key.split(".")
        if rest:
            entry[inner][rest[0]] = value
        else:
            entry[inner] = value
        assert isinstance(one(json.dumps(entry), format="caddy"), (Row, Skip))

    @pytest.mark.parametrize("name", LINES)
    def test_no_line_takes_long(self, name: str) -> None:
        """Patterns that go back and forth would take hours."""
        size = MAX_LINE_BYTES - 2_000
        log = Recogniser(Reading(time_zone=BERLIN))
        reader = LineReader(b"secret", log=log)
        *before, line = log_of(name, "/").decode("latin-1").splitlines()
        for other in before:
            reader.page_view(other)
        reader.page_view(line)
        started = time.process_time()
        for junk in (
            '"',
            "\\",
            '\\"',
            '" "',
            " ",
            "-",
            "[28/Nov/2026:10:00:00 +0000] ",
            '" 200 1',
            "1, ",
            "{",
            "\t",
            "a=",
        ):
            repeated = junk * (size // len(junk))
            for hostile in (repeated, line[:40] + repeated, line[:-3] + repeated, line.replace("/", repeated, 1)):
                assert isinstance(reader.page_view(hostile[:MAX_LINE_BYTES]), (Row, Skip))
        assert time.process_time() - started < 10


@pytest.mark.django_db
class TestGoingOn:
    @pytest.mark.once
    @pytest.mark.parametrize("name", LINES)
    def test_cut_anywhere_and_gone_on_it_is_as_imported_at_once(self, name: str) -> None:
        log = log_of(name, "/a") + b"junk\n" + log_of(name, "/b")
        load(log)
        at_once = sorted(PageView.objects.values_list("path", "session_key", "viewed_at", "attributes"), key=str)
        assert len(at_once) == 2
        step = 3 if connection.vendor == "sqlite" else 41
        for cut in range(0, len(log) + 1, step):
            PageView.objects.all().delete()
            ImportSource.objects.all().delete()
            for part in (log[:cut], log):
                with contextlib.suppress(ImportFailedError):  # the first part has no line yet
                    load(part)
            found = sorted(PageView.objects.values_list("path", "session_key", "viewed_at", "attributes"), key=str)
            assert found == at_once, cut
            assert load(log).read == 0

    @pytest.mark.parametrize("name", ["combined", "caddy"])
    def test_a_whole_last_line_needs_no_newline(self, name: str) -> None:
        one, log = log_of(name, "/a"), log_of(name, "/a", "/b")
        assert load(one[:-1]).imported == 1
        assert load(one).imported == 0
        assert load(log[:-1]).imported == 1
        assert load(log + log_of(name, "/c")).imported == 1

    def test_the_last_field_is_not_there_yet(self) -> None:
        """A line that could be counted by its format, but not by its address."""
        log = ("10.0.0.2 " + REST.format(path="/a/") + f' "{ADDRESS}"\n').encode()
        cut = log.rindex(b' "')
        assert load(log[:cut], address="last-quoted").imported == 0
        assert load(log, address="last-quoted").imported == 1

    def test_without_an_agent_robots_cannot_be_told(self) -> None:
        for name in WITHOUT_AGENT:
            assert "robots among them cannot be told" in " ".join(load(log_of(name, "/a")).notes)
