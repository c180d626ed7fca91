"""Generations that are kept: one of them can be made to answer again, or is given up."""

from __future__ import annotations

import logging

from django.db import models
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from django_pagestats import folding
from django_pagestats.backfill import switching
from django_pagestats.backfill.chain import brief_transaction
from django_pagestats.backfill.looking import active_run
from django_pagestats.backfill.wishes import Answer
from django_pagestats.backfill.words import KINDS, STATES, joined, said, words
from django_pagestats.clock import database_now
from django_pagestats.conf import conf
from django_pagestats.exceptions import TableWentBackError
from django_pagestats.models import Aggregate, BackfillRun, Generation, RunEvent
from django_pagestats.texts import Text, number

logger = logging.getLogger(__name__)


def activate(using: str, generation_id: int, *, keep_old: bool = False, actor: str = "", via: str) -> Answer:
    """Make a kept generation answer again, in one transaction; the one that answered is kept too, or it is doomed.

    Not inside another transaction. While a run is active it is refused: the run may be folding into the one that
    answers. "already" if the generation answers already.
    """
    folding.check_autocommit(using)
    while True:
        with brief_transaction(using, of=Generation, is_switch=True):
            locked = switching.lock(using, generation_id)
            if locked is None:
                continue
            if answer := _no_activation(using, generation_id, locked.get(generation_id), via):
                return answer
            old = [found.pk for found in locked.values() if found.is_active]
            switching.switch(using, generation_id, locked.values(), keep_old=keep_old, now=database_now(using))
            # within: if it raises, nothing is done
            message = _told(using, generation_id, old, keep_old=keep_old, via=via)
        fate = "kept" if keep_old else "doomed"
        logger.info("generation %s: answers, by %s from %s; %s: %s", generation_id, actor or "nobody", via, fate, old)
        return Answer("done", None, message)


def _no_activation(using: str, generation_id: int, found: Generation | None, via: str) -> Answer | None:
    """Why a generation, which is locked, cannot come to answer; None if it can."""
    if found is not None and found.is_active:
        told = _("Generation {generation} answers already")
        return Answer("already", None, said(via, told, generation=found.pk))
    if found is None or found.kept_at is None:
        return Answer("refused", None, _not_kept_but(using, generation_id, found, via))
    # now that the lock is there: whoever starts a run sees, after its own lock, which generation answers
    if run := active_run(using):
        told = _("Run {run} ({kind}) {state}: let it end, or cancel it, first")
        return Answer("refused", run, said(via, told, run=run.pk, kind=KINDS[run.kind], state=STATES[run.status]))
    try:
        folding.check_not_back(using, found)
    except TableWentBackError as error:
        no_answer = said(via, _("Generation {generation} cannot answer"), generation=found.pk)
        return Answer("refused", None, joined(via, ". ", no_answer, str(error).rstrip(".")))
    return None


def _told(using: str, generation_id: int, old: list[int], *, keep_old: bool, via: str) -> Text:
    """What was done, and what it means until the next backfill."""
    sentences = [said(via, _("Generation {generation} answers again"), generation=generation_id)]
    deleted = _("The aggregates of generation {generation} are deleted in chunks")
    for pk in old:
        sentences.append(_kept(pk, via) if keep_old else said(via, deleted, generation=pk))
    if tail := folding.tail_length(using, conf.TAIL_LIMIT):
        sentences.append(_of_tail(tail, via))
    others = (folding.other_settings(using).rstrip("."), folding.deleted_page_views(using).rstrip("."))
    return joined(via, ". ", *sentences, *filter(None, others))


def _of_tail(tail: int, via: str) -> Text:
    """How many page views are not folded into it, and who will; beyond the limit nobody has counted them."""
    folder = words(via)["backfill"]
    if tail > conf.TAIL_LIMIT:
        told = _(
            "More than {count} page views came after those that it counts: answers count them one by one, slowly, until"
            " {backfill} has folded them"
        )
        return said(via, told, count=number(conf.TAIL_LIMIT), backfill=folder)
    counted = ngettext_lazy(
        "{count} page view came after those that it counts: answers count it by itself until keeping up or {backfill}"
        " has folded it",
        "{count} page views came after those that it counts: answers count them one by one until keeping up or"
        " {backfill} has folded them",
        tail,
    )
    return said(via, counted, count=number(tail), backfill=folder)


