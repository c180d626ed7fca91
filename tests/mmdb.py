"""Writes small MMDB files, as the MaxMind DB File Format Specification 2.0 has them."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

_TEXT, _UINT16, _UINT32, _MAP, _UINT64, _ARRAY = 2, 5, 6, 7, 9, 11
MARKER = b"\xab\xcd\xefMaxMind.com"


def write(path: Path, records: Mapping[str, Any], *, ip_version: int = 6) -> Path:
    """Networks -> records (dicts, lists, texts, whole numbers); networks must not overlap. In place by a rename."""
    new = path.with_suffix(".new")
    new.write_bytes(_file(records, ip_version))
    return new.replace(path)


def _file(records: Mapping[str, Any], ip_version: int) -> bytes:
    section = b""
    offsets = []
    for record in records.values():
        offsets.append(len(section))
        section += _encoded(record)
    nodes: list[list[Any]] = [[None, None]]
    for network, offset in zip(records, offsets, strict=True):
        _add(nodes, _bits(network, ip_version), offset)
    tree = b"".join(_record(side, len(nodes)).to_bytes(3, "big") for node in nodes for side in node)
    metadata = {
        "binary_format_major_version": _number(_UINT16, 2),
        "binary_format_minor_version": _number(_UINT16, 0),
        "build_epoch": _number(_UINT64, 1_700_000_000),
        "database_type": "Test-Country",
        "description": {"en": "test"},
        "ip_version": _number(_UINT16, ip_version),
        "languages": ["en"],
        "node_count": _number(_UINT32, len(nodes)),
        "record_size": _number(_UINT16, 24),
    }
    return tree + bytes(16) + section + MARKER + _encoded(metadata)


def _bits(network: str, ip_version: int) -> str:
    found = ip_network(network)
    bits = f"{int(found.network_address):0{found.max_prefixlen}b}"[: found.prefixlen]
    return "0" * 96 + bits if ip_version == 6 and found.version == 4 else bits


def _add(nodes: list[list[Any]], bits: str, offset: int) -> None:
    node = 0
    for bit in map(int, bits[:-1]):
        if nodes[node][bit] is None:
            nodes.append([None, None])
            nodes[node][bit] = ("node", len(nodes) - 1)
        kind, node = nodes[node][bit]
        assert kind == "node", "networks overlap"
    assert nodes[node][int(bits[-1])] is None, "networks overlap"
    nodes[node][int(bits[-1])] = ("data", offset)


def _record(side: tuple[str, int] | None, node_count: int) -> int:
    if side is None:
        return node_count
    kind, number = side
    return number if kind == "node" else node_count + 16 + number


def _encoded(value: Any) -> bytes:
    if isinstance(value, str):
        return _control(_TEXT, len(value.encode())) + value.encode()
    if isinstance(value, bytes):  # written already
        return value
    if isinstance(value, int):
        return _number(_UINT32, value)
    if isinstance(value, list):
        return _control(_ARRAY, len(value)) + b"".join(map(_encoded, value))
    return _control(_MAP, len(value)) + b"".join(_encoded(part) for item in value.items() for part in item)


def _number(kind: int, value: int) -> bytes:
    octets = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return _control(kind, len(octets)) + octets


def _control(kind: int, size: int) -> bytes:
    assert size < 29, "larger values are written in another way"
    return bytes([kind << 5 | size]) if kind <= 7 else bytes([size, kind - 7])
