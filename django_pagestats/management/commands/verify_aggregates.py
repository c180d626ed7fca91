"""Compare the aggregates with the page views."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import date
from typing import Any, TypedDict

from django.core.management.base import CommandError
from django.db import DatabaseError, connections

from django_pagestats import backfill, folding
from django_pagestats.management.base import DatabaseCommand
from django_pagestats.models import BackfillRun
from django_pagestats.verify import Difference, Verification, remembering, shares_snapshots


class Days(TypedDict):
    """Local days `[start, end)`; None: without bound."""

    start: date | None
    end: date | None


class Command(DatabaseCommand):
    help = "Compare the aggregates with the page views, and print every difference; exit status 1 if there is one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--repair", action="store_true", help="If there is a difference: rebuild in this process, and verify again."
        )
        parser.add_argument(
            "--start", metavar="YYYY-MM-DD", help="Only local days from this one on, in the generation's time zone."
        )
        parser.add_argument("--end", metavar="YYYY-MM-DD", help="Only days before this one.")
        parser.add_argument("--json", action="store_true", help="Print one JSON object.")
        parser.add_argument(
            "--processes",
            type=int,
            default=1,
            metavar="N",
            help="PostgreSQL: share the days between N processes, which read the same snapshot.",
        )

    def check_options(self, options: dict[str, Any]) -> None:
        if options["processes"] < 1:
            raise CommandError(f"--processes {options['processes']}: at least 1.")
        for name in ("start", "end"):
            options[name] = date_of(name, options[name])
        if options["start"] and options["end"] and options["start"] > options["end"]:
            raise CommandError(
                f"--start {options['start']} is after --end {options['end']}: it is the first day left out."
            )

    def work(self, *, database: str, **options: Any) -> None:
        repair: bool = options["repair"]
        if repair:
            backfill.check_outside(database)
        self.is_json: bool = options["json"]
        self.speaks = options["verbosity"] > 0 and not self.is_json
        self.processes: int = options["processes"]
        self.days: Days = {"start": options["start"], "end": options["end"]}
        if self.processes > 1 and not shares_snapshots(database):
            name = connections[database].display_name
            self._say(f"{name} lets no other process read the same snapshot: it is done in one process.")
        differences = self._verify_and_repair(database) if repair else self._verify_only(database)
        if differences:
            plural = "" if differences == 1 else "s"
            advice = "" if repair else " Rebuild with --repair, or with backfill_aggregates --rebuild."
            raise CommandError(f"{differences:,} difference{plural}.{advice}")

    def _verify_only(self, using: str) -> int:
        self._write('{"database": ' + json.dumps(using) + ", ")
        found = self._verify(using)
        self._write("}\n")
        return found

    def _verify_and_repair(self, using: str) -> int:
        self._write('{"database": ' + json.dumps(using) + ', "before": {')
        found = self._verify(using)
        self._write('}, "repaired_by_run": ')
        if found:
            run = self._rebuild(using)
            self._write(f'{json.dumps(run)}, "after": {{')
            found = self._verify(using)
            self._write("}}\n")
        else:
            self._write("null}\n")
        return found

    def _verify(self, using: str) -> int:
        """Verify once, print every difference as it is found, and how many there were."""
        verification = Verification(using, processes=self.processes, **self.days)
        self._write('"differences": [')
        separator, lines = "", list[str]()
        for difference in verification:
            self._print(difference, separator)
            separator = ", "
            if len(lines) < remembering.MOST_TOLD:
                lines.append(str(difference))
        generation = verification.generation
        counts: dict[str, int | str | None] = {
            "generation": generation.pk if generation else None,
            "cursor": generation.cursor if generation else None,
            "page_views": verification.page_views,
            "aggregates": verification.aggregates,
            "difference_count": verification.differences,
        }
        # None, too, where all days that there can be are within what was asked for
        first, end = verification.days
        first, end = first or self.days["start"], end or self.days["end"]
        if first or end:
            counts |= {"start": _text(first), "end": _text(end)}
        self._write("], " + json.dumps(counts)[1:-1])
        if generation is None:
            self._say("There are no aggregates to verify: nothing has been folded yet.")
        else:
            self._remember(verification, lines)
            which = f"Generation {generation.pk}{told(first, end)}"
            self._say(
                f"{which}: compared {verification.aggregates:,} aggregate rows with"
                f" {verification.page_views:,} page views up to {generation.cursor};"
                f" differences: {verification.differences:,}."
            )
            if zone := folding.other_zone(using):
                self._say(zone)
        return verification.differences

    def _remember(self, verification: Verification, lines: list[str]) -> None:
        """For the dashboard; whoever may only read verifies all the same."""
        try:
            remembering.remember(verification, lines)
        except DatabaseError as error:
            self._say(f"The dashboard does not tell of this, since it could not be stored: {str(error).strip()}")

    def _rebuild(self, using: str) -> int | None:
        self._say("Rebuilding.")
        run = backfill.run_here(using, kind=BackfillRun.Kind.REBUILD, via="verify_aggregates").run
        if run is not None and run.status != BackfillRun.Status.SUCCEEDED:
            folded = backfill.page_views(run)
            raise CommandError(f"Run {run.pk} {run.status} after {folded:,} page views: {run.error}")
        folding.sweep(using, nice=folding.niceness(using, is_cluster=False))
        return None if run is None else run.pk

    def _print(self, difference: Difference, separator: str) -> None:
        if self.is_json:
            self._write(separator + json.dumps(difference.as_json()))
        else:
            self.stdout.write(str(difference))

    def _write(self, text: str) -> None:
        """A piece of the JSON object: all differences at once might not fit into memory."""
        if self.is_json:
            self.stdout.write(text, ending="")

    def _say(self, text: str) -> None:
        if self.speaks:
            self.stdout.write(text)


def date_of(name: str, text: str | None) -> date | None:
    """The day that an option names; raises CommandError."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise CommandError(f"--{name} {text}: a date such as 2026-11-30 would do.") from error


def told(start: date | None, end: date | None) -> str:
    """Which days were compared; empty: all."""
    bounds = [f"from {start}" if start else "", f"before {end}" if end else ""]
    return f", days {' and '.join(filter(None, bounds))}" if any(bounds) else ""


def _text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
