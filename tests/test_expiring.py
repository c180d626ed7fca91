from __future__ import annotations

import threading

import pytest

from django_pagestats import expiring
from django_pagestats.expiring import Expiring


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_000.0]
    monkeypatch.setattr(expiring.time, "monotonic", lambda: now[0])
    return now


def test_a_value_is_there_for_its_seconds(clock: list[float]) -> None:
    kept: Expiring[int] = Expiring(10)
    kept.put("a", 0, 60)
    assert kept.get("a") == 0 and kept.get("b") is None
    clock[0] += 59.9
    assert kept.get("a") == 0
    clock[0] += 0.1
    assert kept.get("a") is None
    kept.put("a", 2, 60)
    assert kept.get("a") == 2
    kept.clear()
    assert kept.get("a") is None and len(kept) == 0


def test_it_is_bounded_and_what_is_old_goes_first() -> None:
    kept: Expiring[int] = Expiring(10)
    for number in range(1_000):
        kept.put(number, number, 60)
        assert len(kept) <= 10 and kept.get(number) == number
    assert kept.get(0) is None


def test_a_value_that_is_put_again_makes_no_room() -> None:
    kept: Expiring[int] = Expiring(4)
    kept.put("a", 1, 60)
    kept.put("b", 1, 60)
    for number in range(100):
        kept.put("b", number, 60)
    assert kept.get("a") == 1 and kept.get("b") == 99


def test_threads_at_once_never_get_anothers_value() -> None:
    kept: Expiring[int] = Expiring(8)
    wrong = []

    def work(first: int) -> None:
        for number in range(first, 20_000, 4):
            kept.put(number % 32, number % 32, 60)
            found = kept.get(number % 31)
            if found not in (None, number % 31):
                wrong.append(found)

    threads = [threading.Thread(target=work, args=[n]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and len(kept) <= 8 + len(threads)
