"""The commands and files that a page of the documentation shows, as one script of bash.

A fence with the language sh holds commands. A fence of Python that begins with a line ``# name.py``
is a file of that name in the present folder. A comment on the line above a fence says more::

    <!-- not run: needs root -->    the reason why the commands are left out
    <!-- until: TEXT -->            they are tried until they succeed and print TEXT

A relay or a consumer, which runs until it is stopped, is started in the background.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(
    r"(?:^<!-- (?P<word>not run|until): (?P<text>[^\n]+) -->\n)?^```(?P<language>\w*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_PROCESS = re.compile(r"^(ordermq-(?:relay|consumer)\b[^&#\n]*?)(\s*#.*)?$", re.MULTILINE)
_FILE = re.compile(r"# (?P<name>\w+\.py)\n")

PROLOGUE = """\
set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT
until_it_prints() {
    local found deadline=$((SECONDS + 30))
    until found=$("$2" 2>&1) && grep --quiet --fixed-strings -- "$1" <<<"$found"; do
        if ((SECONDS > deadline)); then
            printf 'no %s in: %s\\n' "$1" "$found" >&2
            return 1
        fi
        sleep 0.1
    done
}
"""


@dataclass(frozen=True)
class Block:
    """One fence with commands or a file. ``left_out`` is the reason why it is not run, or empty."""

    line_no: int
    body: str
    file: str = ""
    left_out: str = ""
    until: str = ""

    @property
    def commands(self):
        """The commands, one a line, without their comments."""
        lines = self.body.replace("\\\n", " ").splitlines()
        return [line for line in (re.sub(r"(^|\s+)# .*", "", each) for each in lines) if line]

    def script(self, page):
        """The block as bash; what it says on stderr names the page and the line first."""
        if self.file:
            return f"cat > {self.file} <<'END_OF_FILE'\n{self.body}END_OF_FILE\n"
        begin = f"echo '--- {page}:{self.line_no}' >&2\n"
        if self.until:
            name = f"block_{self.line_no}"
            return f"{begin}{name}() {{\n{self.body}}}\nuntil_it_prints {shlex.quote(self.until)} {name}\n"
        return begin + _PROCESS.sub(r"\1 &", self.body)


def blocks(page: Path):
    """Return the fences of ``page`` that hold commands or files, in order."""
    text = page.read_text()
    found = []
    for match in _FENCE.finditer(text):
        line_no = text.count("\n", 0, match.start("body"))
        words = {match["word"]: match["text"]}
        if match["language"] == "sh":
            found.append(Block(line_no, match["body"], "", words.get("not run", ""), words.get("until", "")))
        elif match["language"] == "python" and (file := _FILE.match(match["body"])):
            found.append(Block(line_no, match["body"], file["name"], words.get("not run", "")))
    return found


def script(page: Path):
    """Return all blocks of ``page`` that can be run, as one script."""
    parts = [each.script(page.name) for each in blocks(page) if not each.left_out]
    return "\n".join([PROLOGUE, *parts])


def left_out(page: Path):
    """Return every command of ``page`` that is not run, with the reason."""
    return [(each.left_out, command) for each in blocks(page) if each.left_out for command in each.commands]
