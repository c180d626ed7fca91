"""The parameters of questions: each one's schema for the OpenAPI document, and its value out of a text."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

from django.http import QueryDict

from django_pagestats.api.problems import BadRequestError
from django_pagestats.models import PATH_MAX_LENGTH
from django_pagestats.stats.active import MOST_MINUTES

#: characters of a value that an error repeats
MOST_SHOWN = 200
#: characters of a cursor that say which question it belongs to
QUESTION_LENGTH = 16
#: base64 of these, a mark, and the longest path, of four bytes a character
LONGEST_CURSOR = -(-(QUESTION_LENGTH + 1 + 4 * PATH_MAX_LENGTH) * 4 // 3)

DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.0+)?)?(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
CONDITION = re.compile(r"([a-z0-9_]{1,32}):(.+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Parameter(ABC):
    """One parameter of the query."""

    name: str
    description: str
    is_required: bool = False
    #: of a parameter that may come several times: how often at the most
    most: int | None = None
    default: Any = None
    example: Any = None

    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """The JSON schema of one value."""

    @abstractmethod
    def parse(self, text: str) -> Any:
        """The value of a text; raises BadRequestError."""

    def wrong(self, text: str, fix: str) -> BadRequestError:
        shown = text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
        return BadRequestError(f"{self.name}={shown!r}: {fix} would do.", self.name, shown)


@dataclass(frozen=True, kw_only=True)
class Text(Parameter):
    longest: int = PATH_MAX_LENGTH

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1, "maxLength": self.longest}

    def parse(self, text: str) -> str:
        if not 1 <= len(text) <= self.longest:
            raise self.wrong(text, f"1 to {self.longest:,} characters")
        return text


@dataclass(frozen=True, kw_only=True)
class Choice(Parameter):
    choices: tuple[str, ...] = ()

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.choices)}

    def parse(self, text: str) -> str:
        if text not in self.choices:
            raise self.wrong(text, " or ".join(f'"{choice}"' for choice in self.choices))
        return text


@dataclass(frozen=True, kw_only=True)
class WholeNumber(Parameter):
    low: int
    high: int

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.low, "maximum": self.high}

    def parse(self, text: str) -> int:
        # not by int() alone: that takes "1_0", " 1" and digits of any script
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or not self.low <= int(text) <= self.high:
            raise self.wrong(text, f"a whole number from {self.low:,} to {self.high:,}")
        return int(text)


@dataclass(frozen=True, kw_only=True)
class Bound(Parameter):
    """The beginning or the end of a range, as `stats` takes it."""

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "anyOf": [{"format": "date"}, {"format": "date-time"}]}

    def parse(self, text: str) -> date | datetime:
        try:
            if found := DATE.fullmatch(text):
                return date(*map(int, found.groups()))
            if found := INSTANT.fullmatch(text):
                return _instant(found)
        except ValueError:  # 30 February, or 25 o'clock
            pass
        raise self.wrong(
            text,
            'a date such as "2025-03-01", or the beginning of a day or an hour such as "2025-03-01T10:00:00Z"'
            ' (a "+" of an offset is written %2B in a URL)',
        )


def _instant(found: re.Match[str]) -> datetime:
    day, hour, minute, second, sign, hours, minutes = found.groups()
    at = datetime.strptime(day, "%Y-%m-%d").replace(  # noqa: DTZ007 - its zone follows
        hour=int(hour), minute=int(minute), second=int(second or 0)
    )
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    return at.replace(tzinfo=timezone(offset))


@dataclass(frozen=True, kw_only=True)
class Condition(Parameter):
    """A named dimension and one of its values."""

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": "^[a-z0-9_]{1,32}:[\\s\\S]+$", "maxLength": PATH_MAX_LENGTH + 33}

    def parse(self, text: str) -> tuple[str, str]:
        found = CONDITION.fullmatch(text)
        if found is None or len(found[2]) > PATH_MAX_LENGTH:
            raise self.wrong(text, 'a dimension, a colon and a value, as in "country:DE",')
        return found[1], found[2]


PATH = Text(
    name="path",
    description="A path as it is counted; byte for byte, so that `/A` is not `/a`.",
    example="/pricing/",
)
PATHS = Text(
    name="path",
    description="A path as it is counted. It may come several times.",
    is_required=True,
    most=100,
    example=["/pricing/", "/docs/"],
)
WHERE = Condition(
    name="where",
    description="One value of a named dimension, such as `country:DE`: the dimension, a colon, and the value.",
)
CONDITION_PATHS = Text(
    name="path", description="Visitors who saw this path. It may come several times.", most=20, example=["/pricing/"]
)
CONDITION_WHERES = Condition(
    name="where",
    description="Visitors with this value of a named dimension. It may come several times.",
    most=20,
    example=["source:news.example"],
)
PREFIX = Text(
    name="prefix", description="Only paths that begin so, such as `/blog/`; a token of a section has to say its own."
)
START = Bound(
    name="start",
    description="The beginning of the range, which is in it: a date in the time zone of the statistics, or an instant"
    " at which a day of that zone begins; of page views, visitors and hours of the whole site also an hour. Left out:"
    " from the first page view on.",
    example="2025-03-01",
)
END = Bound(
    name="end",
    description="The end of the range, which is not in it. Left out: up to the last page view.",
    example="2025-04-01",
)
RANGE = (START, END)
SERIES_START = Bound(
    name="start", description=START.description.split(" Left")[0], is_required=True, example="2025-03-01"
)
SERIES_END = Bound(
    name="end", description="The end of the range, which is not in it.", is_required=True, example="2025-04-01"
)
GRANULARITY = Choice(
    name="granularity",
    description="A point for each day or, of the whole site, for each hour.",
    is_required=True,
    choices=("day", "hour"),
    example="day",
)
DIMENSION = Text(
    name="dimension",
    description="The name of a named dimension; `/dimensions` has them all.",
    is_required=True,
    longest=32,
    example="source",
)
LIMIT = WholeNumber(
    name="limit", description="So many rows at the most; the list goes on by `next`.", low=1, high=1_000, default=10
)
ORDER = Choice(
    name="order",
    description="`page_views`: most first, and among equals the one that was counted first. `value`: by the bytes of"
    " the path or value, which can be read to its end while page views come in.",
    choices=("page_views", "value"),
    default="page_views",
)
CURSOR = Text(
    name="cursor",
    description="Where the list goes on: `next` of the answer before, with the same question.",
    longest=LONGEST_CURSOR,
)
MINUTES = WholeNumber(name="minutes", description="So many minutes up to now.", low=1, high=MOST_MINUTES, default=5)
FORMAT = Choice(name="format", description="JSON, or CSV with a head.", choices=("json", "csv"), default="json")


def parsed(parameters: Iterable[Parameter], query: QueryDict) -> Mapping[str, Any]:
    """name -> value of each parameter, with defaults, None for what is left out; raises BadRequestError."""
    known = {parameter.name: parameter for parameter in parameters}
    for name in query:
        if name not in known:
            raise BadRequestError(
                f"There is no parameter {name[:MOST_SHOWN]!r}: {', '.join(known)} would do.",
                name[:MOST_SHOWN],
                query.getlist(name)[-1][:MOST_SHOWN],
            )
    return {name: _value(parameter, query.getlist(name)) for name, parameter in known.items()}


def _value(parameter: Parameter, texts: list[str]) -> Any:
    if not texts and parameter.is_required:
        raise BadRequestError(f"{parameter.name} is missing: {parameter.example!r} would do.", parameter.name, None)
    if parameter.most is not None:
        if len(texts) > parameter.most:
            raise BadRequestError(
                f"{parameter.name} comes {len(texts):,} times: {parameter.most} times at the most would do.",
                parameter.name,
                str(len(texts)),
            )
        return tuple(parameter.parse(text) for text in texts)
    if len(texts) > 1:
        again = texts[-1][:MOST_SHOWN]
        raise BadRequestError(f"{parameter.name} comes {len(texts):,} times: once would do.", parameter.name, again)
    return parameter.parse(texts[0]) if texts else parameter.default


def listed(parameters: Iterable[Parameter], values: Mapping[str, Any], name: str) -> tuple[Any, ...]:
    """The values of a parameter, of which some questions take one and others several."""
    for parameter in parameters:
        if parameter.name == name and values[name] is not None:
            return tuple(values[name]) if parameter.most is not None else (values[name],)
    return ()
