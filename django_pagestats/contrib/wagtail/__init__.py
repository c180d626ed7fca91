"""Numbers beside the pages of a Wagtail site, in Wagtail's own admin: docs/wagtail.md."""
