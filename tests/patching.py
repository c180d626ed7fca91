"""Puts something else in the place of a function of the package, for tests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def replace(set_attribute: Callable[[Any, str, Any], None], original: Any, replacement: Any) -> None:
    """In every module of the package that knows the original by a name of its own, so that whoever calls it calls that.

    `set_attribute` is a monkeypatch's, or the builtin for good. Put back in the same way: with both changed round.
    """
    places = [
        (module, name)
        for package, module in list(sys.modules.items())
        if package.partition(".")[0] == "django_pagestats"
        for name, value in list(vars(module).items())
        if value is original
    ]
    assert places, f"nobody in django_pagestats knows {original!r}"
    for module, name in places:
        set_attribute(module, name, replacement)
