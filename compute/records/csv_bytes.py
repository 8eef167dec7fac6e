"""The bytes of a CSV file, checked on their way to the parser.

The parser is fast and lenient: it takes a quote that never closes, text behind a closing quote, and a lone
carriage return, and would silently join or shift rows. So the bytes pass here first: UTF-8, no NUL, RFC 4180
quoting, LF or CRLF. Each check looks at a megabyte at a time, and an error names the line, counted from 1.

Source: docs/spec/column-specification.md, "Files of records"; RFC 4180.
"""

import codecs
import csv
import io
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from compute.records.errors import RecordsUnreadableError

MAX_ROW_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 20
_QUOTE, _COMMA, _LF, _CR = b'",\n\r'


class CheckedCsv(io.RawIOBase):
    """A stream of a CSV file's data rows: the header is read and left out when this is made.

    `header` holds the column names as they stand there. Raises RecordsUnreadableError from any read; the
    parser may wrap it, so it is kept in `refusal`.
    """

    def __init__(self, source: BinaryIO) -> None:
        super().__init__()
        self.refusal: RecordsUnreadableError | None = None
        self.bytes_read = 0
        self._source = source
        self._checks = _Checks()
        self._ahead = b""
        self._ended = False
        self.header = self._read_header()

    def readable(self) -> bool:
        """Return True: this is what a parser asks first."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` checked bytes, b"" at the end."""
        if not self._ahead:
            self._ahead = self._next_chunk()
        size = len(self._ahead) if size < 0 else size
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    def _next_chunk(self) -> bytes:
        if self._ended:
            return b""
        chunk = self._source.read(_CHUNK_BYTES) or b""
        try:
            self._checks.feed(chunk)
        except RecordsUnreadableError as error:
            self.refusal = error
            raise
        if self.bytes_read == 0:
            chunk = chunk.removeprefix(codecs.BOM_UTF8)
        self.bytes_read += len(chunk)
        self._ended = not chunk
        return chunk

    def _read_header(self) -> list[str]:
        text = b""
        while True:
            chunk = self._next_chunk()
            text += chunk
            end = _record_end(text)
            if end or not chunk:
                break
            if len(text) > MAX_ROW_BYTES:
                raise RecordsUnreadableError(
                    f"line 1: the header is longer than {MAX_ROW_BYTES} bytes; is this a CSV file with line "
                    "ends?"
                )
        record, self._ahead = (text[:end], text[end:]) if end else (text, b"")
        if not record.strip(b"\r\n"):
            raise RecordsUnreadableError("file: is empty; it must hold a header and rows")
        return next(csv.reader(io.StringIO(record.lstrip(b"\r\n").decode(), newline="")))


