"""A worker's beginning and end, as its server and its supervisor do not know them."""

from gateway.serving.drain import Drain
from gateway.serving.memory import give_back, keep_what_lasts, share_one_heap
from gateway.serving.supervisor import Supervisor
from gateway.serving.watchdog import Watchdog

__all__ = ["Drain", "Supervisor", "Watchdog", "give_back", "keep_what_lasts", "share_one_heap"]
