"""What is not counted, and why: one number for each reason and day."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_pagestats.models.fields import ExactCharField


class Reason(models.TextChoices):
    """Why a page view was left out (docs/recording.md); `new_value` and `attribute` cost an attribute only."""

    #: by its user agent, or for want of one, or by a signature that only robots make
    ROBOT = "robot", _("robot")
    #: fetched ahead of a click that may never come
    PREFETCH = "prefetch", _("fetched ahead")
    #: `Sec-GPC: 1`
    GPC = "gpc", _("Global Privacy Control")
    #: `DNT: 1`
    DNT = "dnt", _("Do Not Track")
    #: the visitor has taken this browser out
    OPTED_OUT = "opted_out", _("opted out")
    #: PAGESTATS_CONSENT did not say yes
    NO_CONSENT = "no_consent", _("no consent")
    #: PAGESTATS_EXCLUDE_PATHS, PAGESTATS_PATH, @not_counted, the admin, static and media files
    EXCLUDED_PATH = "excluded_path", _("excluded path")
    #: signed-in staff
    STAFF = "staff", _("staff")
    #: the same visitor was on the same path just before
    DUPLICATE = "duplicate", _("duplicate")
    #: too many requests of one address
    RATE_LIMIT = "rate_limit", _("rate limit")
    #: nothing tells the visitor from others
    NO_VISITOR = "no_visitor", _("no visitor")
    #: empty, too long, with a control character or half a surrogate pair
    INVALID_PATH = "invalid_path", _("invalid path")
    #: a beacon's path that is no page of the site, or one new path too many
    UNKNOWN_PATH = "unknown_path", _("unknown path")
    #: a beacon's request from another site
    CROSS_SITE = "cross_site", _("other site")
    #: its referrer is on the list of those that only advertise
    REFERRER_SPAM = "referrer_spam", _("referrer spam")
    #: an attribute's value was one new value too many
    NEW_VALUE = "new_value", _("too many new values")
    #: an attribute of the site's own could not be had
    ATTRIBUTE = "attribute", _("attribute failed")
    #: the database failed, was slow, or its transaction was broken
    DATABASE = "database", _("database")
    #: more page views than the buffer holds
    BUFFER_FULL = "buffer_full", _("buffer full")
    #: a session key that cannot be stored
    INVALID_SESSION_KEY = "invalid_session_key", _("invalid session key")
    #: no aware datetime of the years 1970 to 2199
    INVALID_TIME = "invalid_time", _("invalid time")
    #: attributes that cannot be stored
    INVALID_ATTRIBUTE = "invalid_attribute", _("invalid attribute")
    #: anything else, such as a router that raises
    UNEXPECTED = "unexpected", _("unexpected error")


#: what costs an attribute only, and leaves the page view in
OF_ATTRIBUTES = frozenset({Reason.NEW_VALUE, Reason.ATTRIBUTE})


class LeftOut(models.Model):
    """How many page views were left out on a local day for one reason; only added to, by one upsert a reason."""

    id = models.BigAutoField(primary_key=True)
    #: of PAGESTATS_TIME_ZONE
    day = models.DateField(_("day"))
    #: a Reason; without choices, so that one more of them is no migration
    reason = ExactCharField(_("reason"), max_length=32)
    count = models.BigIntegerField(_("count"), default=0)

    class Meta:
        verbose_name = _("page views left out")
        verbose_name_plural = _("page views left out")
        constraints = [models.UniqueConstraint(fields=["day", "reason"], name="pagestats_left_out_once")]

    def __str__(self) -> str:
        return f"{self.count} {self.reason} on {self.day}"
