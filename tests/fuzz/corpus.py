"""The corpus: inputs that reach different code, few and short, in one file for each target."""

import base64
import json
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"
MOST_INPUTS = 60
MOST_BYTES = 1024


def read(name: str) -> list[bytes]:
    """Return the inputs of a target, none if it has none."""
    file = FOLDER / f"{name}.json"
    return [base64.b64decode(each) for each in json.loads(file.read_text())] if file.exists() else []


def write(name: str, inputs: list[bytes]) -> int:
    """Keep the shortest of ``inputs``; return how many."""
    short = sorted({each for each in inputs if len(each) <= MOST_BYTES}, key=lambda each: (len(each), each))
    kept = short[:MOST_INPUTS]
    FOLDER.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(base64.b64encode(each).decode()) for each in kept)
    (FOLDER / f"{name}.json").write_text(f"[\n{lines}\n]\n")
    return len(kept)
