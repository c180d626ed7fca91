"""What the setting has otherwise than the generation that answers: it takes effect with the next rebuild."""

from __future__ import annotations

from django_pagestats.conf import conf
from django_pagestats.dimensions.named import NamedDimension, Stored, of_generation
from django_pagestats.dimensions.values import Values
from django_pagestats.exceptions import DimensionError


def is_current(dimension: NamedDimension) -> bool:
    """Whether PAGESTATS_DIMENSIONS has a generation's dimension, from the same source."""
    return dict(conf.DIMENSIONS).get(dimension.name) == dimension.source


def change_told(stored: Stored) -> str:
    """What is otherwise, in one sentence without its full stop; empty where the generation has what is wanted.

    A generation of before has neither dimensions nor repeat sets: that is told whatever the setting says.
    """
    wanted = dict(conf.DIMENSIONS)
    if stored is None:
        names = f", and none of {', '.join(wanted)}" if wanted else ""
        return f"The aggregates are of before named dimensions: they do not know who has one page view only{names}"
    had = {it.name: it for it in of_generation(stored)}
    changes = (
        (" new", [name for name in wanted if name not in had]),
        (" from another source", [name for name, it in had.items() if name in wanted and not is_current(it)]),
        (" not wanted any more", [name for name in had if name not in wanted]),
    )
    told = [f"{', '.join(names)} {'are' if len(names) > 1 else 'is'}{what}" for what, names in changes if names]
    return f"PAGESTATS_DIMENSIONS is not that of the aggregates: {'; '.join(told)}" if told else ""


def unusable_told(stored: Stored) -> str:
    """What there is to say if a function that the generation was built with is gone; empty where none is."""
    for dimension in of_generation(stored):
        try:
            Values(dimension)
        except DimensionError as error:
            return f"{error} Until then nothing is folded."
    return ""
