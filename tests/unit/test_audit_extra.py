"""Without the extra, a command of the audit log says what to install."""

import subprocess
import sys

WITHOUT = """
import sys
sys.modules["cryptography"] = None
from ordermq.cli.app import main
sys.argv = ["ordermq", "audit", "verify"]
main()
"""


def test_without_cryptography_the_error_names_the_extra_and_nothing_else_needs_it():
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert "pip install 'ordermq[audit]'" in done.stderr
    assert "Traceback" not in done.stderr
