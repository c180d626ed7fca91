"""What Django's servers print where nothing else is set up: daphne, granian, uvicorn; and Heroku's router."""

from __future__ import annotations

import re

from django_pagestats.exceptions import ImportFailedError
from django_pagestats.importing.formats.base import Format, Parts, Reading, method_and_target
from django_pagestats.importing.times import event_time, has_no_offset

_REQUEST = r'"([A-Z]{1,20} [^"]*)"'
_DAPHNE = re.compile(
    rf"(\S{{1,64}}) - - \[(\d\d/[A-Z][a-z]{{2}}/\d{{4}}:[\d:]{{8}})\] {_REQUEST} (\d{{3}}) (?:\d+|-)\r?"
)
_GRANIAN = re.compile(rf"\[(\d{{4}}-\d\d-\d\d [\d:]{{8}} [+-]\d{{4}})\] (\S{{1,64}}) - {_REQUEST} (\d{{3}})(?: .*)?\r?")
_UVICORN = re.compile(rf"(?:INFO: +)?(\S{{1,64}}:\d{{1,5}}) - {_REQUEST} (\d{{3}})(?: [A-Za-z -]*)?\r?")
_HEROKU = re.compile(r"(?:(\S{1,40}) heroku\[router\]: )?at=\w+ (.*)")
_PAIR = re.compile(r'(\w{1,32})=(?:"([^"]*)"|(\S*))')


class Daphne(Format):
    """daphne: without a user agent, and in local time."""

    name = "daphne"

    def __init__(self, reading: Reading) -> None:
        self._zone = reading.time_zone

    def parts(self, line: str) -> Parts | None:
        found = _DAPHNE.fullmatch(line)
        if found is None:
            return None
        if self._zone is None and has_no_offset(found[2]):
            raise ImportFailedError(
                "This is a log of daphne, whose times do not say of which zone they are: give --time-zone, such as"
                " Europe/Berlin"
            )
        at = event_time(found[2], self._zone)
        return None if at is None else Parts(found[1], at, *method_and_target(found[3]), found[4])


class Granian(Format):
    """granian: without a user agent."""

    name = "granian"

    def __init__(self, reading: Reading) -> None:
        pass

    def parts(self, line: str) -> Parts | None:
        found = _GRANIAN.fullmatch(line)
        at = event_time(found[1]) if found else None
        return None if found is None or at is None else Parts(found[2], at, *method_and_target(found[3]), found[4])


class Uvicorn(Format):
    """uvicorn: refused."""

    name = "uvicorn"

    def __init__(self, reading: Reading) -> None:
        pass

    def parts(self, line: str) -> Parts | None:
        if _UVICORN.fullmatch(line):
            raise ImportFailedError(
                "This is a log of uvicorn, which has neither times nor user agents: no page view can be made of it."
                " Import the log of the server in front of it, or record page views from now on"
            )
        return None


class Heroku(Format):
    """Heroku's router: without a user agent; the address is the last one that it saw."""

    name = "heroku"

    def __init__(self, reading: Reading) -> None:
        self._zone = reading.time_zone

    def parts(self, line: str) -> Parts | None:
        found = _HEROKU.match(line)
        at = event_time(found[1] or "") if found else None
        if found is None or at is None:
            return None
        pairs = {pair[1]: pair[2] if pair[2] is not None else pair[3] for pair in _PAIR.finditer(found[2])}
        if "path" not in pairs or "status" not in pairs:
            return None
        address = pairs.get("fwd", "").rpartition(",")[2].strip()
        return Parts(address, at, pairs.get("method", ""), pairs["path"], pairs["status"], host=pairs.get("host", ""))