def discard(using: str, generation_id: int, *, actor: str = "", via: str) -> Answer:
    """Keep a generation no longer: it cannot answer any more, and a sweep deletes its rows in chunks.

    "already" if that is so already.
    """
    folding.check_autocommit(using)
    with brief_transaction(using, of=Generation):
        found = Generation.objects.using(using).select_for_update().filter(pk=generation_id).first()
        if found is not None and found.doomed_at is not None:
            return Answer("already", None, _not_kept(using, generation_id, found, via))
        if found is None or found.kept_at is None:
            return Answer("refused", None, _not_kept_but(using, generation_id, found, via))
        now = database_now(using)
        Generation.objects.using(using).filter(pk=generation_id).update(kept_at=None, doomed_at=now)
    logger.info("generation %s: kept no longer, by %s from %s", generation_id, actor or "nobody", via)
    told = _("Generation {generation} is kept no longer: its aggregates are deleted in chunks")
    return Answer("done", None, said(via, told, generation=generation_id))


# -- looking


class State(models.TextChoices):
    """What a generation is there for."""

    ANSWERS = "answers", _("answers")
    KEPT = "kept", _("kept")  #: it answered before, and can again
    BUILT = "built", _("being built")  #: a rebuild is active, and has not checked it yet
    LEFT = "left", _("left over")  #: its rebuild failed or was cancelled before it was checked
    DOOMED = "doomed", _("being deleted")
    DELETED = "deleted", _("deleted")


def state_of(generation: Generation, run: BackfillRun | None) -> State:
    """What a generation is there for; `run` is the one that built it, see `built_by`."""
    if generation.is_active:
        return State.ANSWERS
    if generation.doomed_at is not None or generation.swept_at is not None:
        return State.DELETED if generation.swept_at is not None else State.DOOMED
    if generation.kept_at is not None:
        return State.KEPT
    return State.BUILT if run is not None and run.is_active else State.LEFT


def built_by(using: str, generation: Generation) -> BackfillRun | None:
    """The run that built it, or does; None for one that the first fold made."""
    return BackfillRun.objects.using(using).filter(BackfillRun.BUILDS, generation=generation).first()


IS_SO: dict[State, Text] = {
    State.ANSWERS: _("Generation {generation} answers"),
    State.KEPT: _("Generation {generation} is kept"),
    State.BUILT: _("Generation {generation} is being built, and not checked yet"),
    State.LEFT: _("Generation {generation} is left over, and will be deleted"),
    State.DOOMED: _("Generation {generation} is being deleted"),
    State.DELETED: _("Generation {generation} was deleted"),
}


def _not_kept(using: str, generation_id: int, found: Generation | None, via: str) -> Text:
    if found is None:
        return said(via, _("There is no generation {generation}"), generation=generation_id)
    return said(via, IS_SO[state_of(found, built_by(using, found))], generation=generation_id)


def _not_kept_but(using: str, generation_id: int, found: Generation | None, via: str) -> Text:
    """That one is not, and which ones are."""
    numbers = list(_kept_ones(using).order_by("pk").values_list("pk", flat=True))
    told = ngettext_lazy("the one that is kept is {numbers}", "those that are kept are {numbers}", len(numbers))
    are = said(via, told, numbers=", ".join(map(str, numbers))) if numbers else said(via, _("no generation is kept"))
    return joined(via, ": ", _not_kept(using, generation_id, found, via), are)


def kept(using: str, via: str = RunEvent.Via.COMMAND) -> list[Text]:
    """What there is to say of each generation that is kept, the last one first, to whoever came by some door."""
    return [_kept(pk, via) for pk in _kept_ones(using).order_by("-kept_at", "-pk").values_list("pk", flat=True)]


def _kept_ones(using: str) -> models.QuerySet[Generation]:
    return Generation.objects.using(using).filter(kept_at__isnull=False)


def _kept(pk: int, via: str) -> Text:
    what = said(via, words(via)["activate"], pk=pk)
    return said(via, _("Generation {generation} is kept: {what}"), generation=pk, what=what)


def count_rows(using: str, generation_id: int, most: int) -> int:
    """How many aggregate rows a generation has, counted no further than just above `most`."""
    rows = Aggregate.objects.using(using).filter(generation=generation_id)
    # in the order of the primary key: a scan of the table might pass all rows of another generation first
    ordered = rows.order_by("generation", "dimension", "granularity", "bucket", "subject")
    return ordered.values("generation")[: most + 1].count()
