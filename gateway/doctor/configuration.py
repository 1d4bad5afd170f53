"""What the settings let happen; takes values, reads no environment; pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network

from gateway.doctor.finding import Finding, error, warning
from gateway.doctor.server import is_loopback

_PLACEHOLDER = re.compile(r"change|example|placeholder|password|secret|default|insecure", re.IGNORECASE)
_LEAST_DIFFERENT = 10  # characters; 32 random ones always have more


def secret_findings(pepper: str, token_secret: str) -> Iterator[Finding]:
    """A secret is never shown, not even in part."""
    for name, value in (("GATEWAY_KEY_PEPPER", pepper), ("GATEWAY_TOKEN_SECRET", token_secret)):
        if len(set(value)) < _LEAST_DIFFERENT or _PLACEHOLDER.search(value):
            yield error(
                "settings",
                "guessable-secret",
                f"{name} looks like a placeholder: whoever guesses it makes tokens, or tries keys without being seen.",
                'Draw one: python3 -c "import secrets; print(secrets.token_urlsafe(48))"',
            )
    if pepper == token_secret:
        yield error(
            "settings",
            "one-secret",
            "GATEWAY_KEY_PEPPER and GATEWAY_TOKEN_SECRET are the same: who learns one has both.",
            "Draw a second one. A new token secret ends the tokens of pages, a new pepper ends every key.",
        )


def exposure_findings(
    host: str, environment: str, networks: Sequence[IPv4Network | IPv6Network]
) -> Iterator[Finding]:
    if environment == "dev" and not is_loopback(host):
        yield warning(
            "settings",
            "dev-environment",
            f"the gateway listens on {host} and makes keys that say gw_dev_…: a leaked key cannot be told from a toy.",
            "Set GATEWAY_ENVIRONMENT, for instance to prod.",
        )
    if open_to_all := [str(network) for network in networks if network.prefixlen == 0]:
        yield warning(
            "settings",
            "metrics-open",
            f"/metrics answers everybody without a key ({', '.join(open_to_all)}) and tells of models, tiers and load.",
            "Set GATEWAY_METRICS_NETWORKS to the network that Prometheus is in.",
        )


def tier_findings(keys: Mapping[str, int]) -> Iterator[Finding]:
    """Of how many keys have each tier that is not configured."""
    for tier, number in sorted(keys.items()):
        yield error(
            "settings",
            "tier-missing",
            f"{number} key(s) have the tier {tier}, which is not configured: every call with them is refused.",
            "Put it back into the file that GATEWAY_ACCESS_FILE names and send SIGHUP, or give them other keys.",
        )
