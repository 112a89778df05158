"""Second-order sections, as a sum or as a cascade, eight channels at a time in vector registers.

By partial fractions a filter with distinct poles is

    H(z) = d + sum_k (r0_k + r1_k z^-1) / (1 + a1_k z^-1 + a2_k z^-2)

All sections then take the same input: a sample is loaded once, goes through every section in registers, and one sum
is stored. With S sections that are 4 S + 1 fused multiplications and additions for each sample, and, unlike in a
cascade, no section waits for another. Where poles nearly coincide, as with very low corners or high orders, the terms
of the sum cancel and digits are lost; such filters go through the cascade.
"""

import functools

import numpy as np
from numba.core import cgutils, types
from numba.core.cgutils import ir  # the llvmlite that numba itself uses
from numba.extending import intrinsic

from steadyspike.kernels.lanes.vectors import address_of, load_vector, splat, store_vector, vector_type

LANES = 8
STEPS = 16
# Sections that do nothing are added up to one of these numbers, so that few kinds of code are compiled.
NUM_SECTIONS = (3, 5, 8)
# largest error of the sum against the cascade, and largest sum of the terms' gains, both relative to the filter's gain
MOST_ERROR = 1e-9
MOST_CANCELLATION = 1e4


def filter_constants(sections):
    """Constants with which `run_steps` filters: those of the sum where it has all digits, else of the cascade.

    Those of the cascade are the gain, then -a1, -a2, b1, b2 of each section, numerators scaled to b0 = 1, and a last
    number that tells them from the others.
    """
    constants = parallel_constants(sections)
    if constants is None:
        numerators = sections[:, 1:3] / sections[:, :1]
        rows = np.concatenate([-sections[:, 4:6], numerators], axis=1)
        constants = (*_flat(np.prod(sections[:, 0]), rows), 0.0)
    return constants


def _flat(first, rows):
    """One number and rows of four, with sections that do nothing up to one of `NUM_SECTIONS`, as a tuple of floats."""
    count = min((number for number in NUM_SECTIONS if number >= len(rows)), default=len(rows))
    padded = np.zeros((count, 4))
    padded[: len(rows)] = rows
    return tuple(float(value) for value in (first, *padded.ravel()))


def parallel_constants(sections):
    """Constants of the sum of sections that equals a cascade.

    Sections are float64 (num_sections, 6): b0, b1, b2, 1, a1, a2. Returns d, then -a1, -a2, r0, r1 of each section as
    a tuple of floats, or None where the sum would lose digits.
    """
    return _constants_of(sections.tobytes()) if 0 < len(sections) <= NUM_SECTIONS[-1] else None


@functools.lru_cache(64)
def _constants_of(coefficients):
    sections = np.frombuffer(coefficients).reshape(-1, 6)
    frequencies = np.exp(1j * np.concatenate([[0.0], np.geomspace(1e-6, np.pi, 500)]))
    with np.errstate(all="ignore"):
        residues = [_residue(sections, index) for index in range(len(sections))]
        terms = [
            (r0 + r1 / frequencies) / _polynomial([1.0, *section[4:]], frequencies)
            for (r0, r1), section in zip(residues, sections, strict=True)
        ]
        whole = _response(sections, frequencies)
        direct = np.prod(sections[:, 0]) - sum(r0 for r0, _ in residues)
        gain = np.abs(whole).max()
        error = np.abs(sum(terms) + direct - whole).max()
        cancellation = sum(np.abs(term).max() for term in terms)
    # a comparison with NaN is False
    if not (error <= MOST_ERROR * gain and cancellation <= MOST_CANCELLATION * gain):
        return None
    return _flat(direct, np.concatenate([-sections[:, 4:6], residues], axis=1))


def _polynomial(coefficients, z):
    b0, b1, b2 = coefficients
    return b0 + (b1 + b2 / z) / z


def _response(sections, z):
    values = np.ones_like(z)
    for section in sections:
        values = values * _polynomial(section[:3], z) / _polynomial(section[3:], z)
    return values


def _residue(sections, index):
    """r0 and r1 of one section: a line in 1/z through the rest of the filter at the section's two poles."""
    others = np.delete(sections, index, axis=0)
    if sections[index, 5] == 0:
        # of the first order: one pole, and r1 = 0
        pole = np.array([complex(-sections[index, 4])])
        return (_polynomial(sections[index, :3], pole) * _response(others, pole))[0].real, 0.0
    first, second = np.roots(sections[index, 3:]).astype(complex)
    poles = np.array([first, second])
    values = _polynomial(sections[index, :3], poles) * _response(others, poles)
    slope = (values[0] - values[1]) / (1.0 / first - 1.0 / second)
    return (values[0] - slope / first).real, slope.real


