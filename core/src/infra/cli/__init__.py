"""The program ``infra``: what is installed, what is configured, how it fares, and work on each resource.

Exit codes: 0 fine, 1 a problem was found or something is not healthy, 2 wrong usage, 3 wrong configuration, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing would cost more than all of this module
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: Instead of those of the process.

    Returns:
        The exit code.
    """
    import gc

    code = 130
    gc.disable()  # start-up makes no garbage, and looking for it takes 4 % of `infra providers`; the session enables it again
    try:
        from infra.cli.program import run

        code = run(arguments)
    except KeyboardInterrupt:
        pass
    finally:
        gc.enable()
    if arguments is None:
        _leave_now(code)
    return code


def _leave_now(code: int) -> None:
    """End the process where threads still wait for a server: they would keep it until their SDK gives up."""
    import os
    import sys

    threading = sys.modules.get("threading")
    waiting = [] if threading is None else [one for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
    if waiting:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
