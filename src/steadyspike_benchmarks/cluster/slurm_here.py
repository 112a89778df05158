"""SLURM itself on this machine, while it is needed: munged, slurmctld and slurmd of Debian's slurm-wlm, in a folder."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
KEY_BYTES, PATIENCE_S = 1024, 30.0
_DIES_WITH_US = ("setpriv", "--pdeathsig", "TERM", "--")

# cred_expire: a requeued job begins when its old credential has expired
CONF = """ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1
ReturnToService=2
KillWait=5
MinJobAge=600
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} State=UNKNOWN
PartitionName=here Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """Name the programs that are not there."""
    return [name for name in PROGRAMS if _program(name) is None]


@contextmanager
def slurm(folder: Path, cpus: int = 2, memory_mb: int = 8000) -> Iterator[None]:
    """Run SLURM in a folder with a short path, and stop it; its commands find it by the environment."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("state", "spool"):
        (folder / name).mkdir(exist_ok=True)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(KEY_BYTES))
    key.chmod(0o400)
    conf = folder / "slurm.conf"
    conf.write_text(
        CONF.format(
            folder=folder,
            host=socket.gethostname().partition(".")[0],
            user=os.environ.get("USER") or "root",
            controller_port=_free_port(),
            node_port=_free_port(),
            cpus=cpus,
            memory_mb=memory_mb,
        )
    )
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(conf)
    started: list[subprocess.Popen[bytes]] = []
    try:
        started.append(_start(folder, "munged", *_munge_options(folder, key)))
        _wait_for((folder / "munge.socket").exists)
        started.append(_start(folder, "slurmctld", "-D", "-f", str(conf)))
        started.append(_start(folder, "slurmd", "-D", "-f", str(conf)))
        _wait_for(lambda: "idle" in asked("sinfo", "--noheader", "--format=%T"))
        yield
    finally:
        with suppress(Exception):
            asked("scancel", "--user", os.environ.get("USER") or "root")
            _wait_for(lambda: not asked("squeue", "--noheader"))
        for process in reversed(started):
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before


def asked(*command: str) -> str:
    """Return what a command of SLURM says, or nothing where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def _munge_options(folder: Path, key: Path) -> list[str]:
    return [
        *("--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"),
        *(
            f"--pid-file={folder}/munged.pid",
            f"--log-file={folder}/munged.log",
            f"--seed-file={folder}/munged.seed",
        ),
    ]


def _start(folder: Path, name: str, *options: str) -> subprocess.Popen[bytes]:
    program = _program(name)
    assert program is not None
    with (folder / f"{name}.out").open("wb") as out:
        return subprocess.Popen([*_DIES_WITH_US, program, *options], stdout=out, stderr=subprocess.STDOUT)


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _wait_for(condition: object) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():  # type: ignore[operator]
        if time.monotonic() > end:
            raise RuntimeError("SLURM did not start here; see the logs in its folder")
        time.sleep(0.1)
