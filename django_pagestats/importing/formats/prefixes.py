"""What others put before each line of a log: syslog, Docker, Kubernetes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

#: gives the line without what is before it; None for a line that has nothing of that kind
Strip = Callable[[str], str | None]

_ISO = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.,]{8,20}(?:Z|[+-][0-9]{2}:?[0-9]{2})"
_SYSLOG = re.compile(
    rf"(?:<[0-9]{{1,3}}>)?(?:[A-Z][a-z]{{2}} [ 0-9][0-9] [0-9:]{{8}}|{_ISO}) "
    r"[\w.:-]{1,255} [\w./-]{1,64}(?:\[[\w-]{1,32}\])?: ?"
)
_SYSLOG_5424 = re.compile(rf"(?:<[0-9]{{1,3}}>)?1 {_ISO} \S{{1,255}} \S{{1,48}} \S{{1,128}} \S{{1,32}} -(?: |\Z)")
_COMPOSE = re.compile(r"[A-Za-z0-9][\w.-]{0,127} *\| ?")
_KUBERNETES = re.compile(rf"{_ISO} (?:stdout|stderr) F ")
_TIMESTAMP = re.compile(rf"{_ISO} ")


def _matching(pattern: re.Pattern[str]) -> Strip:
    def strip(line: str) -> str | None:
        found = pattern.match(line)
        return line[found.end() :] if found else None

    return strip


def _docker(line: str) -> str | None:
    """Of Docker's json-file: {"log": "the line\\n", "stream": "stdout", "time": ".."}."""
    if not line.startswith('{"log":'):
        return None
    try:
        text = json.loads(line.encode("latin-1"))["log"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return text.rstrip("\n").encode(errors="replace").decode("latin-1") if isinstance(text, str) else None


#: what each is called, in the order in which they are tried
PREFIXES: dict[str, Strip] = {
    "in Docker's JSON": _docker,
    "after Kubernetes' prefix": _matching(_KUBERNETES),
    "after Docker Compose's prefix": _matching(_COMPOSE),
    "after syslog's prefix": _matching(_SYSLOG),
    "after syslog's prefix (RFC 5424)": _matching(_SYSLOG_5424),
    "after a time": _matching(_TIMESTAMP),
}
