"""The tokens of the read API: which there are, and the end of one. They are made by `manage.py pagestats_token`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext, ngettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from django_pagestats.admin.readonly import ReadOnlyAdmin
from django_pagestats.api.tokens import revoke_token, state_of
from django_pagestats.models import Token

if TYPE_CHECKING:
    Tokens = QuerySet[Token]

STATES: dict[str, Promise] = {
    "in force": pgettext_lazy("token", "in force"),
    "expired": pgettext_lazy("token", "expired"),
    "revoked": pgettext_lazy("token", "revoked"),
}
REVOKE = "django_pagestats.revoke_token"


@admin.register(Token)
class TokenAdmin(ReadOnlyAdmin):
    list_display = ("name", "state", "restriction", "created_at", "expires_at", "last_used_on")
    fields = ("name", "state", "restriction", "created_at", "expires_at", "revoked_at", "last_used_on")
    ordering = ("name",)
    search_fields = ("name",)
    actions = ("revoke",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """One that is deleted answers nobody either, and its name may be taken again."""
        return bool(request.user.has_perm("django_pagestats.delete_token"))

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm(REVOKE))

    @admin.action(description=_("Revoke selected tokens"), permissions=["revoke"])
    def revoke(self, request: HttpRequest, tokens: Tokens) -> None:
        now = datetime.now(timezone.utc)
        count = sum(revoke_token(token, now=now, using=tokens.db) for token in tokens)
        told = ngettext("%(count)d token is revoked.", "%(count)d tokens are revoked.", count)
        self.message_user(request, told % {"count": count}, messages.SUCCESS)

    @admin.display(description=pgettext_lazy("of a token", "state"))
    def state(self, token: Token) -> str:
        return str(STATES[state_of(token, datetime.now(timezone.utc))])

    @admin.display(description=_("restricted to"))
    def restriction(self, token: Token) -> str:
        parts = [gettext("path %(path)s") % {"path": path} for path in token.paths]
        parts += [gettext("section %(section)s") % {"section": section} for section in token.sections]
        return _listed(parts) if parts else gettext("nothing: everything may be asked")


def _listed(parts: Sequence[str]) -> str:
    return "; ".join(parts)
