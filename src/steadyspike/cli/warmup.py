"""``steadyspike warmup``: compile what a first run would wait for."""

from __future__ import annotations

from steadyspike.cli.errors import Debug, clear_errors, tell

NUM_CHANNELS = 32
DURATION_S = 12.0


def warmup(debug: Debug = False) -> None:
    """Compile the kernels of a correction now, so that no later run on this machine waits for it.

    Corrects a few simulated seconds. On a cluster, run it once on a node of each kind, with NUMBA_CACHE_DIR on a disk
    that the nodes share.
    """
    with clear_errors(debug):
        from steadyspike.cli.notes import Notes

        with Notes().taken() as notes, notes.timed("all"):
            _correct_a_little()
        seconds = notes.times_s["all"]
        if notes.compiling_s:
            tell(
                f"compiled for {notes.compiling_s:.0f} s ({seconds:.0f} s in all); later runs find the kernels"
            )
        else:
            tell(f"nothing was left to compile ({seconds:.0f} s)")


def _correct_a_little() -> None:
    import warnings

    import spikeinterface.full as si

    import steadyspike
    from steadyspike.core.environment import job_defaults
    from steadyspike.simulation.drift import simulate_drifting_recording

    with job_defaults(n_jobs=1, chunk_duration="1s", progress_bar=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for preset in ("steady_auto", "steady_rigid"):
            simulated = simulate_drifting_recording(
                "rigid_zigzag", num_channels=NUM_CHANNELS, duration_s=DURATION_S, seed=0
            )
            raw = si.astype(simulated.recording, "int16", round=True).save(format="memory")
            filtered = steadyspike.common_reference(
                steadyspike.bandpass_filter(raw, freq_min=300.0, freq_max=6000.0)
            )
            corrected = si.correct_motion(filtered, preset=preset)
            corrected.get_traces(start_frame=0, end_frame=30_000)
