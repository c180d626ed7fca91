"""Processes of our own, each with a pipe to this one; nothing of Django is imported here before it is set up.

They are started anew and with the settings of this one: a connection that was forked would be that of two processes.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import ModuleType
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
        with _apart():
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
        self.process.kill()  # one that is stopped takes nothing else
        self.process.join()
        self._pipe.close()


@contextmanager
def _apart() -> Iterator[None]:
    """While a process is started: it gets no Ctrl-C, not even before it can say so, and not this one's main module.

    What it is to call has a name of its own; a script without `if __name__ == "__main__"` would run once more in it.
    """
    main = sys.modules["__main__"]
    interrupts = {signal.SIGINT} if hasattr(signal, "pthread_sigmask") else set()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, interrupts) if interrupts else None
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def can_spawn() -> bool:
    """Whether this process may have others of its own: a worker of a pool, which ends with its parent, may not."""
    return not multiprocessing.current_process().daemon


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
