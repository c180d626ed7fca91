"""Tests on a Wagtail site: `pytest --ds=tests.wagtail_settings tests/wagtail`, as `tox -e py313-wagtail` does."""
