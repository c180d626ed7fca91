"""How page views are spread over named dimensions: by context, which is the text of their attributes.

Most page views share their context with others of the day. So the attributes of each context are looked at once, and a
page view costs one look-up more however many dimensions there are. What a function of the path gives is known by page,
and what takes both, by context and page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from inspect import signature
from typing import Any, NamedTuple

from django.utils.module_loading import import_string

from django_pagestats.dimensions.named import ENTRY, NamedDimension
from django_pagestats.exceptions import DimensionError

#: characters of a value; where a value is a path, or a part of one, as many as that has
VALUE_MAX_LENGTH = 255
PATHS_OF_OURS = (ENTRY, "django_pagestats.dimensions.section")
#: contexts, pages, and pages of contexts whose subjects are remembered
MOST_REMEMBERED = 40_000

#: characters of a value, or of an error's text, in an error
MOST_SHOWN = 300

#: (number of a dimension, subject) of each that a page view counts for
Targets = tuple[tuple[int, int], ...]
#: the values of a dimension -> the numbers that stand for them, which no two dimensions share
Intern = Callable[[int, set[str]], Mapping[str, int]]
NO_TARGETS: Targets = ()


class Context:
    """What page views with the same attributes count for; compared by identity, which is what makes it quick."""

    __slots__ = ("of_pages", "targets")

    def __init__(self, targets: Targets, of_pages: dict[int, Targets] | None) -> None:
        #: whatever their page
        self.targets = targets
        #: by the subject of their page; None: nothing takes both
        self.of_pages = of_pages


class Spread(NamedTuple):
    """Where some page views count beside site and page."""

    contexts: Sequence[Context]  #: of each page view
    of_pages: Mapping[int, Targets]  #: subject of a page -> what follows from its path alone

    def part(self, start: int, end: int | None) -> Spread:
        """Of some of the page views."""
        return Spread(self.contexts[start:end], self.of_pages)

    def followed_by(self, more: Spread) -> Spread:
        """Both as one."""
        of_pages = self.of_pages if self.of_pages is more.of_pages else {**self.of_pages, **more.of_pages}
        return Spread([*self.contexts, *more.contexts], of_pages)


class Spreading:
    """Spreads page views over some dimensions, with a bounded memory of what their functions gave.

    `intern` gives numbers for values, and is asked for what is new, a dimension at a time. Raises DimensionError where
    a function raises, or gives anything but text that can be stored, or None.
    """

    def __init__(self, dimensions: Iterable[NamedDimension], intern: Intern) -> None:
        values = [Values(dimension) for dimension in dimensions]
        self._of_attributes = [it for it in values if it.takes == {"attributes"}]
        self._of_path = [it for it in values if it.takes <= {"path"}]
        self._of_both = [it for it in values if it.takes == {"path", "attributes"}]
        self._intern = intern
        self._contexts: dict[str, Context] = {}
        self._attributes: dict[str, Mapping[str, Any]] = {}
        self._pages: dict[int, Targets] = {}
        self._pairs = 0

    def spread(self, paths: Sequence[str], subjects: Sequence[int], texts: Sequence[str | None]) -> Spread:
        """Where page views count, by path, subject of the path, and attributes as the database writes them."""
        if len(self._contexts) > MOST_REMEMBERED or self._pairs > MOST_REMEMBERED:
            self._contexts, self._attributes, self._pairs = {}, {}, 0
        if len(self._pages) > MOST_REMEMBERED:
            self._pages = {}
        self._look_at_contexts({text or "" for text in texts})
        known = self._contexts
        contexts = [known[text or ""] for text in texts]
        of_pages: Mapping[int, Targets] = {}
        if self._of_path:
            self._look_at_pages(dict(zip(subjects, paths, strict=True)))
            of_pages = self._pages
        if self._of_both:
            self._look_at_pairs(paths, subjects, texts)
        return Spread(contexts, of_pages)

    def _look_at_contexts(self, texts: set[str]) -> None:
        new = {text: attributes_of(text) for text in texts.difference(self._contexts)}
        targets = self._targets(self._of_attributes, [(text, None, attributes) for text, attributes in new.items()])
        is_entry_only = [it.dimension.source for it in self._of_both] == [ENTRY]
        for text, attributes in new.items():
            takes_pages = bool(self._of_both) and not (is_entry_only and "source" not in attributes)
            self._contexts[text] = Context(targets.get(text, NO_TARGETS), {} if takes_pages else None)
            if takes_pages:
                self._attributes[text] = attributes

    def _look_at_pages(self, paths: dict[int, str]) -> None:
        new = [(subject, path, None) for subject, path in paths.items() if subject not in self._pages]
        targets = self._targets(self._of_path, new)
        self._pages.update((subject, targets.get(subject, NO_TARGETS)) for subject, _, _ in new)

    def _look_at_pairs(self, paths: Sequence[str], subjects: Sequence[int], texts: Sequence[str | None]) -> None:
        new: list[tuple[tuple[str, int], str, Mapping[str, Any]]] = []
        for text, subject, path in set(zip(texts, subjects, paths, strict=True)):
            text = text or ""
            of_pages = self._contexts[text].of_pages
            if of_pages is not None and subject not in of_pages:
                new.append(((text, subject), path, self._attributes[text]))
        targets = self._targets(self._of_both, new)
        for (text, subject), _, _ in new:
            of_pages = self._contexts[text].of_pages
            assert of_pages is not None  # noqa: S101 - such are not among the new ones
            of_pages[subject] = targets.get((text, subject), NO_TARGETS)
        self._pairs += len(new)

    def _targets(
        self, wanted: Sequence[Values], arguments: Sequence[tuple[Any, str | None, Mapping[str, Any] | None]]
    ) -> dict[Any, Targets]:
        """key -> what counts for it, of (key, path, attributes)."""
        found: dict[Any, list[tuple[int, int]]] = {}
        for values in wanted:
            given = [(key, value) for key, value in values.of(arguments) if value is not None]
            if not given:
                continue
            number = values.dimension.id
            ids = self._intern(number, {value for _, value in given})
            target_of = {value: (number, ids[value]) for _, value in given}
            for key, value in given:
                found.setdefault(key, []).append(target_of[value])
        return {key: tuple(targets) for key, targets in found.items()}


class Values:
    """The values of one dimension."""

    def __init__(self, dimension: NamedDimension) -> None:
        self.dimension = dimension
        self._function: Callable[..., object] | None = None
        self.takes = {"attributes"}
        if not dimension.is_attribute:
            self._function = _imported(dimension)
            self.takes = taken_by(self._function)
        #: of a value
        self.longest = 2_048 if dimension.source in PATHS_OF_OURS else VALUE_MAX_LENGTH

    def of(
        self, arguments: Sequence[tuple[Any, str | None, Mapping[str, Any] | None]]
    ) -> Iterator[tuple[Any, str | None]]:
        """(key, value) of each (key, path, attributes); what the function does not take may be None.

        It is called once for each distinct argument.
        """
        if self._function is None:
            name = self.dimension.source
            for key, _, attributes in arguments:
                yield key, self._checked((attributes or {}).get(name), {"attributes": attributes})
            return
        for key, path, attributes in arguments:
            given = {"path": path, "attributes": attributes}
            yield key, self.value(**{name: given[name] for name in self.takes})

    def value(self, **arguments: Any) -> str | None:
        """What the function gives; raises DimensionError."""
        assert self._function is not None  # noqa: S101 - an attribute's value is not asked for in this way
        if "attributes" in arguments:
            arguments["attributes"] = dict(arguments["attributes"])  # its own: what it changes nobody sees
        try:
            value = self._function(**arguments)
        except Exception as error:
            raise DimensionError(
                f"{self._called(arguments)} raised {_told(error)}. Correct it, or take the dimension out of"
                " PAGESTATS_DIMENSIONS and rebuild."
            ) from error
        return self._checked(value, arguments)

    def _checked(self, value: object, arguments: Mapping[str, Any]) -> str | None:
        if value is None:
            return None
        if why := _refused(value, self.longest):
            raise DimensionError(
                f"{self._called(arguments)} gave {_shown(value)}, {why}: text of 1 to {self.longest} characters would"
                " do, or None."
            )
        return str(value)

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
    except ValueError as error:
        raise DimensionError(
            f"A page view has the attributes {_shown(text)}, which are no JSON: correct them."
        ) from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise DimensionError(
            f"A page view has the attributes {_shown(text)}, which are no JSON object of names and texts: correct them,"
            " or set them to NULL."
        )
    return found


def taken_by(function: Callable[..., object]) -> set[str]:
    """Which of `path` and `attributes` a function takes; raises DimensionError for any other parameter."""
    parameters = signature(function).parameters.values()
    names = {it.name for it in parameters if it.kind in (it.POSITIONAL_OR_KEYWORD, it.KEYWORD_ONLY)}
    others = [it.name for it in parameters if it.name not in ("path", "attributes") and it.default is it.empty]
    if others or not names & {"path", "attributes"}:
        raise DimensionError(
            f"{function!r} takes {', '.join(others) or 'nothing'}: a function of path, of attributes, or of both, by"
            " these names, would do."
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


def _told(error: Exception) -> str:
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
