from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("django_pagestats", "0008_dimensions"),
    ]

    operations = [
        migrations.CreateModel(
            name="Statistics",
            fields=[],
            options={
                "verbose_name": "statistics",
                "verbose_name_plural": "statistics",
                "proxy": True,
                "default_permissions": (),
                "permissions": [("view_statistics", "Can view statistics")],
                "indexes": [],
                "constraints": [],
            },
            bases=("django_pagestats.pageview",),
        ),
    ]
