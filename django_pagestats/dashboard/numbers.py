"""Numbers as text, in the language of the reader; and what the public does not see of a few visitors."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.formats import number_format
from django.utils.translation import gettext

from django_pagestats.dashboard.comparing import percentage

#: no data, which is not 0
NOTHING = "-"
#: fewer visitors are not told to the public
FEW = 5


def whole(number: int) -> str:
    """With the separators of the language."""
    return number_format(number, force_grouping=True)


def decimal(number: float) -> str:
    """With one digit after the point."""
    return _rounded(number, 1)


def share(part: int, of: int) -> str:
    """As per cent."""
    return gettext("%s %%") % decimal(100 * part / of) if of else NOTHING


def is_few(visitors: int) -> bool:
    """Whether they are some, and so few that one might know who they are."""
    return 0 < visitors < FEW


def is_hidden(visitors: int, *, is_public: bool) -> bool:
    """Whether so few have it that the public is not told; of nobody neither, or a gap would say that somebody was."""
    return is_public and visitors < FEW


def few() -> str:
    """What the public sees in place of a number of a few visitors."""
    return f"<{FEW}"


@dataclass(frozen=True, slots=True)
class Change:
    """From the period before: both numbers, and per cent where the base is not too small for that."""

    before: str
    text: str
    #: "up", "down" or "same"
    direction: str
    #: the number that is compared, where that is not the one that is shown; it is up to the hour of `until`
    counted: str = ""
    until: str = ""


def change(current: int, before: int) -> Change:
    return _change(current, before, whole(before), percentage(current, before))


def ratio_change(current: float, before: float, *, base: int) -> Change:
    """The change of a ratio; `base` is its number of cases before.

    There is none where both look alike, as `ratio` writes them.
    """
    text = ratio(before, beside=current)
    if text == ratio(current, beside=before):
        current = before
    per_cent = None if before == 0 or percentage(base, base) is None else 100 * (current - before) / before
    return _change(current, before, text, per_cent)


def ratio(number: float, *, beside: float | None = None) -> str:
    """With one digit after the point, or two where it would look like the one that stands beside it."""
    is_alike = beside is not None and beside != number and round(beside, 1) == round(number, 1)
    return _rounded(number, 2 if is_alike else 1)


def _change(current: float, before: float, told: str, per_cent: float | None) -> Change:
    text = NOTHING if per_cent is None else gettext("%s %%") % _signed(per_cent)
    return Change(told, text, "same" if current == before else "up" if current > before else "down")


def _signed(per_cent: float) -> str:
    """Without a digit after the point, unless that would be 0."""
    digits = 0 if abs(per_cent) >= 9.95 or per_cent == 0 else 1
    sign = "+" if per_cent > 0 else "\N{MINUS SIGN}" if per_cent < 0 else "±"
    return f"{sign}{_rounded(abs(per_cent), digits)}"


def _rounded(number: float, digits: int) -> str:
    # number_format cuts digits off
    return number_format(round(number, digits), decimal_pos=digits, force_grouping=True)
