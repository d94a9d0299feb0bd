"""The documentation site builds, and a link that leads nowhere is reported."""

import logging
from pathlib import Path

import pytest

build = pytest.importorskip("mkdocs.commands.build", reason="the extra docs is not installed").build
load_config = pytest.importorskip("mkdocs.config").load_config
ROOT = Path(__file__).parents[1]
LINKS = "# Page\n\n[a](none.md) [b](page.md#none) [c](../tests/none.py) [whole](page.md#page)\n"


def build_site(site, **settings):
    """Build as `mkdocs build --strict` does; raises Abort after a warning."""
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(site), **settings)
    config.plugins.on_startup(command="build", dirty=False)
    try:
        build(config)
    finally:
        config.plugins.on_shutdown()


def test_the_site_builds_without_a_warning(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="mkdocs"):
        build_site(tmp_path, strict=False)
    assert not caplog.messages
    page = (tmp_path / "lite_transformer" / "index.html").read_text()
    assert "/blob/main/fairseq_lite/modules/conv_branch.py" in page
    notebook = (tmp_path / "examples" / "notebook" / "index.html").read_text()
    assert "translates with the result" in notebook and 'href="../../guides/rnn/"' in notebook


def test_links_that_lead_nowhere_are_reported(tmp_path, caplog):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text(LINKS)
    with caplog.at_level(logging.INFO, logger="mkdocs"):
        build_site(tmp_path / "site", docs_dir=str(tmp_path / "docs"), nav=None, strict=False)
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len([text for text in warnings if "'page.md' contains a link" in text]) == 3, warnings
