"""``python -m tests.fuzz [TARGET...]``: search for bytes that a decoder does not expect, for some minutes."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import click

from tests.fuzz import corpus
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
WORK = ROOT / "build" / "fuzz"
LIMITS = ("-timeout=10", "-rss_limit_mb=2048", "-max_len=4096", "-print_final_stats=1")


@click.command()
@click.argument("wanted", metavar="[TARGET]...", nargs=-1)
@click.option("--minutes", type=click.FloatRange(0.1), default=10.0, show_default=True, help="For all.")
@click.option("--keep", is_flag=True, help="Write what reaches new code into tests/fuzz/corpus, small.")
def main(wanted: tuple[str, ...], minutes: float, keep: bool) -> None:
    """Search with Atheris; each find is a file in build/fuzz/finds, and a failure."""
    names = [name for name in TARGETS if not wanted or name.startswith(wanted)]
    if not names:
        raise click.UsageError(f"no target begins like that; there are {', '.join(TARGETS)}")
    found = [name for name in names if not _search(name, minutes * 60 / len(names), keep=keep)]
    with_find = f": {', '.join(found)}" if found else ""
    click.echo(f"fuzz: {len(names)} targets, {len(found)} with a find{with_find}")
    sys.exit(1 if found else 0)


def _search(name: str, seconds: float, *, keep: bool) -> bool:
    """Search in one target; return whether nothing was found."""
    folder, finds = WORK / name, WORK / "finds"
    folder.mkdir(parents=True, exist_ok=True)
    finds.mkdir(exist_ok=True)
    for number, data in enumerate((*seeds(name), *corpus.read(name))):
        (folder / f"seed-{number}").write_bytes(data)
    began_s = time.monotonic()
    argv = [sys.executable, "-m", "tests.fuzz.run", name, str(folder), f"-artifact_prefix={finds}/{name}-"]
    done = subprocess.run(
        [*argv, f"-max_total_time={max(1, round(seconds))}", *LIMITS],
        cwd=ROOT, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    said = done.stderr + done.stdout
    runs = next((line.split()[-1] for line in said.splitlines() if "number_of_executed_units" in line), "?")
    kept = f", {_keep(name, folder)} inputs kept" if keep and done.returncode == 0 else ""
    click.echo(f"fuzz: {name}: {runs} inputs in {time.monotonic() - began_s:.0f} s{kept}")
    if done.returncode:
        click.echo("\n".join(said.splitlines()[-40:]), err=True)
    return done.returncode == 0


def _keep(name: str, folder: Path) -> int:
    """Reduce the corpus to what reaches different code, and keep its shortest inputs."""
    merged = WORK / f"{name}.merged"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir()
    argv = [sys.executable, "-m", "tests.fuzz.run", name, "-merge=1", str(merged), str(folder)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
    found = [each.read_bytes() for each in merged.iterdir()]
    if done.returncode or not found:
        raise click.ClickException(f"the corpus of {name} cannot be merged:\n{done.stderr[-2000:]}")
    return corpus.write(name, found)


if __name__ == "__main__":
    main()
