"""Configuration of the manual; another model: ``-D qdqdoc_model=models/resnet8_uint8.onnx``."""

from qdqdoc import __version__

project = "qdqdoc"
author = "The qdqdoc authors"
project_copyright = "The qdqdoc authors"
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib.bibtex",
    "sphinx_copybutton",
    "myst_parser",
    "qdqdoc.sphinxext",
]

# The model that the manual is about, relative to this file.
qdqdoc_model = "models/resnet8_int8.onnx"

nitpicky = True
nitpick_ignore = [
    # NumPy's own manual is on another host: the build asks no other host.
    ("py:func", "numpy.matmul"),
]
numfig = True
math_numfig = True
default_role = "py:obj"
html_math_renderer = "mathml"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

bibtex_bibfiles = ["source/references.bib"]
bibtex_default_style = "unsrt"
bibtex_reference_style = "label"

copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = "qdqdoc"
html_static_path = ["source/_static"]
html_favicon = "source/_static/favicon.svg"
html_css_files = ["qdqdoc.css"]
html_js_files = [("qdqdoc.js", {"defer": "defer"})]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
templates_path: list[str] = []
exclude_patterns: list[str] = []
