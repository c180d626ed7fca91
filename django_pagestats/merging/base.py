"""What every database has to be able to do."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from typing import Any, ClassVar, NamedTuple

from django.db import transaction

from django_pagestats.buckets import Dimension, Granularity
from django_pagestats.exceptions import UncountablePageViewError
from django_pagestats.merging.page_views import (
    COUNTABLE_SECONDS,
    PAGE_VIEW_TABLE,
    PageViewColumns,
    PageViewRow,
    Uncountable,
)
from django_pagestats.merging.rows import AggregateRow, SubjectDays, by_subject
from django_pagestats.merging.troubles import Trouble
from django_pagestats.models import Aggregate, Generation
from django_pagestats.tally import Counts, Level

logger = logging.getLogger(__name__)


AGGREGATE_TABLE = Aggregate._meta.db_table
GENERATION_TABLE = Generation._meta.db_table


class Waits(NamedTuple):
    """How long a transaction waits for a lock, and after what time without a statement the server may end it."""

    lock_seconds: int
    idle_seconds: float


#: the highest stored bucket of each level with buckets
Highest = dict[Level, int | None]


class Database(ABC):
    """One database's SQL, on one connection."""

    #: seconds that a chunk's transaction should last
    CHUNK_SECONDS: ClassVar[float] = 1.0
    #: page views, or rows of days, that a step of the rows of all time has: it lasts less than a chunk
    STEP_ROWS: ClassVar[int] = 20_000
    #: the page views of so many chunks are read, and get their ids, at once
    CHUNKS_AT_ONCE: ClassVar[int] = 1
    #: whether the next chunk may be read, on a connection of its own, while one is merged
    READS_AHEAD: ClassVar[bool] = True
    #: whether several workers build a generation faster than one: where there is one writer they do not
    SHARES_BUILDS: ClassVar[bool] = True
    #: a rest after each chunk in a cluster, in times of what the chunk took
    NICE: ClassVar[float] = 0.0
    #: the end of a SELECT that keeps others from changing its rows; empty where there is one writer
    SHARE: ClassVar[str] = ""
    #: after a table's name: its rows are to be found by the primary key; empty where that goes without saying
    BY_PRIMARY_KEY: ClassVar[str] = ""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def folding(self, idle_seconds: float) -> AbstractContextManager[None]:
        """Around many chunks: what suits the connection meanwhile.

        Where the server can, it ends a transaction of ours whose client has not moved for `idle_seconds`: one that is
        frozen, or on a host that is lost, would hold its locks for ever.
        """
        return nullcontext()

    @contextmanager
    def transaction(self, *, durable: bool = False, waits: Waits | None = None) -> Iterator[None]:
        """A short transaction of ours: READ COMMITTED, whatever the site's default. Inside another one a part of that.

        Under REPEATABLE READ or SERIALIZABLE whoever changes a row that a fold changes too would fail. With `waits` it
        waits so long for a lock, and no longer: then see `trouble`. On every way out the session is what it was.
        """
        with transaction.atomic(using=self.connection.alias, durable=durable):
            yield

    def one_statement(self) -> AbstractContextManager[None]:
        """Around one statement that changes a row which folds change too: `transaction`, if it is not in one already.

        Also a statement that is a transaction by itself fails at the site's stricter level.
        """
        return nullcontext()

    def begins_here(self) -> bool:
        """Whether the next `atomic()` begins a transaction; False within one of the caller's, or of a test's."""
        return not self.connection.in_atomic_block and bool(self.connection.get_autocommit())

    def put_back(self, session: Any, statement: str) -> None:
        """Run a statement on this very session of the driver's, though the transaction be broken; not on another one.

        Django runs nothing in a broken transaction. A session that takes no statement is lost, most likely: it is
        closed, so that nobody gets it with settings of ours.
        """
        if self.connection.connection is not session:
            return
        try:
            with closing(session.cursor()) as cursor:
                cursor.execute(statement)
        except self.connection.Database.Error as error:
            logger.warning("closed a session of %r that could not be put back: %s", self.connection.alias, error)
            self.connection.close()

    @abstractmethod
    def trouble(self, error: BaseException) -> Trouble | None:
        """What is known of an error that the database, or Django for it, has raised."""

    def end_idle(self, table: str, seconds: float) -> bool:
        """End sessions that hold a table's rows, and whose clients have not moved for so long; whether there was one.

        Where the server does not do so by itself: PostgreSQL has no time-out for a COPY whose data do not come.
        """
        return False

    def lock_holder(self, table: str) -> str:
        """Which session of the server holds a table's rows, in words, with how to end it; empty: nobody can tell."""
        return ""

    # -- page views

    def refuse_garbling(self) -> None:  # noqa: B027 - where every connection carries every character
        """Raise GarbledTextError where the connection would store or read text as another; asks once a connection."""

    def reading(self) -> AbstractContextManager[None]:
        """Around the portions of a chunk: in the order of the primary key, whatever the planner thinks of it."""
        return nullcontext()

    @abstractmethod
    def read_page_views(
        self, after: int, upto: int | None, limit: int, *, with_attributes: bool = False
    ) -> list[PageViewRow]:
        """The next page views with `after < id <= upto`, in order of id.

        Raises RowsLockedError where the database knows only by trying that one of them is not yet committed, and
        UncountablePageViewError for the first that cannot be counted. The constraints of the table keep such page views
        out; where they are missing this is the one place at which all that counts finds them.
        """

    def read_columns(
        self,
        after: int,
        upto: int | None,
        limit: int,
        *,
        with_attributes: bool = False,
        names: Sequence[str] | None = None,
    ) -> PageViewColumns:
        """The same column by column; `names`: of their attributes no others are wanted."""
        rows = self.read_page_views(after, upto, limit, with_attributes=with_attributes)
        columns: Any = zip(*rows, strict=True)
        return PageViewColumns(*columns) if rows else PageViewColumns((), (), (), ())

    @abstractmethod
    def uncountable(self, after: int | None, upto: int, limit: int) -> list[Uncountable]:
        """The first so many page views with `after < id <= upto` that cannot be counted; it reads them all."""

    def check_countable(self, after: int | None, upto: int) -> None:
        """Raise UncountablePageViewError if one of the page views with `after < id <= upto` cannot be counted."""
        for found in self.uncountable(after, upto, 1):
            raise UncountablePageViewError(str(found))

    def _counted(self, rows: list[PageViewRow]) -> list[PageViewRow]:
        """The rows as they are, if all can be counted: their seconds are NULL or far off where not."""
        seconds = [row[3] for row in rows]
        if None in seconds or (
            seconds and not (min(seconds) in COUNTABLE_SECONDS and max(seconds) in COUNTABLE_SECONDS)
        ):
            self.check_countable(rows[0][0] - 1, rows[-1][0])
        return rows

    def _uncountable(self, countable: str, why: str, after: int | None, upto: int, limit: int) -> list[Uncountable]:
        """By a condition that picks the countable ones, and an expression for (column, value) of the others."""
        bound = "" if after is None else f" AND id > {after:d}"
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT id, {why} FROM {PAGE_VIEW_TABLE} WHERE NOT ({countable}) AND id <= {upto:d}{bound}"
                f" ORDER BY id LIMIT {limit:d}"
            )
            return [Uncountable(*row) for row in cursor.fetchall()]

    # -- ids

    @abstractmethod
    def select_ids(self, table: str, column: str, values: Sequence[str], where: str = "") -> dict[str, int]:
        """value -> id of those rows whose `column` is one of the values; `where` is more SQL of ours."""

    @abstractmethod
    def insert_values(
        self, table: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], *, unique: Sequence[str], key: str
    ) -> dict[str, int]:
        """Insert rows, and leave those alone whose `unique` columns are there already; no other clash is passed over.

        Gives `key` -> id of what was inserted, where the database tells without another question: else nothing.
        """

    def taken_key(self, error: BaseException) -> str:
        """The table where an INSERT drew a primary key that is there already; empty: the error is another one.

        Only where ids come from a sequence: the others draw them above the highest one in the table.
        """
        return ""

    def is_out_of_ids(self, error: BaseException) -> bool:
        """Whether an INSERT found no id that its column can hold."""
        return False

    @abstractmethod
    def counter_reset(self, table: str) -> str:
        """A statement after which new ids of a table follow the highest one in it."""

    # -- generations

    def stays_active(self, generation: int) -> bool:
        """Whether a generation answers; if so, it does until the caller's transaction ends.

        A shared lock: a new run's foreign key holds one already, and MariaDB takes what makes an exclusive one of it,
        while others wait for the row, for a deadlock.
        """
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT 1 FROM {GENERATION_TABLE} WHERE id = {generation:d} AND is_active = TRUE{self.SHARE}"
            )
            return cursor.fetchone() is not None

    # -- aggregates

    def chunk_transaction(self) -> AbstractContextManager[None]:
        """The transaction of a chunk: `transaction`, and never inside another one, but for a test's."""
        return self.transaction(durable=True)

    def wait_for_row(self, table: str, pk: int) -> None:  # noqa: B027 - where an UPDATE waits for its row by itself
        """Take a row's lock before the statement that changes it, where that one reads other tables too."""

    def prepare(self, counted: Iterable[tuple[Level, Counts]]) -> Any:
        """Do what can be done before the transaction of a merge; what it gives is what `merge` takes."""
        return list(counted)

    @abstractmethod
    def merge(
        self, generation: int, prepared: Any, highest: Highest | None = None, *, is_shared: bool = False
    ) -> Highest:
        """Add what was counted to the aggregates of a generation, in the caller's transaction.

        The caller holds the generation's row lock, or, where it `is_shared`, those of the days: nobody else writes
        these rows. Returns the highest buckets afterwards, which the next merge may be given if nobody else merged in
        between; of a generation that is shared nothing is known but what is asked for.
        """

    def lock_days(self, days: Iterable[int]) -> None:  # noqa: B027 - where there is one writer
        """Wait until nobody else folds these days, in the caller's transaction; to its end they are the caller's."""

    @abstractmethod
    def insert_rows(self, generation: int, rows: Iterable[AggregateRow]) -> None:
        """Store rows of which none is there yet, in the caller's transaction."""

    def days_of_subjects(
        self,
        generation: int,
        level: Level,
        buckets: Sequence[int],
        subjects: tuple[int, int],
        *,
        inline: int,
        limit: int,
    ) -> list[SubjectDays]:
        """The rows of some buckets with `low < subject <= high`, by subject, in any order.

        Of at most `limit` rows in all. The sets of more than `inline` visitors do not come along.
        """
        low, high = subjects
        with self.connection.cursor() as cursor:
            # all by constants, each bucket a short range of the primary key: a join would read all subjects of each
            cursor.execute(
                f"SELECT bucket, subject, page_views, visitors, CASE WHEN visitors <= {inline:d} THEN visitor_set END"
                f" FROM {AGGREGATE_TABLE}{self.BY_PRIMARY_KEY} WHERE generation = {generation:d}"
                f" AND dimension = {level.dimension:d} AND granularity = {level.granularity:d}"
                f" AND bucket IN ({', '.join(map(str, buckets))}) AND subject > {low:d} AND subject <= {high:d}"
                f" LIMIT {limit:d}"
            )
            return list(by_subject(cursor.fetchall()))

    def counted_page_views(self) -> tuple[int, int] | None:
        """Up to which primary key the active generation's ALL rows are, and the page views they count, of one instant.

        None if any page views were pruned.
        """
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"SELECT g.all_cursor, a.page_views FROM {GENERATION_TABLE} AS g JOIN {AGGREGATE_TABLE} AS a"
                f" ON a.generation = g.id AND a.dimension = {Dimension.SITE:d} AND a.granularity = {Granularity.ALL:d}"
                " AND a.bucket = g.all_bucket AND a.subject = 0 WHERE g.is_active = TRUE AND g.pruned_before IS NULL"
            )
            found: tuple[int, int] | None = cursor.fetchone()
        return found

    def analyze(self) -> None:  # noqa: B027 - where the database does it in time by itself
        """Renew the planner's statistics of the aggregates and of ids, after many of them were written."""

    @abstractmethod
    def delete_aggregates(self, generation: int, limit: int, *, of: tuple[Level, int] | None = None) -> int:
        """Delete at most so many aggregate rows of a generation; returns how many. `of`: of a level and bucket."""


def condition(of: tuple[Level, int] | None) -> str:
    """More of a WHERE: the rows of a level and bucket; None: all."""
    if of is None:
        return ""
    level, bucket = of
    return f" AND dimension = {level.dimension:d} AND granularity = {level.granularity:d} AND bucket = {bucket:d}"
