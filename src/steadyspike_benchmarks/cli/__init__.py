"""Commands of ``python -m steadyspike_benchmarks``."""
