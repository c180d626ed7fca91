"""Brings in page views from access logs, or from another model's or package's table; docs/importing.md."""

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

from django_pagestats.exceptions import PageStatsError
from django_pagestats.importing import (
    Fields,
    OnProgress,
    Progress,
    Summary,
    import_log,
    import_model,
    import_rows,
    in_order,
    matching,
    package_reader,
)
from django_pagestats.management.base import DatabaseCommand
from django_pagestats.management.import_options import add_options, check_options, reading_of

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
        "Brings in page views from access logs (of Apache, nginx, Caddy, Traefik, IIS, Cloudflare, CloudFront, .., "
        "plain or compressed), from another model's table, or from another package's. What is imported already is "
        "recognised and left out: it is safe to run again."
    )
    #: the standard input, for tests and for calls from code
    stealth_options = ("stdin",)

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        add_options(parser)

    def check_options(self, options: dict[str, Any]) -> None:
        options["file"] = list(options["file"] or ())
        check_options(options)

    def work(self, **options: Any) -> None:
        try:
            summary = self._import_logs(options) if options["file"] else self._import_rows(options)
        except KeyboardInterrupt as error:
            raise CommandError(
                "Stopped. What was stored is kept, and running this again goes on from there.", returncode=130
            ) from error
        self._tell(summary, options)
        if summary.failures:
            raise CommandError("\n".join(summary.failures))

    def _import_logs(self, options: dict[str, Any]) -> Summary:
        if options["file"] == ["-"]:
            stdin = options.get("stdin", sys.stdin)
            return self._import_stream(getattr(stdin, "buffer", stdin), "the standard input", options)
        reading = reading_of(options)
        logs = matching(options["file"])
        if len(logs) == 1:
            return self._import_file(logs[0], options)
        whole = Summary()
        for log in in_order(logs, reading):
            try:
                whole.add(self._import_file(log, options), log)
            except (CommandError, PageStatsError) as error:
                whole.failures.append(str(error))
        return whole

    def _import_file(self, file: str, options: dict[str, Any]) -> Summary:
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
                reading=reading_of(options),
                is_another=options["another_log"],
                is_complete=options["complete"],
                on_progress=on_progress,
            )

    def _import_rows(self, options: dict[str, Any]) -> Summary:
        using, source_using = options["database"], options["from_database"]
        with self._progress("rows", options) as on_progress:
            if package := options["from_package"]:
                reader = package_reader(package, using=using)
                return import_rows(reader, using=using, source_using=source_using, on_progress=on_progress)
            return import_model(
                _model(options["from_model"]),
                fields=Fields(options["path_field"], options["session_field"], options["time_field"]),
                attributes=dict(options["attribute"] or ()),
                using=using,
                source_using=source_using,
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
        what = "lines" if options["file"] else "rows"
        self.stdout.write(f"{summary.imported:,} page views imported from {summary.read:,} {what}.")
        if summary.format:
            self.stdout.write(f"Format: {summary.format}.")
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


def _model(label: str) -> type[models.Model]:
    try:
        return apps.get_model(label)
    except ValueError as error:  # no dot in it, or several
        raise CommandError(f"There is no model {label!r}: write app_label.ModelName") from error
    except LookupError as error:
        raise CommandError(f"There is no model {label!r}: write app_label.ModelName ({error})") from error
