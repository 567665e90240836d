"""Evaluation of networks and finished videos: `evaluate_videos` measures, `write_reports` writes it down."""

from vst.evaluate.report import check_folder, log_evaluation, tables, write_reports
from vst.evaluate.results import Evaluation, Row
from vst.evaluate.run import evaluate_videos

__all__ = ["Evaluation", "Row", "check_folder", "evaluate_videos", "log_evaluation", "tables", "write_reports"]
