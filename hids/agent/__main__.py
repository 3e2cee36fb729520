"""The agent's own process: `python -m hids.agent CONFIG STATE`, which `hids-agent run` turns into.

It has only what an agent needs in memory: no command line, and no library that draws on terminals.
"""

import os
import sys
from pathlib import Path


def main() -> None:
    """Run until stopped; for `hids-agent run`, not for people."""
    sys.modules["rich"] = None  # type: ignore[assignment] # structlog takes it where it can, for 5 MiB and nothing in a log
    from hids.adapters.clock import SystemClock  # noqa: PLC0415 - after that
    from hids.adapters.logs import configure  # noqa: PLC0415
    from hids.agent.run import RESTART, run  # noqa: PLC0415
    from hids.errors import HidsError  # noqa: PLC0415

    del sys.modules["rich"]
    config, state = map(Path, sys.argv[1:])
    configure()
    try:
        status = run(config, state, SystemClock())
    except HidsError as error:
        print(f"hids-agent: {error}", file=sys.stderr)  # noqa: T201 - to whoever started it
        sys.exit(error.exit_status)
    sys.stdout.flush()
    sys.stderr.flush()
    if status == RESTART:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - this very command line
    # A thread that hangs in a dead file system must not keep the process: all that counts is on disk.
    os._exit(status)


if __name__ == "__main__":
    main()
