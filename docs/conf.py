"""How Sphinx builds the site: `make docs`. Nothing that it makes loads anything from outside."""

from __future__ import annotations

import sys
from pathlib import Path

import bridle

sys.path.insert(0, str(Path(__file__).parent))

project = "bridle"
author = "bridle's authors"
version = release = bridle.__version__
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "from_program",  # beside this file
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"bridle {release}"
html_copy_source = False
html_show_copyright = False
html_show_search_summary = False  # which asks for each page found: a browser refuses that of files
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {  # the colours of the library's own pages
    f"{screen}_css_variables": {"color-brand-primary": colour, "color-brand-content": colour}
    for screen, colour in (("light", "#0072b2"), ("dark", "#56b4e9"))
}
pygments_style = "default"
pygments_dark_style = "github-dark"

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

# Docstrings write `bridle.evaluate`; what is no name of ours stays as it is written.
default_role = "py:obj"
add_module_names = False
autodoc_typehints = "none"  # the lists of parameters say the types, in words
autodoc_member_order = "bysource"
smartquotes = False  # --test is no dash
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False  # autodoc lists them, with their docstrings
