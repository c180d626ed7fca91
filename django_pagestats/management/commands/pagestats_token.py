"""Make, list and revoke the tokens of the read API; docs/api.md#tokens."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from datetime import date, datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import CommandError

from django_pagestats.api.tokens import create_token, revoke_token, state_of
from django_pagestats.clock import local_day
from django_pagestats.conf import conf
from django_pagestats.management.base import DatabaseCommand
from django_pagestats.models import Token


class Command(DatabaseCommand):
    help = "Make, list and revoke the tokens by which programs read statistics (docs/api.md)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="create|list|revoke")
        create = verbs.add_parser("create", help="Make a token, and show its secret, this once.")
        create.add_argument("name", help="What it is for, such as the program that gets it.")
        create.add_argument(
            "--path", action="append", default=[], metavar="PATH", help="Only about this path; may be repeated."
        )
        create.add_argument(
            "--section",
            action="append",
            default=[],
            metavar="NAME",
            help="Only about the paths whose first segment this is; may be repeated.",
        )
        create.add_argument(
            "--expires", type=_day, metavar="YYYY-MM-DD", help="Ends as this day begins, in PAGESTATS_TIME_ZONE."
        )
        listed = verbs.add_parser(
            "list",
            help="Show all tokens, without their secrets; days are of PAGESTATS_TIME_ZONE, as are those of create.",
        )
        listed.add_argument("--json", action="store_true", help="Print one JSON object.")
        verbs.add_parser("revoke", help="End a token, at once.").add_argument("name")

    def work(self, *, database: str, **options: Any) -> None:
        now, verb = datetime.now(timezone.utc), options["verb"]
        if verb == "create":
            self._create(database, now, options)
        elif verb == "revoke":
            self._revoke(database, now, options["name"])
        else:
            self._list(database, now, as_json=options["json"])

    def _create(self, database: str, now: datetime, options: dict[str, Any]) -> None:
        expires_on = options["expires"]
        token, secret = create_token(
            options["name"],
            now=now,
            paths=options["path"],
            sections=options["section"],
            expires_at=None if expires_on is None else _beginning(expires_on),
            using=database,
        )
        # what is read by a program is alone on standard output: TOKEN=$(manage.py pagestats_token create grafana)
        self.stderr.write(f"Token {token.name!r}, for {_restriction(token)}. It is shown this once:", lambda text: text)
        self.stdout.write(secret)

    def _revoke(self, database: str, now: datetime, name: str) -> None:
        token = Token.objects.using(database).filter(name=name).first()
        if token is None:
            known = ", ".join(Token.objects.using(database).order_by("name").values_list("name", flat=True))
            raise CommandError(f"There is no token {name!r}. There are: {known or 'none'}.")
        if revoke_token(token, now=now, using=database):
            self.stdout.write(f"Token {name!r} is revoked.")
        else:
            self.stdout.write(f"Token {name!r} was revoked before.")

    def _list(self, database: str, now: datetime, *, as_json: bool) -> None:
        tokens = list(Token.objects.using(database).order_by("name"))
        if as_json:
            self.stdout.write(json.dumps({"database": database, "tokens": [_as_json(it, now) for it in tokens]}))
        elif not tokens:
            self.stdout.write("There are no tokens. Make one: manage.py pagestats_token create NAME")
        else:
            for line in _table(tokens, now):
                self.stdout.write(line)


def _day(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - a date has no zone
    except ValueError:
        raise ArgumentTypeError(f"must be a day such as 2027-01-31, not {text!r}") from None


def _beginning(day: date) -> datetime:
    try:
        return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(conf.TIME_ZONE)).astimezone(timezone.utc)
    except OverflowError:  # in UTC it would be in the year 0, or 10,000
        raise CommandError(f"--expires {day} cannot be told in UTC: a day such as 2027-01-31 would do.") from None


def _restriction(token: Token) -> str:
    parts = [f"path {path}" for path in token.paths] + [f"section {section}" for section in token.sections]
    return ", ".join(parts) or "everything"


def _table(tokens: list[Token], now: datetime) -> Iterator[str]:
    heads = ("name", "state", "created", "expires", "last used", "for")
    lines = [
        (
            token.name,
            state_of(token, now),
            str(local_day(token.created_at)),
            "never" if token.expires_at is None else str(local_day(token.expires_at)),
            "never" if token.last_used_on is None else str(token.last_used_on),
            _restriction(token),
        )
        for token in tokens
    ]
    widths = [max(map(len, cells)) for cells in zip(heads, *lines, strict=True)]
    for cells in (heads, *lines):
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def _as_json(token: Token, now: datetime) -> dict[str, Any]:
    def text(at: date | None) -> str | None:
        return None if at is None else at.isoformat()

    return {
        "name": token.name,
        "state": state_of(token, now),
        "paths": token.paths,
        "sections": token.sections,
        "created_at": text(token.created_at),
        "expires_at": text(token.expires_at),
        "revoked_at": text(token.revoked_at),
        "last_used_on": text(token.last_used_on),
    }
