"""The options of import_pageviews: which there are, and which of them go together."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import CommandError

from django_pagestats.importing import PACKAGES, Reading
from django_pagestats.management.base import check_alias

#: a place in a line, or what a field may be called
_ADDRESS = re.compile(r"first|last-quoted|[1-9][0-9]{0,2}|(?=.*[A-Za-z])[\w.()$@-]{1,100}")

_LOG_OPTIONS = ("format", "address", "host", "time_zone", "another_log", "complete")
_FIELD_OPTIONS = ("path_field", "session_field", "time_field")


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "file",
        nargs="*",
        metavar="FILE|-",
        help="Access logs, plain or compressed; also with * and ?. A - reads the standard input.",
    )
    _add_log_options(parser)
    _add_table_options(parser)


def _add_log_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        metavar="NAME|STRING",
        help="The format's name, or the LogFormat of Apache or log_format of nginx as it stands in the server's"
        " configuration, or NAME=KEY,.. for lines of JSON; by default the first lines tell.",
    )
    parser.add_argument(
        "--address",
        type=_address,
        default="first",
        metavar="first|last-quoted|N|NAME",
        help="Where the visitor's address is: where the format has it, in the last quotes, in the Nth field, or in the"
        " field of that name.",
    )
    parser.add_argument(
        "--host",
        action="append",
        metavar="HOST",
        help="Only what was asked of this host; more than once for several.",
    )
    parser.add_argument(
        "--time-zone", type=_zone, metavar="ZONE", help="Of times without an offset, as HAProxy and daphne write them."
    )
    parser.add_argument(
        "--another-log",
        action="store_true",
        help="FILE is another log than the imported one that begins with the same line.",
    )
    parser.add_argument(
        "--complete",
        action="store_true",
        help="Nothing more is written to FILE: take its last line as it is, with or without a newline.",
    )


def _add_table_options(parser: ArgumentParser) -> None:
    parser.add_argument("--from-model", metavar="APP.MODEL", help="Import the rows of this model instead of a log.")
    parser.add_argument("--path-field", metavar="FIELD", help="The model's field with a path or URL.")
    parser.add_argument("--session-field", metavar="FIELD", help="The model's field by which a visitor is known.")
    parser.add_argument("--time-field", metavar="FIELD", help="The model's field with the time of the page view.")
    parser.add_argument(
        "--attribute",
        action="append",
        type=_attribute,
        metavar="NAME=FIELD",
        help="An attribute of the page view, and the model's field with its value; more than once for several.",
    )
    parser.add_argument(
        "--from", dest="from_package", choices=sorted(PACKAGES), help="Import what one of these packages has counted."
    )
    parser.add_argument("--from-database", metavar="ALIAS", help="The database of the model's or the package's rows.")


def check_options(options: dict[str, Any]) -> None:
    """Raise CommandError for options that do not go together."""
    given = [name for name in ("file", "from_model", "from_package") if options[name]]
    if len(given) != 1:
        raise CommandError("Give either a log (a file, or - for the standard input) or --from-model or --from")
    if "-" in options["file"] and len(options["file"]) > 1:
        raise CommandError("The standard input (-) must be the only log: give files, or one after the other")
    kind = given[0]
    if kind == "from_model":
        missing = [name for name in _FIELD_OPTIONS if not options[name]]
        if missing:
            raise CommandError(f"--from-model needs {', '.join(map(_flag, missing))} too")
    elif wrong := [name for name in (*_FIELD_OPTIONS, "attribute") if options[name]]:
        raise CommandError(f"{', '.join(map(_flag, wrong))}: only with --from-model")
    if kind == "file" and options["from_database"]:
        raise CommandError("--from-database: only with --from-model or --from")
    if kind != "file":
        wrong = [name for name in _LOG_OPTIONS if options[name] not in (None, False, "first")]
        if wrong:
            raise CommandError(f"{_flag(wrong[0])} is for a log: leave it out with {_flag(kind)}")
    if options["from_database"]:
        check_alias(options["from_database"])


def reading_of(options: dict[str, Any]) -> Reading:
    """How the logs are to be read."""
    return Reading(
        format=options["format"],
        address=options["address"],
        hosts=frozenset(options["host"] or ()),
        time_zone=options["time_zone"],
    )


def _flag(option: str) -> str:
    return "--from" if option == "from_package" else f"--{option.replace('_', '-')}"


def _address(text: str) -> str:
    if _ADDRESS.fullmatch(text):
        return text
    raise ArgumentTypeError(f"{text!r}: say first, last-quoted, the number of a field from 1, or its name")


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (KeyError, OSError, ValueError) as error:
        raise ArgumentTypeError(f"{text!r} is no time zone, such as Europe/Berlin") from error


def _attribute(text: str) -> tuple[str, str]:
    name, equals, field = text.partition("=")
    if name and equals and field:
        return name, field
    raise ArgumentTypeError(f"{text!r}: write NAME=FIELD")
