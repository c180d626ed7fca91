"""By what an answer is known to be the one of before, without computing it."""

from __future__ import annotations

import json
from hashlib import sha256

from django.db.models import Max

from django_pagestats import __version__
from django_pagestats.api.answering import Question
from django_pagestats.conf import conf
from django_pagestats.merging.reading import read_state
from django_pagestats.models import PageView
from django_pagestats.stats.statements import BEFORE_ALL
from django_pagestats.stats.tail.base import pending_after


def etag_of(question: Question, using: str) -> str | None:
    """Of the aggregates, of the page views after them, and of the question; None where the latter are very many.

    Page views are only added, and of those up to the cursor none can come any more. One after it may be committed late,
    below the highest: so they are counted, too. To be asked for before the answer: what moves in between makes the
    ETag older than the answer, and such a one is never met again.
    """
    state = read_state(using)
    pending, is_exact = pending_after(using, BEFORE_ALL if state is None else state.cursor)
    if not is_exact:
        return None
    highest = PageView.objects.using(using).aggregate(highest=Max("pk"))["highest"]
    parameters = {name: str(value) for name, value in question.parameters.items()}
    made_of = [
        __version__,
        state,
        highest,
        pending,
        conf.TIME_ZONE,  # before the first fold it is these that answer
        dict(conf.DIMENSIONS),
        question.name,
        parameters,
    ]
    return f'"{sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]}"'
