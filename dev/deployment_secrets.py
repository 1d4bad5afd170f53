"""`make secrets`: what `compose.yaml` mounts as secrets, drawn once into the folder secrets/.

The folder is its owner's alone. The files in it are readable to all, because the engine mounts them as they are, and no
process in a container is their owner.
"""

import hashlib
import re
import secrets
import sys
from pathlib import Path

from stack import ROOT

FOLDER = ROOT / "secrets"
_DEFAULT_USER = "user default on nopass resetkeys resetchannels -@all +ping"  # for the health check


def main(folder: Path = FOLDER) -> None:
    """Draws what is missing; what is there stays, because keys and tokens depend on it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    files = {
        "key_pepper": secrets.token_urlsafe(48),
        "token_secret": secrets.token_urlsafe(48),
        "grafana_password": secrets.token_urlsafe(18),
    }
    made = [name for name, text in files.items() if _write(folder / name, text)]
    if not (folder / "redis_acl").exists():
        password = secrets.token_urlsafe(32)
        _write(folder / "redis_acl", acl(password))
        (folder / "redis_url").unlink(missing_ok=True)
        _write(folder / "redis_url", f"redis://gateway:{password}@redis:6379/0")
        made += ["redis_acl", "redis_url"]
    print(f"{folder}: {', '.join(made) or 'nothing to do, all of it is there'}")


def acl(password: str) -> str:
    """Redis's file of users: the gateway's, as docs/access.md has it, and everybody else, who may only ping."""
    page = (ROOT / "docs" / "access.md").read_text()
    found = re.search(r"ACL SETUSER gateway on '>…' ((?:.*\\\n)*.*)", page)
    if found is None:
        raise ValueError("docs/access.md no longer says what Redis must allow")
    rights = " ".join(found[1].replace("\\\n", " ").replace("'", "").split())
    digest = hashlib.sha256(password.encode()).hexdigest()
    return f"{_DEFAULT_USER}\nuser gateway on #{digest} {rights}\n"


def _write(path: Path, text: str) -> bool:
    if path.exists():
        return False
    path.write_text(text if text.endswith("\n") else f"{text}\n")
    path.chmod(0o644)
    return True


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
