"""The one rule for the sample type that a lazy node returns."""

import numpy as np

ALLOWED_DTYPES = ("float32", "float64", "int8", "int16", "int32", "uint8", "uint16", "uint32")


def resolve_output_dtype(parent_dtype, dtype=None, signed=False) -> np.dtype:
    """Sample type that a node declares and returns.

    Parameters
    ----------
    parent_dtype : dtype or str
        Sample type of the parent recording.
    dtype : dtype, str or None, default: None
        Type asked for. None keeps float32 and float64 parents as they are; every other type (integers, signed
        or unsigned, and float16) becomes float32. Allowed: float32, float64, integers of up to 32 bits.
    signed : bool, default: False
        Refuse unsigned integers, for a node whose result lies around zero.

    Returns
    -------
    numpy.dtype
        A type in the byte order of the machine.

    Raises
    ------
    ValueError
        If `dtype` is none of the allowed types, or unsigned where `signed` is asked for.
    """
    if dtype is None:
        parent_dtype = np.dtype(parent_dtype)
        keep = parent_dtype.kind == "f" and parent_dtype.itemsize in (4, 8)
        return np.dtype(f"f{parent_dtype.itemsize}" if keep else "float32")
    try:
        resolved = np.dtype(dtype).newbyteorder("=")
    except TypeError:
        resolved = None
    allowed = [name for name in ALLOWED_DTYPES if not (signed and name.startswith("uint"))]
    if resolved is None or resolved.name not in allowed:
        raise ValueError(f"dtype={dtype!r} is not possible here; allowed: None, {', '.join(allowed)}")
    return resolved


def cast_traces(traces, dtype) -> np.ndarray:
    """Traces in the output type: integers are rounded to nearest (half to even), saturated, and 0 where NaN.

    Parameters
    ----------
    traces : array of float32 or float64
        Samples, of any shape.
    dtype : numpy.dtype
        As returned by `resolve_output_dtype`.

    Returns
    -------
    numpy.ndarray
        `traces` itself where it has this type already.
    """
    if dtype.kind == "f":
        return traces.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    rounded = np.rint(traces, dtype="float64")
    np.clip(rounded, limits.min, limits.max, out=rounded)
    return np.nan_to_num(rounded, copy=False, nan=0.0).astype(dtype)
