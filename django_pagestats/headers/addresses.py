"""Where a request comes from: the client's address, believed of one's own proxies only.

On the standard library's `ipaddress` alone. Nothing is remembered of a request: no address outlives its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network
from typing import NamedTuple

from django_pagestats.conf import conf
from django_pagestats.conf.complaints import UNIX_SOCKET

Address = IPv4Address | IPv6Address

FORWARDED_FOR = "HTTP_X_FORWARDED_FOR"
#: More proxies in a row than anybody has; what is further to the left of X-Forwarded-For is not looked at.
MOST_HOPS = 32
#: what a proxy writes into X-Forwarded-For of a request that it got by a Unix socket
_UNIX_HOP = "unix:"


def address_of(text: str) -> str | None:
    """The address in a text of a log or header, as visitors are told apart by it; None if there is none.

    Port, brackets, quotes and zone id are taken off. An IPv4 address in IPv6 clothes is the IPv4 address. Of an IPv6
    address it is the network of 64 bits that a provider gives to one home, since devices change the rest each day.
    """
    address = _parsed(text)
    return None if address is None else _told_apart(address)


def client_address(meta: Mapping[str, object]) -> str | None:
    """The address of the client, as `address_of` has it; None where the request has none that is valid.

    It is REMOTE_ADDR, which nobody can forge, unless that is one of PAGESTATS_TRUSTED_PROXIES: then it is the first
    one in X-Forwarded-For (or PAGESTATS_ADDRESS_HEADER, where the request has it) that is not trusted, from the right,
    where each proxy adds the one that it was asked by. If all are trusted it is the leftmost. At something that is no
    address the walk ends: what is left of it came from somebody who was not seen, so the last good one stands.
    """
    remote = _parsed(str(meta.get("REMOTE_ADDR") or ""))
    trusted = _trusted_proxies()
    if not trusted.has(remote):
        return None if remote is None else _told_apart(remote)
    last = remote
    for hop in _hops(meta):
        address = _parsed(hop)
        if address is None and not (hop.strip() == _UNIX_HOP and trusted.has(None)):
            break
        last = address or last
        if not trusted.has(address):
            break
    return None if last is None else _told_apart(last)


def is_from_trusted_proxy(meta: Mapping[str, object]) -> bool:
    """Whether the request was handed on by one of PAGESTATS_TRUSTED_PROXIES, whose headers are believed."""
    trusted = _trusted_proxies()
    return bool(trusted) and trusted.has(_parsed(str(meta.get("REMOTE_ADDR") or "")))


def is_from_own_network(meta: Mapping[str, object]) -> bool:
    """Whether REMOTE_ADDR is none, as behind a Unix socket, or one that nobody out in the world has.

    Private ones, and those of 100.64.0.0/10, in which hosting companies put what stands before an application.
    """
    remote = _parsed(str(meta.get("REMOTE_ADDR") or ""))
    return remote is None or not remote.is_global


class _Trusted(NamedTuple):
    """PAGESTATS_TRUSTED_PROXIES as numbers, in which one look-up is a comparison or two."""

    has_unix_socket: bool
    addresses: frozenset[Address]
    #: version, mask, masked number
    networks: tuple[tuple[int, int, int], ...]

    def __bool__(self) -> bool:
        return self.has_unix_socket or bool(self.addresses) or bool(self.networks)

    def has(self, address: Address | None) -> bool:
        """None: no address, as behind a Unix socket."""
        if address is None:
            return self.has_unix_socket
        if not (self.addresses or self.networks):
            return False
        number, version = int(address), address.version
        return address in self.addresses or any(
            version == of and number & mask == network for of, mask, network in self.networks
        )


def _trusted_proxies() -> _Trusted:
    return _trusted(tuple(conf.TRUSTED_PROXIES))


@lru_cache(maxsize=8)
def _trusted(setting: tuple[str, ...]) -> _Trusted:
    """What is no address or network is trusted by nobody; a check names it (pagestats.E001)."""
    addresses, networks = set(), []
    for text in setting:
        try:
            network = ip_network(text)
        except ValueError:
            continue
        if isinstance(network, IPv6Network) and network.prefixlen >= 96 and network.network_address.ipv4_mapped:
            network = ip_network(f"{network.network_address.ipv4_mapped}/{network.prefixlen - 96}")
        if network.prefixlen == network.max_prefixlen:
            addresses.add(network.network_address)
        else:
            networks.append((network.version, int(network.netmask), int(network.network_address)))
    return _Trusted(UNIX_SOCKET in setting, frozenset(addresses), tuple(networks))


def _hops(meta: Mapping[str, object]) -> Iterator[str]:
    """Who asked whom, from the last one on."""
    header = conf.ADDRESS_HEADER
    named = meta.get("HTTP_" + header.upper().replace("-", "_")) if header else None
    hops = str(named or meta.get(FORWARDED_FOR) or "")
    return reversed(hops.rsplit(",", MOST_HOPS)) if hops else iter(())


def _parsed(text: str) -> Address | None:
    text = text.strip()
    try:
        return _plain(text)
    except ValueError:
        pass
    try:
        return _plain(_bare(text))
    except ValueError:
        return None


def _plain(text: str) -> Address:
    if ":" not in text:
        return IPv4Address(text)
    address = IPv6Address(text)
    return address.ipv4_mapped or address


def _bare(text: str) -> str:
    """Without quotes, brackets, zone id and port: `"[2001:db8::1%eth0]:443"`, `192.0.2.1:443`."""
    text = text.strip("\"'")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") in (1, 8):  # eight: AWS writes all eight groups of an IPv6 address, and the port as a ninth
        text = text.rpartition(":")[0]
    return text.partition("%")[0]


def _told_apart(address: Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"
