"""Configuration of the documentation site, which ``make docs`` builds."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS / "extensions"))

project = "Energy Flow"
author = copyright = "Energy Flow contributors"
version = release = installed_version("energy-flow")

extensions = [
    "config_fields",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["extensions"]
# Types that have no entry here are named, but not linked.
nitpick_ignore_regex = [
    # Python's and other packages': links to them would need the network.
    (
        "py:.*",
        r"(collections|concurrent|contextlib|datetime|httpx|numpy|os|pathlib|pd|pyarrow|torch)\..*",
    ),
    ("py:.*", "ArrayLike|Axes|TypeAliasForwardRef"),
    # Not public (docs/stability.md).
    ("py:class", r"energy_flow\.(choices|config|engine|model|simulation|telemetry|training)\..*"),
    ("py:class", r"energy_flow\.client\._sync\..*"),
]

html_theme = "furo"
html_title = f"{project} {version}"
html_show_sphinx = False

# Headings down to this level can be linked to by their text, as on a forge.
myst_heading_anchors = 4

maximum_signature_line_length = 80
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False


INCLUDED = {
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "SECURITY.md": "security",
}
"""Files of the repository that are pages of the site, and the pages."""


def resolve_repository_files(app: Sphinx, doctree: nodes.document) -> None:
    """Replace links to files of the repository that lie outside of docs/.

    A file that is a page of the site becomes a link to the page; another one, the text of the
    link. On a forge and on a disk the links lead to the files.

    Args:
        app: the build.
        doctree: the page; it is changed.
    """
    page = app.env.current_document.docname
    folder = ROOT if page in INCLUDED.values() else (DOCS / page).parent
    for link in list(doctree.findall(pending_xref)):
        target = str(link["reftarget"])
        path = (folder / target).resolve()
        if link["reftype"] != "myst" or not path.is_relative_to(ROOT) or not path.exists():
            continue
        if target in INCLUDED and folder == ROOT:
            reference = make_refnode(app.builder, page, INCLUDED[target], "", list(link.children))
            link.replace_self(reference)
        else:
            link.replace_self(list(link.children))


def setup(app: Sphinx) -> None:
    """Connect the function above."""
    app.connect("doctree-read", resolve_repository_files)
