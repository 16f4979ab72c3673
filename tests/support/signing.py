"""Files of signing keys, and a publisher that signs without ordermq's code."""

import base64
import hashlib
import hmac
import os
import time

from ordermq.config.signing_keys import SigningKeys
from ordermq.message.signing import Signer

SECRETS = {key_id: hashlib.sha256(key_id.encode()).digest() for key_id in ("old", "new", "other")}


def line(key_id, until=None):
    """Return the line of a key in the file."""
    return f"{key_id} {base64.b64encode(SECRETS[key_id]).decode()}{f' until={until}' if until else ''}\n"


def write_keys(path, *lines):
    """Write the file as a person would: a new one in the place of the old. Return its path."""
    new = path.with_suffix(".new")
    new.write_text("".join(lines))
    new.chmod(0o600)
    os.utime(new, ns=(time.time_ns(), time.time_ns()))
    new.rename(path)
    return str(path)


def signer(path, key_id):
    """Return a signer with a file of its own that has one key."""
    return Signer(SigningKeys(write_keys(path / f"{key_id}.keys", line(key_id))))


def foreign_signature(key_id, fields):
    """Sign as docs/message-signing.md says: ``fields`` are texts, and the body last."""
    *texts, body = fields
    data = b"".join(b"%d:%s" % (len(each), each) for each in (*(text.encode() for text in texts), body))
    return f"{key_id}:{hmac.new(SECRETS[key_id], data, hashlib.sha256).hexdigest()}"
