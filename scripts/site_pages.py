"""mkdocs hook: pages and notebooks outside docs/ join the site, and links to other files lead to `repo_url`.

So a relative link works in the repository and on the site alike. One that leads nowhere is left to mkdocs to report.
"""

import json
import os
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PAGES = "README.md CONTRIBUTING.md CHANGELOG.md runtime/README.md examples/*/README.md examples/*.ipynb".split()
# The target of a relative link or picture, without its anchor.
LINK = re.compile(r"(?<=\]\()([^)#:\s]+)(?=[)#])")


def _uri(path, config):
    """The name of a file among the site's: its path below docs/, else below the repository; README is the index.

    A notebook is a page of markdown.
    """
    if path == ROOT / "README.md":
        return "index.md"
    docs = Path(config.docs_dir).resolve()
    path = path.with_suffix(".md") if path.suffix == ".ipynb" else path
    return path.relative_to(docs if docs in path.parents else ROOT).as_posix()


def on_files(files, config):
    """Add the pages outside docs/."""
    for page in sorted(page for pattern in PAGES for page in ROOT.glob(pattern)):
        files.append(File.generated(config, _uri(page, config), abs_src_path=str(page)))
    return files


def _as_markdown(cell):
    """A cell of a notebook: its text, or its code as a block."""
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return text
    return f"```{'bash' if text.startswith('%%bash') else 'python'}\n{text}\n```"


def on_page_read_source(page, config):
    """The markdown of a notebook; other pages are read as they are."""
    path = Path(page.file.abs_src_path)
    if path.suffix == ".ipynb":
        return "\n\n".join(map(_as_markdown, json.loads(path.read_text(encoding="utf-8"))["cells"]))


def on_page_markdown(markdown, page, config, files):
    """Rewrite links that cross the border of docs/."""
    folder = Path(page.file.abs_src_path).resolve().parent

    def rewritten(link):
        target = (folder / link[0]).resolve()
        if not target.exists() or ROOT not in target.parents:
            return link[0]
        readme = target / "README.md"
        uri = _uri(readme if readme.exists() else target, config)
        if uri in files.src_uris:
            return os.path.relpath(uri, os.path.dirname(page.file.src_uri) or ".")
        return f"{config.repo_url.rstrip('/')}/blob/main/{target.relative_to(ROOT).as_posix()}"

    return LINK.sub(rewritten, markdown)
