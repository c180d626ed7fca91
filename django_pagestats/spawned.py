"""Processes of our own, each with a pipe to this one; nothing of Django is imported here before it is set up.

They are started anew and with the settings of this one: a connection that was forked would be that of two processes.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from django_pagestats.exceptions import ProcessFailedError

#: how long the end of a process that was told to end is waited for
END_SECONDS = 10.0
#: what of a database's settings may differ from those in the settings' module: the tests' databases have other names
PLACE = ("HOST", "NAME", "PASSWORD", "PORT", "USER")


class Failed(NamedTuple):
    """The last thing that a process says which cannot go on."""

    told: str
    traceback: str


class Spawned:
    """One process, and what it sends."""

    def __init__(self, path: str, using: str, arguments: Sequence[Any]) -> None:
        from django.db import connections

        settings = connections[using].settings_dict
        context = multiprocessing.get_context("spawn")
        self._pipe, end = context.Pipe()
        # pickled here and unpickled once Django is set up: their classes may be those of models
        wanted = path, using, {name: settings[name] for name in PLACE}, pickle.dumps(arguments), end
        self.process: BaseProcess = context.Process(target=_call, args=wanted, daemon=True)
        self.process.start()
        end.close()  # else its end would not be seen

    def receive(self) -> Any:
        """What it sends next; raises ProcessFailedError if it has failed, or is gone."""
        try:
            received = self._pipe.recv()
        except (EOFError, ConnectionResetError) as error:
            self.process.join(END_SECONDS)
            raise ProcessFailedError(f"One of the processes ended early ({self.process.exitcode}).") from error
        if isinstance(received, Failed):
            raise ProcessFailedError(f"One of the processes failed: {received.told}") from RuntimeError(
                received.traceback
            )
        return received

    def dismiss(self, seconds: float) -> None:
        """Let it come to an end by itself, as soon as it looks; raises ProcessFailedError if it had failed before."""
        try:
            if self._pipe.poll():
                self.receive()
        finally:
            self._pipe.close()
            self.process.join(seconds)

    def end(self) -> None:
        self.process.terminate()
        self.process.join(END_SECONDS)
        self._pipe.close()


@contextmanager
def spawned(path: str, using: str, arguments: Sequence[Sequence[Any]]) -> Iterator[list[Spawned]]:
    """A process for each of the arguments, which calls `function(using, *arguments, pipe=..)` by its dotted path.

    They live no longer than the block, however it is left. Its end of the pipe tells a process that nobody is there any
    more: it can be read from then on, and what is sent is an error.
    """
    processes: list[Spawned] = []
    try:
        for those in arguments:
            processes.append(Spawned(path, using, those))
        yield processes
    finally:
        for process in processes:
            process.end()


def _call(path: str, using: str, place: dict[str, Any], arguments: bytes, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C whoever has started it ends it
    try:
        import django

        django.setup()
        from django.db import connections
        from django.utils.module_loading import import_string

        connections[using].settings_dict.update(place)
        function: Callable[..., None] = import_string(path)
        function(using, *pickle.loads(arguments), pipe=pipe)  # noqa: S301 - by who has started it
    except BrokenPipeError:
        raise SystemExit(1) from None  # nobody listens any more
    except Exception as error:
        pipe.send(Failed(f"{type(error).__name__}: {error}", traceback.format_exc()))
        raise SystemExit(1) from None
