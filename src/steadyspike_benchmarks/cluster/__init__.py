"""Studies of batches and of Dask, with what is killed on the way: ``python -m steadyspike_benchmarks cluster``."""
