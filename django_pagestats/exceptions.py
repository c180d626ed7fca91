"""What the package raises; every message names the value and the fix."""

from django.utils.functional import Promise
from django.utils.translation import override


class PageStatsError(Exception):
    """The base of all errors of this package: as text in English, as logs, commands and rows have it."""

    def __str__(self) -> str:
        if not any(isinstance(it, Promise) for it in self.args):
            return super().__str__()
        with override(None):
            return super().__str__()

    @property
    def told(self) -> str:
        """The same in the language of whoever reads it, where the catalogue has it."""
        return super().__str__()


class TableWentBackError(PageStatsError):
    """The highest page view is below the cursor: a restore or a TRUNCATE took page views away that are counted."""


class GarbledTextError(PageStatsError):
    """The connection's character set does not carry every character: text would be stored or read as another."""


class AutocommitOffError(PageStatsError):
    """The connection commits nothing by itself: a fold would be undone at its end."""


class DifferentRunError(PageStatsError):
    """Another run, of another kind, is active: one at a time."""


class RunLockedError(PageStatsError):
    """Somebody holds the row of the run for longer than a chunk should last, or was faster in changing it."""


class InsideTransactionError(PageStatsError):
    """It was asked for inside a transaction, and must be one of its own."""


class PausedError(PageStatsError):
    """The run is paused: it goes on when somebody resumes it, and not by another start."""


class GenerationReplacedError(PageStatsError):
    """Another generation came to answer while a run was being started."""


class TakenOverError(PageStatsError):
    """Another worker has taken over the run that was worked on in this process."""


class QueueUnreachableError(PageStatsError):
    """The queue did not take a task; the run stays, and goes on once it is revived."""


class UnreadableSetError(PageStatsError):
    """A stored visitor set is damaged."""


class AnswerUnsettledError(PageStatsError):
    """The aggregates kept moving under an answer inside the caller's transaction, longer than the setting allows."""


class UncountablePageViewError(PageStatsError):
    """A page view has a time, or a text, that cannot be counted; the message names it, its value and the cure."""


class DimensionError(PageStatsError):
    """The function of a named dimension raised, or gave what cannot be stored; the message names its arguments.

    Or the attributes of a page view are not what they have to be: `is_of_page_view`.
    """

    is_of_page_view = False


class UnknownDimensionError(PageStatsError):
    """The generation that answers does not have the dimension; the message names those it has, and the rebuild."""

    #: the dimension that was asked for; empty where one was looked for by its source
    name = ""


class ArgumentError(ValueError):
    """An argument of a question of `stats` is none; `name` is the argument's, and the message says what would do."""

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


class TailTooLongError(PageStatsError):
    """More page views are not folded yet than an answer can count in memory; the message names the backfill."""


class VisitorIdsExhaustedError(PageStatsError):
    """A visitor's id does not fit the 32 bits of a visitor set."""


class SubjectIdsExhaustedError(PageStatsError):
    """A subject's id does not fit the column of the aggregates."""


class SequenceBehindError(PageStatsError):
    """A sequence draws ids that are in its table already: the rows were restored without it."""


class ProcessFailedError(PageStatsError):
    """A process that did a part of the work failed, or was killed: nothing is known of its part."""


class ImportFailedError(PageStatsError):
    """An import cannot go on; what its earlier transactions stored is kept, and running it again goes on from there."""


class UnknownSchemaError(PageStatsError):
    """In an event loop nothing tells whose schema a request has: the connection that knows is another thread's."""


class TokenRefusedError(PageStatsError):
    """A token of the read API cannot be made as it was asked for."""
