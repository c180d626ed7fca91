"""Clients that are signed in, with the permissions that a test wants."""

from __future__ import annotations

from django.contrib.auth.models import Permission, User
from django.test import Client


def client_with(*permissions: str, is_staff: bool = True) -> Client:
    """Of a user with these permissions, by their codenames."""
    user = User.objects.create_user("ada", is_staff=is_staff)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client
