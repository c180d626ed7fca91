"""Texts that are lazy until their reader's language is known; logs, commands and rows have them in English."""

from __future__ import annotations

from django.utils.formats import number_format
from django.utils.functional import Promise, lazy
from django.utils.translation import get_language, override

Text = str | Promise


def english(text: Text) -> str:
    """A text as it is kept, and told where nobody's language is known."""
    with override(None):
        return str(text)


def _grouped(count: int) -> str:
    return f"{count:,}" if get_language() is None else number_format(count, force_grouping=True)


#: with the thousands grouped as the reader has it
number = lazy(_grouped, str)
