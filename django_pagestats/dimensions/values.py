"""The values of one dimension, out of an attribute or by a function of the site's; and what may be wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from inspect import signature
from operator import itemgetter
from types import NoneType
from typing import Any, cast

from django.utils.module_loading import import_string

from django_pagestats.dimensions.named import ENTRY, NamedDimension
from django_pagestats.exceptions import DimensionError

#: characters of a value; where a value is a path, or a part of one, as many as that has
VALUE_MAX_LENGTH = 255
PATHS_OF_OURS = (ENTRY, "django_pagestats.dimensions.section")
#: characters of a value, or of an error's text, in an error
MOST_SHOWN = 300

#: what stands for it, its path and its attributes; what is not taken may be None
Argument = tuple[Hashable, str | None, Mapping[str, Any] | None]


class Values:
    """The values of one dimension."""

    def __init__(self, dimension: NamedDimension) -> None:
        self.dimension = dimension
        self._function: Callable[..., object] | None = None
        self.takes = {"attributes"}
        if not dimension.is_attribute:
            self._function = _imported(dimension)
            self.takes = _taken_by(self._function, dimension)
        #: of a value
        self.longest = 2_048 if dimension.source in PATHS_OF_OURS else VALUE_MAX_LENGTH

    def of(self, arguments: Sequence[Argument]) -> Iterator[tuple[Any, str | None]]:
        """(key, value) of each (key, path, attributes); what the function does not take may be None.

        It is called once for each of them.
        """
        keys, paths, attributes = tuple(zip(*arguments, strict=True)) or ((), (), ())
        return zip(keys, self.listed(paths, attributes), strict=True)

    def listed(self, paths: Iterable[str | None], attributes: Sequence[Mapping[str, Any] | None]) -> list[str | None]:
        """The value of each path with its attributes."""
        if self._function is None:
            return self._of_attributes([them or {} for them in attributes])
        given = ({"path": path, "attributes": them} for path, them in zip(paths, attributes, strict=True))
        return [self.value(**{name: both[name] for name in self.takes}) for both in given]

    def _of_attributes(self, attributes: Sequence[Mapping[str, Any]]) -> list[str | None]:
        """Each distinct value is looked at once: there are few of them."""
        name = self.dimension.source
        try:
            found = list(map(itemgetter(name), attributes))  # where all have it, twice as fast as get()
        except KeyError:
            found = [them.get(name) for them in attributes]
        if self._are_good(found):
            return found
        pairs = zip(found, attributes, strict=True)
        return [self._checked(value, {"attributes": them}) for value, them in pairs]

    def checked(self, found: Sequence[Any]) -> Sequence[str | None]:
        """Values of the attribute; raises DimensionError."""
        if not self._are_good(found):
            for value in found:
                self._checked(value, {"attributes": {self.dimension.source: value}})
        return found

    def _are_good(self, found: Sequence[Any]) -> bool:
        try:
            return all(value is None or not _refused(value, self.longest) for value in set(found))
        except TypeError:  # a list or an object
            return False

    def value(self, **arguments: Any) -> str | None:
        """What the function gives; raises DimensionError."""
        assert self._function is not None  # noqa: S101 - an attribute's value is not asked for in this way
        if "attributes" in arguments:
            arguments["attributes"] = dict(arguments["attributes"])  # its own: what it changes nobody sees
        try:
            value = self._function(**arguments)
        except (Exception, SystemExit) as error:
            raise DimensionError(
                f"{self._called(arguments)} raised {_told(error)}. Correct it, or take the dimension out of"
                " PAGESTATS_DIMENSIONS and rebuild."
            ) from error
        return self._checked(value, arguments)

    def _checked(self, value: object, arguments: Mapping[str, Any]) -> str | None:
        if value is None:
            return None
        if isinstance(value, str):
            value = str.__str__(value)  # of a subclass, such as an enumeration's, the text itself
        if why := _refused(value, self.longest):
            error = DimensionError(
                f"{self._called(arguments)} {'is' if self.dimension.is_attribute else 'gave'} {_shown(value)}, {why}:"
                f" text of 1 to {self.longest} characters would do, or None."
            )
            error.is_of_page_view = self.dimension.is_attribute
            raise error
        return cast(str, value)

    def _called(self, arguments: Mapping[str, Any]) -> str:
        dimension = self.dimension
        if dimension.is_attribute:
            return f"The dimension {dimension.name}: the attribute {dimension.source} of {_shown(arguments)}"
        given = ", ".join(f"{name}={_shown(value)}" for name, value in arguments.items())
        return f"The dimension {dimension.name}: {dimension.source}({given})"


def attributes_of(text: str) -> Mapping[str, Any]:
    """The attributes, as the database writes them; empty where there are none. Raises DimensionError."""
    try:
        found = json.loads(text) if text else None
    except (ValueError, RecursionError) as error:
        raise _no_attributes(text, "JSON") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _no_attributes(text, "JSON object of names and texts")
    return found


def _no_attributes(text: str, wanted: str) -> DimensionError:
    error = DimensionError(f"A page view has the attributes {_shown(text)}, which are no {wanted}: correct them.")
    error.is_of_page_view = True
    return error


def all_attributes_of(texts: Sequence[str]) -> list[Mapping[str, Any]]:
    """The same of many, as one text: that takes a third of the time."""
    try:
        # a text that is no JSON by itself does not become some by the others: no string of JSON has a line break
        found = json.loads("[" + ",\n".join(text or "null" for text in texts) + "]")
    except (ValueError, RecursionError):
        found = []
    if len(found) == len(texts) and {dict, NoneType}.issuperset(map(type, found)):
        return [them or {} for them in found]
    return [attributes_of(text) for text in texts]


def _taken_by(function: Callable[..., object], dimension: NamedDimension) -> set[str]:
    """Which of `path` and `attributes` a function takes; raises DimensionError for any other parameter."""
    try:
        parameters = signature(function).parameters.values()
    except (TypeError, ValueError):  # some of those that are not written in Python do not say
        parameters = signature(lambda: None).parameters.values()
    names = {it.name for it in parameters if it.kind in (it.POSITIONAL_OR_KEYWORD, it.KEYWORD_ONLY)}
    others = [it.name for it in parameters if it.name not in ("path", "attributes") and it.default is it.empty]
    if others or not names & {"path", "attributes"}:
        raise DimensionError(
            f"The dimension {dimension.name}: {dimension.source} takes {', '.join(others) or 'none of these'}: a"
            " function of path, of attributes, or of both, by these names, would do."
        )
    return names & {"path", "attributes"}


def _imported(dimension: NamedDimension) -> Callable[..., object]:
    try:
        found: Callable[..., object] = import_string(dimension.source)
    except Exception as error:  # whatever the module does when it is imported
        raise DimensionError(
            f"The dimension {dimension.name}: {dimension.source} cannot be imported ({_told(error)})."
            " Bring it back, or take the dimension out of PAGESTATS_DIMENSIONS and rebuild."
        ) from error
    if not callable(found):
        raise DimensionError(f"The dimension {dimension.name}: {dimension.source} cannot be called.")
    return found


def _refused(value: object, longest: int) -> str:
    """Why a value cannot be stored; empty if it can."""
    if not isinstance(value, str):
        return f"which is no text but of type {type(value).__name__}"
    if not value:
        return "which is empty"
    if len(value) > longest:
        return f"which has {len(value)} characters"
    if "\0" in value:
        return "which has a NUL character"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "which has half a surrogate pair"
    return ""


def _told(error: BaseException) -> str:
    """An error of the site's code, whatever its text is like."""
    try:
        text = str(error)
    except Exception as failure:
        text = f"(its text cannot be had: {type(failure).__name__})"
    return f"{type(error).__name__}: {_cut(text)}"


def _shown(value: object) -> str:
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
