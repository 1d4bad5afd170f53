"""The whole thing: gateway process, real Triton, demo models, samples that nobody trained on."""

import base64
import concurrent.futures
import io
import shutil
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.grpc
from PIL import Image
from processes import RunningStack, running, running_stack, wait_ready
from stack import ROOT, triton
from support.pictures import encoded, held_out_digits, photo

SAMPLES = ROOT / "clients" / "samples"
RAW_PNG = {"content-type": "image/png"}


def test_the_sample_digit_gets_its_right_label(client: httpx.Client) -> None:
    data = (SAMPLES / "digit.png").read_bytes()
    for version, least in (("1", 0.3), ("2", 0.9)):
        answer = client.post(f"/v1/classify?version={version}", content=data, headers=RAW_PNG)
        assert answer.status_code == 200
        best = answer.json()["results"][0]["predictions"][0]
        assert best["label"] == "7"
        assert best["score"] > least


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_sample_scene_gets_boxes_inside_it(client: httpx.Client, version: str) -> None:
    data = (SAMPLES / "scene.jpg").read_bytes()
    answer = client.post(
        f"/v1/detect?version={version}", content=data, headers={"content-type": "image/jpeg"}
    )
    assert answer.status_code == 200
    (result,) = answer.json()["results"]
    width, height = Image.open(io.BytesIO(data)).size
    assert result["image"] == {"width": width, "height": height}
    assert len(result["detections"]) >= 3
    scores = [found["score"] for found in result["detections"]]
    assert scores == sorted(scores, reverse=True)
    for found in result["detections"]:
        box = found["box"]
        assert 0 <= box["x_min"] < box["x_max"] <= width
        assert 0 <= box["y_min"] < box["y_max"] <= height


def test_names_of_held_out_territories_get_their_language(client: httpx.Client) -> None:
    names = {
        "en": "New Zealand, United Kingdom",
        "fr": "Nouvelle-Zélande, Royaume-Uni",
        "fi": "Uusi-Seelanti, Yhdistynyt kuningaskunta",
        "ja": "ニュージーランド",
        "pl": "Nowa Zelandia, Zjednoczone Królestwo",
    }
    body = {"inputs": [{"text": text} for text in names.values()], "version": "2", "top_k": 1}
    reply = client.post("/v1/classify", json=body)
    assert reply.status_code == 200
    assert reply.json()["model"] == {"name": "languages_bert", "version": "2", "variant": "pinned"}
    assert [result["predictions"][0]["label"] for result in reply.json()["results"]] == list(names)


@pytest.mark.parametrize(
    "text",
    ["\x00", "a" * 20_000, "a " * 10_000, "\U0001f600" * 20_000, "e" + "\u0301" * 10_000, "\u202eabc\ufffd"],
    ids=["NUL", "one word", "many words", "signs beyond 16 bits", "a pile of accents", "reversed"],
)
def test_odd_texts_get_an_answer(client: httpx.Client, text: str) -> None:
    reply = client.post("/v1/classify", json={"inputs": [{"text": text}, {"text": "Suomi"}]})
    assert reply.status_code == 200
    assert [len(result["predictions"]) for result in reply.json()["results"]] == [3, 3]


def test_a_text_gets_the_same_answer_alone_and_beside_a_longer_one(client: httpx.Client) -> None:
    def best(*texts: str) -> list[dict[str, object]]:
        reply = client.post(
            "/v1/classify", json={"inputs": [{"text": text} for text in texts], "version": "2"}
        )
        return [prediction for result in reply.json()["results"] for prediction in result["predictions"]]

    alone, beside = best("Suomi"), best("Suomi", "Vereinigte Staaten von Amerika " * 9)[:3]
    assert [found["label"] for found in alone] == [found["label"] for found in beside]
    assert [found["score"] for found in alone] == pytest.approx(
        [found["score"] for found in beside], abs=1e-4
    )


def test_the_answer_is_the_same_whichever_way_the_image_came(client: httpx.Client) -> None:
    data = (SAMPLES / "scene.jpg").read_bytes()
    answers = [
        client.post("/v1/detect?min_score=0.5", content=data, headers={"content-type": "image/jpeg"}),
        client.post("/v1/detect?min_score=0.5", files={"image": ("scene.jpg", data, "image/jpeg")}),
        client.post(
            "/v1/detect", json={"inputs": [{"image": base64.b64encode(data).decode()}], "min_score": 0.5}
        ),
    ]
    results = [answer.json()["results"] for answer in answers]
    assert results[0] == results[1] == results[2]
    assert results[0][0]["detections"]


def test_held_out_digits_are_read_right_through_the_gateway(client: httpx.Client) -> None:
    """All 360 samples that no version was trained on, as batches of forms; version 2 is the better one."""
    samples = [(encoded(_framed(image)), digit) for image, digit in held_out_digits()]
    accuracy = {version: _accuracy(client, version, samples) for version in ("1", "2")}
    assert accuracy["2"] >= 0.98
    assert accuracy["1"] < accuracy["2"]


def test_images_of_one_request_reach_triton_as_one_batch(stack: RunningStack, client: httpx.Client) -> None:
    before = _statistics(stack, "digits_classifier", "2")
    files = [("image", encoded(photo(64, 64, seed))) for seed in range(8)]
    assert client.post("/v1/classify?version=2", files=files).status_code == 200
    after = _statistics(stack, "digits_classifier", "2")
    assert after["inferences"] - before["inferences"] == 8
    assert after["executions"] - before["executions"] == 1


