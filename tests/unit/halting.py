"""A child process that hangs."""

import os
import signal


def halt(child_pid: int) -> None:
    """Stop a child of this process, until SIGCONT, and wait until it stands still.

    The signal alone reaches one thread, which then has to run to stop the others: on a busy machine they answer a call or two meanwhile.
    """
    os.kill(child_pid, signal.SIGSTOP)
    os.waitid(os.P_PID, child_pid, os.WSTOPPED | os.WNOWAIT)
