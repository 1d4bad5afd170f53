"""Forms that are broken, lie or are too much."""

import re
from typing import Any

import httpx
import pytest
from processes import RunningStack
from support.hostile import BOUNDARY, MIB, Part, assert_problem, cost_of, form

FORM = f"multipart/form-data; boundary={BOUNDARY}"
DISPOSITION = b'Content-Disposition: form-data; name="image"'


def post(client: httpx.Client, body: bytes, content_type: str = FORM) -> httpx.Response:
    return client.post("/v1/classify", content=body, headers={"Content-Type": content_type})


@pytest.mark.parametrize(
    "content_type",
    [
        pytest.param("multipart/form-data", id="no boundary"),
        pytest.param("multipart/form-data; boundary=", id="an empty boundary"),
        pytest.param(f"multipart/form-data; boundary={'b' * 71}", id="a boundary of 71 characters"),
        pytest.param('multipart/form-data; boundary="b\u00f6"', id="a boundary beyond ASCII"),
        pytest.param("multipart/form-data; boundary=elsewhere", id="a boundary that the body does not have"),
    ],
)
def test_a_form_needs_a_boundary_that_rfc_2046_allows(
    client: httpx.Client, digit: bytes, content_type: str
) -> None:
    response = client.post(
        "/v1/classify", content=form(digit), headers={b"Content-Type": content_type.encode("latin-1")}
    )
    assert_problem(response, 400, "malformed_multipart")


GOOD = form(b"not read this far")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\x00\x01garbage\xff" * 100, id="garbage"),
        pytest.param(GOOD[:-4], id="no closing delimiter"),
        pytest.param(GOOD[: GOOD.index(b"\r\n\r\n") + 2], id="an end within a part's headers"),
        pytest.param(GOOD[: GOOD.index(b"not read") + 3], id="an end within a part's content"),
        pytest.param(GOOD.replace(b"\r\n", b"\n"), id="bare line feeds"),
        pytest.param(b"x" + GOOD, id="a byte in front of the first boundary"),
        pytest.param(
            GOOD.replace(b"Content-Disposition", b"Content Disposition"), id="a space in a header name"
        ),
        pytest.param(form(Part(b"x", b"Content-Type: image/png")), id="a part without a name"),
        pytest.param(form(Part(b"x", b'Content-Disposition: attachment; name="image"')), id="no form-data"),
        pytest.param(form(Part(b"x", DISPOSITION + b"\r\nContent-Length: 5")), id="a part of another length"),
    ],
)
def test_a_broken_form_is_malformed(client: httpx.Client, body: bytes) -> None:
    assert_problem(post(client, body), 400, "malformed_multipart")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(form(), id="only the closing delimiter"),
        pytest.param(b"", id="no body"),
        pytest.param(b"\r\n", id="an empty line"),
    ],
)
def test_a_form_without_parts_misses_the_image(client: httpx.Client, body: bytes) -> None:
    assert_problem(post(client, body), 422, "image_missing")


def test_two_image_parts_are_a_batch(
    client: httpx.Client, digit: bytes, results: list[dict[str, Any]]
) -> None:
    response = post(client, form(digit, digit))
    assert response.status_code == 200
    assert response.json()["results"] == results * 2


def test_a_bad_part_of_a_batch_carries_its_own_error(
    client: httpx.Client, digit: bytes, results: list[dict[str, Any]]
) -> None:
    response = post(client, form(digit, b"GIF89a of some kind", digit))
    assert response.status_code == 200
    first, second, third = response.json()["results"]
    assert [first, third] == results * 2
    assert second["error"]["code"] == "unsupported_image_format"
    assert second["error"]["status"] == 415


