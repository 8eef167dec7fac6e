"""Ring arithmetic on Microsoft SEAL, through TenSEAL's `sealapi`: the only module that knows SEAL's bytes.

SEAL is used for what it is good at, products in R_q, and for nothing else: no key is made, nothing is
encrypted or decrypted here. Its objects cross the border in SEAL's serialization (4.x) through memory files,
and only in bytes composed below from residues that were already parsed: no foreign bytes reach a `load`.

The coefficient modulus is the profile's primes plus one that SEAL keeps for keys, so that the first data
level has exactly the profile's. The plain modulus is 2^29, the range of blinding coefficients: SEAL takes a
coefficient from 2^28 upwards as negative.

How much is computed depends on sizes alone: an all-zero column, whose product SEAL refuses, is replaced by a
constant and its product put aside, so that time does not tell which bins nobody falls into.
"""

import mmap
import os
import struct
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from tenseal import sealapi

from compute.engine.errors import EngineLibraryError, TaskError
from sealed.block import COEFFICIENT_LIMIT
from sealed.packing import Block
from sealed.profiles import SCORE_V1, WIDE_V1, Profile
from sealed.ring import Residues

_KEY_PRIMES = {SCORE_V1: 1073299457, WIDE_V1: 1073184769}
"""The next prime p = 1 mod 2N below the profile's own."""

_PLAIN_MODULUS = 2 * COEFFICIENT_LIMIT
_HEADER = struct.Struct("<HBBBBHQ")
_MAGIC, _UNCOMPRESSED, _ZSTD = 0xA15E, 0, 2
_WORD = 8


@dataclass(frozen=True, slots=True, eq=False)
class PreparedModel:
    """A sealed model in SEAL's memory, transformed: one ciphertext per column, blinds included."""

    ciphertexts: tuple[Any, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class PreparedColumn:
    """A plain polynomial in SEAL's memory, transformed; when `is_zero`, one stands in its place."""

    plaintext: Any = field(repr=False)
    is_zero: bool = field(repr=False)


class SealEngine:
    """Products in R_q under one profile. Not thread-safe: one per worker process."""

    def __init__(self, profile: Profile) -> None:
        """Set SEAL up and prove on a known product that it computes and stores what this module expects."""
        self._profile = profile
        self._shape = (2, len(profile.primes), profile.N)
        self._context = _context(profile)
        self._evaluator = sealapi.Evaluator(self._context)
        self._level = self._context.first_parms_id()
        self._memory = _MemoryFile(_HEADER.size)
        version = _saved_version(self._memory)
        parms_id = struct.pack("<4Q", *self._level)
        self._ciphertext_head = _ciphertext_head(version, parms_id, self._shape)
        self._ciphertext_file = _MemoryFile(len(self._ciphertext_head) + _WORD * int(np.prod(self._shape)))
        self._ciphertext_file.write(0, self._ciphertext_head)
        plaintext_head = _plaintext_head(version, profile.N)
        self._plaintext_file = _MemoryFile(len(plaintext_head) + _WORD * profile.N)
        self._plaintext_file.write(0, plaintext_head)
        self._coefficients = self._plaintext_file.words(len(plaintext_head))
        ones = np.ones(self._shape[1:], dtype=np.uint64)
        (self._put_aside,) = self.prepare_sealed([(ones, ones)]).ciphertexts
        self._prove()

    @property
    def column_bytes(self) -> int:
        """Memory one prepared sealed column takes."""
        return _WORD * int(np.prod(self._shape))

    def prepare_sealed(self, columns: Iterable[tuple[Residues, Residues]]) -> PreparedModel:
        """Take the pairs (c0_j, a_j) of parsed residues (L, N) into SEAL, transformed for products."""
        ciphertexts = []
        for c0, a in columns:
            self._ciphertext_file.write(len(self._ciphertext_head), np.stack([c0, a]).astype("<u8").tobytes())
            ciphertext = sealapi.Ciphertext()
            ciphertext.load(self._context, self._ciphertext_file.path)
            self._evaluator.transform_to_ntt_inplace(ciphertext)
            ciphertexts.append(ciphertext)
        return PreparedModel(tuple(ciphertexts))

    def prepare_plain(self, coefficients: NDArray[np.int64 | np.uint8 | np.bool]) -> PreparedColumn:
        """Take up to N plain coefficients in [−2^28, 2^28) into SEAL, transformed for products."""
        low, high = int(coefficients.min()), int(coefficients.max())
        if low < -COEFFICIENT_LIMIT or high >= COEFFICIENT_LIMIT:
            raise TaskError("a plain coefficient must lie in [−2^28, 2^28)")
        is_zero = low == high == 0
        count = len(coefficients)
        np.bitwise_and(
            coefficients, np.int64(_PLAIN_MODULUS - 1), out=self._coefficients[:count], casting="unsafe"
        )
        self._coefficients[count:] = 0
        self._coefficients[0] |= is_zero
        plaintext = sealapi.Plaintext()
        plaintext.load(self._context, self._plaintext_file.path)
        self._evaluator.transform_to_ntt_inplace(plaintext, self._level)
        return PreparedColumn(plaintext, is_zero)

    def multiply_accumulate(self, model: PreparedModel, columns: Iterable[PreparedColumn]) -> Block:
        """Return Σ W_j·X_j (2, L, N) for as many prepared columns as the model has.

        Columns may come from a generator, so that each is used while the cache still holds it.
        """
        total, term = sealapi.Ciphertext(), sealapi.Ciphertext()
        started = False
        for ciphertext, column in zip(model.ciphertexts, columns, strict=True):
            if column.is_zero:
                self._evaluator.multiply_plain(ciphertext, column.plaintext, term)
                self._evaluator.add_inplace(self._put_aside, term)
            elif started:
                self._evaluator.multiply_plain(ciphertext, column.plaintext, term)
                self._evaluator.add_inplace(total, term)
            else:
                self._evaluator.multiply_plain(ciphertext, column.plaintext, total)
                started = True
        if not started:
            return np.zeros(self._shape, dtype=np.uint64)
        self._evaluator.transform_from_ntt_inplace(total)
        return self._residues(total)

    def _residues(self, ciphertext: Any) -> Block:
        """Read a ciphertext in coefficient form back."""
        ciphertext.save(self._memory.path)
        content = _content(self._memory.read(), self._ciphertext_file.size - _HEADER.size)
        head = len(self._ciphertext_head) - _HEADER.size
        if content[:head] != self._ciphertext_head[_HEADER.size :]:
            raise EngineLibraryError(
                "SEAL stored a result in another form than expected: use the locked tenseal"
            )
        return np.frombuffer(content, dtype="<u8", offset=head).reshape(self._shape).astype(np.uint64)

    def _prove(self) -> None:
        """Multiply (1 + 2x^(N−1), x) by x − x^2 and compare: order of primes, signs and layout at once."""
        profile = self._profile
        c0 = np.zeros(self._shape[1:], dtype=np.uint64)
        a = np.zeros_like(c0)
        c0[:, 0], c0[:, -1], a[:, 1] = 1, 2, 1
        plain = np.array([0, 1, -1])
        primes = np.array(profile.primes, dtype=np.uint64)
        expected = np.zeros(self._shape, dtype=np.uint64)
        expected[0, :, 0], expected[0, :, 1], expected[0, :, 2] = primes - 2, 3, primes - 1
        expected[1, :, 2], expected[1, :, 3] = 1, primes - 1
        model = self.prepare_sealed([(c0, a)])
        if not np.array_equal(self.multiply_accumulate(model, [self.prepare_plain(plain)]), expected):
            raise EngineLibraryError("SEAL does not multiply as expected: use the locked tenseal")


class _MemoryFile:
    """An anonymous file that only this process sees, reachable by the path that `sealapi` insists on."""

    def __init__(self, size: int) -> None:
        self._descriptor = os.memfd_create("bourse-engine", os.MFD_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)
        os.truncate(self._descriptor, size)
        self.size = size
        self.path = f"/proc/self/fd/{self._descriptor}"

    def write(self, offset: int, data: bytes) -> None:
        os.pwrite(self._descriptor, data, offset)

    def read(self) -> bytes:
        return os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)

    def words(self, offset: int) -> NDArray[np.int64]:
        return np.frombuffer(mmap.mmap(self._descriptor, self.size), dtype="<i8", offset=offset)


