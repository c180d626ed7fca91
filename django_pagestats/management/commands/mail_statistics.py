"""Mail the statistics of the last week or month: from cron, where no cluster does it; docs/mail.md."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import datetime, timezone
from typing import Any

from django.core.management.base import CommandError

from django_pagestats import mailing
from django_pagestats.conf import conf
from django_pagestats.management.base import DatabaseCommand


class Command(DatabaseCommand):
    help = "Mail the statistics of the last week or month to PAGESTATS_MAIL_TO, unless that was done already."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--again", action="store_true", help="Send it though it was sent, or begun, before.")
        parser.add_argument("--dry-run", action="store_true", help="Show the text of the mail, and send nothing.")

    def check_options(self, options: dict[str, Any]) -> None:
        if options["again"] and options["dry_run"]:
            raise CommandError("--again sends the mail and --dry-run does not: one of them.")
        if not conf.MAIL_TO and not options["dry_run"]:
            raise CommandError("PAGESTATS_MAIL_TO names nobody: write a list of e-mail addresses.")

    def work(self, *, database: str, **options: Any) -> None:
        now = datetime.now(timezone.utc)
        if options["dry_run"]:
            self.stdout.write(mailing.written(database, now=now).text)
            return
        outcome = mailing.mail_last_period(database, now=now, is_again=options["again"])
        if options["verbosity"] > 0:
            self.stdout.write(outcome.told)
