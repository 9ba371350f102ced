"""The single file works by itself, wherever it is moved."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser


@pytest.fixture
def moved(single_site, tmp_path):
    """A copy that lies alone."""
    return shutil.copy(single_site, tmp_path / "sent.html")


def test_everything_is_in_it(look, moved):
    page = look(moved.as_uri())
    page.wait_for_selector("a.tile")
    assert page.text_content("#count") == "52 maps"
    page.select_option("#sort", "class-2")
    page.wait_for_function("document.querySelector('#scale').textContent.includes('coat')")
    page.locator("a.tile").first.click()
    page.wait_for_selector("dialog .moving")
    page.locator("dialog .moving image").evaluate(
        "image => Object.assign(new Image(), {src: image.href.baseVal}).decode()"
    )
    headings = page.eval_on_selector_all("dialog h3", "all => all.map(h => h.textContent)")
    assert "Images of the data that excite it most" in headings
    sources = page.eval_on_selector_all(
        "dialog image, dialog img", "all => all.map(i => i.getAttribute('href') || i.src)"
    )
    assert sources and all(source.startswith("data:image/webp") for source in sources)


def test_layers_are_parts_of_the_page(look, moved):
    page = look(moved.as_uri())
    page.locator(".layer-row button").first.click()
    page.wait_for_selector("#whole-1[open] .matrix")
    assert page.evaluate("document.querySelector('#whole-1 .matrix').naturalWidth") > 0
    page.locator("#whole-1 .pairs a").first.click()
    page.wait_for_selector("#compare[open] article")


def test_without_script_every_map_is_shown(look, moved):
    page = look(moved.as_uri(), java_script_enabled=False)
    assert page.locator("main .plain-grid li").count() == 52
    assert page.locator("main img").first.evaluate("image => image.naturalWidth") > 0


VS_CODE = """<meta http-equiv="Content-Security-Policy" content="default-src 'none';
script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src https: http: data:;
font-src https:; connect-src https:; child-src https: data:;">"""
"""The policy that VS Code can give to the outputs of a notebook (its setting
`notebook.experimental.enableCsp`), without the addresses of its own files."""


@pytest.mark.parametrize("policy", ["", VS_CODE], ids=["Jupyter", "VS Code"])
def test_it_works_in_the_frame_of_a_notebook(look, moved, monkeypatch, policy):
    from types import SimpleNamespace

    from oip.gallery import site

    shown = []
    shell = SimpleNamespace(display_pub=SimpleNamespace(publish=shown.append))
    monkeypatch.setattr(site, "kernel_shell", lambda: shell)
    monkeypatch.setattr(site, "build", lambda *arguments, **options: Path(moved))
    monkeypatch.setattr(site, "shown_layers", lambda run: [])
    monkeypatch.setattr(site.Run, "open", lambda path, *arguments: SimpleNamespace(path=Path(path)))
    site.show("run")
    notebook = Path(moved).with_name("notebook.html")
    notebook.write_text(f"<!doctype html>{policy}<h1>Notebook</h1>{shown[0]['text/html']}", "utf-8")
    frame = look(notebook.as_uri()).frames[1]
    frame.locator("a.tile").first.click()
    frame.wait_for_selector("#map[open] .headline")
    assert frame.url.startswith("about:srcdoc#m=")
    frame.locator("#map .close").click()
    frame.evaluate("document.querySelector('#skip').click()")
    assert frame.locator("a.tile").count() > 0 and "about:srcdoc" in frame.url
