"""What `python migrate.py` and `python accounts.py` share: a step in a thread, and signals that end it in order."""

import os
import subprocess
import sys
from pathlib import Path

FASTAPI = Path(__file__).parent.parent / "fastapi"


def test_a_second_signal_of_another_kind() -> None:
    """SIGINT comes while the process looks whether the step that SIGTERM has asked to stop is done: 75, and no hang."""
    look = (
        "import os, signal, sys, threading\n"
        "import command\n"
        "from boot import ShutdownRequested, Stage\n"
        "looked = threading.Event()\n"
        "class Grace(float):\n"
        "    def __gt__(self, other):\n"  # the process asks for it each time it looks
        "        looked.set()\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        return float(self) > other\n"
        "def step(service):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    looked.wait()\n"
        "    raise ShutdownRequested\n"
        "command.wait_for_database = lambda _: 'nothing to wait for'\n"
        "sys.exit(command.run_command(Stage('step', step, Grace(20))))\n"
    )
    settings = {"MYSQL_HOST": "mysql", "MYSQL_DATABASE": "app", "MYSQL_USER": "app", "MYSQL_PASSWORD": "x"}

    done = subprocess.run([sys.executable, "-c", look], cwd=FASTAPI, env=settings, timeout=20, check=False)

    assert done.returncode == os.EX_TEMPFAIL