class _Checks:
    """What has been seen so far, so that each chunk is checked as if it followed the ones before."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._offset = 0
        self._lines = 0
        self._before = _LF
        self._quoted = False
        self._closing = False
        self._opened_at_line = 0

    def feed(self, chunk: bytes) -> None:
        """Check the next bytes of the file; b"" is its end. Raises RecordsUnreadableError."""
        self._check_encoding(chunk)
        if not chunk:
            self._check_end()
            return
        offset = len(codecs.BOM_UTF8) if self._offset == 0 and chunk.startswith(codecs.BOM_UTF8) else 0
        self._check_quotes(chunk[offset:])
        self._offset += len(chunk)
        self._lines += chunk.count(b"\n")
        self._before = chunk[-1]

    def _check_encoding(self, chunk: bytes) -> None:
        pending = len(self._decoder.getstate()[0])
        if chunk and not pending and chunk.isascii():
            nul = chunk.find(b"\0")
        else:
            try:
                self._decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                place = error.start - pending
                raise RecordsUnreadableError(
                    f"line {self._line(chunk, place)}: byte offset {self._offset + place} is not UTF-8; "
                    "save the file as UTF-8"
                ) from None
            nul = chunk.find(b"\0")
        if nul >= 0:
            raise RecordsUnreadableError(
                f"line {self._line(chunk, nul)}: byte offset {self._offset + nul} is NUL; save the file "
                "as text in UTF-8 (not UTF-16)"
            )

    def _check_quotes(self, chunk: bytes) -> None:
        data = np.frombuffer(chunk, dtype=np.uint8)
        if self._closing and data.size and data[0] not in {_QUOTE, _COMMA, _LF, _CR}:
            raise self._misquoted(chunk, 0)
        if self._before == _CR and not self._quoted and data.size and data[0] != _LF:
            raise self._lone_return(chunk, 0)
        quotes = np.flatnonzero(data == _QUOTE)
        closes = (np.arange(quotes.size) + self._quoted) % 2 == 1
        self._check_opening(chunk, data, quotes[~closes])
        self._check_closing(chunk, data, quotes[closes])
        self._check_returns(chunk, data, quotes)
        self._quoted ^= bool(quotes.size % 2)
        self._closing = bool(quotes.size and closes[-1] and quotes[-1] == data.size - 1)
        if quotes.size and self._quoted:
            self._opened_at_line = self._line(chunk, int(quotes[-1]))

    def _check_opening(self, chunk: bytes, data: NDArray[np.uint8], quotes: NDArray[np.intp]) -> None:
        before = data[quotes - 1]
        if quotes.size and quotes[0] == 0:
            before[0] = self._before
        wrong = quotes[(before != _COMMA) & (before != _LF) & (before != _QUOTE)]
        if wrong.size:
            raise self._misquoted(chunk, int(wrong[0]))

    def _check_closing(self, chunk: bytes, data: NDArray[np.uint8], quotes: NDArray[np.intp]) -> None:
        inside = quotes[quotes + 1 < data.size]
        after = data[inside + 1]
        wrong = inside[(after != _COMMA) & (after != _LF) & (after != _CR) & (after != _QUOTE)]
        if wrong.size:
            raise self._misquoted(chunk, int(wrong[0]))

    def _check_returns(self, chunk: bytes, data: NDArray[np.uint8], quotes: NDArray[np.intp]) -> None:
        if b"\r" not in chunk:
            return
        returns = np.flatnonzero(data == _CR)
        unquoted = returns[(np.searchsorted(quotes, returns) + self._quoted) % 2 == 0]
        inside = unquoted[unquoted + 1 < data.size]
        wrong = inside[data[inside + 1] != _LF]
        if wrong.size:
            raise self._lone_return(chunk, int(wrong[0]))

    def _check_end(self) -> None:
        if self._quoted:
            raise RecordsUnreadableError(
                f"line {self._opened_at_line}: a quoted cell begins here and never ends; close the quote, "
                "and double quotes inside quoted cells"
            )

    def _misquoted(self, chunk: bytes, place: int) -> RecordsUnreadableError:
        return RecordsUnreadableError(
            f'line {self._line(chunk, place)}: a quote (") inside a cell; put such cells in quotes and '
            "double the "
            "quotes inside them, and see that every quoted cell before it is closed"
        )

    def _lone_return(self, chunk: bytes, place: int) -> RecordsUnreadableError:
        return RecordsUnreadableError(
            f"line {self._line(chunk, place)}: a carriage return without line feed; end lines with LF or CRLF"
        )

    def _line(self, chunk: bytes, place: int) -> int:
        return self._lines + chunk.count(b"\n", 0, max(place, 0)) + 1


def line_of_row(source: BinaryIO, row: int) -> int | None:
    """Return the line on which data row `row` (from 1) begins, or None when it cannot be told.

    `source` is a well-quoted CSV file from its start.
    """
    text = io.TextIOWrapper(source, encoding="utf-8-sig", newline="")
    reader = csv.reader(text)
    seen, line = -1, 0
    try:
        for cells in reader:
            seen += bool(cells)
            if seen == row:
                return line + 1
            line = reader.line_num
    except csv.Error:
        return None
    finally:
        text.detach()
    return None


def _record_end(text: bytes) -> int:
    """Return where the first record that is not empty ends, its line end included, or 0."""
    start = len(text) - len(text.lstrip(b"\r\n"))
    quotes = 0
    while (end := text.find(b"\n", start)) >= 0:
        quotes += text.count(b'"', start, end)
        start = end + 1
        if quotes % 2 == 0:
            return start
    return 0
