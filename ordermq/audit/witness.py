"""Ask a witness to cosign a checkpoint (c2sp.org/tlog-witness), which it does unless the log has forked."""

from collections.abc import Callable, Sequence

from ordermq.audit.checkpoint import SignedCheckpoint
from ordermq.audit.notes import Note, NoteSignature, VerifierKey, encoded, number, parse_signatures
from ordermq.audit.signing import cosigned
from ordermq.audit.source import ask
from ordermq.errors import BadInput, LogUnreachable, NotProven

#: Returns the consistency proof between two sizes of the log.
ProofBetween = Callable[[int, int], Sequence[bytes]]

_REFUSALS = {
    403: "it knows the log under another key: swapped key",
    404: "it does not know the log: give its operator the log's verifier key",
    422: "the log is not the continuation of what it has seen: forked history",
}


def cosign(
    url: str, key: VerifierKey, signed: SignedCheckpoint, between: ProofBetween
) -> Sequence[NoteSignature]:
    """Have the witness at ``url`` cosign; return its cosignatures of the checkpoint, which were verified.

    Two requests at most: the first guesses that the witness has never seen the log. Raises NotProven if it
    refuses, LogUnreachable if it does not answer, BadInput if its answer is none of the protocol.
    """
    size = signed.checkpoint.size
    status, body = _submit(url, 0, [], signed)
    if status == 409:
        seen = number(body.decode("ascii", "replace").strip(), f"the answer of {url}")
        if seen > size:
            raise NotProven(
                f"the witness {url} has seen {seen} leaves, and the checkpoint has {size}:"
                " older checkpoint, or truncated tail"
            )
        status, body = _submit(url, seen, between(seen, size), signed)
    if status == 409:
        raise LogUnreachable(f"the witness {url} is busy with another checkpoint of this log; try again")
    if status in _REFUSALS:
        raise NotProven(f"the witness {url} refused with {status}: {_REFUSALS[status]}")
    if status != 200:
        raise BadInput(
            f"the witness {url} answers with {status}; is that the submission prefix of a tlog-witness?"
        )
    return _of_witness(signed, parse_signatures(body, f"the answer of {url}"), key, url)


def with_cosignatures(note: Note, mine: Sequence[NoteSignature]) -> Note:
    """Return a note with the cosignatures of a witness; earlier ones of it are replaced, all others stay."""
    names = {(each.name, each.key_id) for each in mine}
    return Note(note.text, [*(each for each in note.signatures if each[:2] not in names), *mine])


def request_body(old: int, proof: Sequence[bytes], signed: SignedCheckpoint) -> bytes:
    """Return the body of an add-checkpoint request."""
    lines = [f"old {old}", *map(encoded, proof), ""]
    return "".join(f"{each}\n" for each in lines).encode() + signed.note.encode()


def _submit(url: str, old: int, proof: Sequence[bytes], signed: SignedCheckpoint) -> tuple[int, bytes]:
    return ask("POST", f"{url.rstrip('/')}/add-checkpoint", request_body(old, proof, signed))


def _of_witness(
    signed: SignedCheckpoint, answer: Sequence[NoteSignature], key: VerifierKey, url: str
) -> Sequence[NoteSignature]:
    mine = [each for each in answer if (each.name, each.key_id) == (key.name, key.key_id)]
    if not cosigned(SignedCheckpoint(signed.checkpoint, Note(signed.note.text, mine)), [key], url):
        raise NotProven(f"the witness {url} cosigned, and not as {key.name}+{key.key_id.hex()}: another key")
    return mine
