"""Reading the original RobustART's result files: JSON lines without a header, one file or one per process."""

from RobustART.original.results.files import corruption_files, result_files, video_files
from RobustART.original.results.lists import holds_confidences, read_confidences, read_video_predictions
from RobustART.original.results.scores import Verdicts, read_verdicts

__all__ = [
    "Verdicts",
    "corruption_files",
    "holds_confidences",
    "read_confidences",
    "read_verdicts",
    "read_video_predictions",
    "result_files",
    "video_files",
]
