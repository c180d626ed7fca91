"""The messages of lifespan, by which a server tells that its process ends: who answers them, and when it is flushed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.core.asgi import get_asgi_application

from django_pagestats import asgi
from django_pagestats.recording import background

STARTUP, SHUTDOWN = {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}
COMPLETE = ["lifespan.startup.complete", "lifespan.shutdown.complete"]


class Served:
    """What a server hears of an application whose process begins and ends; "flush" stands where it was flushed."""

    def __init__(self, application: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.heard: list[str] = []
        self.application = asgi.flush_on_shutdown(application)
        monkeypatch.setattr(asgi, "_flush", lambda: self.heard.append("flush"))

    def run(self, scope: str = "lifespan") -> list[str]:
        messages = iter([STARTUP, SHUTDOWN])

        async def receive() -> Any:
            return dict(next(messages))

        async def send(message: Any) -> None:
            self.heard.append(message["type"])

        asyncio.run(self.application({"type": scope}, receive, send))
        return self.heard


async def answers_itself(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message == SHUTDOWN:
            return


async def refuses_once_it_has_heard(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    await receive()
    raise ValueError("only http")


async def says_nothing(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    return


@pytest.mark.parametrize(
    "application",
    [get_asgi_application(), answers_itself, refuses_once_it_has_heard, says_nothing],
    ids=["Django", "itself", "refuses", "nothing"],
)
def test_it_is_flushed_before_the_server_hears_of_the_end(application: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Served(application, monkeypatch).run()
    assert heard[:3] == [COMPLETE[0], "flush", COMPLETE[1]]
    assert set(heard) == {*COMPLETE, "flush"}  # once more at the very end does no harm


def test_an_application_that_cannot_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed"})

    assert Served(fails, monkeypatch).run() == ["lifespan.startup.failed", "flush"]


def test_one_that_breaks_off_is_flushed_and_its_error_is_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks_off(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        await receive()
        await send({"type": COMPLETE[0]})
        raise RuntimeError("no")

    served = Served(breaks_off, monkeypatch)
    with pytest.raises(RuntimeError):
        served.run()
    assert served.heard == [COMPLETE[0], "flush"]


def test_requests_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    assert Served(application, monkeypatch).run("http") == []
    assert seen == ["http"]


def test_what_could_not_be_written_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the end of its server such a process may run nothing more."""
    done: list[str] = []
    monkeypatch.setattr(background, "flush", lambda: done.append("flush"))
    monkeypatch.setattr(background, "_telling", [lambda: done.append("tell")])
    asgi._flush()
    assert done == ["flush", "tell"]
