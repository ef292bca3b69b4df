"""The pid 1 of a lab node: reaps orphans until it is killed. kill -9 of it is the node's power-off.

Run with nothing but the standard library, because it starts before anything else of the node does.
"""

import os
import signal


def main() -> None:
    waited = {signal.SIGCHLD, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    print("up", flush=True)
    while signal.sigwait(waited) == signal.SIGCHLD:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            continue


main()
