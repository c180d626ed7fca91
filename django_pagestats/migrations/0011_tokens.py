import django_pagestats.models.fields
from django.db import migrations, models


def state_the_character_set(apps, schema_editor):
    """MariaDB and MySQL: a table takes its database's, which may have few characters; each column states its own too."""
    if schema_editor.connection.vendor == "mysql":
        table = schema_editor.quote_name(apps.get_model("django_pagestats", "Token")._meta.db_table)
        schema_editor.execute(f"ALTER TABLE {table} DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")


class Migration(migrations.Migration):
    dependencies = [
        ("django_pagestats", "0010_notes_and_mailings"),
    ]

    operations = [
        migrations.CreateModel(
            name="Token",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "name",
                    django_pagestats.models.fields.ExactCharField(max_length=100, unique=True, verbose_name="name"),
                ),
                (
                    "digest",
                    django_pagestats.models.fields.ExactCharField(max_length=64, unique=True, verbose_name="digest"),
                ),
                ("paths", models.JSONField(blank=True, default=list, verbose_name="paths")),
                ("sections", models.JSONField(blank=True, default=list, verbose_name="sections")),
                ("created_at", models.DateTimeField(verbose_name="created at")),
                ("expires_at", models.DateTimeField(blank=True, null=True, verbose_name="expires at")),
                ("revoked_at", models.DateTimeField(blank=True, null=True, verbose_name="revoked at")),
                ("last_used_on", models.DateField(blank=True, null=True, verbose_name="last used on")),
            ],
            options={
                "verbose_name": "token",
                "verbose_name_plural": "tokens",
                "permissions": [("revoke_token", "Can revoke token")],
                "default_permissions": ("view", "delete"),
            },
        ),
        migrations.RunPython(state_the_character_set, migrations.RunPython.noop, atomic=False),
    ]
