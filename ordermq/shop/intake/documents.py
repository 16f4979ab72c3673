"""The JSON objects of a file of any size: of an array, one a line, or one after another. Pure.

An array on a single line may be longer than memory, so objects are cut out of the text while it is
read. A broken object costs no other one: reading goes on where the next one certainly begins, which
is a line that begins as the first object's line did, or what ``beginning`` of an object matches.
"""

import codecs
import json
import re
from collections.abc import Iterator

from ordermq.cli.records import MAX_LINE_BYTES, Line, Reject
from ordermq.cli.records import beginning as shortened
from ordermq.errors import BadInput

_BETWEEN = re.compile(r"[\s,]*")
# Behind an object stands the next one, with or without a comma, the end of the array, or a new line.
_BEHIND = re.compile(r"[\s,]*(?:[{\]]|$)|[ \t\r]*\n")
_UNENDING = ("Unterminated string", "Invalid \\u", "Invalid \\\\u")
_LONGEST_LITERAL = len("-Infinity")
_OVERLAP = 400  # as long as the beginning of an object may be, with its indentation
_DECODER = json.JSONDecoder()


class Documents:
    """Reads the objects of a text. Owned by one thread; read once."""

    def __init__(self, chunks: Iterator[bytes], beginning: str) -> None:
        """``beginning`` is a regular expression that only the beginning of an object matches."""
        self._chunks = chunks
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._beginning = beginning
        self._boundary = re.compile(beginning)
        self._text = ""
        self._at = 0
        self._line = 1
        self._is_at_end = False

    def read(self) -> Iterator[Line | Reject]:
        """Yield the text of each object with the line where it begins, or a reject.

        Raises BadInput at the end if the file ends inside of an array: then it was cut.
        """
        is_array = False
        while character := self._peek():
            if character == ("]" if is_array else "["):  # pages of a shop's answers may follow each other
                is_array = not is_array
                self._advance(self._at + 1)
            elif character == "{":
                yield self._object()
            else:
                yield self._rejected("not a JSON object")
        if is_array:
            raise BadInput("the file ends inside of its JSON array: it was cut; get it again")

    def _object(self) -> Line | Reject:
        self._learn_indentation()
        chunks = 1
        while (found := self._end()) is None:
            if len(self._text) - self._at > MAX_LINE_BYTES:
                found = f"longer than {MAX_LINE_BYTES} bytes"
            elif self._is_at_end:
                found = "not JSON: it is not closed"
            else:
                self._more(chunks)
                chunks *= 2
                continue
            break
        if isinstance(found, str):
            return self._rejected(found)
        line, text = self._line, self._text[self._at : found]
        self._advance(found)
        return Line(line, text)

    def _end(self) -> int | str | None:
        """Return where the object ends, or why it is broken; None if more of the file is needed."""
        try:
            end = _DECODER.raw_decode(self._text, self._at)[1]
        except json.JSONDecodeError as exc:
            return None if self._may_go_on(exc) else f"not JSON: {exc.msg}"
        except RecursionError:
            return "not JSON: nested too deep"
        if end - self._at > MAX_LINE_BYTES:
            return f"longer than {MAX_LINE_BYTES} bytes"
        rest = _BETWEEN.fullmatch(self._text, end)
        if rest and "\n" not in rest[0] and not self._is_at_end:
            return None
        return end if _BEHIND.match(self._text, end) else "not JSON: it is closed too early"

    def _may_go_on(self, exc: json.JSONDecodeError) -> bool:
        """Return whether only the end of what was read until now cuts the object."""
        return exc.msg.startswith(_UNENDING) or exc.pos >= len(self._text) - _LONGEST_LITERAL

    def _rejected(self, reason: str) -> Reject:
        """Skip what cannot be read, up to the next object; return the reject of it."""
        line, record = self._line, shortened(self._text[self._at : self._at + _OVERLAP * 2])
        self._advance(self._at + 1)
        while (match := self._boundary.search(self._text, self._at)) is None:
            self._advance(max(self._at, len(self._text) - _OVERLAP))
            if not self._more(1):
                self._advance(len(self._text))
                return Reject(line, reason, record)
        self._advance(match.end() - 1 if match[0].endswith("{") else match.start())
        return Reject(line, reason, record)

    def _learn_indentation(self) -> None:
        """Take the blanks before the first object of a line of its own as the beginning of each."""
        if self._boundary.pattern != self._beginning:
            return
        before = self._text[: self._at].rpartition("\n")
        if before[2].strip(" \t") == "":
            self._boundary = re.compile(f"{self._beginning}|\n{re.escape(before[2])}\\{{")

    def _peek(self) -> str:
        """Return the next character that stands for something; "" at the end of the file."""
        while True:
            match = _BETWEEN.match(self._text, self._at)
            self._advance(match.end() if match else self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more(1):
                return ""

    def _more(self, chunks: int) -> bool:
        """Read more of the file behind what is not used yet; return whether there was more."""
        parts = [self._text[self._at :]]
        for _ in range(chunks):
            chunk = next(self._chunks, b"")
            self._is_at_end = not chunk
            parts.append(self._decoder.decode(chunk, final=self._is_at_end))
            if self._is_at_end:
                break
        self._text, self._at = "".join(parts), 0
        return any(parts[1:]) or not self._is_at_end

    def _advance(self, to: int) -> None:
        self._line += self._text.count("\n", self._at, to)
        self._at = to
