"""What has to be brought in order by hand: page views that are gone, other settings, a tail that is too long."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connections
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from django_pagestats import horizon
from django_pagestats.buckets import instant
from django_pagestats.conf import conf
from django_pagestats.dimensions import change_told, unusable_told
from django_pagestats.exceptions import AutocommitOffError, TableWentBackError
from django_pagestats.folding.failing import held_up
from django_pagestats.folding.generations import active_generation, first_cursor
from django_pagestats.folding.zones import has_other_rules
from django_pagestats.merging import database_for
from django_pagestats.models import BackfillRun, Generation
from django_pagestats.texts import Text, english, number


def attention(using: str, tail: int, *, are_counted: bool = True, may_start: bool = True) -> Text:
    """What only a person can bring in order, in words; empty where keeping up sees to everything.

    `tail` is the `tail_length` up to PAGESTATS_TAIL_LIMIT; `are_counted`: by the answers that it is said beside;
    `may_start`: whoever reads it may start a backfill, and is asked to do so.
    """
    return _joined(*_attention(using, tail, are_counted=are_counted, may_start=may_start))


def _attention(using: str, tail: int, *, are_counted: bool, may_start: bool) -> Iterator[Text]:
    generation = active_generation(using)
    if tail > conf.TAIL_LIMIT:
        told = COUNTED if are_counted else NOT_COUNTED
        yield format_lazy(told, count=number(conf.TAIL_LIMIT))
        yield _cure(using, generation, may_start=may_start)
    elif generation is not None and tail and (stopped := held_up(using, generation)):
        yield format_lazy(_("Page views are not folded any more, until this is put right: {problem}"), problem=stopped)
    yield from _other_settings(generation)


COUNTED = _("More than {count} page views are not folded yet, too many for keeping up: answers count them, slowly.")
NOT_COUNTED = _(
    "More than {count} page views are not folded yet, too many for keeping up: these numbers leave them out."
)


def _cure(using: str, generation: Generation | None, *, may_start: bool) -> Text:
    run = BackfillRun.objects.using(using).filter(active_key=BackfillRun.ACTIVE).first()
    if run is None:
        return _("Start a backfill.") if may_start else ""
    if run.status == BackfillRun.Status.PAUSED:
        return format_lazy(_("Run {run} is paused: resume it."), run=run.pk)
    if generation is not None and run.generation_id == generation.pk:
        return _("The active run counts them.")
    return _("The active run counts them at its end.")


def _joined(*texts: Text) -> Text:
    told = [text for text in texts if text]
    return format_lazy(" ".join(["{}"] * len(told)), *told) if told else ""


def other_settings(using: str) -> str:
    """What there is to say if the aggregates are of another zone, or have other dimensions, than the settings say."""
    return english(_joined(*_other_settings(active_generation(using))))


def _other_settings(generation: Generation | None) -> Iterator[Text]:
    yield _other_zone(generation)
    yield from _other_dimensions(generation)


def other_zone(using: str) -> str:
    """What there is to say if the aggregates are of another zone than that of the settings, or of other rules of it."""
    return english(_other_zone(active_generation(using)))


def _other_zone(generation: Generation | None) -> Text:
    if generation is None:
        return ""
    if generation.time_zone == conf.TIME_ZONE:
        return format_lazy(OTHER_RULES, zone=generation.time_zone) if has_other_rules(generation) else ""
    return format_lazy(OTHER_ZONE, zone=generation.time_zone, wanted=conf.TIME_ZONE)


OTHER_ZONE = _(
    "The aggregates are cut by the days and hours of {zone}, and PAGESTATS_TIME_ZONE is {wanted}: until"
    " backfill_aggregates --rebuild statistics stay in {zone}."
)
OTHER_RULES = _(
    "The aggregates are cut by other rules of {zone} than this machine's time zone database has (tzdata was updated"
    " since, or machines have different ones): until backfill_aggregates --rebuild some days and hours are those of"
    " other clocks."
)


def _other_dimensions(generation: Generation | None) -> Iterator[Text]:
    """The difference itself, which names what stands in the settings, is English."""
    if generation is None:
        return
    if change := change_told(generation.dimensions):
        yield format_lazy(OTHER_DIMENSIONS, change=change)
    yield unusable_told(generation.dimensions)


OTHER_DIMENSIONS = _(
    "{change}. backfill_aggregates --rebuild counts anew by the setting, the whole history; until then answers go on"
    " with what the aggregates have."
)


def check_autocommit(using: str) -> None:
    """Raise AutocommitOffError where what is written outside transactions is never committed."""
    connection = connections[using]
    if not connection.in_atomic_block and not connection.get_autocommit():
        raise AutocommitOffError(
            f"Autocommit is off on the database {using!r}, so that nothing would be stored: remove AUTOCOMMIT from"
            f" DATABASES[{using!r}], or call transaction.set_autocommit(True, using={using!r})."
        )


def check_not_back(using: str, generation: Generation) -> None:
    """Raise TableWentBackError if page views that the generation counts are gone from the end of the table.

    Or if another one stands in the place of the last: the table was emptied, its ids began anew and went on beyond.
    """
    highest = horizon.highest_id(using) or 0
    if highest < generation.cursor:
        raise TableWentBackError(
            f"The highest page view is {highest}, but the aggregates count page views up to {generation.cursor}: page"
            " views were taken away (a restore, a TRUNCATE). Run backfill_aggregates --rebuild to count anew."
        )
    check_not_replaced(using, generation)


def check_not_replaced(using: str, generation: Generation) -> None:
    """Raise TableWentBackError if another page view stands in the place of the last that the generation counts."""
    if generation.last_page_view is None:
        return
    pk, seconds = generation.last_page_view
    found = {row[0]: row[3] for row in database_for(using).read_page_views(pk - 1, None, 1)}
    if found.get(pk, seconds) != seconds:
        raise TableWentBackError(
            f"Page view {pk} is of {instant(found[pk]):%Y-%m-%d %H:%M:%S} UTC, and the one that the aggregates count"
            f" was of {instant(seconds):%Y-%m-%d %H:%M:%S} UTC: others are in the place of those that were counted (a"
            " restore, a TRUNCATE). Run backfill_aggregates --rebuild to count anew."
        )


def deleted_page_views(using: str) -> str:
    """What there is to say if page views that the active generation counts are gone; empty where none seem to be.

    It compares numbers that cost nothing to know, so it sees that the oldest page views are gone, or all of them with
    others recorded since; those of the middle only verify_aggregates finds. What was pruned is meant to be gone.
    """
    found = database_for(using).counted_page_views()
    if found is None:
        return ""
    cursor, counted = found
    most = max(0, cursor - first_cursor(using))
    if counted <= most:
        return ""
    return (
        f"The aggregates count {counted:,} page views, and at most {most:,} of them are left: page views were deleted."
        " Answers go on counting them; backfill_aggregates --rebuild counts only those that are left."
    )
