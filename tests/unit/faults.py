"""What happens to a child process: it hangs, or it is gone.

A signal alone is not enough: on a busy machine a thread of the other process may answer one more call before it is stopped.
"""

import os
import signal
from contextlib import suppress


def halt(child_pid: int) -> None:
    """Stop a child of this process, until SIGCONT, and wait until all of its threads stand still."""
    os.kill(child_pid, signal.SIGSTOP)
    os.waitid(os.P_PID, child_pid, os.WSTOPPED | os.WNOWAIT)


def kill(child_pid: int) -> None:
    """Kill a child of this process and wait until it is gone. Its end is still there to be waited for by whoever started it."""
    os.kill(child_pid, signal.SIGKILL)
    with suppress(ChildProcessError):  # who started it was quicker
        os.waitid(os.P_PID, child_pid, os.WEXITED | os.WNOWAIT)
