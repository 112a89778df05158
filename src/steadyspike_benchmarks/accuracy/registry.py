"""Which numbers of the estimators, the verdict and the localizers are tuned, and which are not, and why not."""

from __future__ import annotations

import ast
from pathlib import Path

import steadyspike

from .constants import Constant

OFFLINE = ("offline", "trust")
PAIRS = ("pairs", "cloud")

# Of each module: the groups of scenarios on which its numbers are judged, and the unit of each tuned number.
_TUNED: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "kernels.motion.motion_prior": (
        (*OFFLINE, "segments"),
        {
            "ACCELERATION_FLOOR_UM": "um",
            "BEND_FLOOR_UM": "um",
            "SPREAD_UM": "um",
            "STEP_SHARE": "share",
            "BEND_GAIN": "1",
            "TYPICAL_SHARE": "1",
            "CURVE_UM": "um",
            "BEND_LAG": "time bins",
            "OUTLIER": "sd",
            "LONE_UM": "um",
            "LONE_DEVIATIONS": "sd",
            "LEAN_SPIKES": "spikes",
        },
    ),
    "kernels.motion.registration": (
        OFFLINE,
        {
            "PSEUDO_SPIKES": "spikes",
            "MOTION_RANGE_UM": "um",
            "MOTION_COST": "nats",
            "LEAST_TEMPLATE_SPIKES": "spikes",
            "START_SMOOTH": "1",
            "SMOOTH_DECAY": "share",
            "REACH_UM": "um",
            "TEMPLATE_UM": "um",
            "NUM_PAIR_MARKS": "amplitude bins",
        },
    ),
    "kernels.motion.template_registration": (
        (*OFFLINE, "template"),
        {"OUTLIERS": "share", "SMOOTH_MARKS": "amplitude bins", "PRIOR_DEVIATIONS": "sd"},
    ),
    "kernels.motion.pair_least_squares": (
        PAIRS,
        {"NUM_REWEIGHTINGS": "rounds", "WIDEST": "1", "OUTLIER_UM": "um"},
    ),
    "motion.decentralized": (("offline",), {"TEMPLATE_SPAN_S": "s"}),
    "motion.plan": (
        ("auto", "finer"),
        {
            "TIME_BINS_S": "s",
            "SPIKES_PER_BIN": "spikes",
            "WINDOW_RATE_HZ": "Hz",
            "FINEST_BIN_S": "s",
            "SPIKES_PER_FINER_BIN": "spikes",
        },
    ),
    "kernels.motion.finer_registration": (
        ("finer",),
        {
            "NUM_FOLDS": "folds",
            "NUM_ROUNDS": "rounds",
        },
    ),
    "kernels.motion.segment_offsets": (
        ("segments", "online"),
        {
            "SMOOTH_UM": "um",
            "NUM_MARKS": "amplitude bins",
        },
    ),
    "kernels.motion.online_registration": (
        ("online",),
        {
            "LEAST_WARMUP_SPIKES": "spikes",
            "LEAST_SPIKES": "spikes",
            "LEAST_REACH_UM": "um",
            "MOST_REACH_UM": "um",
            "REACH_DEVIATIONS": "sd",
            "JUMP_DEVIATIONS": "sd",
            "JUMP_GAIN": "nats",
            "BACK_SHARE": "share",
            "SMOOTH_SHARE": "1",
        },
    ),
    "kernels.motion.online_filter": (
        ("online",),
        {
            "NUM_MODES": "modes",
            "FADINGS": "share",
            "STEPS_UM": "um",
            "NOISE_FACTORS": "1",
            "MOST_BEHIND": "nats",
            "LIMIT": "sd",
            "PLACED_UM": "um",
        },
    ),
    "kernels.motion.kernel_correlation": (("cloud",), {"REACH_SD": "sd"}),
    "kernels.motion.iterative_template": (
        ("template",),
        {"MEMORY_BINS": "time bins"},
    ),
    "kernels.motion.lfp_covariance": (
        ("lfp",),
        {
            "SIGNAL": "1",
            "NOISE_FLOOR": "share",
            "FIRST_S": "s",
            "LAST_S": "s",
            "WINDOW_SHARE": "share",
            "REACH_UM": "um",
        },
    ),
    "kernels.motion.lfp_registration": (("lfp",), {"LEAST_OVERLAP": "share"}),
    "motion.lfp": (("lfp",), {"MOST_EXCESS": "1"}),
    "kernels.motion.held_out": (("evidence",), {"STEP_UM": "um", "NOISE_MARGIN": "1"}),
    "motion.held_out_evidence": (
        ("evidence", "verdict"),
        {
            "NUM_MARKS": "amplitude bins",
            "SMOOTH_UM": "um",
            "GROUP_UM": "um",
            "MAX_BLOCKS": "blocks",
            "MIN_SPIKES_PER_CELL": "spikes",
            "SHIFT_UM": "um",
            "WILD_GAIN": "nats",
        },
    ),
    "motion.trust": (
        ("verdict",),
        {
            "MIN_SPIKES": "spikes",
            "MIN_TIMES": "time bins",
            "CLEAR_ERRORS": "sd",
            "HINT_ERRORS": "sd",
            "MIN_RANGE_UM": "um",
            "RIGID_ADVANTAGE": "share",
            "CLEAR_LOSS": "share",
            "WILD_SHARE": "share",
            "MAX_SCALE": "1",
            "LARGE_SCALE": "1",
        },
    ),
    "kernels.channels.waveform_loss": (
        ("loss", "verdict"),
        {"SOURCE_DISTANCES_UM": "um", "KNOWN_TISSUE": "share", "RADIUS_UM": "um"},
    ),
    "kernels.spikes.lattice": (("evidence",), {"FINEST": "parts"}),
    "kernels.spikes.monopolar": (
        ("localization",),
        {"PRIOR_BESIDE_UM": "um", "PRIOR_Z_UM": "um"},
    ),
    "peaks.auto_localization": (("localization",), {"DENSE_PITCH_UM": "um"}),
}

