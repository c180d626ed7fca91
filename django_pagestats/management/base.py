"""What the commands have in common: the database they work on, and errors without a traceback."""

from __future__ import annotations

from abc import ABC, abstractmethod
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError

from django_pagestats import aliases
from django_pagestats.exceptions import PageStatsError


class DatabaseCommand(BaseCommand, ABC):
    """A command with `--database`; what goes wrong in `work` is a CommandError that says what to do."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--database",
            metavar="ALIAS",
            help="The database alias of the page views; by default the one that the database router writes them to.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        options["database"] = options["database"] or aliases.home()
        check_alias(options["database"])
        try:
            if sentence := aliases.without_tables(options["database"]):
                raise CommandError(sentence)
            self.work(**options)
        except PageStatsError as error:
            raise CommandError(str(error)) from error
        except (DatabaseError, InterfaceError) as error:
            raise CommandError(
                f"The database gave an error ({str(error).strip()}): what was stored before is kept, and running this "
                "again goes on from there. Are all migrations applied?"
            ) from error

    @abstractmethod
    def work(self, *, database: str, **options: Any) -> None:
        """Do what the command is for."""


def check_alias(alias: str) -> None:
    """Raise CommandError for a database that the settings do not have."""
    if sentence := aliases.unknown(alias):
        raise CommandError(sentence)
