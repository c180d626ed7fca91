"""Takes the picture of the dashboard that README.md and docs/dashboard.md show: `make picture`, after `make demo`.

The demo's site is served on a free port, and looked at by a headless Chromium.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "images" / "dashboard.png"
#: of what is looked at; its height is that of the page
WIDTH = 1_280


def main() -> None:
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler, get_internal_wsgi_application
    from django.test import Client
    from django.urls import reverse

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            pass

    class Served(StaticFilesHandler):
        def serve(self, request: Any) -> Any:
            from django.contrib.staticfiles.views import serve

            return serve(request, self.file_path(request.path), insecure=True)

    server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)
    server.set_app(Served(get_internal_wsgi_application()))
    from threading import Thread

    Thread(target=server.serve_forever, daemon=True).start()
    client = Client()
    client.force_login(get_user_model().objects.get(username="demo"))
    url = f"http://127.0.0.1:{server.server_port}{reverse('admin:django_pagestats_dashboard')}?range=28d"
    take(url, client.cookies["sessionid"].value)
    print(f"{TARGET.relative_to(ROOT)}: {TARGET.stat().st_size:,} bytes")


def take(url: str, session: str) -> None:
    from selenium import webdriver

    from tests import servers

    browser, driver_path = servers.find_browser()
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars":
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver_path))
    try:
        driver.get(url)  # the page that asks for a login: a cookie needs its site
        driver.add_cookie({"name": "sessionid", "value": session})
        for height in 900, None:
            full: int = driver.execute_script("return document.documentElement.scrollHeight")
            size = {"width": WIDTH, "height": height or full, "deviceScaleFactor": 1, "mobile": False}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            driver.get(url)
        TARGET.write_bytes(driver.get_screenshot_as_png())
    finally:
        driver.quit()


if __name__ == "__main__":
    main()
