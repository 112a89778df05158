"""What stands for a command of steadyspike in a batch."""

# it does as its argument says, and writes its result last
COMMAND = """
import os, pathlib, signal, sys, time
what, result = sys.argv[1], pathlib.Path(sys.argv[2])
trace = result.with_name(result.name + ".begun")
trace.parent.mkdir(parents=True, exist_ok=True)
first = not trace.exists()
trace.write_text("x")
if what == "fail":
    print("error: no such probe")
    sys.exit(2)
if what == "die-once" and first:
    os.kill(os.getpid(), signal.SIGKILL)
if what == "wait":
    time.sleep(60)
result.mkdir()
(result / "steadyspike.json").write_text("{}")
"""
