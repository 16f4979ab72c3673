"""install-vm in a clean Debian without a running systemd, as in the build of an image."""

import re
import subprocess
from pathlib import Path

# A copy of the root that is gone afterwards; nothing of it can reach the network.
_ENTER = """
set -euo pipefail
mount -t tmpfs tmpfs "$2"
mkdir "$2"/{upper,work,root}
mount -t overlay clean -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
mkdir -p "$2/root/srv/kit"
mount --bind "$3" "$2/root/srv/kit"
mount -t proc proc "$2/root/proc"
exec chroot "$2/root" bash -euo pipefail -s
"""


def prove(root: Path, kit: Path, work: Path) -> list[str]:
    """Install, install again, upgrade and roll back in a copy of ``root``; return what was seen."""
    work.mkdir(parents=True, exist_ok=True)
    script = (Path(__file__).parent / "clean_root.sh").read_text()
    done = subprocess.run(
        ["unshare", "--mount", "--net", "--propagation", "private", "bash", "-c", _ENTER, "bash",
         str(root), str(work), str(kit)],
        input=script, capture_output=True, text=True, check=False, timeout=600,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return re.findall(r"^proved: (.*)$", done.stdout, re.MULTILINE)
