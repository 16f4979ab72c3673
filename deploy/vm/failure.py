"""How an installation fails: a text for the person at the keyboard, and an exit code."""

USAGE = 64
MISMATCH = 65
UNAVAILABLE = 69
CANNOT_WRITE = 73
NOT_BACK = 75
NOT_ROOT = 77
NOT_MIGRATED = 78
INTERRUPTED = 130

EXIT_CODES = """\
exit codes:
  0    done, or there was nothing to do
  64   wrong arguments, or a file of the release is missing
  65   a package is missing or is not the one whose hash the release names
  69   no systemd, Python too old, or no venv module
  73   no space, or a file cannot be written
  75   a service did not come back: see its journal, or go back with --rollback
  77   not root
  78   the database has not the tables of this release: migrate first
  130  interrupted by Ctrl-C"""


class InstallFailure(Exception):
    """Ends the installation with ``exit_code``; what was changed before stays, and a new run goes on."""

    def __init__(self, exit_code: int, text: str) -> None:
        super().__init__(text)
        self.exit_code = exit_code
