"""Many recordings, and many machines.

`table` reads sessions, `tasks` keeps on disk what each of them came to and runs one, `engines` runs them here or on
Dask, and `slurm` writes an array job.
"""

from steadyspike.cluster.saving import save_recording as save_recording
