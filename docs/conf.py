"""Sphinx configuration: builds without a network, and treats a warning as an error when called with -W."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # for gallery_figures
os.environ.setdefault("MPLBACKEND", "Agg")

import spikeinterface.full  # noqa: F401  (the tables that the parts enter)

import steadyspike

# The tutorials save simulated recordings, which have no file to go back to.
warnings.filterwarnings("ignore", message="The extractor is not serializable to file")

project = "steadyspike"
author = "The steadyspike developers"
copyright = "2026, " + author
release = version = steadyspike.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "sphinx_design",
]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
exclude_patterns = ["_build", "tutorials"]
templates_path = ["_templates"]

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
# every parameter is documented, none that does not exist, in the order of the signature
numpydoc_validation_checks = {"GL08", "PR01", "PR02", "PR03"}
# results: their fields are attributes
numpydoc_validation_exclude = {
    r"\.(SimulatedDrift|DriftTruth|SessionMotions|MotionTrust|DetectionScores|DenoisingEvaluation|MotionComparison|DriftMetrics)$",
    r"\.sorting\.(Chain|Choice|RefractoryTest|SorterParameters|SortingComparison)$",
    r"\.sorting\.kilosort\.(KilosortInput|KilosortMotionComparison|KilosortOutput)$",
}

# Tutorials are scripts that run while the pages are built: their output and figures are never pasted.
sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "auto_tutorials",
    "filename_pattern": r"plot_",
    "abort_on_example_error": True,
    "plot_gallery": "True",
    "within_subsection_order": "gallery_figures.by_use",
    "parallel": 2,
    # ours first: once pyplot has closed its figures, they cannot be told from others
    "image_scrapers": ("gallery_figures.scrape_report_figure", "matplotlib"),
    "download_all_examples": False,
    "show_signature": False,
    "min_reported_time": 0,
    "reference_url": {},
}

html_theme = "pydata_sphinx_theme"
html_title = "steadyspike"
html_show_sourcelink = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
# only where there are pages below
html_sidebars = {"**": ["sidebar-nav-bs"], **{page.stem: [] for page in Path(__file__).parent.glob("*.md")}}
html_context = {"default_mode": "auto"}
html_theme_options = {"show_prev_next": False, "secondary_sidebar_items": ["page-toc"]}
