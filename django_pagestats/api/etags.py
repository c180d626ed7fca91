"""By what an answer is known to be the one of before.

To whom all is open, without computing it: by the aggregates, and the page views after them. These tell of the whole
site: whoever may ask about a part only would see each page view of the others in them, whatever they are hidden behind.
So a token of a part has them of the answer itself.
"""

from __future__ import annotations

from hashlib import sha256

from django.db.models import Count, Max
from django.http import HttpResponse

from django_pagestats import __version__
from django_pagestats.api.answering import Question
from django_pagestats.api.digests import digest_of
from django_pagestats.conf import conf
from django_pagestats.merging.reading import read_state
from django_pagestats.models import PageView
from django_pagestats.stats.statements import BEFORE_ALL


def etag_of(question: Question, using: str) -> str | None:
    """Of the aggregates, of the page views after them, and of the question; None where the latter are very many.

    Page views are only added, and of those up to the cursor none can come any more. One after it may be committed late,
    below the highest: so they are counted, too. To be asked for before the answer: what moves in between makes the
    ETag older than the answer, and such a one is never met again.
    """
    state = read_state(using)
    cursor = BEFORE_ALL if state is None else state.cursor
    tail = PageView.objects.using(using).filter(pk__gt=cursor).order_by("pk")[: conf.TAIL_LIMIT + 1]
    pending = tail.aggregate(count=Count("pk"), highest=Max("pk"))
    if pending["count"] > conf.TAIL_LIMIT:
        return None
    parameters = {name: str(value) for name, value in question.parameters.items()}
    made_of = [
        __version__,
        state,
        pending,
        conf.TIME_ZONE,  # before the first fold it is these that answer
        dict(conf.DIMENSIONS),
        question.name,
        parameters,
    ]
    return f'"{digest_of(made_of)}"'


def etag_of_answer(response: HttpResponse) -> str:
    """Of an answer that is there: of its rows, and of where a list goes on."""
    told = sha256(response.content)
    told.update(response.headers.get("Link", "").encode())
    return f'"{told.hexdigest()[:32]}"'
