# /// script
# requires-python = ">=3.11"
# dependencies = ["httpx>=0.28"]
# ///
"""One image to labels or boxes, through the gateway: httpx and nothing else.

GATEWAY_URL and GATEWAY_KEY name the gateway and the caller; no image is prepared here, the gateway does that.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import httpx

_PATHS = {"image-classification": "/v1/classify", "object-detection": "/v1/detect"}
_FOREIGN = (LookupError, TypeError, ValueError)  # what reading an answer of another form raises


def main() -> int:
    asked = arguments()
    url = os.environ.get("GATEWAY_URL", "http://127.0.0.1:8080")
    headers = {"X-API-Key": os.environ.get("GATEWAY_KEY", "")}
    try:
        with httpx.Client(base_url=url, headers=headers, timeout=30) as gateway:
            print_answer(answered(gateway, asked))
    except httpx.HTTPStatusError as error:
        return failed(refusal_of(error.response))
    except httpx.RequestError as error:
        return failed(f"{url}: {error}")
    except OSError as error:
        return failed(f"{asked.image}: {error.strerror}")
    except _FOREIGN:
        return failed(f"{url}: this is no answer of a gateway")
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", type=Path, required=True, help="a JPEG, PNG or WebP file")
    parser.add_argument("--model", help="which model; without it the gateway's default for images")
    parser.add_argument("--version", help="pins a version; the key needs the scope pin-version")
    parser.add_argument("--top", type=int, default=5, help="at most this many results")
    return parser.parse_args()


def answered(gateway: httpx.Client, asked: argparse.Namespace) -> httpx.Response:
    """Raises HTTPStatusError."""
    path = path_for(gateway, asked.model) if asked.model else _PATHS["image-classification"]
    query = {"model": asked.model, "version": asked.version, "top_k": asked.top}
    with asked.image.open("rb") as image:
        return gateway.post(
            path,
            files={"image": image},
            params={name: value for name, value in query.items() if value is not None},
        ).raise_for_status()


def path_for(gateway: httpx.Client, model: str) -> str:
    """Where the task of the model is served; for a model that is not listed, where the answer says so."""
    models = gateway.get("/v1/models").raise_for_status().json()["models"]
    tasks = {one["name"]: one["task"] for one in models}
    return _PATHS.get(tasks.get(model, ""), "/v1/classify")


def print_answer(response: httpx.Response) -> None:
    document = response.json()
    model = document["model"]
    print(f"{model['name']} version {model['version']} ({model['variant']})")
    (result,) = document["results"]
    for found in result.get("predictions") or result.get("detections") or []:
        print(f"{found['score']:8.4f}  {found['label']}{box_of(found)}")
    print(
        f"answered in {response.elapsed.total_seconds() * 1000:.1f} ms; {response.headers['Server-Timing']}"
    )


def box_of(found: dict[str, Any]) -> str:
    if "box" not in found:
        return ""
    box = found["box"]
    return "  ({x_min:.0f}, {y_min:.0f}) to ({x_max:.0f}, {y_max:.0f})".format(**box)


def refusal_of(response: httpx.Response) -> str:
    """The gateway's problem in one line, or the status of whoever stands in between."""
    try:
        problem = response.json()
        return f"{response.status_code} {problem['code']}: {problem['detail']}"
    except _FOREIGN:
        return f"{response.status_code} {response.reason_phrase}"


def failed(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
