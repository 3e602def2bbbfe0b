"""Pages from ``report.json``: ``report.html`` of one run and the leaderboard of many. Nothing here imports torch."""

from RobustART.report.page import write_page
from RobustART.report.reading import find_report, read_report

__all__ = ["find_report", "read_report", "write_page"]
