"""The gallery inside a notebook, and outside of one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from oip import gallery
from oip.core.errors import Notice
from oip.gallery import site


@pytest.fixture
def published(monkeypatch):
    """What a notebook's kernel is given to show."""
    given = []
    shell = SimpleNamespace(display_pub=SimpleNamespace(publish=given.append))
    monkeypatch.setattr(site, "kernel_shell", lambda: shell)
    return given


@pytest.fixture
def opened(monkeypatch):
    """Addresses that a browser is asked to open."""
    addresses = []
    monkeypatch.setattr(site.webbrowser, "open", lambda address: addresses.append(address) or True)
    return addresses


def test_a_notebook_gets_one_file_in_a_frame(run, published, opened):
    assert gallery.show(run, title="Shoes", height=500) is None
    (shown,) = published
    page = run.path / "gallery.html"
    assert shown["text/plain"] == str(page) and page.exists()
    assert shown["text/html"].startswith(f"<iframe title='Gallery of {run.path.name}'")
    assert "height:500px" in shown["text/html"] and "Shoes" in shown["text/html"]
    assert not opened


def test_outside_a_notebook_a_browser_opens_the_folder(run, opened):
    gallery.show(run)
    assert opened == [(run.path / "gallery" / "index.html").resolve().as_uri()]


def test_a_run_too_large_for_a_notebook_is_opened_in_a_browser(run, published, opened, monkeypatch):
    monkeypatch.setattr(site, "MOST_MAPS", 3)
    gallery.show(run)
    assert not published and len(opened) == 1


def test_without_a_browser_the_page_is_named(run, monkeypatch):
    monkeypatch.setattr(site.webbrowser, "open", lambda address: False)
    with pytest.warns(Notice, match="index.html"):
        gallery.show(run)
