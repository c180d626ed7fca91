"""Rows of all time that chunks have written until now are exact up to the cursor, and stored under the number 0."""

from django.db import migrations
from django.db.models import F


def keep_their_rows(apps, schema_editor):
    generations = apps.get_model("django_pagestats", "Generation").objects.using(schema_editor.connection.alias)
    generations.update(all_cursor=F("cursor"), all_bucket=0, all_moved_at=F("created_at"))


class Migration(migrations.Migration):
    dependencies = [("django_pagestats", "0002_rows_of_all_time")]

    operations = [migrations.RunPython(keep_their_rows, migrations.RunPython.noop, elidable=True)]
