"""The CycloneDX bill of materials of an installation.

cyclonedx-bom reads the environment. What it cannot know is added: ordermq is what the bill is of, its wheel's
hash, the commit, and a time and a serial number that are the same whenever the same release is made again.
The hashes of the packages stand in constraints.txt, whose own hash the bill has.
"""

import hashlib
import json
import re
import sysconfig
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from release.failure import ReleaseFailed, run
from release.source import Source

SCHEMA = "1.6"
NAME = "ordermq"


def write(dist: Path, python: Path, pins: Mapping[str, object], source: Source) -> Path:
    """Write the bill of what ``python`` has installed. Raises ReleaseFailed if it is not what is pinned."""
    tool = Path(sysconfig.get_path("scripts")) / "cyclonedx-py"
    argv = [tool, "environment", "--output-reproducible", "--sv", SCHEMA, "--of", "JSON", python]
    bill = completed(json.loads(run(argv)), _hashes(dist), source)
    if extra := {_pin(each) for each in bill["components"]} - set(pins):
        raise ReleaseFailed(f"installed, but not pinned in constraints.txt: {', '.join(sorted(extra))}")
    path = dist / f"{NAME}-{bill['metadata']['component']['version']}.cdx.json"
    path.write_text(json.dumps(bill, indent=1, sort_keys=True) + "\n")
    check(path.read_text())
    return path


def completed(bill: dict[str, Any], hashes: Mapping[str, str], source: Source) -> dict[str, Any]:
    """Return the bill with ordermq as what it is of, and nothing of the machine that made it."""
    [root] = [each for each in bill["components"] if each["name"] == NAME]
    bill["components"] = [each for each in bill["components"] if each is not root]
    root |= {"type": "application", "externalReferences": []}  # they name the folder of the wheel
    root["hashes"] = [
        {"alg": "SHA-256", "content": sum_} for name, sum_ in hashes.items() if name.endswith(".whl")
    ]
    metadata = bill["metadata"]
    metadata["component"] = root
    metadata["timestamp"] = datetime.fromtimestamp(source.epoch, UTC).isoformat().replace("+00:00", "Z")
    metadata["properties"] = [
        *metadata.get("properties", []),
        {"name": "ordermq:commit", "value": source.commit or "none"},
        *({"name": f"ordermq:sha256:{name}", "value": sum_} for name, sum_ in sorted(hashes.items())),
    ]
    bill["serialNumber"] = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(bill, sort_keys=True)).urn
    return bill


def check(text: str) -> None:
    """Raise ReleaseFailed unless ``text`` is a bill by CycloneDX's strict schema."""
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415 # of the extra `release`
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415 # of the same extra

    fault = JsonStrictValidator(SchemaVersion.from_version(SCHEMA)).validate_str(text)
    if fault is not None:
        raise ReleaseFailed(f"the bill of materials breaks CycloneDX's schema {SCHEMA}: {fault}")


def count(path: Path) -> int:
    """Return how many components a bill has."""
    return len(json.loads(path.read_text())["components"])


def _pin(component: Mapping[str, str]) -> str:
    return f"{re.sub('[-_.]+', '-', component['name']).lower()}=={component['version']}"


def _hashes(dist: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in dist.iterdir()}
