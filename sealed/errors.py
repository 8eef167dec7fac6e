"""What sealed queries refuse, one type per reason.

Messages name the field, the limit and the way out; they never quote a score, weight, mask, residue or key.
"""


class SealedError(Exception):
    """The sealed query refuses something; every error of this package is one."""


class UnknownProfileError(SealedError):
    """No profile has this name."""


class ScaleError(SealedError):
    """`scale`, `drop` or the number of owners leaves no room for a score."""


class FieldError(SealedError):
    """A field of a hash or context has the wrong length, range or spelling."""


class ScoreRangeError(SealedError):
    """The largest |score| of a model exceeds what the profile carries at this scale."""


class WeightError(SealedError):
    """A weight does not fit a signed 64-bit integer."""


class ColumnFormatError(SealedError):
    """Bytes that claim to be sealed columns are not: length, or a residue outside its prime."""


class BlockFormatError(SealedError):
    """Bytes that claim to be a sealed block are not: length, or a residue outside its prime."""


class ReleaseFormatError(SealedError):
    """Bytes that claim to be released mask values are not: length, or a value of too many bits."""


class GatherError(SealedError):
    """The gathered columns do not fit the sealed model or the ring."""


class RowsError(SealedError):
    """Rows to open must be strictly rising and lie inside the gathered rows."""


class StreamExhaustedError(SealedError):
    """A random stream held too few acceptable words; see `sealed.sampling` for how unlikely this is."""
