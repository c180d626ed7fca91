"""Compares the aggregates with a plain count of the page views up to the cursor; docs/verifying.md."""

from __future__ import annotations

from django_pagestats.verify import remembering
from django_pagestats.verify.differences import Difference, What
from django_pagestats.verify.sharing import shares_snapshots
from django_pagestats.verify.verification import Verification

__all__ = ["Difference", "Verification", "What", "remembering", "shares_snapshots"]
