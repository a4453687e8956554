"""What can go wrong with a model."""

#: What is said where no error of its own is raised: by the kernel, the allocators of C++, PyTorch
#: and onnxruntime, CUDA, cuBLAS and oneDNN, which computes the convolutions on a CPU.
_MEMORY_FULL = (
    "allocate memory",
    "bad_alloc",
    "out of memory",
    "ALLOC_FAILED",
    "could not create a primitive",
    "could not create a memory",
)


def out_of_memory(error: Exception) -> bool:
    """Tell whether an error says that memory ran out, the processor's or the GPU's."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _MEMORY_FULL)


class ModelError(Exception):
    """Base of this package's errors; the message says what to do."""


class VersionNotFound(ModelError, LookupError):
    """No version of that id in the registry."""


class BrokenVersion(ModelError):
    """A version whose files are missing, truncated or do not fit its version.json."""


class DamagedWeights(ModelError):
    """Weights to begin with whose file is none, only a part of it, or another network's."""


class VersionInUse(ModelError):
    """A version that must stay, since it serves a project or can be rolled back to."""


class NothingToRollBack(ModelError, LookupError):
    """A project whose champion has no champion before it."""


class ChampionChanged(ModelError):
    """A project that another version serves by now than the one that was to be replaced."""


class SizeNotAsked(ModelError, ValueError):
    """A version that is told how large the cells are, and does not ask: it would not heed it."""


class NoSuchDevice(ModelError, ValueError):
    """A device that this machine has not."""


class NothingToLearn(ModelError, ValueError):
    """A snapshot from which nothing can be trained, such as one without a single box."""


class TrainingCancelled(ModelError):
    """Raised from a progress callback to end a training early, without a candidate."""


class TrainingDiverged(ModelError):
    """The loss became NaN or infinite before a single good checkpoint was kept."""


class MemoryTooSmall(ModelError, MemoryError):
    """Memory, the processor's or the GPU's, that does not hold one image in training."""


class ProcessLost(ModelError):
    """One of several processes that trained together ended before the training had."""


class ExportFailed(ModelError):
    """An exported detector that does not find what PyTorch finds; PyTorch goes on serving."""
