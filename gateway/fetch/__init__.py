"""Images that a caller names by URL: which addresses may be asked, and how their bytes come here."""

from gateway.fetch.images import ImageUrls, Outcome
from gateway.fetch.outside import Outside, Resolve, internet
from gateway.fetch.urls import is_host

__all__ = ["ImageUrls", "Outcome", "Outside", "Resolve", "internet", "is_host"]
