"""Fill the site with page views of a realistic shape, and make the superuser demo."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandParser
from django.db import connection, transaction
from tqdm import tqdm

from django_pagestats.models import PageView
from testproject import traffic

DAYS = 365
PATHS = 1_000
BATCH_SIZE = 10_000


class Command(BaseCommand):
    help = "Add page views of the last year, and the superuser demo with the password demo."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--page-views", type=int, default=200_000)
        parser.add_argument("--seed", type=int, default=1)

    def handle(self, *args: Any, page_views: int, seed: int, **options: Any) -> None:
        users = get_user_model().objects
        if not users.filter(username="demo").exists():
            users.create_superuser("demo", "demo@example.com", "demo")
        today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
        rows = traffic.page_views(
            page_views,
            seed=seed,
            paths=PATHS,
            visitors=page_views // 5 + 1,
            days=DAYS,
            start=today - timedelta(days=DAYS),
        )
        attributes = traffic.Attributes(seed)
        with tqdm(total=page_views, unit=" page views", unit_scale=True, file=self.stderr, disable=None) as bar:
            while batch := list(islice(rows, BATCH_SIZE)):
                with transaction.atomic():
                    PageView.objects.bulk_create(
                        PageView(path=path, session_key=key, viewed_at=at, attributes=attributes.of_page_view(key))
                        for path, key, at in batch
                    )
                bar.update(len(batch))
        self.stdout.write(f"{page_views:,} page views of {DAYS} days are in {connection.settings_dict['NAME']}")
