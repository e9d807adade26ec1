"""MkDocs hook: makes pages of files that lie outside docs/, such as CONTRIBUTING.md.

All links are written as GitHub resolves them, from file to file in the repository. The hook turns
them into links from page to page of the site.
"""

import pathlib
import posixpath
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

# File in the repository -> page of the site.
_PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "deploy/README.md": "tensorflow-serving.md",
    "requirements/README.md": "environments.md",
}
_FILES = {page: file for file, page in _PAGES.items()}
# Paths; not URLs, and not anchors of the same page.
_LINK = re.compile(r"(?<=\]\()(?!\w+:)[^)#\s]+")


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages."""
    root = pathlib.Path(config.config_file_path).parent
    for file, page in _PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(root / file)))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return the text of a page with links between pages."""
    uri = page.file.src_uri
    folder = posixpath.dirname(_FILES.get(uri, f"docs/{uri}"))

    def page_link(link: re.Match) -> str:
        file = posixpath.normpath(posixpath.join(folder, link[0]))
        target = _PAGES.get(file, file.removeprefix("docs/"))
        return posixpath.relpath(target, posixpath.dirname(uri) or ".")

    return _LINK.sub(page_link, markdown)
