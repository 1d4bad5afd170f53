"""Are there known vulnerabilities in the packages that serve? Asks the OSV database, which carries PyPA's advisories.

A machine may reach package registries and nothing else. `make check` says so there and goes on; `make audit`
(`--insist`) fails. Whether the database can be asked is told by a version whose vulnerabilities are known: a mirror
that answers everything with an empty 200 must not pass for a clean bill.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import httpx
from stack import ROOT

LOCKS = ("requirements/gateway.txt", "triton/requirements.txt")
OSV = "https://api.osv.dev/v1/query"
KNOWN = {"package": {"name": "jinja2", "ecosystem": "PyPI"}, "version": "2.10"}  # PYSEC-2019-217 and more
FLAGS = (
    "--strict",
    "--disable-pip",
    "--require-hashes",
    "--progress-spinner=off",
    "--vulnerability-service=osv",
)


def main(osv: str, *, insist: bool) -> int:
    """The exit code: 1 for a package with a known vulnerability, and where nobody can be asked if we `insist`."""
    if not can_be_asked(osv):
        print(f"audit: NOT DONE, advisories cannot be asked for at {osv}", file=sys.stderr)
        return 1 if insist else 0
    program = [str(Path(sys.executable).parent / "pip-audit"), *FLAGS, f"--osv-url={osv}"]
    # One run for each file: they lock other versions of the same packages, for other processes.
    runs = [subprocess.run([*program, f"--requirement={lock}"], cwd=ROOT, check=False) for lock in LOCKS]
    return max(run.returncode for run in runs)


def can_be_asked(osv: str) -> bool:
    """Whether it tells of the vulnerabilities of a version that is known for them."""
    try:
        return bool(httpx.post(osv, json=KNOWN, timeout=5).raise_for_status().json()["vulns"])
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return False


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--insist", action="store_true", help="fail where the database cannot be asked")
    parser.add_argument("--osv", default=OSV, help="the database, or a mirror of it (%(default)s)")
    given = parser.parse_args()
    sys.exit(main(given.osv, insist=given.insist))
