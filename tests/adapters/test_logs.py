"""Our programs' own logs."""

import json
import subprocess
import sys


def test_where_nobody_watches_each_event_is_a_line_of_json_on_stderr():
    program = (
        "import structlog; from hids.adapters.logs import configure; configure(); "
        "structlog.get_logger().debug('unseen'); structlog.get_logger().warning('seen', text='a\\nb\\x1b[31m')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    said = json.loads(line)
    assert (said["event"], said["level"], said["text"]) == ("seen", "warning", "a\nb\x1b[31m")
    assert said["timestamp"].endswith("Z")