def test_a_batch_of_bad_parts_answers_the_first_ones_problem(client: httpx.Client) -> None:
    assert_problem(post(client, form(b"", b"GIF89a of some kind")), 422, "image_empty")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(form(*[b"x"] * 17), id="17 parts"),
        pytest.param(form(*[b"x"] * 1001), id="1,001 parts"),
        pytest.param(
            form(*[b"x"] * 17, Part(b"x", b"Content-Type: image/png")), id="17 parts before a broken one"
        ),
    ],
)
def test_more_parts_than_one_request_may_have_images_fail_validation(
    client: httpx.Client, body: bytes
) -> None:
    assert_problem(post(client, body), 422, "validation_failed")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            form(Part(b"x", DISPOSITION + b"\r\nX-Note: " + b"y" * MIB)), id="a part header of 1 MB"
        ),
        pytest.param(form(Part(b"x", DISPOSITION + b"\r\nX-Note: y" * 1000)), id="1,000 headers in a part"),
        pytest.param(form(Part(b"x", DISPOSITION + b";a=b" * 3900)), id="3,900 parameters of a disposition"),
        pytest.param(form(bytes(11 * MIB)), id="a part of 11 MB"),
        pytest.param(form(bytes(20 * MIB)), id="a part of 20 MB"),
    ],
)
def test_a_form_that_is_too_much_is_refused_before_it_costs_memory(
    client: httpx.Client, stack: RunningStack, body: bytes
) -> None:
    with cost_of(stack.gateway.popen.pid) as cost:
        response = post(client, body)
    assert_problem(response, 413, "body_too_large")
    assert cost.memory < 50 * MIB


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(b"../../etc/passwd", id="a path upwards"),
        pytest.param(rb"C:\windows\win.ini", id="a path of Windows"),
        pytest.param(b"digit\x00.png", id="a NUL"),
        pytest.param(b"x" * 1_000, id="1 kB"),
        pytest.param("gnp.\u202edigit".encode(), id="text that runs from right to left"),
        pytest.param(b"\xff\xfe", id="bytes that are not UTF-8"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_file_name_is_ignored(
    client: httpx.Client, digit: bytes, results: list[dict[str, Any]], name: bytes
) -> None:
    response = post(client, form(Part(digit, DISPOSITION + b'; filename="' + name + b'"')))
    assert response.status_code == 200, response.text
    assert response.json()["results"] == results


@pytest.mark.parametrize(
    "claimed", ["image/jpeg", "image/gif", "text/html", "application/octet-stream", "nonsense"]
)
def test_a_part_is_what_its_bytes_are_and_not_what_it_claims(
    client: httpx.Client, digit: bytes, results: list[dict[str, Any]], claimed: str
) -> None:
    response = post(client, form(Part(digit, DISPOSITION + f"\r\nContent-Type: {claimed}".encode())))
    assert response.status_code == 200, response.text
    assert response.json()["results"] == results


@pytest.mark.parametrize("encoding", ["base64", "BASE64", "quoted-printable", "x-gzip"])
def test_a_part_with_a_transfer_encoding_is_unsupported(client: httpx.Client, encoding: str) -> None:
    part = Part(b"aGkh", DISPOSITION + f"\r\nContent-Transfer-Encoding: {encoding}".encode())
    assert_problem(post(client, form(part)), 415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["multipart/mixed; boundary=inner", "Multipart/Form-Data; boundary=inner"])
def test_a_form_inside_a_form_fails_validation(client: httpx.Client, digit: bytes, kind: str) -> None:
    inner = re.sub(BOUNDARY.encode(), b"inner", form(digit))
    part = Part(inner, DISPOSITION + f"\r\nContent-Type: {kind}".encode())
    assert_problem(post(client, form(part)), 422, "validation_failed")


def test_a_part_of_another_name_fails_validation(client: httpx.Client, digit: bytes) -> None:
    part = Part(b"digits_classifier", b'Content-Disposition: form-data; name="model"')
    assert_problem(post(client, form(digit, part)), 422, "validation_failed")


def test_an_empty_file_is_an_empty_image(client: httpx.Client) -> None:
    assert_problem(post(client, form(b"")), 422, "image_empty")
