"""Reads the original's result files: JSON lines without a header, in one file or one for each process."""

from RobustART.metrics.formats import FORMATS, ORIGINAL, Format
from RobustART.original.results.files import corruption_files
from RobustART.original.results.lists import holds_confidences, read_confidences, read_video_predictions
from RobustART.original.results.scores import read_verdicts

FORMATS.add(
    ORIGINAL, Format(read_verdicts, holds_confidences, read_confidences, read_video_predictions, corruption_files)
)
