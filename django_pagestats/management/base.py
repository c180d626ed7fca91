"""What the commands have in common: the database they work on, and errors without a traceback."""

from __future__ import annotations

from abc import ABC, abstractmethod
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError

from django_pagestats import aliases
from django_pagestats.exceptions import PageStatsError
from django_pagestats.merging import BINARY_LOG_TOLD, Trouble, database_for

#: what to do about an error, where its kind tells
CURES: dict[Trouble | None, str] = {
    Trouble.BINARY_LOG: BINARY_LOG_TOLD,
    Trouble.CONFLICT: "Somebody else was faster: run it again.",
    Trouble.FORBIDDEN: "The database's user may not do this: it needs all privileges on the site's own database.",
    Trouble.LOCKED: "Somebody else holds a lock for too long.",
    Trouble.MISSING: "Are all migrations applied?",
}


class DatabaseCommand(BaseCommand, ABC):
    """A command with `--database`; what goes wrong in `work` is a CommandError that says what to do."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--database",
            metavar="ALIAS",
            help="The database alias of the page views; by default the one that the database router writes them to.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self.check_options(options)
        options["database"] = options["database"] or aliases.home()
        check_alias(options["database"])
        try:
            if sentence := aliases.without_tables(options["database"]):
                raise CommandError(sentence)
            self.work(**options)
        except PageStatsError as error:
            raise CommandError(str(error)) from error
        except (DatabaseError, InterfaceError) as error:
            trouble = database_for(options["database"]).trouble(error)
            told = (
                f"The database gave an error ({str(error).strip()}): what was stored before is kept, and running this "
                f"again goes on from there. {CURES.get(trouble, '')}"
            )
            raise CommandError(told.rstrip()) from error

    def check_options(self, options: dict[str, Any]) -> None:
        """Raise CommandError for options that do not go together, before any database is asked."""

    @abstractmethod
    def work(self, *, database: str, **options: Any) -> None:
        """Do what the command is for."""


def check_alias(alias: str) -> None:
    """Raise CommandError for a database that the settings do not have."""
    if sentence := aliases.unknown(alias):
        raise CommandError(sentence)