def test_six_seconds_at_sixteen_in_flight_never_stall(stack: RunningStack) -> None:
    """Queue policies in a configuration stall this Triton for half a second at a time; the CPU profile has none."""
    target = f"{stack.at.triton_address}:{stack.at.triton_grpc_port}"
    end = time.monotonic() + 6
    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        samples = [threads.submit(_hammer, target, end) for _ in range(16)]
        latencies = np.concatenate([future.result() for future in samples])
    assert len(latencies) > 500
    assert np.percentile(latencies, 99) <= 0.1


def test_a_model_folder_that_is_loaded_while_the_gateway_runs_is_served(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    shutil.copytree(ROOT / "model_repository" / "digits_classifier", repository / "digits_classifier")
    with running_stack(repository) as parts, parts.client() as http:
        data = (SAMPLES / "digit.png").read_bytes()
        post = lambda: http.post("/v1/classify?model=numbers", content=data, headers=RAW_PNG)  # noqa: E731
        assert post().json()["code"] == "model_not_found"

        _renamed_copy(repository, "digits_classifier", "numbers")
        control = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{parts.at.triton_grpc_port}")
        control.load_model("numbers")
        _until(lambda: post().status_code == 200)
        assert post().json()["model"]["name"] == "numbers"

        control.unload_model("numbers")
        _until(lambda: post().status_code == 404)
        control.close()
        assert http.get("/readyz").status_code == 200


def test_a_model_with_a_bad_file_is_unavailable_and_the_others_serve(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    shutil.copytree(ROOT / "model_repository" / "digits_classifier", repository / "digits_classifier")
    _renamed_copy(repository, "digits_classifier", "broken")
    (repository / "broken" / "1" / "model.onnx").write_bytes(b"not a graph")
    with running_stack(repository) as parts, parts.client() as http:
        data = (SAMPLES / "digit.png").read_bytes()
        answer = http.post("/v1/classify?model=broken", content=data, headers=RAW_PNG)
        assert (answer.status_code, answer.json()["code"]) == (503, "model_unavailable")
        assert "model.onnx" not in answer.text
        assert "model.onnx" in parts.gateway.log.read_text()
        assert http.post("/v1/classify", content=data, headers=RAW_PNG).status_code == 200


def test_a_triton_that_dies_makes_the_gateway_unready_and_one_that_returns_ready_again() -> None:
    with running_stack() as parts, parts.client() as http:
        parts.triton.popen.kill()
        parts.triton.popen.wait(5)
        answer = http.post("/v1/classify", content=(SAMPLES / "digit.png").read_bytes(), headers=RAW_PNG)
        assert (answer.status_code, answer.json()["code"]) == (503, "upstream_unavailable")
        _until(lambda: http.get("/readyz").status_code == 503)
        with running(triton(parts.at)) as again:
            wait_ready(f"http://127.0.0.1:{parts.at.triton_http_port}/v2/health/ready", again)
            ready_at = time.monotonic()
            _until(lambda: http.get("/readyz").status_code == 200)
            assert time.monotonic() - ready_at < 2
            answer = http.post("/v1/classify", content=(SAMPLES / "digit.png").read_bytes(), headers=RAW_PNG)
            assert answer.status_code == 200


def _framed(digit: Image.Image) -> Image.Image:
    """The 8 x 8 sample at 64 x 64 with a margin, as a picture of one digit would be."""
    canvas = Image.new("L", (80, 80), 0)
    canvas.paste(digit.resize((64, 64), Image.Resampling.BICUBIC), (8, 8))
    return canvas


def _accuracy(client: httpx.Client, version: str, samples: list[tuple[bytes, int]]) -> float:
    right = 0
    for start in range(0, len(samples), 16):
        chunk = samples[start : start + 16]
        answer = client.post(
            f"/v1/classify?top_k=1&version={version}", files=[("image", data) for data, _ in chunk]
        )
        labels = [result["predictions"][0]["label"] for result in answer.json()["results"]]
        right += sum(label == str(digit) for label, (_, digit) in zip(labels, chunk, strict=True))
    return right / len(samples)


def _statistics(stack: RunningStack, model: str, version: str) -> dict[str, int]:
    url = f"http://127.0.0.1:{stack.at.triton_http_port}/v2/models/{model}/versions/{version}/stats"
    stats = httpx.get(url, trust_env=False).json()["model_stats"][0]
    return {"inferences": stats["inference_count"], "executions": stats["execution_count"]}


def _hammer(target: str, end: float) -> list[float]:
    """One caller's latencies in seconds until `end`."""
    picture = np.zeros((1, 1, 32, 32), np.uint8)
    latencies = []
    with tritonclient.grpc.InferenceServerClient(target) as server:
        tensor = tritonclient.grpc.InferInput("images", list(picture.shape), "UINT8")
        tensor.set_data_from_numpy(picture)
        while (started := time.monotonic()) < end:
            server.infer("digits_classifier", [tensor], model_version="2")
            latencies.append(time.monotonic() - started)
    return latencies


def _renamed_copy(repository: Path, model: str, name: str) -> None:
    shutil.copytree(repository / model, repository / name)
    for path in (repository / name).rglob("*.pbtxt"):
        path.write_text(path.read_text().replace(f'name: "{model}"', f'name: "{name}"'))


def _until(condition, seconds: float = 10) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("model", "golden"), [("digits_classifier", 10), ("digits_detector", 3), ("languages_bert", 4)]
)
def test_the_second_version_of_a_demo_model_passes_its_preflight(
    stack: RunningStack, client: httpx.Client, model: str, golden: int
) -> None:
    reply = client.post(
        f"/admin/v1/canaries/{model}/check", json={"to": "2"}, headers={"x-api-key": stack.admin_key}
    )
    assert reply.status_code == 200, reply.text
    assert [check for check in reply.json()["checks"] if not check["passed"]] == []
    assert reply.json()["checks"][-1]["name"] == f"version 2 answers {golden} golden inputs"