def _context(profile: Profile) -> Any:
    parameters = sealapi.EncryptionParameters(sealapi.SCHEME_TYPE.BFV)
    parameters.set_poly_modulus_degree(profile.N)
    parameters.set_coeff_modulus([sealapi.Modulus(p) for p in (*profile.primes, _KEY_PRIMES[profile])])
    parameters.set_plain_modulus(sealapi.Modulus(_PLAIN_MODULUS))
    context = sealapi.SEALContext(parameters, True, sealapi.SEC_LEVEL_TYPE.TC128)
    if not context.parameters_set():
        raise EngineLibraryError(f"SEAL refuses {profile.name}: {context.parameters_error_name()}")
    data_level = context.first_context_data().parms()
    if tuple(p.value() for p in data_level.coeff_modulus()) != profile.primes:
        raise EngineLibraryError(f"SEAL's data level lacks the primes of {profile.name}, in order")
    return context


def _saved_version(memory: _MemoryFile) -> tuple[int, int]:
    sealapi.Plaintext(1).save(memory.path)
    _, _, major, minor, *_ = _HEADER.unpack_from(memory.read())
    return major, minor


def _framed(version: tuple[int, int], head: bytes, words: int) -> bytes:
    """Prefix a body of `head` and so many words with its header; the array of words has its own."""
    array = _HEADER.pack(_MAGIC, _HEADER.size, *version, _UNCOMPRESSED, 0, _HEADER.size + (words + 1) * _WORD)
    body = head + array + struct.pack("<Q", words)
    size = _HEADER.size + len(body) + words * _WORD
    return _HEADER.pack(_MAGIC, _HEADER.size, *version, _UNCOMPRESSED, 0, size) + body


def _ciphertext_head(version: tuple[int, int], parms_id: bytes, shape: Sequence[int]) -> bytes:
    """All of a ciphertext before its residues: level, not transformed, sizes, scale and correction 1."""
    polynomials, primes, degree = shape
    fields = struct.pack("<BQQQdQ", 0, polynomials, degree, primes, 1.0, 1)
    return _framed(version, parms_id + fields, polynomials * primes * degree)


def _plaintext_head(version: tuple[int, int], degree: int) -> bytes:
    """All of a plaintext before its coefficients: no level (not transformed), size, scale 1."""
    return _framed(version, bytes(32) + struct.pack("<Qd", degree, 1.0), degree)


def _content(saved: bytes, size: int) -> bytes:
    """Take the header off what SEAL saved and undo its compression."""
    magic, header, _, _, compression, _, total = _HEADER.unpack_from(saved)
    if (magic, header, compression, total) != (_MAGIC, _HEADER.size, _ZSTD, len(saved)):
        raise EngineLibraryError("SEAL saved in another format than zstd: use the locked tenseal")
    content: bytes = pa.Codec("zstd").decompress(saved[_HEADER.size :], decompressed_size=size, asbytes=True)
    return content
