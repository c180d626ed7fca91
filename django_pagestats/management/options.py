"""The options of backfill_aggregates: which there are, and which of them go together."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError

from django_pagestats.conf import MOST_ROWS, Conf
from django_pagestats.conf.complaints import rest_factor


def add_options(parser: ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--wait", action="store_true", help="Follow the run with a progress bar.")
    how.add_argument("--sync", action="store_true", help="Do it in this process, without a cluster.")
    how.add_argument("--status", action="store_true", help="Show the active or last run; start nothing.")
    how.add_argument("--pause", action="store_true", help="Stop the active run after its chunk, until --resume.")
    how.add_argument(
        "--cancel",
        action="store_true",
        help="Give the active run up after its chunk; a rebuild's rows are deleted.",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="Go on with the run that is paused, or with the last one if it failed.",
    )
    parser.add_argument(
        "--rebuild", action="store_true", help="Build new aggregates beside those in use, check them, then switch."
    )
    parser.add_argument(
        "--chunk-size", type=int, metavar="N", help="A fixed number of page views a chunk; by default it adapts."
    )
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="With --sync: so many processes build a new generation at once; by default 1. A cluster's are"
        " PAGESTATS_WORKERS.",
    )
    parser.add_argument(
        "--nice",
        type=_nice,
        metavar="N",
        help="Rest N times as long as each chunk takes; it may be changed while the run is active. 'default': as"
        " PAGESTATS_NICE says.",
    )
    parser.add_argument(
        "--keep-old",
        action="store_true",
        help="With --rebuild or --activate: keep the aggregates that answered before, for --activate.",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--activate", type=int, metavar="ID", help="Let a generation that is kept answer again.")
    which.add_argument("--discard", type=int, metavar="ID", help="Keep a generation no longer; its rows are deleted.")
    parser.add_argument("--json", action="store_true", help="Print the status as one JSON object.")


def check_options(options: dict[str, Any]) -> None:
    """Raise CommandError for what goes together with nothing."""
    size, workers = options["chunk_size"], options["workers"]
    _check_generation_options(options)
    for name in ("status", "pause", "resume", "cancel"):
        if options[name] and (options["rebuild"] or size is not None):
            raise CommandError(f"--{name} starts nothing: leave out --rebuild and --chunk-size.")
    if options["nice"] is not None and (options["status"] or options["pause"] or options["cancel"]):
        raise CommandError("--nice goes with a start or --resume; alone it changes the active run, or starts one.")
    if options["resume"] and (options["status"] or options["pause"] or options["cancel"]):
        raise CommandError("--resume goes with --wait or --sync, or alone.")
    if size is not None and not 1 <= size <= MOST_ROWS:
        raise CommandError(f"--chunk-size must be a whole number from 1 to {MOST_ROWS:,}, not {size}.")
    if workers is not None and not options["sync"]:
        raise CommandError("--workers goes with --sync; how many a cluster has at work PAGESTATS_WORKERS says.")
    if complaint := "" if workers is None else Conf.WORKERS.complaint_about(workers):
        raise CommandError(f"--workers {complaint}.")


def _check_generation_options(options: dict[str, Any]) -> None:
    if options["keep_old"] and not options["rebuild"] and options["activate"] is None:
        raise CommandError("--keep-old goes with --rebuild or --activate.")
    others = ("wait", "status", "pause", "resume", "cancel", "rebuild", "chunk_size", "workers", "nice")
    for name in ("activate", "discard"):
        if options[name] is not None and any(options[other] not in (False, None) for other in others):
            raise CommandError(f"--{name} goes with --sync, which deletes in this process, or alone.")


def _nice(text: str) -> float | str:
    """The value of --nice; raises ArgumentTypeError for what PAGESTATS_NICE may not be."""
    if text == "default":
        return text
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if rest_factor(number):
        raise ArgumentTypeError(f"must be a number from 0 to 100, or 'default', not {text!r}")
    return number


def wanted_nice(options: dict[str, Any]) -> float | None:
    """What a run is to have for --nice; None: as PAGESTATS_NICE says."""
    return None if options["nice"] == "default" else options["nice"]