_DOUBLES = ir.VectorType(ir.DoubleType(), LANES)


def _of_doubles(builder, name, num_arguments):
    function_type = ir.FunctionType(_DOUBLES, [_DOUBLES] * num_arguments)
    return cgutils.get_or_insert_function(builder.module, function_type, f"{name}.v{LANES}f64")


class _Channels:
    """Rows of eight neighbouring channels of an array, `stride` apart."""

    def __init__(self, context, builder, array_type, array, at, stride=None):
        self.context, self.builder, self.dtype = context, builder, array_type.dtype
        self.address = address_of(context, builder, array_type, array, at)
        self.stride = stride

    def offset(self, step):
        return self.builder.mul(self.stride, ir.IntType(64)(step))

    def load(self, offset):
        address = self.builder.gep(self.address, [offset])
        return load_vector(self.context, self.builder, self.dtype, address, LANES, _DOUBLES)

    def store(self, values, offset):
        builder, vector = self.builder, vector_type(self.context, self.dtype, LANES)
        if isinstance(self.dtype, types.Integer):
            # to 32 bits and then cut, as C converts
            values = builder.call(_of_doubles(builder, "llvm.rint", 1), [values])
            values = builder.fptosi(values, ir.VectorType(ir.IntType(32), LANES))
            values = builder.trunc(values, vector)
        elif self.dtype != types.float64:
            values = builder.fptrunc(values, vector)
        store_vector(builder, self.dtype, builder.gep(self.address, [offset]), values)


def _make_run(num_steps):
    """Compile all sections for a number of samples of eight channels."""

    @intrinsic
    def run(
        typing_context,
        source,
        source_at,
        source_stride,
        target,
        target_at,
        target_stride,
        constants,
        states,
        at,
    ):
        num_sections, is_cascade = (len(constants) - 1) // 4, len(constants) % 4 == 2

        def generate(context, builder, signature, arguments):
            source_type, _, _, target_type, _, _, _, states_type, _ = signature.args
            given = _Channels(context, builder, source_type, *arguments[:3])
            wanted = _Channels(context, builder, target_type, *arguments[3:6])
            kept = _Channels(context, builder, states_type, arguments[7], arguments[8])
            places = [ir.IntType(64)(LANES * row) for row in range(2 * num_sections + 2)]
            direct, *factors = [
                splat(builder, builder.extract_value(arguments[6], index), LANES)
                for index in range(len(constants))
            ]
            multiply_add = _of_doubles(builder, "llvm.fmuladd", 3)
            level, level_after = kept.load(places[0]), kept.load(places[1])
            newer = [kept.load(places[2 + 2 * section]) for section in range(num_sections)]
            older = [kept.load(places[3 + 2 * section]) for section in range(num_sections)]
            for step in range(num_steps):
                sample = builder.fsub(given.load(given.offset(step)), level)
                total = builder.call(multiply_add, [direct, sample, level_after])
                for section in range(num_sections):
                    # the last two are r0 and r1 of a sum, b1 and b2 of a cascade
                    minus_a1, minus_a2, one, other = factors[4 * section : 4 * section + 4]
                    newest = builder.call(multiply_add, [minus_a2, older[section], sample])
                    newest = builder.call(multiply_add, [minus_a1, newer[section], newest])
                    if is_cascade:
                        sample = builder.call(multiply_add, [other, older[section], newest])
                        sample = builder.call(multiply_add, [one, newer[section], sample])
                    else:
                        total = builder.call(multiply_add, [other, newer[section], total])
                        total = builder.call(multiply_add, [one, newest, total])
                    newer[section], older[section] = newest, newer[section]
                if is_cascade:
                    total = builder.fadd(builder.fmul(direct, sample), level_after)
                wanted.store(total, wanted.offset(step))
            for section in range(num_sections):
                kept.store(newer[section], places[2 + 2 * section])
                kept.store(older[section], places[3 + 2 * section])
            return context.get_dummy_value()

        index = types.int64
        signature = types.void(source, index, index, target, index, index, constants, states, index)
        return signature, generate

    return run


run_steps = _make_run(STEPS)
"""Filter `STEPS` samples of eight neighbouring channels, for compiled code.

`run_steps(source, source_at, source_stride, target, target_at, target_stride, constants, states, at)` reads the
samples at `source_at + step * source_stride` of the flat memory of `source`, and writes to `target` likewise.
`constants` are those of `filter_constants`, and `states` at `at` holds eight values each of: what is subtracted from
the samples, what is added to the results, and the two states of every section, which are updated. Nothing is checked.
"""
run_step = _make_run(1)
"""`run_steps` for one sample."""
