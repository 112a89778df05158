import numpy as np
import pytest

from steadyspike.kernels.spikes.grid_convolution import _threshold, locate_on_grid
from steadyspike.kernels.spikes.local_grids import build_local_grids
from steadyspike.kernels.spikes.spike_samples import in_waveforms

STAGGERED = np.array([[16.0 * ((3 * i) % 4), 20.0 * (i // 2)] for i in range(24)])
SCATTERED = np.random.default_rng(0).uniform(0, [60, 200], (20, 2))
ALONE = np.array([[3.0, 4.0]])
PROBES = {"staggered": STAGGERED, "scattered": SCATTERED, "one contact": ALONE}
PLANES = np.array([10.0, 40.0, 25.0])
GRID = {"radius_um": 40.0, "upsampling_um": 5.0, "margin_um": 30.0}
PROTOTYPE = -np.hanning(9)


def weigh(distances):
    weights = np.exp(-((distances / PLANES[:, None, None]) ** 2)).astype("float32")
    weights[weights < 0.05] = 0
    return weights, PLANES


def local_grids(locations, **changes):
    # weights end 70 um from a template
    return build_local_grids(locations, weigh, **{**GRID, **changes}, reach_um=112.0)


def grid_points(locations, upsampling_um=5.0, margin_um=30.0):
    points = []
    steps = np.ceil((np.ptp(locations, axis=0) + 2 * margin_um) / upsampling_um + 1).astype(int)
    for j in range(steps[1]):
        for i in range(steps[0]):
            point = locations.min(axis=0) - margin_um + upsampling_um * np.array([i, j])
            if (point <= locations.max(axis=0) + margin_um + upsampling_um / 10).all():
                points.append(point)
    return np.array(points)


def oracle(waveform, main, locations, prototype, percentile, planes=PLANES):
    """One spike against every template in the circle, over all contacts of the probe."""
    points = grid_points(locations)
    points = points[np.linalg.norm(points - locations[main], axis=1) <= 40.0]
    distances = np.array([[np.linalg.norm(contact - point) for point in points] for contact in locations])
    with np.errstate(invalid="ignore", over="ignore"):
        products = (waveform.astype("float64") * prototype[:, None]).sum(axis=0)
    products[~np.isfinite(products)] = 0
    products /= np.abs(products).max() or 1.0
    fits = np.array([[products @ plane[:, t] for t in range(len(points))] for plane in weigh(distances)[0]])
    good = fits >= 0
    good &= fits >= (np.percentile(fits[good], 100 - percentile) if good.any() else 0) - 1e-7
    if not fits[good].sum() > 0:
        return [*locations[main], planes.min()]
    x, y = (np.sum(fits * good * points[:, k]) / fits[good].sum() for k in (0, 1))
    return [x, y, (fits * good).sum(axis=1) @ planes / fits[good].sum()]


def locate(waveforms, channels, locations, percentile=5.0, prototype=PROTOTYPE):
    grids = local_grids(locations)
    return locate_on_grid(
        in_waveforms(waveforms), channels, grids.contacts, locations, prototype, grids, percentile
    )


def spikes(locations, num_spikes, seed):
    """Draw sources near the contacts, with noise, and one channel for each to call its main one."""
    rng = np.random.default_rng(seed)
    channels = rng.integers(0, len(locations), num_spikes)
    sources = locations[channels] + rng.normal(0, 12, (num_spikes, 2))
    distances = np.linalg.norm(locations[None] - sources[:, None], axis=2)
    waveforms = 100 * np.exp(-distances / 20)[:, None, :] * PROTOTYPE[:, None]
    return (waveforms + rng.standard_normal(waveforms.shape)).astype("float32"), channels


@pytest.mark.parametrize("name", PROBES)
@pytest.mark.parametrize("percentile", [0.0, 5.0, 37.5, 100.0])
def test_locations_match_the_oracle(name, percentile):
    locations = PROBES[name]
    waveforms, channels = spikes(locations, 40, seed=1)
    located = locate(waveforms, channels, locations, percentile)
    for spike, main, found in zip(waveforms, channels, located, strict=True):
        expected = oracle(spike, main, locations, PROTOTYPE, percentile)
        np.testing.assert_allclose(found, expected, atol=0.05)


@pytest.mark.parametrize("dtype", ["float64", "int16", "uint8", "float16"])
def test_other_types_are_read_as_they_are(dtype):
    waveforms, channels = spikes(STAGGERED, 20, seed=2)
    waveforms = (128 + waveforms).clip(0, 255).round().astype(dtype)
    expected = locate(waveforms.astype("float32"), channels, STAGGERED)
    np.testing.assert_array_equal(locate(waveforms, channels, STAGGERED), expected)


@pytest.mark.parametrize("scale", [1e-37, 1e-6, 1e33, 1e300])
def test_the_unit_of_the_traces_does_not_matter(scale):
    waveforms, channels = spikes(STAGGERED, 20, seed=3)
    waveforms = waveforms.astype("float64")
    expected = locate(waveforms, channels, STAGGERED)
    np.testing.assert_allclose(locate(waveforms * scale, channels, STAGGERED), expected, atol=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e308])
def test_a_contact_that_is_not_finite_is_silent(bad):
    waveforms, channels = spikes(STAGGERED, 20, seed=4)
    waveforms = waveforms.astype("float64")
    broken, silent = waveforms.copy(), waveforms.copy()
    broken[:, :, 5] = bad
    silent[:, :, 5] = 0.0
    prototype = np.full(9, -10.0)
    expected = locate(silent, channels, STAGGERED, prototype=prototype)
    np.testing.assert_array_equal(locate(broken, channels, STAGGERED, prototype=prototype), expected)
    assert (expected != locate(waveforms, channels, STAGGERED, prototype=prototype)).any()


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
@pytest.mark.parametrize("name", PROBES)
def test_a_spike_that_fits_nothing_stays_on_its_main_channel(name, value):
    locations = PROBES[name]
    channels = np.arange(len(locations))
    located = locate(np.full((len(locations), 9, len(locations)), value), channels, locations)
    np.testing.assert_array_equal(located[:, :2], locations)
    np.testing.assert_array_equal(located[:, 2], 10.0)


def test_a_grid_without_points_near_the_contacts():
    grids = local_grids(STAGGERED, upsampling_um=1e4, radius_um=20.0)
    waveforms, channels = spikes(STAGGERED, 10, seed=5)
    located = locate_on_grid(in_waveforms(waveforms), channels, grids.contacts, STAGGERED, PROTOTYPE, grids)
    np.testing.assert_array_equal(located[:, :2], STAGGERED[channels])


def test_a_contact_without_a_column_is_silent():
    waveforms, channels = spikes(STAGGERED, 20, seed=6)
    grids = local_grids(STAGGERED)
    columns = np.where(grids.contacts == 7, -1, grids.contacts)
    located = locate_on_grid(in_waveforms(waveforms), channels, columns, STAGGERED, PROTOTYPE, grids)
    waveforms[:, :, 7] = 0
    np.testing.assert_array_equal(located, locate(waveforms, channels, STAGGERED))


def test_no_spike():
    assert locate(np.zeros((0, 9, 24), "float32"), np.zeros(0, int), STAGGERED).shape == (0, 3)


CROWDS = {
    "spread": lambda rng, n: rng.standard_normal(n),
    "ties": lambda rng, n: rng.integers(-2, 4, n) / 3,
    "one outlier": lambda rng, n: np.append(rng.random(n - 1) * 1e-6, 1.0),
    "over many decades": lambda rng, n: 10 ** rng.uniform(-30, 0, n),
    "all equal": lambda rng, n: np.full(n, 0.25),
    "ascending": lambda rng, n: np.linspace(0, 1, n),
    "neighbouring floats": lambda rng, n: 1 + rng.integers(0, 5, n) * 2.0**-23,
}


@pytest.mark.parametrize("crowd", CROWDS)
def test_the_threshold_is_numpys_percentile(crowd):
    rng = np.random.default_rng(7)
    for n in (1, 2, 3, 47, 200, 985):
        fits = CROWDS[crowd](rng, n).astype("float32")
        scratch = np.empty((2, n), "float32")
        counted = np.where(fits < 0, np.nan, fits)
        for percentage in (0.5, 5.0, 30.0, 50.0, 95.0, 99.9, 100.0):
            found = _threshold(fits, percentage / 100, scratch)
            expected = np.nanpercentile(counted, percentage) if (fits >= 0).any() else 0.0
            assert found == np.float32(expected), (n, percentage)


def test_a_threshold_where_nothing_counts():
    fits = np.full(9, -1, "float32")
    assert _threshold(fits, 0.95, np.empty((2, 9), "float32")) == 0


def test_a_regular_probe_shares_its_grids():
    def probe(num_rows):
        return np.array([[16.0 * ((3 * i) % 4), 20.0 * (i // 2)] for i in range(2 * num_rows)])

    short, long = local_grids(probe(40)), local_grids(probe(400))
    assert len(short.sizes) == len(long.sizes) < 40
    assert short.weights.nbytes == long.weights.nbytes < 2e6
    # a scattered one has none to share
    assert len(local_grids(SCATTERED).sizes) == len(SCATTERED)


@pytest.mark.parametrize("name", PROBES)
def test_local_weights_are_those_of_the_whole_probe(name):
    locations = PROBES[name]
    points = grid_points(locations)
    grids = local_grids(locations)
    for channel, (here, contacts) in enumerate(zip(locations, grids.contacts, strict=True)):
        near = points[np.linalg.norm(points - here, axis=1) <= 40.0]
        whole, _ = weigh(np.linalg.norm(locations[:, None] - near[None], axis=2))
        expected = np.zeros_like(whole)
        rows, size = grids.sizes[grids.grid_index[channel]]
        start, _, offset = grids.starts[grids.grid_index[channel]]
        block = grids.weights[start : start + rows * len(PLANES) * size].reshape(rows, len(PLANES), size)
        expected[:, contacts[:rows]] = block.transpose(1, 0, 2)
        np.testing.assert_allclose(grids.offsets[:, offset : offset + size].T + here, near, atol=1e-9)
        np.testing.assert_allclose(expected, whole, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prototype": np.ones(8)}, r"prototype has shape \(8,\); allowed is \(9,\)"),
        ({"percentile": 101.0}, "percentile is 101.0; allowed is 0 to 100"),
        ({"percentile": np.nan}, "percentile is nan"),
        ({"channels": np.array([24])}, "channels goes from 24 to 24"),
        ({"columns": np.full((24, 2), 0)}, r"columns has shape \(24, 2\)"),
        ({"spikes": in_waveforms(np.zeros((1, 9, 3)))}, "columns has shape .* and goes up to 23"),
    ],
)
def test_arguments_that_cannot_work_are_refused(change, message):
    grids = local_grids(STAGGERED)
    arguments = {
        "spikes": in_waveforms(np.zeros((1, 9, 24))),
        "channels": np.zeros(1, int),
        "columns": grids.contacts,
        "locations": STAGGERED,
        "prototype": PROTOTYPE,
    }
    with pytest.raises(ValueError, match=message):
        locate_on_grid(**{**arguments, **change}, grids=grids)
