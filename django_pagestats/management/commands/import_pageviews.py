"""Brings in page views from an access log, or from another model's table; docs/importing.md."""

from __future__ import annotations

import contextlib
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management.base import CommandError, OutputWrapper
from django.db import models, reset_queries
from tqdm import tqdm

from django_pagestats.importing import Fields, OnProgress, Progress, Summary, import_log, import_model
from django_pagestats.management.base import DatabaseCommand, check_alias

#: Between two lines of progress where the output is no terminal.
LINE_SECONDS = 10


class Bar:
    """A progress bar for a terminal."""

    def __init__(self, out: OutputWrapper, unit: str) -> None:
        self._bar = tqdm(file=_WithoutNewlines(out), unit=f" {unit}", unit_scale=True)

    def __call__(self, progress: Progress) -> None:
        self._bar.total = progress.total
        self._bar.set_postfix_str(f"{progress.imported:,} page views", refresh=False)
        self._bar.update(progress.done - self._bar.n)

    def close(self) -> None:
        self._bar.close()


class _WithoutNewlines:
    """A command's output as tqdm needs it: what is written is all that is written."""

    def __init__(self, out: OutputWrapper) -> None:
        self._out = out

    def write(self, text: str) -> None:
        self._out.write(text, ending="")

    def flush(self) -> None:
        self._out.flush()


class Lines:
    """Progress for a file or a pipe: a line now and then."""

    def __init__(self, out: OutputWrapper, unit: str) -> None:
        self._out = out
        self._unit = unit
        self._next_at = time.monotonic() + LINE_SECONDS

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + LINE_SECONDS
            total = f" of {progress.total:,}" if progress.total else ""
            self._out.write(f"{progress.done:,}{total} {self._unit} read, {progress.imported:,} page views imported")

    def close(self) -> None:
        """Nothing to put away."""


class Command(DatabaseCommand):
    help = (
        "Brings in page views from an access log (Apache or nginx, common or combined format, plain or gzipped), or "
        "from another model's table. What is imported already is recognised and left out: it is safe to run again."
    )
    #: the standard input, for tests and for calls from code
    stealth_options = ("stdin",)

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", nargs="?", metavar="FILE|-", help="An access log; - reads the standard input.")
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
        parser.add_argument("--from-model", metavar="APP.MODEL", help="Import the rows of this model instead of a log.")
        parser.add_argument("--path-field", metavar="FIELD", help="The model's field with a path or URL.")
        parser.add_argument("--session-field", metavar="FIELD", help="The model's field by which a visitor is known.")
        parser.add_argument("--time-field", metavar="FIELD", help="The model's field with the time of the page view.")
        parser.add_argument("--from-database", metavar="ALIAS", help="The database of the model's rows.")

    def work(self, **options: Any) -> None:
        try:
            summary = self._import_model(options) if options["from_model"] else self._import_log(options)
        except KeyboardInterrupt as error:
            raise CommandError(
                "Stopped. What was stored is kept, and running this again goes on from there.", returncode=130
            ) from error
        self._tell(summary, options)

    def check_options(self, options: dict[str, Any]) -> None:
        model_options = ("path_field", "session_field", "time_field", "from_database")
        if bool(options["file"]) == bool(options["from_model"]):
            raise CommandError("Give either a log (a file, or - for the standard input) or --from-model")
        if options["from_model"]:
            missing = [name for name in model_options[:3] if not options[name]]
            if missing:
                raise CommandError(f"--from-model needs {', '.join(map(_flag, missing))} too")
            if given := [name for name in ("another_log", "complete") if options[name]]:
                raise CommandError(f"{_flag(given[0])} is for a log: leave it out with --from-model")
        elif given := [name for name in model_options if options[name]]:
            raise CommandError(f"{', '.join(map(_flag, given))}: only with --from-model")
        if options["from_database"]:
            check_alias(options["from_database"])

    def _import_log(self, options: dict[str, Any]) -> Summary:
        file = options["file"]
        if file == "-":
            stdin = options.get("stdin", sys.stdin)
            return self._import_stream(getattr(stdin, "buffer", stdin), "the standard input", options)
        try:
            with open(file, "rb") as raw:
                return self._import_stream(raw, file, options)
        except OSError as error:
            raise CommandError(f"Cannot read {file}: {error.strerror}") from error

    def _import_stream(self, raw: Any, name: str, options: dict[str, Any]) -> Summary:
        with self._progress("bytes", options) as on_progress:
            return import_log(
                raw,
                name=name,
                using=options["database"],
                is_another=options["another_log"],
                is_complete=options["complete"],
                on_progress=on_progress,
            )

    def _import_model(self, options: dict[str, Any]) -> Summary:
        with self._progress("rows", options) as on_progress:
            return import_model(
                _model(options["from_model"]),
                fields=Fields(options["path_field"], options["session_field"], options["time_field"]),
                using=options["database"],
                source_using=options["from_database"],
                on_progress=on_progress,
            )

    @contextlib.contextmanager
    def _progress(self, unit: str, options: dict[str, Any]) -> Iterator[OnProgress]:
        shown = None
        if options["verbosity"]:
            shown = Bar(self.stdout, unit) if self.stdout.isatty() else Lines(self.stdout, unit)

        def on_progress(progress: Progress) -> None:
            if settings.DEBUG:
                reset_queries()  # Django keeps the last 9,000 statements: of ours, a gigabyte
            if shown is not None:
                shown(progress)

        try:
            yield on_progress
        finally:
            if shown is not None:
                shown.close()

    def _tell(self, summary: Summary, options: dict[str, Any]) -> None:
        if not options["verbosity"]:
            return
        what = "rows" if options["from_model"] else "lines"
        self.stdout.write(f"{summary.imported:,} page views imported from {summary.read:,} {what}.")
        if summary.skipped:
            self.stdout.write(f"{summary.skipped.total():,} {what} skipped:")
        for reason, count in summary.skipped.most_common():
            self.stdout.write(f"  {reason.value}: {count:,}")
        for note in summary.notes:
            self.stdout.write(note)
        if summary.examples:
            self.stderr.write(f"The first bad {what}:")
        for example in summary.examples:
            self.stderr.write(f"  {example}")


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"


def _model(label: str) -> type[models.Model]:
    try:
        return apps.get_model(label)
    except ValueError as error:  # no dot in it, or several
        raise CommandError(f"There is no model {label!r}: write app_label.ModelName") from error
    except LookupError as error:
        raise CommandError(f"There is no model {label!r}: write app_label.ModelName ({error})") from error
