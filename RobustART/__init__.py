"""RobustART, a robustness benchmark for image classifiers. This module imports nothing, so it loads at once."""

__version__ = "1.0.0.dev0"


def tune_memory() -> bool:
    """Makes forward passes on a CPU faster by keeping freed memory: see :func:`RobustART.core.memory.tune_memory`."""
    from RobustART.core import memory

    return memory.tune_memory()
