"""A mail server for tests: it takes what SMTP brings it, and can be told to refuse, or to be slow."""

from __future__ import annotations

import socketserver
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from threading import Thread
from types import TracebackType


class MailServer:
    """Listens on a free port of this machine while it is a context; `messages` are those that it has accepted."""

    def __init__(self, *, answer: bytes = b"250 taken", on_data: Callable[[], None] = lambda: None) -> None:
        self.messages: list[EmailMessage] = []
        #: what comes after the text of a message: a refusal keeps nothing
        self.answer = answer
        self.on_data = on_data
        owner = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.tell(b"220 here")
                while line := self.rfile.readline():
                    verb = line[:4].upper()
                    if verb == b"DATA":
                        self.take()
                    elif verb == b"QUIT":
                        self.tell(b"221 bye")
                        return
                    else:
                        self.tell(b"250 fine")

            def take(self) -> None:
                self.tell(b"354 go on")
                lines = list(iter(self.rfile.readline, b".\r\n"))
                text = b"".join(line[1:] if line.startswith(b"..") else line for line in lines)
                owner.on_data()
                if owner.answer.startswith(b"250"):
                    owner.messages.append(message_from_bytes(text, EmailMessage, policy=policy.default))
                self.tell(owner.answer)

            def tell(self, line: bytes) -> None:
                self.wfile.write(line + b"\r\n")

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> MailServer:
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
