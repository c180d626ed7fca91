"""For views."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction

View = TypeVar("View", bound=Callable[..., Any])


def not_counted(view: View) -> View:
    """The page views of a view are not recorded by the middleware.

    For functions, sync and async; of a class: `@method_decorator(not_counted, name="dispatch")`, or around `as_view()`.
    """
    if iscoroutinefunction(view):

        @wraps(view)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            return await view(*args, **kwargs)

    else:

        @wraps(view)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return view(*args, **kwargs)

    wrapper.pagestats_not_counted = True  # type: ignore[attr-defined]
    return cast(View, wrapper)
