"""Many recordings, and many machines.

`table` reads sessions, `tasks` keeps on disk what each of them came to and runs one, `engines` runs them here or on
Dask, and `slurm` writes an array job.
"""
