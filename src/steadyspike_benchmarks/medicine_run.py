"""Estimate motion with MEDiCINe, in any Python that has numpy and the package medicine.

Run as a file, with the paths of the peaks and of the result; the seconds and the memory are of this process alone. The
call is the one that SpikeInterface's own adapter makes.
"""

import json
import logging
import resource
import sys
import time

import numpy as np

DEFAULT_STEPS, NOISE_STEPS = 10_000, 2_000


def main(peaks_file: str, result_file: str) -> None:
    """Read peaks, estimate, and write the motion with what it took."""
    import torch
    from medicine import run_medicine

    logging.disable(logging.INFO)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  (what medicine draws from)
    with np.load(peaks_file) as stored:
        times, depths, amplitudes = stored["times_s"], stored["depths_um"], stored["amplitudes"]
        settings = json.loads(str(stored["settings"]))
    steps = settings.pop("training_steps", DEFAULT_STEPS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    _, time_bins, depth_bins, motion = run_medicine(
        peak_times=times,
        peak_depths=depths,
        peak_amplitudes=amplitudes,
        time_bin_size=settings.pop("bin_s", 1.0),
        num_depth_bins=settings.pop("num_depth_bins", 1 if settings.pop("rigid", False) else 2),
        output_dir=None,
        plot_figures=False,
        training_steps=steps,
        # in a short training the noise has to end sooner, too
        motion_noise_steps=min(NOISE_STEPS, steps // 5),
        **settings,
    )
    seconds = time.perf_counter() - start
    peak_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
    np.savez(
        result_file,
        displacement=np.array(motion),
        temporal_bins_s=np.array(time_bins),
        spatial_bins_um=np.array(depth_bins),
        seconds=seconds,
        peak_mb=peak_mb,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
