"""A headless Chromium for tests of the page: that of the distribution, one for all tests of a session."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright; skips with the reason where there is none."""
    where = next((found for name in NAMES if (found := shutil.which(name))), None)
    if where is None:
        pytest.skip("no Chromium on this machine; apt-get install chromium brings one")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=where, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()
