"""Texts that may be a primary key, of each kind of key."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.db import models

from django_pagestats.keys import keys_of

AN_ID = UUID(int=1)


class Parent(models.Model):  # noqa: DJ008 - without a table
    id = models.BigAutoField(primary_key=True)

    class Meta:
        app_label = "keys"


class Child(Parent):  # noqa: DJ008
    class Meta:
        app_label = "keys"


class Identified(models.Model):  # noqa: DJ008
    id = models.UUIDField(primary_key=True)

    class Meta:
        app_label = "keys"


@pytest.mark.parametrize(
    ("model", "texts", "expected"),
    [
        (Group, ["7", "x", "", "1.5", "9" * 30, "9" * 5_000], {"7": 7}),
        (Parent, [str(2**63 - 1), str(2**63), str(-(2**63) - 1)], {str(2**63 - 1): 2**63 - 1}),
        (Child, ["7", "x", "9" * 30], {"7": 7}),
        (Identified, [str(AN_ID), "1", "x"], {str(AN_ID): AN_ID}),
        (Session, ["a", "9" * 30], {"a": "a", "9" * 30: "9" * 30}),
    ],
)
def test_what_is_no_key_of_a_model_is_left_out(
    model: type[models.Model], texts: list[str], expected: dict[str, object]
) -> None:
    assert keys_of(model, texts, using="default") == expected
