"""``steadyspike warmup``: compile what a first run would wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from steadyspike.cli.errors import Debug, clear_errors, tell

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

NUM_CHANNELS = 32
DURATION_S = 12.0


def warmup(
    scripts: Annotated[
        bool,
        typer.Option("--scripts", help="Also what accelerated scripts of SpikeInterface use: some minutes."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Compile the kernels of a correction now, so that no later run on this machine waits for it.

    Corrects a few simulated seconds; with --scripts, also with SpikeInterface's own parts under acceleration. On a
    cluster, run it once on a node of each kind, with NUMBA_CACHE_DIR on a disk that the nodes share.
    """
    with clear_errors(debug):
        from steadyspike.cli.notes import Notes

        with Notes().taken() as notes, notes.timed("all"):
            _correct_a_little(scripts)
        seconds = notes.times_s["all"]
        if notes.compiling_s:
            tell(
                f"compiled for {notes.compiling_s:.0f} s ({seconds:.0f} s in all); later runs find the kernels"
            )
        else:
            tell(f"nothing was left to compile ({seconds:.0f} s)")


def _correct_a_little(scripts: bool) -> None:
    import warnings

    import spikeinterface.full as si

    import steadyspike
    from steadyspike.core.environment import job_defaults
    from steadyspike.simulation.drift import simulate_drifting_recording

    simulated = simulate_drifting_recording(
        "rigid_zigzag", num_channels=NUM_CHANNELS, duration_s=DURATION_S, seed=0
    )
    with job_defaults(n_jobs=1, chunk_duration="1s", progress_bar=False), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        raw = si.astype(simulated.recording, "int16", round=True).save(format="memory")
        filtered = steadyspike.common_reference(
            steadyspike.bandpass_filter(raw, freq_min=300.0, freq_max=6000.0)
        )
        for preset in ("steady_auto", "steady_rigid"):
            _correct(filtered, preset)
        if scripts:
            with steadyspike.accelerate():
                _run_scripts(raw)


def _correct(filtered: BaseRecording, preset: str) -> None:
    import spikeinterface.full as si

    si.correct_motion(filtered, preset=preset).get_traces(start_frame=0, end_frame=30_000)


def _run_scripts(raw: BaseRecording) -> None:
    """Do what labs' scripts do: the usual chains, and SpikeInterface's motion presets."""
    import numpy as np
    import spikeinterface.full as si

    raw.set_channel_gains(1.0)
    raw.set_channel_offsets(0.0)
    raw.set_property("inter_sample_shift", np.arange(NUM_CHANNELS) // 2 % 12 / 13)
    shifted = si.phase_shift(si.highpass_filter(raw))
    si.detect_bad_channels(shifted, num_random_chunks=5)
    filtered = si.common_reference(si.bandpass_filter(raw, freq_min=300.0, freq_max=6000.0, dtype="float32"))
    chains: list[Any] = [
        si.highpass_spatial_filter(shifted, n_channel_pad=NUM_CHANNELS),
        si.whiten(si.common_reference(shifted), dtype="float32", mode="local", radius_um=100.0),
        si.zscore(filtered),
    ]
    for chain in chains:
        chain.get_traces(start_frame=0, end_frame=30_000)
    for preset in ("rigid_fast", "kilosort_like", "nonrigid_accurate", "dredge_fast"):
        _correct(filtered, preset)
