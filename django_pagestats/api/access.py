"""Who asks, and what about: users with `view_statistics`, and tokens, some of which may ask about a part only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.http import HttpRequest

from django_pagestats.api.problems import ForbiddenError, UnauthorizedError
from django_pagestats.api.tokens import find_token, note_use
from django_pagestats.dimensions import section
from django_pagestats.models import Token
from django_pagestats.stats import DimensionInfo

PERMISSION = "django_pagestats.view_statistics"
#: what tells sections of tokens; a dimension of a site's own may mean anything by that name
SECTION = "django_pagestats.dimensions.section"


@dataclass(frozen=True, slots=True)
class Access:
    """What may be asked about; both None: everything."""

    paths: frozenset[str] | None = None
    sections: frozenset[str] | None = None

    @property
    def is_everything(self) -> bool:
        return self.paths is None and self.sections is None

    def check_site(self) -> None:
        """Raise ForbiddenError where it is of some pages only: the numbers of the site are about all others, too."""
        if not self.is_everything:
            raise ForbiddenError(f"This token may ask about {self} only, and not about the whole site.")

    def check_path(self, path: str) -> None:
        if self.is_everything or path in (self.paths or ()) or section(path) in (self.sections or ()):
            return
        raise ForbiddenError(f"This token may ask about {self} only, and not about path={path!r}.", "path", path)

    def check_prefix(self, prefix: str) -> None:
        """Whatever begins with "/blog/" is of the section "blog"."""
        if self.is_everything or any(prefix.startswith(f"/{name}/") for name in (self.sections or ()) if name != "/"):
            return
        raise ForbiddenError(
            f"This token may ask about {self} only, and not about prefix={prefix!r}.", "prefix", prefix
        )

    def check_where(self, name: str, value: str, dimensions: Sequence[DimensionInfo]) -> None:
        """Of a dimension only a section may be asked for, if it is one of the token's."""
        sources = {dimension.name: dimension.source for dimension in dimensions}
        if self.is_everything or (sources.get(name) == SECTION and value in (self.sections or ())):
            return
        raise ForbiddenError(
            f"This token may ask about {self} only, and not about where={name}:{value!r}.", "where", f"{name}:{value}"
        )

    def __str__(self) -> str:
        parts = [f"path {path!r}" for path in sorted(self.paths or ())]
        parts += [f"section {name!r}" for name in sorted(self.sections or ())]
        return ", ".join(parts)


EVERYTHING = Access()


def access_of(request: HttpRequest, now: datetime) -> Access:
    """What who asks may ask about; raises UnauthorizedError, ForbiddenError. A token that is shown counts alone."""
    scheme, _, secret = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        token = find_token(secret.strip(), now=now)
        if token is None:
            raise UnauthorizedError("This token is none, or was revoked, or has expired.", is_token_wrong=True)
        note_use(token, now=now)
        return _access_of_token(token)
    user = getattr(request, "user", None)  # there is none without AuthenticationMiddleware
    if user is None or not user.is_authenticated:
        raise UnauthorizedError("Whoever asks has to be signed in, or to show a token: Authorization: Bearer <token>.")
    if not user.has_perm(PERMISSION):
        raise ForbiddenError(f"This user has not the permission {PERMISSION}.")
    return EVERYTHING


def _access_of_token(token: Token) -> Access:
    if not token.paths and not token.sections:
        return EVERYTHING
    return Access(frozenset(token.paths), frozenset(token.sections))
