"""Reports from result files, pages from reports, and the leaderboard of many runs. Nothing here imports torch."""

from RobustART.report.build import Report, build_report, report_of_files, results_folder, write_report
from RobustART.report.reading import find_report, read_report

__all__ = [
    "Report", "build_report", "find_report", "read_report", "report_of_files", "results_folder", "write_report",
]  # fmt: skip