_SIZE = "how much is held or done at once: the result is the same"
_COST = "a limit of time or memory"
_FINE = "fine enough that a finer one changes nothing"
_GUARD = "keeps a division or a matrix from failing"
_UPSTREAM = "SpikeInterface's own"
_DESCENT = "where descents start, and when again: tests/kernels/test_monopolar.py fails at a third; 3 times is as good"
_FORMAT = "of a file or of units"
_LAYOUT = "what can be told at all, from geometry"
_LAYOUT_TIME = "what can be told at all, from sampling and duration"
# Numbers that are not tuned, and why.
NOT_TUNED: dict[str, dict[str, str]] = {
    "motion.costs": {"MB": _FORMAT},
    "motion.exchange": {"RIGID_DEPTH_UM": _FORMAT},
    "motion.forecast": {
        "SAMPLE_S": "what is measured of a recording",
        "NUM_PIECES": "what is measured of a recording",
        "WARM_UP_S": "what is measured of a recording",
        "PEAK_BYTES": _FORMAT,
        "LOCATION_BYTES": _FORMAT,
        "TRACE_BYTES": _FORMAT,
        "BYTES_PER_CHUNK_BYTE": "measured",
    },
    "motion.grids": {"SAME_BIN": "rounding"},
    "motion.held_out_evidence": {"MAX_SPIKES": _COST},
    "motion.lfp": {"CHUNK_VALUES": _SIZE, "SCALE_BINS": _COST},
    "motion.online": {"BIN_UM": "the default of `steady_decentralized`", "LONGEST_GAP_BINS": _COST},
    "motion.plan": {"MAX_WINDOWS": _COST, "ENOUGH_SPIKES": _COST, "LEAST_BINS": _LAYOUT_TIME},
    "motion.problem": {
        "MAX_PITCH_UM": _LAYOUT,
        "MIN_EXTENT_UM": _LAYOUT,
        "MOST_TIME_BINS": _COST,
        "LOOKS_PER_BIN": _FINE,
    },
    "motion.settings": {"SHORTEST_BIN_S": _LAYOUT_TIME, "LONGEST_BIN_S": _LAYOUT_TIME},
    "motion.sessions": {"SAME_PLACE_UM": "rounding"},
    "motion.tools": {"REGULAR": "rounding", "MAX_INVERSE_WINDOWS": _COST},
    "motion.trust": {"NUM_DISPLACEMENTS": _FINE},
    "kernels.channels.waveform_loss": {
        "NUM_SOURCE_DEPTHS": _FINE,
        "MARGIN_UM": _LAYOUT,
        "MAX_CONTACTS": _COST,
    },
    "kernels.motion.finer_registration": {"ACCELERATIONS_UM": _FINE, "LEAST_INFORMATION": _GUARD},
    "kernels.motion.kernel_correlation": {"FINE_UM": _FINE, "LEAST_WEIGHT": _FINE},
    "kernels.motion.lfp_covariance": {"MAX_RANK": _COST, "LEAST_ROWS": _GUARD},
    "kernels.motion.lfp_registration": {
        "NUM_BLOCKS": _FINE,
        "RESIDUAL_STEPS": _COST,
        "LEAST_MISFIT_UM": _GUARD,
        "BLOCK_BINS": _SIZE,
        "MISFIT_PAIRS": _COST,
    },
    "kernels.motion.online_filter": {"UNMEASURED": _GUARD},
    "kernels.motion.online_registration": {"LONGEST_WARMUP": "how long a user waits, and is told so"},
    "kernels.motion.pair_least_squares": {
        "TOLERANCE": "rounding",
        "PAIRWISE_ITERATIONS": _GUARD,
        "LEAST_ITERATIONS": _GUARD,
        "ITERATIONS_PER_BIN": _GUARD,
    },
    "kernels.motion.pair_correlation": {
        "ROWS": _SIZE,
        "FFT_SIGNALS": _SIZE,
        "FFT_TEMPLATES": _SIZE,
        "FLOPS_PER_US": "measured: chooses among ways of the same result",
        "PRODUCT_FLOPS_PER_US": "measured: chooses among ways of the same result",
        "TRANSFORM_US": "measured: chooses among ways of the same result",
        "FFT_OVERHEAD_US": "measured: chooses among ways of the same result",
    },
    "kernels.motion.segment_offsets": {"STEP_UM": _FINE},
    "kernels.motion.pairwise_shift": {"NUM_DENSE_LAGS": _COST, "LAG_GROWTH": _COST},
    "kernels.motion.iterative_template": {"SETTLED": _COST},
    "kernels.motion.point_cloud": {"FARTHEST_GROUPS": "beyond any reach"},
    "kernels.spikes.grid_convolution": {"FEW": _SIZE, "MOST_HALVINGS": _SIZE},
    "kernels.spikes.lattice": {"MIN_PERIODS": _LAYOUT},
    "kernels.spikes.local_grids": {"DECIMALS": "rounding"},
    "kernels.spikes.monopolar": {
        "START_Z_UM": _UPSTREAM,
        "NEAR_Z_UM": _DESCENT,
        "FAR_Z_UM": _DESCENT,
        "GOOD_FIT": _DESCENT,
        "POOR_FIT": _DESCENT,
        "LOWEST_Z_UM": _UPSTREAM,
        "HIGHEST_Z_FACTOR": _UPSTREAM,
        "PENALTY_WEIGHT": _UPSTREAM,
        "PENALTY_RATE": _UPSTREAM,
        "PRIOR_WEIGHT": "weak: three times more or less changes errors by 2 %",
        "MAX_ITERATIONS": _COST,
        "MAX_DAMPINGS": _COST,
        "TOLERANCE": _FINE,
    },
    "kernels.spikes.template_weights": {"NEGLIGIBLE_EXPONENT": "rounding", "BLOCK": _SIZE},
    "peaks.grid_localization": {"NEGLIGIBLE_WEIGHT": _FINE},
}

