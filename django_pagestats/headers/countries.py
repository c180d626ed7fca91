"""The country of a request, where PAGESTATS_COUNTRY says how it is found: a header of a CDN, or a file of addresses."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from time import monotonic
from typing import Any, Protocol

from django_pagestats.conf import conf
from django_pagestats.headers.addresses import client_address, is_from_trusted_proxy

logger = logging.getLogger(__name__)

#: how often the file is looked at, whether it is another one by now
LOOK_SECONDS = 60.0
#: what stands in a country's place and is none: unknown, Tor, proxies, satellites, and whole parts of the world
NO_COUNTRIES = frozenset(("XX", "ZZ", "AP", "EU"))


class _Reader(Protocol):
    def get(self, address: str, /) -> object: ...


def country_of(meta: Mapping[str, Any]) -> str:
    """The country by the header or the file that PAGESTATS_COUNTRY names; '' where neither says one.

    A header is believed from PAGESTATS_TRUSTED_PROXIES only. Where a dotted path is named it is '': that is asked with
    the request, which an import has not.
    """
    setting = conf.COUNTRY
    if setting is None:
        return ""
    if is_file(setting):
        address = client_address(meta)
        return country_of_address(address) if address else ""
    if is_dotted_path(setting) or not is_from_trusted_proxy(meta):
        return ""
    return code_of(meta.get("HTTP_" + str(setting).upper().replace("-", "_")))


def country_of_address(address: str) -> str:
    """The country of an address as `address_of` writes it, by the file that PAGESTATS_COUNTRY names, or ''."""
    setting = conf.COUNTRY
    reader = _file.reader(os.fspath(setting)) if setting is not None and is_file(setting) else None
    if reader is None:
        return ""
    try:
        return country_in(reader.get(address.partition("/")[0]))
    except ValueError:  # an IPv6 address, and a file of IPv4 addresses
        return ""


def is_file(setting: str | os.PathLike[str]) -> bool:
    """Whether PAGESTATS_COUNTRY is the path of a file: any other kind has no slash, and no such ending."""
    text = os.fspath(setting)
    return not isinstance(setting, str) or text.endswith(".mmdb") or "/" in text or os.sep in text


def is_dotted_path(setting: str | os.PathLike[str]) -> bool:
    """Whether PAGESTATS_COUNTRY is the dotted path of a callable; what is neither is the name of a header."""
    return not is_file(setting) and "." in os.fspath(setting)


def code_of(value: object) -> str:
    """Two letters in upper case; '' for what is no country's code."""
    code = value.strip().upper() if isinstance(value, str) else ""
    return code if len(code) == 2 and code.isascii() and code.isalpha() and code not in NO_COUNTRIES else ""


def country_in(record: object) -> str:
    """The country in a record of an MMDB file, of either shape that its makers write."""
    if not isinstance(record, Mapping):
        return ""
    for name in ("country", "registered_country"):
        nested = record.get(name)
        if isinstance(nested, Mapping) and (code := code_of(nested.get("iso_code"))):
            return code
    return code_of(record.get("country_code")) or code_of(record.get("country"))


class _File:
    """The MMDB file that is open, opened anew when it is another one.

    A reader that was put aside is not closed: another thread may be reading in it. It goes with its last user.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._path = ""
        self._version: tuple[int, int, int] | None = None
        self._reader: _Reader | None = None
        self._look_at = 0.0
        self._is_failing = False

    def reader(self, path: str) -> _Reader | None:
        """The reader of the file; None if there is none, which is logged once."""
        if path == self._path and monotonic() < self._look_at:
            return self._reader
        with self._lock:
            if path != self._path:
                self._forget()
                self._path = path
            if monotonic() >= self._look_at:
                self._look_at = monotonic() + LOOK_SECONDS
                self._look()
            return self._reader

    def _look(self) -> None:
        try:
            version = _version_of(self._path)
            if version != self._version:
                self._reader = _opened(self._path)
                self._version = version
        except Exception as error:  # missing, half written, no MMDB, or no maxminddb: it costs the attribute
            self._reader, self._version = None, None
            if not self._is_failing:
                logger.error("No country is recorded: PAGESTATS_COUNTRY = %r: %s", self._path, error)
            self._is_failing = True
        else:
            self._is_failing = False


def _version_of(path: str) -> tuple[int, int, int]:
    found = os.stat(path)
    return found.st_mtime_ns, found.st_size, found.st_ino


def why_not_opened(path: str) -> str:
    """Why a file cannot be read as MMDB; '' if it can."""
    try:
        with open(path, "rb"):  # maxminddb's own words for a missing file differ from version to version
            _opened(path)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _opened(path: str) -> _Reader:
    import maxminddb  # the extra "country"

    return maxminddb.open_database(path)


_file = _File()
