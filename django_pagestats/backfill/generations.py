"""Generations that are kept: one of them can be made to answer again, or is given up."""

from __future__ import annotations

import logging

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_pagestats import folding
from django_pagestats.backfill import switching
from django_pagestats.backfill.chain import brief_transaction
from django_pagestats.backfill.looking import active_run
from django_pagestats.backfill.wishes import Answer
from django_pagestats.backfill.words import words
from django_pagestats.clock import database_now
from django_pagestats.conf import conf
from django_pagestats.exceptions import TableWentBackError
from django_pagestats.models import Aggregate, BackfillRun, Generation, RunEvent

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
            if answer := _no_activation(using, generation_id, locked.get(generation_id)):
                return answer
            old = [found.pk for found in locked.values() if found.is_active]
            switching.switch(using, generation_id, locked.values(), keep_old=keep_old, now=database_now(using))
            # within: if it raises, nothing is done
            message = _told(using, generation_id, old, keep_old=keep_old, via=via)
        fate = "kept" if keep_old else "doomed"
        logger.info("generation %s: answers, by %s from %s; %s: %s", generation_id, actor or "nobody", via, fate, old)
        return Answer("done", None, message)


def _no_activation(using: str, generation_id: int, found: Generation | None) -> Answer | None:
    """Why a generation, which is locked, cannot come to answer; None if it can."""
    if found is not None and found.is_active:
        return Answer("already", None, f"Generation {found.pk} answers already")
    if found is None or found.kept_at is None:
        return Answer("refused", None, f"{_not_kept(using, generation_id, found)}: {_choice(using)}")
    # now that the lock is there: whoever starts a run sees, after its own lock, which generation answers
    if run := active_run(using):
        return Answer("refused", run, f"Run {run.pk} ({run.kind}) is {run.status}: let it end, or cancel it, first")
    try:
        folding.check_not_back(using, found)
    except TableWentBackError as error:
        return Answer("refused", None, f"Generation {found.pk} cannot answer. {str(error).rstrip('.')}")
    return None


def _told(using: str, generation_id: int, old: list[int], *, keep_old: bool, via: str) -> str:
    """What was done, and what it means until the next backfill."""
    sentences = [f"Generation {generation_id} answers again"]
    for pk in old:
        sentences.append(_kept(pk, via) if keep_old else f"The aggregates of generation {pk} are deleted in chunks")
    tail = folding.tail_length(using, conf.TAIL_LIMIT)
    is_long = tail > conf.TAIL_LIMIT
    if tail:
        length = f"More than {conf.TAIL_LIMIT:,}" if is_long else f"{tail:,}"
        slowly = ", slowly," if is_long else ""
        folder = "" if is_long else "keeping up or "
        sentences.append(
            f"{length} page views came after those that it counts: answers count them one by one{slowly} until"
            f" {folder}{words(via)['backfill']} has folded them"
        )
    sentences += [folding.other_settings(using).rstrip("."), folding.deleted_page_views(using).rstrip(".")]
    return ". ".join(sentence for sentence in sentences if sentence)


def discard(using: str, generation_id: int, *, actor: str = "", via: str) -> Answer:
    """Keep a generation no longer: it cannot answer any more, and a sweep deletes its rows in chunks.

    "already" if that is so already.
    """
    folding.check_autocommit(using)
    with brief_transaction(using, of=Generation):
        found = Generation.objects.using(using).select_for_update().filter(pk=generation_id).first()
        if found is not None and found.doomed_at is not None:
            return Answer("already", None, _not_kept(using, generation_id, found))
        if found is None or found.kept_at is None:
            return Answer("refused", None, f"{_not_kept(using, generation_id, found)}: {_choice(using)}")
        now = database_now(using)
        Generation.objects.using(using).filter(pk=generation_id).update(kept_at=None, doomed_at=now)
    logger.info("generation %s: kept no longer, by %s from %s", generation_id, actor or "nobody", via)
    return Answer("done", None, f"Generation {generation_id} is kept no longer: its aggregates are deleted in chunks")


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


def _not_kept(using: str, generation_id: int, found: Generation | None) -> str:
    if found is None:
        return f"There is no generation {generation_id}"
    run = built_by(using, found)
    what = {
        State.ANSWERS: "answers",
        State.KEPT: "is kept",
        State.BUILT: "is being built, and not checked yet",
        State.LEFT: "is left over, and will be deleted",
        State.DOOMED: "is being deleted",
        State.DELETED: "was deleted",
    }[state_of(found, run)]
    return f"Generation {generation_id} {what}"


def _choice(using: str) -> str:
    numbers = ", ".join(map(str, _kept_ones(using).order_by("pk").values_list("pk", flat=True)))
    return f"those that are kept are {numbers}" if numbers else "no generation is kept"


def kept(using: str, via: str = RunEvent.Via.COMMAND) -> list[str]:
    """What there is to say of each generation that is kept, the last one first, to whoever came by some door."""
    return [_kept(pk, via) for pk in _kept_ones(using).order_by("-kept_at", "-pk").values_list("pk", flat=True)]


def _kept_ones(using: str) -> models.QuerySet[Generation]:
    return Generation.objects.using(using).filter(kept_at__isnull=False)


def _kept(pk: int, via: str) -> str:
    return f"Generation {pk} is kept: {words(via)['activate'].format(pk=pk)}"


def count_rows(using: str, generation_id: int, most: int) -> int:
    """How many aggregate rows a generation has, counted no further than just above `most`."""
    rows = Aggregate.objects.using(using).filter(generation=generation_id)
    # in the order of the primary key: a scan of the table might pass all rows of another generation first
    ordered = rows.order_by("generation", "dimension", "granularity", "bucket", "subject")
    return ordered.values("generation")[: most + 1].count()
