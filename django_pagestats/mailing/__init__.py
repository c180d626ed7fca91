"""The mail with the statistics of the last week or month: each is sent once, however often it is asked for.

`periods` says of which days it is, `claims` whose turn it is to send it, `contents` what is in it.
"""

from django_pagestats.mailing.sending import MailError, mail_last_period, written

__all__ = ["MailError", "mail_last_period", "written"]
