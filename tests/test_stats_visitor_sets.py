"""Sets of visitors against Python's own sets."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from django_pagestats.stats.visitor_sets import VisitorSet

#: session keys with an id, and those without one, which have a number
IDS = {f"known{n}": n * 70_001 for n in range(8)}
NUMBERS = {f"new{n}": n for n in range(8)}
KEYS = st.frozensets(st.sampled_from([*IDS, *NUMBERS]))
OPERATORS = [operator.and_, operator.or_, operator.sub, operator.xor]
COMPARISONS = [operator.le, operator.lt, operator.ge, operator.gt, operator.eq, operator.ne]
ORIGIN = ("of one snapshot", 1)


def set_of(keys: Iterable[str], origin: Any = ORIGIN) -> VisitorSet:
    return VisitorSet(
        BitMap(IDS[key] for key in keys if key in IDS), BitMap(NUMBERS[key] for key in keys if key in NUMBERS), origin
    )


@given(KEYS, KEYS, st.sampled_from(OPERATORS))
def test_operations_equal_those_of_pythons_sets(left: frozenset[str], right: frozenset[str], operation: Any) -> None:
    made = operation(a := set_of(left), b := set_of(right))
    assert made == set_of(operation(left, right))
    assert len(made) == len(operation(left, right))
    assert bool(made) == bool(operation(left, right))
    assert (a, b) == (set_of(left), set_of(right)), "they are what they were"


@given(KEYS, KEYS)
def test_comparisons_equal_those_of_pythons_sets(left: frozenset[str], right: frozenset[str]) -> None:
    for compare in COMPARISONS:
        assert compare(set_of(left), set_of(right)) == compare(left, right), compare
    assert set_of(left).isdisjoint(set_of(right)) == left.isdisjoint(right)


@given(st.lists(KEYS, min_size=1, max_size=6), st.lists(st.sampled_from(OPERATORS), max_size=5))
def test_chains_of_operations_equal_those_of_pythons_sets(sets: list[frozenset[str]], chain: list[Any]) -> None:
    expected, made = sets[0], set_of(sets[0])
    for operation, following in zip(chain, sets[1:], strict=False):
        expected, made = operation(expected, following), operation(made, set_of(following))
    assert made == set_of(expected)
    assert (len(made), bool(made)) == (len(expected), bool(expected))


@given(KEYS, KEYS)
def test_equal_sets_have_equal_hashes(left: frozenset[str], right: frozenset[str]) -> None:
    assert len({set_of(left), set_of(right)}) == len({left, right})


def test_in_place_operators_make_another_set() -> None:
    before = made = set_of(["known1", "new1"])
    made |= set_of(["known2"])
    made -= set_of(["new1"])
    assert made == set_of(["known1", "known2"])
    assert before == set_of(["known1", "new1"])


@pytest.mark.parametrize("ask", [*OPERATORS, *COMPARISONS, lambda a, b: a.isdisjoint(b)])
def test_sets_of_different_snapshots_do_not_mix(ask: Callable[[Any, Any], Any]) -> None:
    with pytest.raises(ValueError, match=r"different instants.*stats\.snapshot\(\)"):
        ask(set_of(["known1"]), set_of(["known1"], ("of another", 2)))


@pytest.mark.parametrize("ask", [*OPERATORS, *COMPARISONS[:4], lambda a, b: a.isdisjoint(b)])
@pytest.mark.parametrize("other", [{"known1"}, frozenset(), 3, None, BitMap([1])])
def test_nothing_else_is_a_set_of_visitors(ask: Callable[[Any, Any], Any], other: Any) -> None:
    with pytest.raises(TypeError):
        ask(set_of(["known1"]), other)
    assert set_of([]) != other
    with pytest.raises((TypeError, AttributeError)):
        ask(other, set_of(["known1"]))


def test_no_way_leads_to_a_visitor() -> None:
    visitors: Any = set_of(["known3", "new5"])
    for look in (iter, list, set, lambda it: "known3" in it, lambda it: IDS["known3"] in it, lambda it: it[0], vars):
        with pytest.raises(TypeError):
            look(visitors)
    for shown in (repr(visitors), str(visitors), f"{visitors}"):
        assert shown == "<VisitorSet of 2>"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(visitors, protocol)
    assert copy.copy(visitors) is copy.deepcopy(visitors) is visitors
    public = {name for name in dir(visitors) if not name.startswith("_")}
    assert public == {"isdisjoint"}


def test_nothing_can_be_put_into_it() -> None:
    visitors: Any = set_of(["known3"])
    with pytest.raises(AttributeError):
        visitors.note = "mine"
