"""Who asked, by the address that a line has: cleaned, and chosen from a list of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network

from django_pagestats.headers.addresses import address_of
from django_pagestats.importing.formats.base import FIRST, LAST_QUOTED

#: what is nobody's address on the internet; not `is_private`, which takes the addresses of documents for such too
_PRIVATE_NETWORKS = (
    "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 127.0.0.0/8 169.254.0.0/16 100.64.0.0/10 ::/64 fc00::/7 fe80::/10"
)
_PRIVATE = tuple(map(ip_network, _PRIVATE_NETWORKS.split()))
#: a server that looks names up (HostnameLookups) logs one in an address's place
_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,253}[A-Za-z0-9.])?")
_FIELD = re.compile(r'"((?:[^"\\]|\\.)*)"|\[([^\]]*)\]|(\S+)')
#: so many addresses of a list are looked at
_MOST_ADDRESSES = 32

Picker = Callable[[str], str]


def client_of(logged: str) -> str | None:
    """The visitor's address, or name, of what was logged in its place; None if there is none.

    Of a list, as X-Forwarded-For has it, the first that is not private, for the others are proxies; or else the first.
    """
    texts = logged.split(",", _MOST_ADDRESSES)[:_MOST_ADDRESSES]
    addresses = [address for text in texts if (address := address_of(text)) is not None]
    for address in addresses:
        if not is_private(address):
            return address
    if addresses:
        return addresses[0]
    return logged.lower() if _HOST_NAME.fullmatch(logged) else None


def is_private(client: str) -> bool:
    """Whether it is an address of a network of one's own, of this machine, or of a link."""
    try:
        address = ip_address(client.partition("/")[0])
    except ValueError:
        return False  # a name
    return any(address in own for own in _PRIVATE)


def picker(where: str) -> Picker | None:
    """Takes the address from a line where the format does not have it; None where the format's own is meant."""
    if where == FIRST:
        return None
    return _last_quoted if where == LAST_QUOTED else _numbered(int(where))


def is_place(where: str) -> bool:
    """Whether it says where in a line to look, rather than what the field is called."""
    return where in (FIRST, LAST_QUOTED) or where.isdecimal()


def _last_quoted(line: str) -> str:
    end = line.rfind('"')
    start = line.rfind('"', 0, end) if end > 0 else -1
    return line[start + 1 : end] if start >= 0 else ""


def _numbered(number: int) -> Picker:
    def pick(line: str) -> str:
        for position, field in enumerate(_FIELD.finditer(line), start=1):
            if position == number:
                return field[field.lastindex or 0]
        return ""

    return pick
