"""A Django site that uses the package: the demo's, and the tests'.

PAGESTATS_DB   sqlite (default), postgresql or mariadb
PAGESTATS_DB_NAME   the database's name, for SQLite its file
PAGESTATS_DB_USER, PAGESTATS_DB_PASSWORD   the account that the site has on PostgreSQL and MariaDB; unset: that of
    PAGESTATS_PG_USER or PAGESTATS_MARIADB_USER, who makes databases and users for the tests (tests/accounts.py)
PAGESTATS_DB_CHARSET   the default character set of the tests' databases on MariaDB, utf8mb4 if unset; a database that
    was made long ago has latin1. The connection's is utf8mb4 all the same
PAGESTATS_ISOLATION   the isolation level of the site's connections on PostgreSQL and MariaDB, such as "repeatable
    read"; unset: the server's on PostgreSQL, Django's, which is read committed, on MariaDB
PAGESTATS_SNAPSHOT_ISOLATION   1, with PAGESTATS_ISOLATION: innodb_snapshot_isolation is on, as MariaDB 11.6.2 has it
PAGESTATS_BROKER   orm (default) or redis
PAGESTATS_DEBUG   1 for Django's debug pages (and a slower backfill: every statement is kept)
"""

import os
from pathlib import Path
from typing import Any

import django

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "only for the demo and the tests, never for a site"
DEBUG = os.environ.get("PAGESTATS_DEBUG") == "1"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "testproject.urls"
STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_q",
    "django_pagestats",
    "testproject",
]
MIDDLEWARE = [
    "testproject.security.send_policy",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

KIND = os.environ.get("PAGESTATS_DB", "sqlite")
NAME = os.environ.get("PAGESTATS_DB_NAME")
SUFFIX = os.environ.get("PAGESTATS_TEST_SUFFIX", "")
ISOLATION = os.environ.get("PAGESTATS_ISOLATION", "").lower()

#: who may make databases and users
ADMINISTRATOR: dict[str, str] = {}

DATABASE: dict[str, Any]
if KIND == "postgresql":
    ADMINISTRATOR = {
        "USER": os.environ.get("PAGESTATS_PG_USER", "postgres"),
        "PASSWORD": os.environ.get("PAGESTATS_PG_PASSWORD", ""),
    }
    DATABASE = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": NAME or "pagestats",
        "HOST": os.environ.get("PAGESTATS_PG_HOST", "127.0.0.1"),
        "PORT": os.environ.get("PAGESTATS_PG_PORT", "5432"),
        **ADMINISTRATOR,
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "TEST": {"NAME": f"test_pagestats{SUFFIX}"},
    }
    if ISOLATION:  # as an option of the session; what libpq would take from the environment comes after it
        level = ISOLATION.replace(" ", "\\ ")
        options = f"-c default_transaction_isolation={level} {os.environ.get('PGOPTIONS', '')}"
        DATABASE["OPTIONS"] = {"options": options}
elif KIND == "mariadb":
    ADMINISTRATOR = {
        "USER": os.environ.get("PAGESTATS_MARIADB_USER", "root"),
        "PASSWORD": os.environ.get("PAGESTATS_MARIADB_PASSWORD", ""),
    }
    DATABASE = {
        "ENGINE": "django.db.backends.mysql",
        "NAME": NAME or "pagestats",
        "HOST": os.environ.get("PAGESTATS_MARIADB_HOST", "127.0.0.1"),
        "PORT": os.environ.get("PAGESTATS_MARIADB_PORT", "3306"),
        **ADMINISTRATOR,
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {"charset": "utf8mb4"},
        "TEST": {"NAME": f"test_pagestats{SUFFIX}", "CHARSET": os.environ.get("PAGESTATS_DB_CHARSET", "utf8mb4")},
    }
    if ISOLATION:
        DATABASE["OPTIONS"]["isolation_level"] = ISOLATION
        if os.environ.get("PAGESTATS_SNAPSHOT_ISOLATION") == "1":
            DATABASE["OPTIONS"]["init_command"] = "SET SESSION innodb_snapshot_isolation = ON"
else:
    DATABASE = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": NAME or BASE_DIR / "db.sqlite3",
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
        "TEST": {"NAME": BASE_DIR / f"test{SUFFIX}.sqlite3"},
    }
if ADMINISTRATOR and os.environ.get("PAGESTATS_DB_USER"):
    password = os.environ.get("PAGESTATS_DB_PASSWORD", "")
    DATABASE |= {"USER": os.environ["PAGESTATS_DB_USER"], "PASSWORD": password}
DATABASES = {"default": DATABASE}

Q_CLUSTER = {
    "name": os.environ.get("PAGESTATS_CLUSTER_NAME", "testproject"),
    "workers": int(os.environ.get("PAGESTATS_CLUSTER_WORKERS", "1")),
    "queue_limit": 1,
    "bulk": 1,
    "poll": float(os.environ.get("PAGESTATS_POLL", "0.2")),
    "timeout": 60,
    "retry": 240,
    "max_attempts": 5,
    "save_limit": 100,
    "catch_up": False,
}
REDIS = {
    "host": os.environ.get("PAGESTATS_REDIS_HOST", "127.0.0.1"),
    "port": int(os.environ.get("PAGESTATS_REDIS_PORT", "6379")),
    "db": int(os.environ.get("PAGESTATS_REDIS_DB", "0")),
}
if os.environ.get("PAGESTATS_BROKER") == "redis":
    Q_CLUSTER["redis"] = REDIS
else:
    Q_CLUSTER["orm"] = "default"

# tests of real clusters want many short links, and a lease that runs out soon
if "PAGESTATS_LINK_SECONDS" in os.environ:
    PAGESTATS_LINK_SECONDS = float(os.environ["PAGESTATS_LINK_SECONDS"])
if "PAGESTATS_LEASE_SECONDS" in os.environ:
    PAGESTATS_LEASE_SECONDS = float(os.environ["PAGESTATS_LEASE_SECONDS"])
if "PAGESTATS_WORKERS" in os.environ:
    PAGESTATS_WORKERS = int(os.environ["PAGESTATS_WORKERS"])
if "PAGESTATS_NICE" in os.environ:
    PAGESTATS_NICE = float(os.environ["PAGESTATS_NICE"])
# tests of real clusters have a mail server at a port of their own, and somebody to write to
smtp = {"host": "localhost", "port": int(os.environ.get("PAGESTATS_SMTP_PORT", "25")), "timeout": 20}
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": smtp}}
else:
    EMAIL_PORT, EMAIL_TIMEOUT = smtp["port"], smtp["timeout"]
if "PAGESTATS_SMTP_PORT" in os.environ:
    PAGESTATS_MAIL_TO = ["owner@example.com"]
