"""Write a note on a day: for the end of a deployment, say; docs/notes.md."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import date, datetime, timezone
from typing import Any

from django.core.management.base import CommandError

from django_pagestats import notes
from django_pagestats.dashboard.scope import local_today
from django_pagestats.management.base import DatabaseCommand


class Command(DatabaseCommand):
    help = "Write a note on a day, which the charts of the dashboard show. The same note is written once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("text", help='What happened, such as "deploy 4.2".')
        parser.add_argument(
            "--day", metavar="YYYY-MM-DD", help="The day; by default today, in the time zone of the statistics."
        )
        parser.add_argument(
            "--path", help="Of one page, as the dashboard names it, or its URL; by default of the whole site."
        )
        parser.add_argument("--public", action="store_true", help="Show it on a dashboard that is open to all, too.")

    def check_options(self, options: dict[str, Any]) -> None:
        if options["path"] == "":
            raise CommandError("--path '' is empty: leave it out for a note of the whole site.")
        if options["day"] is None:
            return
        try:
            options["day"] = date.fromisoformat(options["day"])
        except ValueError as error:
            raise CommandError(f"--day {options['day']}: a date such as 2026-11-30 would do.") from error

    def work(self, *, database: str, **options: Any) -> None:
        # in the zone of the statistics
        day = options["day"] or local_today(datetime.now(timezone.utc), database)
        note, is_new = notes.annotate(
            options["text"], day=day, path=options["path"] or "", is_public=options["public"], using=database
        )
        if options["verbosity"] > 0:
            of = f" of {note.path}" if note.path else ""
            self.stdout.write(f"{'Noted' if is_new else 'It is noted already'} on {note.day}{of}: {note.text}")
            if note.is_public != options["public"]:
                is_so = "is public" if note.is_public else "is not public"
                self.stdout.write(f"It {is_so}, and stays so: 'Notes' in the admin changes that.")
