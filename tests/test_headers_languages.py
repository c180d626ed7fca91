"""The language that a browser asks for first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_pagestats.headers.languages import language_of


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("EN-us", "en"),
        (" fr;q=0.5", "fr"),
        ("fil-PH,en", "fil"),
        ("zh-Hant-TW", "zh"),
        ("pt_BR", "pt"),
        ("nl, en", "nl"),
        # what is none
        ("", ""),
        ("*", ""),
        ("*,de", ""),
        ("x-klingon", ""),
        ("i-klingon", ""),
        ("english", ""),
        ("d\u00e9", ""),
        ("de\x00", ""),
        ("<b>", ""),
        ("12", ""),
        (",de", ""),
        ("\ud800", ""),
        ("d" * 9_000, ""),
    ],
)
def test_the_first_language(header: str, expected: str) -> None:
    assert language_of({"HTTP_ACCEPT_LANGUAGE": header}) == expected


def test_no_header() -> None:
    assert language_of({}) == ""


@given(st.text(max_size=20))
def test_it_is_nothing_or_two_or_three_letters(header: str) -> None:
    found = language_of({"HTTP_ACCEPT_LANGUAGE": header})
    assert found == "" or (2 <= len(found) <= 3 and found.isascii() and found.isalpha() and found.islower())
