"""Figures of tutorials that pyplot does not know of, and the order of the tutorials."""

BY_USE = (
    "plot_correct_drift.py",
    "plot_sort_units.py",
    "plot_sessions_and_verdict.py",
    "plot_denoise.py",
    "plot_neural_spikes.py",
    "plot_classify_waveforms.py",
)


def by_use(file_name):
    """Give the place of a tutorial in the gallery; one that is not in the list is an error."""
    return BY_USE.index(file_name)


def scrape_report_figure(block, block_vars, gallery_conf):
    """Save the figure of `steadyspike.evaluation.figures` that a block of a tutorial leaves in "figure"."""
    from sphinx_gallery.scrapers import figure_rst

    figure = block_vars["example_globals"].pop("figure", None)
    if figure is None or figure.canvas.manager is not None:  # pyplot's own are saved already
        return ""
    path = next(block_vars["image_path_iterator"])
    figure.savefig(path)
    return figure_rst([path], gallery_conf["src_dir"])
