"""The end of an ASGI server's process: `application = flush_on_shutdown(get_asgi_application())`.

A server that is told to end by a signal may run nothing that Python runs at the end of a process, as uvicorn does. It
tells the application by the messages of lifespan, which Django does not answer: so this does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_STARTED = ("lifespan.startup.complete", "lifespan.startup.failed")
_ENDED = ("lifespan.shutdown.complete", "lifespan.shutdown.failed")


def flush_on_shutdown(application: Application) -> Application:
    """The same application, which writes what was gathered of page views before the server's process ends.

    An application that answers lifespan by itself goes on to do so; for one that does not, such as Django's, this does.
    """

    async def flushing(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _Lifespan(receive, send).run(application, scope)
        else:
            await application(scope, receive, send)

    return flushing


class _Lifespan:
    """One server's lifespan, as the application answers it or in its place."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._received: list[str] = []
        self._sent: list[str] = []

    async def run(self, application: Application, scope: MutableMapping[str, Any]) -> None:
        try:
            await self._run(application, scope)
        finally:
            await asyncio.to_thread(_flush)

    async def _run(self, application: Application, scope: MutableMapping[str, Any]) -> None:
        try:
            await application(scope, self._hear, self._say)
        except Exception:
            if self._is_answered():
                raise
        if not self._is_answered():
            await self._answer()

    async def _hear(self) -> Message:
        message = await self._receive()
        self._received.append(message["type"])
        return message

    async def _say(self, message: Message) -> None:
        if message["type"] in _ENDED:
            await asyncio.to_thread(_flush)
        self._sent.append(message["type"])
        await self._send(message)

    def _is_answered(self) -> bool:
        """Whether the application has said anything: then it speaks for itself."""
        return bool(self._sent)

    async def _answer(self) -> None:
        if not self._received:
            await self._hear()
        await self._say({"type": _STARTED[0]})
        while self._received[-1] != "lifespan.shutdown":
            await self._hear()
        await self._say({"type": _ENDED[0]})


def _flush() -> None:
    from django_pagestats.recording import background  # a site imports this module before Django is set up

    background.flush()
    background.tell_left()
