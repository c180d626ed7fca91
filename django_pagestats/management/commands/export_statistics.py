"""Write statistics to a file or to standard output; docs/api.md#export."""

from __future__ import annotations

import os
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timezone
from pathlib import Path
from stat import S_IMODE
from tempfile import NamedTemporaryFile
from typing import Any

from django.core.management.base import CommandError

from django_pagestats import stats
from django_pagestats.management.base import DatabaseCommand
from django_pagestats.management.exporting import Wanted, Write, check, head_of, rows_of, write_csv, write_json_lines


class Command(DatabaseCommand):
    help = "Export statistics, exact and of one instant: totals, a series, all pages, all values of named dimensions."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--start", type=_day, metavar="YYYY-MM-DD", help="The first day; by default the very first."
        )
        parser.add_argument("--end", type=_day, metavar="YYYY-MM-DD", help="The day after the last.")
        parser.add_argument("--totals", action="store_true", help="Page views and visitors of the site.")
        parser.add_argument("--series", choices=["day", "hour"], help="The same of each day or hour.")
        parser.add_argument("--pages", action="store_true", help="The same of each page.")
        parser.add_argument(
            "--dimension",
            action="append",
            metavar="NAME",
            help="The same of each value of a named dimension; may be repeated. Without any of these four: everything.",
        )
        parser.add_argument(
            "--format", choices=["csv", "jsonl"], default="csv", help="CSV (the default), or JSON lines."
        )
        parser.add_argument("--output", metavar="FILE", help="By default standard output.")
        parser.add_argument(
            "--folded", action="store_true", help="Leave out page views that no aggregate counts yet; see docs/api.md."
        )

    def work(self, *, database: str, **options: Any) -> None:
        wanted, output = _wanted(options), options["output"]
        try:
            count = self._export(wanted, database, options)
        except ValueError as error:
            raise CommandError(str(error)) from error
        except BrokenPipeError:
            if output is None:
                # nobody reads any more, as of `| head`; what Python would still write there as it ends goes nowhere
                out: Any = self.stdout._out
                os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
            raise CommandError("Whoever read the export went away before its end.") from None
        except OSError as error:
            raise CommandError(f"{output or 'Standard output'} cannot be written: {error}.") from error
        if output and options["verbosity"]:
            self.stdout.write(f"{count:,} rows are in {output}.")

    def _export(self, wanted: Wanted, database: str, options: dict[str, Any]) -> int:
        with stats.snapshot(exact=not options["folded"], using=database) as taken:
            check(taken, wanted)  # what is refused leaves nothing behind, on standard output neither
            head = head_of(taken, wanted, now=datetime.now(timezone.utc))
            with _open(self, options["output"]) as write:
                if options["format"] == "csv":
                    return write_csv(rows_of(taken, wanted), write)
                return write_json_lines(rows_of(taken, wanted), write, head=head)


def _day(text: str) -> date:
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 - a date has no zone
    except ValueError:
        raise ArgumentTypeError(f"must be a day such as 2025-03-01, not {text!r}") from None


def _wanted(options: dict[str, Any]) -> Wanted:
    is_all = not (options["totals"] or options["series"] or options["pages"] or options["dimension"])
    return Wanted(
        totals=options["totals"] or is_all,
        series=options["series"] or ("day" if is_all else None),
        pages=options["pages"] or is_all,
        dimensions=None if is_all else list(dict.fromkeys(options["dimension"] or ())),
        start=options["start"],
        end=options["end"],
    )


@contextmanager
def _open(command: Command, output: str | None) -> Iterator[Write]:
    """What takes text: standard output, a pipe or device, or a file that is put in its place when it is whole."""
    if output is None:
        reconfigure = getattr(command.stdout._out, "reconfigure", None)
        if reconfigure is not None:  # a terminal of another character set could not show every path
            reconfigure(encoding="utf-8", newline="")
        yield lambda text: command.stdout.write(text, ending="")
        command.stdout.flush()
        return
    named = Path(output)
    if named.exists() and not named.is_file():
        with named.open("w", encoding="utf-8", newline="") as file:  # a pipe, or a device: nothing is put in its place
            yield file.write
        return
    target = named.resolve()  # what a symbolic link names is replaced, and not the link
    part = _beside(target)
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file.write
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _beside(target: Path) -> Path:
    """A new file of one's own beside another, as another export may write to the same one; with its mode."""
    with NamedTemporaryFile(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".part", delete=False) as file:
        part = Path(file.name)
    part.chmod(S_IMODE(target.stat().st_mode) if target.exists() else 0o666 & ~_umask())
    return part


def _umask() -> int:
    """What a new file's mode is without; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
