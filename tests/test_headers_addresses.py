"""The client's address, with and without proxies; all addresses are of documentation or of nobody."""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Any

import pytest
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from django_pagestats.headers.addresses import (
    MOST_HOPS,
    address_of,
    client_address,
    is_from_own_network,
    is_from_trusted_proxy,
)

CLIENT = "198.51.100.7"
FORGED = "203.0.113.66"


#: the first line: what servers write where there is none
NO_ADDRESSES = [
    *("", " ", "-", "unknown", "_hidden", "unix:", "localhost"),
    *("example.com", "192.0.2", "192.0.2.256", "1", "192.0.2.0/24", "192.0.2.1, 192.0.2.2", "\0"),
    *("2001:db8::/64", "2001:db8::1::", "[]", ":443"),
]


def behind(*hops: str, remote: str = "127.0.0.1", **headers: str) -> dict[str, str]:
    return {"REMOTE_ADDR": remote, "HTTP_X_FORWARDED_FOR": ", ".join(hops), **headers}


class TestAddressOf:
    @pytest.mark.parametrize(
        ("text", "address"),
        [
            ("192.0.2.1", "192.0.2.1"),
            (" 192.0.2.1\t", "192.0.2.1"),
            ('"192.0.2.1"', "192.0.2.1"),
            ("'192.0.2.1'", "192.0.2.1"),
            ("192.0.2.1:51234", "192.0.2.1"),
            ('"192.0.2.1:51234"', "192.0.2.1"),
            ("[192.0.2.1]", "192.0.2.1"),
            ("[192.0.2.1]:443", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::/64"),
            ("2001:DB8:0:0:1:2:3:4", "2001:db8::/64"),
            ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
            ("[2001:db8::1]", "2001:db8::/64"),
            ("[2001:db8::1]:443", "2001:db8::/64"),
            ('"[2001:db8::1]:443"', "2001:db8::/64"),
            ("[2001:db8::1", "2001:db8::/64"),
            ("2001:db8:1:2:3:4:5:6:443", "2001:db8:1:2::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("[fe80::1%25eth0]:80", "fe80::/64"),
            ("::1", "::/64"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:443", "192.0.2.1"),
            ("::ffff:c000:201", "192.0.2.1"),
        ],
    )
    def test_cleaned(self, text: str, address: str) -> None:
        assert address_of(text) == address

    @pytest.mark.parametrize("text", NO_ADDRESSES)
    def test_none(self, text: str) -> None:
        assert address_of(text) is None

    @given(st.ip_addresses(v=4))
    def test_any_of_the_old_kind_stays_itself(self, address: IPv4Address) -> None:
        assert address_of(f"{address}") == address_of(f"::ffff:{address}") == address_of(f"{address}:1") == str(address)

    @given(st.ip_addresses(v=6).filter(lambda address: address.ipv4_mapped is None))
    def test_any_of_the_new_kind_becomes_its_network(self, address: IPv6Address) -> None:
        network = ip_network((address, 64), strict=False)
        assert address_of(f"{address}") == address_of(f"[{address.exploded}]:443") == str(network)

    @given(st.text(max_size=60))
    def test_any_text_gives_an_address_or_none(self, text: str) -> None:
        found = address_of(text)
        assert found is None or ip_network(found)


class TestNoProxy:
    def test_remote_address(self) -> None:
        assert client_address({"REMOTE_ADDR": CLIENT}) == CLIENT
        assert client_address({"REMOTE_ADDR": "2001:db8::5"}) == "2001:db8::/64"

    @pytest.mark.parametrize("meta", [{}, {"REMOTE_ADDR": ""}, {"REMOTE_ADDR": None}, {"REMOTE_ADDR": "unknown"}])
    def test_none(self, meta: dict[str, object]) -> None:
        assert client_address(meta) is None

    @override_settings(PAGESTATS_ADDRESS_HEADER="CF-Connecting-IP")
    def test_headers_are_not_believed(self) -> None:
        forged = {"HTTP_X_FORWARDED_FOR": FORGED, "HTTP_CF_CONNECTING_IP": FORGED, "HTTP_X_REAL_IP": FORGED}
        assert client_address({"REMOTE_ADDR": CLIENT, **forged}) == CLIENT
        assert client_address({"REMOTE_ADDR": "", **forged}) is None

    @override_settings(PAGESTATS_TRUSTED_PROXIES=["10.0.0.0/8"], PAGESTATS_ADDRESS_HEADER="CF-Connecting-IP")
    def test_nor_those_of_another_one_than_the_proxy(self) -> None:
        assert client_address(behind(FORGED, remote=CLIENT, HTTP_CF_CONNECTING_IP=FORGED)) == CLIENT


class TestProxies:
    @pytest.fixture(autouse=True)
    def trusted(self, settings: Any) -> None:
        settings.PAGESTATS_TRUSTED_PROXIES = ["127.0.0.1", "10.0.0.0/8", "2001:db8:ffff::/48"]

    @pytest.mark.parametrize(
        ("meta", "address"),
        [
            (behind(CLIENT), CLIENT),
            (behind(CLIENT, "10.0.0.1"), CLIENT),
            (behind(CLIENT, "10.0.0.1", "2001:db8:ffff::9"), CLIENT),
            # what a client sends is to the left of what the first proxy saw
            (behind(FORGED, CLIENT), CLIENT),
            (behind("10.0.0.99", FORGED, CLIENT, "10.0.0.1"), CLIENT),
            (behind("unknown", "junk", CLIENT), CLIENT),
            # as proxies write
            (behind(f"{CLIENT}:51234"), CLIENT),
            (behind(f'"{CLIENT}"', "[2001:db8:ffff::1]:443"), CLIENT),
            (behind("2001:db8:1::1", "10.0.0.1"), "2001:db8:1::/64"),
            (behind(CLIENT, remote="::ffff:127.0.0.1"), CLIENT),
            (behind(CLIENT, remote="10.255.255.255"), CLIENT),
            (behind(CLIENT, remote="2001:db8:ffff:1::1"), CLIENT),
            # nobody is outside: the leftmost
            (behind("10.1.1.1", "10.0.0.1"), "10.1.1.1"),
            (behind(), "127.0.0.1"),
            ({"REMOTE_ADDR": "127.0.0.1"}, "127.0.0.1"),
            # at junk it ends: the last one that was seen by somebody
            (behind(CLIENT, "unknown"), "127.0.0.1"),
            (behind(CLIENT, "unknown", "10.0.0.1"), "10.0.0.1"),
            (behind(CLIENT, ""), "127.0.0.1"),
            (behind(CLIENT, "unix:"), "127.0.0.1"),
        ],
    )
    def test_from_the_right_past_the_trusted(self, meta: dict[str, str], address: str) -> None:
        assert client_address(meta) == address

    def test_no_more_hops_than_anybody_has(self) -> None:
        assert client_address(behind(CLIENT, *["10.0.0.1"] * (MOST_HOPS - 1))) == CLIENT
        assert client_address(behind(CLIENT, "10.0.0.9", *["10.0.0.1"] * MOST_HOPS)) == "10.0.0.1"

    def test_a_socket_is_not_trusted(self) -> None:
        assert client_address(behind(CLIENT, remote="")) is None

    def test_which_proxies_headers_are_believed(self) -> None:
        assert is_from_trusted_proxy({"REMOTE_ADDR": "10.1.2.3"})
        assert not is_from_trusted_proxy({"REMOTE_ADDR": CLIENT})
        assert not is_from_trusted_proxy({"REMOTE_ADDR": ""})


class TestTrusted:
    @pytest.mark.parametrize("remote", ["", "unix:", "localhost"])
    def test_a_socket(self, remote: str) -> None:
        with override_settings(PAGESTATS_TRUSTED_PROXIES=["unix"]):
            assert client_address(behind(CLIENT, remote=remote)) == CLIENT
            assert client_address(behind(FORGED, CLIENT, "unix:", remote=remote)) == CLIENT
            assert client_address(behind(CLIENT, "unknown", remote=remote)) is None
            assert client_address({"REMOTE_ADDR": remote}) is None
            assert is_from_trusted_proxy({"REMOTE_ADDR": remote})
            assert client_address(behind(FORGED, remote=CLIENT)) == CLIENT

    def test_nobody_by_default(self) -> None:
        assert not is_from_trusted_proxy({"REMOTE_ADDR": "127.0.0.1"})
        assert not is_from_trusted_proxy({"REMOTE_ADDR": ""})

    @pytest.mark.parametrize("trusted", ["::ffff:10.0.0.0/104", "::ffff:10.0.0.1", "10.0.0.1/32"])
    def test_the_old_kind_in_clothes_of_the_new(self, trusted: str) -> None:
        with override_settings(PAGESTATS_TRUSTED_PROXIES=[trusted]):
            assert client_address(behind(CLIENT, remote="10.0.0.1")) == CLIENT
            assert client_address(behind(CLIENT, remote="::ffff:10.0.0.1")) == CLIENT
            assert client_address(behind(FORGED, remote=CLIENT)) == CLIENT

    def test_what_is_no_address_is_trusted_by_nobody(self) -> None:
        with override_settings(PAGESTATS_TRUSTED_PROXIES=["10.0.0.1/8", "junk", "127.0.0.1"]):
            assert client_address(behind(CLIENT)) == CLIENT
            assert client_address(behind(FORGED, remote="10.0.0.1")) == "10.0.0.1"

    @given(st.lists(st.ip_addresses(), min_size=1, max_size=6))
    def test_whoever_is_trusted_a_forged_beginning_changes_nothing(self, hops: list[IPv4Address | IPv6Address]) -> None:
        """What the client sends is on the left of its own address; no trusted network has that."""
        outside = CLIENT
        with override_settings(PAGESTATS_TRUSTED_PROXIES=["0.0.0.0/1", "127.0.0.1"]):
            assert client_address(behind(*map(str, hops), outside, "10.0.0.1")) == outside


class TestAddressHeader:
    @pytest.fixture(autouse=True)
    def trusted(self, settings: Any) -> None:
        settings.PAGESTATS_TRUSTED_PROXIES = ["127.0.0.1"]
        settings.PAGESTATS_ADDRESS_HEADER = "CF-Connecting-IP"

    def test_before_the_usual_one(self) -> None:
        assert client_address(behind("192.0.2.9", HTTP_CF_CONNECTING_IP=CLIENT)) == CLIENT

    def test_the_usual_one_where_the_request_came_without(self) -> None:
        assert client_address(behind(CLIENT)) == CLIENT
        assert client_address(behind(CLIENT, HTTP_CF_CONNECTING_IP="")) == CLIENT

    def test_junk(self) -> None:
        assert client_address(behind(CLIENT, HTTP_CF_CONNECTING_IP="junk")) == "127.0.0.1"

    @pytest.mark.parametrize("name", ["x-real-ip", "X_Real_Ip", "X-REAL-IP"])
    def test_any_name(self, name: str) -> None:
        with override_settings(PAGESTATS_ADDRESS_HEADER=name):
            assert client_address(behind("192.0.2.9", HTTP_X_REAL_IP=CLIENT)) == CLIENT


class TestOwnNetwork:
    @pytest.mark.parametrize(
        "remote", ["", "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.2", "::1", "fd00::1"]
    )
    def test_inside(self, remote: str) -> None:
        assert is_from_own_network({"REMOTE_ADDR": remote})

    @pytest.mark.parametrize("remote", ["8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8"])
    def test_outside(self, remote: str) -> None:
        assert not is_from_own_network({"REMOTE_ADDR": remote})


class TestCost:
    """Each request pays it; budgets of ten times what it takes."""

    def test_of_a_plain_request(self) -> None:
        assert fastest(lambda: client_address({"REMOTE_ADDR": CLIENT})) < 50e-6

    def test_behind_proxies(self) -> None:
        trusted = ["127.0.0.1", *(f"10.{number}.0.0/16" for number in range(20))]
        with override_settings(PAGESTATS_TRUSTED_PROXIES=trusted):
            assert fastest(lambda: client_address(behind(CLIENT, "10.5.0.1"))) < 200e-6

    def test_of_a_long_header(self) -> None:
        with override_settings(PAGESTATS_TRUSTED_PROXIES=["127.0.0.1", "10.0.0.0/8"]):
            for header in (
                "10.0.0.1," * 8_000,
                "," * 60_000,
                "a" * 60_000,
                "1:" * 30_000,
                "10.0.0.1, " * 6_000 + "x" * 99,
            ):
                meta = {"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": header}
                assert fastest(lambda meta=meta: client_address(meta)) < 10e-3


def fastest(act: Callable[[], object]) -> float:
    """The shortest of many times, in seconds: what else this machine does is not what is measured."""
    took = []
    for _ in range(50):
        started = time.perf_counter()
        act()
        took.append(time.perf_counter() - started)
    return min(took)
