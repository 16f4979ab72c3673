"""Run by another Python, with the package aics-tlog: verify a log of ordermq by nothing of ordermq.

python independent_log.py FOLDER VKEY [WITNESS-VKEY]    the whole log: its tiles, its entries, its signatures
python independent_log.py --proof FILE VKEY             a tlog-proof, whose entry is in its line extra
python independent_log.py --consistency FOLDER OLD VKEY from an earlier checkpoint to the one in the folder
"""

import base64
import json
import sys
from pathlib import Path

import aics_tlog as log


def verified(path, vkey, witnesses=()):
    keys = [log.parse_vkey(each) for each in witnesses]
    return checked(log.parse_note(Path(path).read_bytes().decode()), vkey, keys)


def checked(note, vkey, witnesses=()):
    result = log.verify_checkpoint(note, log.parse_vkey(vkey), list(witnesses), len(witnesses))
    assert result.ok, result
    return log.parse_checkpoint(note.text)


def whole(folder, vkey, *witnesses):
    checkpoint = verified(f"{folder}/checkpoint", vkey, witnesses)
    report = log.audit_tiles(log.FileSystemTileReader(folder), checkpoint.size, checkpoint.root)
    print(report)


def proof(path, vkey):
    head, _, note = Path(path).read_text().partition("\n\n")
    first, extra, index, *hashes = head.split("\n")
    assert first == "c2sp.org/tlog-proof@v1"
    entry = base64.b64decode(json.loads(base64.b64decode(extra.removeprefix("extra ")))["entry"])
    checkpoint = checked(log.parse_note(note), vkey)
    place = int(index.removeprefix("index ")), checkpoint.size
    assert log.verify_leaf_inclusion(
        entry, *place, [base64.b64decode(each) for each in hashes], checkpoint.root
    )
    print(entry.split(b"\n")[:3])


def consistency(folder, old, vkey):
    before, after = verified(old, vkey), verified(f"{folder}/checkpoint", vkey)
    hashes = log.consistency_proof_from_tiles(log.FileSystemTileReader(folder), before.size, after.size)
    assert log.verify_consistency(before.size, after.size, before.root, after.root, hashes)
    print(before.size, after.size)


if sys.argv[1] == "--proof":
    proof(*sys.argv[2:])
elif sys.argv[1] == "--consistency":
    consistency(*sys.argv[2:])
else:
    whole(*sys.argv[1:])
