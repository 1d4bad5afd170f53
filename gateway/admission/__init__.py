"""How much may be in flight to each replica, who waits, in which order, and who is refused."""

from gateway.admission.admission import Admission, Permit, outcome_of
from gateway.admission.gate import GatePolicy, Load, Outcome
from gateway.admission.limit import LimitPolicy
from gateway.admission.room import WEIGHTS

__all__ = ["WEIGHTS", "Admission", "GatePolicy", "LimitPolicy", "Load", "Outcome", "Permit", "outcome_of"]