OTHER_FILES = (
    "kernels/channels/waveform_loss",
    "kernels/spikes/grid_convolution",
    "kernels/spikes/lattice",
    "kernels/spikes/local_grids",
    "kernels/spikes/monopolar",
    "kernels/spikes/template_weights",
    "peaks/auto_localization",
    "peaks/grid_localization",
    "peaks/localization",
)


def _tuned() -> list[Constant]:
    return [
        Constant(module, name, unit, groups)
        for module, (groups, units) in _TUNED.items()
        for name, unit in units.items()
    ]


TUNED = _tuned()


def modules() -> list[str]:
    """Modules below `steadyspike` whose numbers are looked at."""
    root = Path(steadyspike.__file__).parent
    files = [*root.glob("motion/*.py"), *root.glob("kernels/motion/*.py")]
    files += [root / f"{name}.py" for name in OTHER_FILES]
    return [str(file.relative_to(root).with_suffix("")).replace("/", ".") for file in sorted(files)]


def source_of(module: str) -> str:
    """Give the source of a module below `steadyspike`."""
    root = Path(steadyspike.__file__).parent
    return (root / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf8")


def numbers_of(module: str) -> list[str]:
    """Names of the numbers, and tuples of numbers, at the top of a module below `steadyspike`."""
    return numbers_in(source_of(module))


def numbers_in(source: str) -> list[str]:
    """Names in capitals to which a source binds a number or numbers."""
    names = []
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets = [statement.target]
        else:
            continue
        if _is_number(statement.value):
            plain = [part for target in targets for part in getattr(target, "elts", [target])]
            names += [part.id for part in plain if isinstance(part, ast.Name) and part.id.isupper()]
    return names


def _is_number(node: ast.expr | None) -> bool:
    if isinstance(node, ast.Tuple):
        return bool(node.elts) and all(_is_number(item) for item in node.elts)
    if isinstance(node, ast.UnaryOp):
        return _is_number(node.operand)
    if isinstance(node, ast.BinOp):
        return _is_number(node.left) and _is_number(node.right)
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, int | float)
        and not isinstance(node.value, bool)
    )
