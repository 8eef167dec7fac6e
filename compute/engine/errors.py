"""What the engine refuses or fails at; messages never quote bins, seeds, residues or masks."""


class EngineError(Exception):
    """The engine could not evaluate a block; every error of this package is one."""


class TaskError(EngineError):
    """A block task contradicts itself: lengths, rows, or a column no attribute has."""


class ModelFileError(EngineError):
    """The file of a sealed model is missing, has another length, or is not what its digest says."""


class EngineLibraryError(EngineError):
    """The installed SEAL does not compute or store what this engine was written for."""


class EngineUnavailableError(EngineError):
    """The worker processes are gone: closed, or lost twice in a row while evaluating one block."""
