"""The country of a request: a CDN's header, a file of addresses, or a callable of the site's own."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import RequestFactory

from django_pagestats import checks
from django_pagestats.headers import countries
from django_pagestats.recording.country import country_of
from tests import mmdb
from tests.checking import of_settings

maxminddb = pytest.importorskip("maxminddb")

NETWORKS = {
    "192.0.2.0/25": {"country": {"iso_code": "DE"}, "registered_country": {"iso_code": "US"}},
    "192.0.2.128/25": {"registered_country": {"iso_code": "AT"}},
    "198.51.100.0/25": {"country_code": "FR", "country": "France"},
    "198.51.100.128/25": {"country": "ch"},
    "203.0.113.0/26": {"country": {"iso_code": "EU"}, "continent": {"code": "EU"}},
    "203.0.113.64/26": {"country": "Germany"},
    "203.0.113.128/26": {"country": {"iso_code": "XX"}, "registered_country": {"iso_code": "NL"}},
    "2001:db8:1::/48": {"country": {"iso_code": "JP"}},
}


def country(address: str = "192.0.2.7", **headers: str) -> str:
    return country_of(RequestFactory().get("/", REMOTE_ADDR=address, **headers))


@pytest.fixture(autouse=True)
def own_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process in which no file is open yet."""
    monkeypatch.setattr(countries, "_file", countries._File())


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A clock that goes when it is told to: the first item is the time."""
    clock = [1_000.0]
    monkeypatch.setattr(countries, "monotonic", lambda: clock[0])
    yield clock


@pytest.fixture
def file(tmp_path: Path, settings: Any) -> Path:
    path = mmdb.write(tmp_path / "countries.mmdb", NETWORKS)
    settings.PAGESTATS_COUNTRY = str(path)
    return path


def test_it_is_off_until_it_is_named() -> None:
    assert country(HTTP_CF_IPCOUNTRY="DE") == ""


# -- a header


@pytest.fixture
def header(settings: Any) -> None:
    settings.PAGESTATS_COUNTRY = "CF-IPCountry"
    settings.PAGESTATS_TRUSTED_PROXIES = ["10.0.0.0/8", "unix"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [("DE", "DE"), ("de", "DE"), (" fr ", "FR")]
    + [
        (none, "")
        for none in ("XX", "ZZ", "T1", "A1", "A2", "O1", "AP", "EU", "eu", "", "D", "DEU", "D1", "\u00c4\u00c4")
    ],
)
def test_a_header_of_a_trusted_proxy(header: None, value: str, expected: str) -> None:
    assert country("10.1.2.3", HTTP_CF_IPCOUNTRY=value) == expected
    assert country("", HTTP_CF_IPCOUNTRY=value) == expected


def test_a_header_is_believed_of_nobody_else(header: None, settings: Any) -> None:
    assert country("192.0.2.7", HTTP_CF_IPCOUNTRY="DE") == ""
    assert country("192.0.2.7", HTTP_CF_IPCOUNTRY="DE", HTTP_X_FORWARDED_FOR="10.1.2.3") == ""
    settings.PAGESTATS_TRUSTED_PROXIES = []
    assert country("10.1.2.3", HTTP_CF_IPCOUNTRY="DE") == ""


def test_a_header_that_is_not_sent(header: None) -> None:
    assert country("10.1.2.3") == country("10.1.2.3", HTTP_X_VERCEL_IP_COUNTRY="DE") == ""


# -- a file


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", "DE"),
        ("192.0.2.130", "AT"),
        ("198.51.100.7", "FR"),
        ("198.51.100.130", "CH"),
        ("203.0.113.7", ""),
        ("203.0.113.70", ""),
        ("203.0.113.130", "NL"),
        ("203.0.113.200", ""),
        ("2001:db8:1:2:3:4:5:6", "JP"),
        ("2001:db8:2::1", ""),
        ("::ffff:192.0.2.7", "DE"),
        ("", ""),
        ("nonsense", ""),
    ],
)
def test_a_file_of_either_shape(file: Path, address: str, expected: str) -> None:
    assert country(address) == expected


def test_a_file_is_asked_of_the_client_and_not_of_the_proxy(file: Path, settings: Any) -> None:
    settings.PAGESTATS_TRUSTED_PROXIES = ["192.0.2.7"]
    assert country("192.0.2.7", HTTP_X_FORWARDED_FOR="198.51.100.7") == "FR"


def test_a_file_by_its_path_object(file: Path, settings: Any) -> None:
    settings.PAGESTATS_COUNTRY = file
    assert country() == "DE"


def test_a_file_of_ipv4_addresses_knows_no_others(tmp_path: Path, settings: Any) -> None:
    settings.PAGESTATS_COUNTRY = mmdb.write(tmp_path / "x.mmdb", {"192.0.2.0/24": {"country_code": "DE"}}, ip_version=4)
    assert country() == "DE"
    assert country("2001:db8:1::1") == ""


@pytest.mark.parametrize("record", ["DE", ["DE"], {}, {"country": 7}, {"country": {"iso_code": 7}}, None])
def test_records_of_other_shapes(record: object) -> None:
    assert countries.country_in(record) == ""


def test_a_file_that_was_replaced_is_opened_anew_within_a_minute(file: Path, passing: list[float]) -> None:
    assert country() == "DE"
    mmdb.write(file, {"192.0.2.0/24": {"country_code": "SE"}})
    passing[0] += countries.LOOK_SECONDS - 1
    assert country() == "DE"
    passing[0] += 2
    assert country() == "SE"


def test_a_file_that_is_the_same_is_not_opened_again(
    file: Path, passing: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert country() == "DE"
    monkeypatch.setattr(countries, "_opened", lambda path: pytest.fail("opened again"))
    passing[0] += 10 * countries.LOOK_SECONDS
    assert country() == "DE"


def test_a_file_is_looked_at_once_a_minute_at_most(
    file: Path, passing: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    version_of = countries._version_of
    monkeypatch.setattr(countries, "_version_of", lambda path: looked.append(path) or version_of(path))
    for _ in range(100):
        assert country() == "DE"
        passing[0] += 1
    assert looked == [str(file)] * 2


def test_a_missing_file_costs_the_country_and_is_logged_once(
    file: Path, passing: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    file.rename(file.with_suffix(".kept"))
    for _ in range(5):
        assert country() == ""
        passing[0] += countries.LOOK_SECONDS
    (record,) = caplog.records
    assert record.levelno == logging.ERROR and str(file) in record.getMessage()
    file.with_suffix(".kept").rename(file)
    passing[0] += countries.LOOK_SECONDS
    assert country() == "DE"
    file.unlink()  # and logged again when it fails again
    passing[0] += countries.LOOK_SECONDS
    assert country() == ""
    assert len(caplog.records) == 2


def test_a_file_that_is_broken_costs_the_country(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.write_bytes(b"no MMDB")
    assert country() == ""
    assert len(caplog.records) == 1


def test_without_maxminddb_there_is_no_country(
    file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "maxminddb", None)
    assert country() == ""
    assert "maxminddb" in caplog.text


def test_another_file_is_opened_when_it_is_named(file: Path, tmp_path: Path, settings: Any) -> None:
    assert country() == "DE"
    settings.PAGESTATS_COUNTRY = mmdb.write(tmp_path / "b.mmdb", {"192.0.2.0/24": {"country_code": "SE"}})
    assert country() == "SE"


def test_no_address_is_in_the_log(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.unlink()
    country("192.0.2.7")
    assert caplog.records and "192.0.2" not in caplog.text


# -- a callable


def of_cookie(request: HttpRequest) -> str | None:
    return request.META.get("HTTP_X_TEST_COUNTRY")


of_nothing = "not called"


def test_a_callable_of_ones_own(settings: Any) -> None:
    settings.PAGESTATS_COUNTRY = f"{__name__}.of_cookie"
    assert country(HTTP_X_TEST_COUNTRY="gb") == "GB"
    assert country(HTTP_X_TEST_COUNTRY="Britain") == country() == ""


def test_an_import_has_no_request_to_ask_with(settings: Any) -> None:
    settings.PAGESTATS_COUNTRY = f"{__name__}.of_cookie"
    settings.PAGESTATS_TRUSTED_PROXIES = ["10.0.0.1"]
    assert countries.country_of({"HTTP_X_TEST_COUNTRY": "GB", "REMOTE_ADDR": "10.0.0.1"}) == ""
    assert countries.country_of_address("192.0.2.7") == ""


# -- the checks


def test_each_kind_has_its_check(file: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert of_settings() == []
    settings.PAGESTATS_COUNTRY = "no/such/file"
    assert of_settings() == ["pagestats.E052"]
    settings.PAGESTATS_COUNTRY = "nosuch.mmdb"
    (message,) = checks.check_attributes()
    assert message.id == "pagestats.E052" and "'nosuch.mmdb'" in message.msg
    settings.PAGESTATS_COUNTRY = file
    file.write_bytes(b"no MMDB")
    assert of_settings() == ["pagestats.E052"]
    monkeypatch.setattr("django_pagestats.checks.attributes.find_spec", lambda name: None)
    assert of_settings() == ["pagestats.W053"]
    settings.PAGESTATS_COUNTRY = "no.such.module"
    assert of_settings() == ["pagestats.E054"]
    settings.PAGESTATS_COUNTRY = f"{__name__}.of_nothing"
    assert of_settings() == ["pagestats.E054"]
    settings.PAGESTATS_COUNTRY = f"{__name__}.of_cookie"
    assert of_settings() == []


def test_a_header_that_nobody_is_believed_with(settings: Any) -> None:
    settings.PAGESTATS_COUNTRY = "CF-IPCountry"
    assert of_settings() == ["pagestats.W056"]
    settings.PAGESTATS_TRUSTED_PROXIES = ["10.0.0.1"]
    assert of_settings() == []


@pytest.mark.parametrize("value", ["", 7, "CF IPCountry", "a..b", ["CF-IPCountry"]])
def test_what_is_none_of_them(settings: Any, value: object) -> None:
    settings.PAGESTATS_COUNTRY = value
    assert of_settings() == ["pagestats.E001"]
