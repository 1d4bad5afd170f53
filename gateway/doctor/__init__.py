"""What would silently not work: models' configurations, Triton, the stores and the settings, looked at from outside."""

from gateway.doctor.examination import Examination
from gateway.doctor.finding import Finding, Report, Severity

__all__ = ["Examination", "Finding", "Report", "Severity"]
