"""Our motion estimators by name."""

from importlib import import_module

from steadyspike.core.arguments import refuse
from steadyspike.core.settings import takes
from steadyspike.motion.settings import WindowSettings

ESTIMATORS = {
    "steady_auto": "steadyspike.motion.auto.SteadyAutoRegistration",
    "steady_decentralized": "steadyspike.motion.decentralized.SteadyDecentralizedRegistration",
    "steady_iterative_template": "steadyspike.motion.iterative_template.SteadyIterativeTemplateRegistration",
    "steady_point_cloud": "steadyspike.motion.point_cloud.SteadyPointCloudRegistration",
    "steady_decentralized_lfp": "steadyspike.motion.lfp.SteadyDecentralizedLfpRegistration",
}
"""Name of each estimator, and the path of its class; all of them take recordings of several segments."""


@takes(WindowSettings, argument="windows")
def estimate_motion_of_segments(
    recording,
    peaks=None,
    peak_locations=None,
    windows=None,
    method="steady_decentralized",
    extra_outputs=False,
    progress_bar=False,
    verbose=False,
    margin_um=None,
    **method_kwargs,
):
    """Estimate the motion of all segments together with one of our estimators.

    Parameters
    ----------
    recording, peaks, peak_locations
        As in `spikeinterface.sortingcomponents.motion.estimate_motion`.
    {settings}
    method, extra_outputs, progress_bar, verbose, margin_um
        As there.
    **method_kwargs
        Arguments of the method.

    Returns
    -------
    motion : Motion
        Of all segments.
    extra : dict
        Where ``extra_outputs=True``.

    Raises
    ------
    ValueError
        If the method needs peaks and there are none, or for `margin_um`, which SpikeInterface has removed.
    """
    module, _, name = ESTIMATORS[method].rpartition(".")
    estimator = getattr(import_module(module), name)
    if margin_um is not None:
        refuse("margin_um", margin_um, "hist_margin_um or win_margin_um in its place", "estimate_motion")
    if estimator.need_peak_location and (peaks is None or peak_locations is None):
        raise ValueError(f"estimate_motion: the method {method} requires peaks and peak_locations")
    extra: dict | None = {} if extra_outputs else None
    settings = estimator.settings_class.of(**method_kwargs)
    given = (recording, peaks, peak_locations, windows, settings)
    motion = estimator.estimate(*given, verbose, progress_bar, extra)
    return (motion, extra) if extra_outputs else motion
