"""The picture's file goes to Triton as it is, and an ensemble there decodes it: the labels are the same either way."""

import io
from pathlib import Path

import httpx
import pytest
from PIL import Image
from stack import ROOT
from support.pictures import encoded, photo

SAMPLES = sorted((ROOT / "model_repository" / "digits_classifier" / "golden").iterdir())


def classify(client: httpx.Client, model: str, data: bytes, **options: str) -> httpx.Response:
    params = {"model": model, **options}
    return client.post("/v1/classify", params=params, content=data, headers={"content-type": "image/png"})


def predictions(client: httpx.Client, model: str, data: bytes, **options: str) -> dict[str, float]:
    answer = classify(client, model, data, **options)
    assert answer.status_code == 200, answer.text
    found = answer.json()["results"][0]["predictions"]
    return {each["label"]: each["score"] for each in found}


def same_either_way(client: httpx.Client, data: bytes) -> None:
    decoded = predictions(client, "digits_classifier", data, version="1")
    passed_on = predictions(client, "digits_ensemble", data)
    assert list(passed_on) == list(decoded)
    assert passed_on == pytest.approx(
        decoded, abs=1e-2
    )  # resizing there and here may differ by a level of 255


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_the_golden_pictures_have_the_same_labels_either_way(client: httpx.Client, path: Path) -> None:
    same_either_way(client, path.read_bytes())


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(photo(40, 60), id="a colour photograph"),
        pytest.param(photo(40, 60).convert("L"), id="a gray one"),
        pytest.param(photo(40, 60).convert("RGBA"), id="one with transparency"),
        pytest.param(photo(40, 60).quantize(16), id="a palette"),
    ],
)
def test_pictures_of_every_kind_have_the_same_labels_either_way(
    client: httpx.Client, image: Image.Image
) -> None:
    same_either_way(client, encoded(image))


def test_a_picture_that_lies_on_its_side_is_put_upright_either_way(client: httpx.Client) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.open(SAMPLES[0]).convert("RGB").save(file, "PNG", exif=exif)
    same_either_way(client, file.getvalue())


def test_several_files_are_one_batch(client: httpx.Client) -> None:
    files = [("image", (path.name, path.read_bytes(), "image/png")) for path in SAMPLES[:3]]
    one_by_one = [predictions(client, "digits_ensemble", path.read_bytes()) for path in SAMPLES[:3]]
    answer = client.post("/v1/classify", params={"model": "digits_ensemble"}, files=files)
    assert answer.status_code == 200, answer.text
    for result, alone in zip(answer.json()["results"], one_by_one, strict=True):
        found = {each["label"]: each["score"] for each in result["predictions"]}
        assert found == pytest.approx(alone, abs=1e-5)


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        pytest.param(b"GIF89a" + bytes(40), 415, "unsupported_image_format", id="another format"),
        pytest.param(encoded(photo(40, 40))[:200], 422, "image_truncated", id="half a picture"),
        pytest.param(b"\x89PNG\r\n\x1a\n", 422, "image_undecodable", id="a signature alone"),
        pytest.param(b"", 400, "malformed_json", id="nothing"),
    ],
)
def test_what_is_no_picture_does_not_reach_triton(
    client: httpx.Client, data: bytes, status: int, code: str
) -> None:
    answer = classify(client, "digits_ensemble", data)
    if data:
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    else:
        assert 400 <= answer.status_code < 500


def test_the_list_of_models_names_no_size_for_it(client: httpx.Client) -> None:
    models = {model["name"]: model for model in client.get("/v1/models").json()["models"]}
    assert models["digits_ensemble"]["input"] is None
    assert models["digits_classifier"]["input"] == {"width": 32, "height": 32}
