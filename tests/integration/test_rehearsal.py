"""The rehearsal model on a real Triton: each version behaves as a rollout that is tested with it relies on."""

import itertools
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import tritonclient.grpc
from processes import RunningStack, running_stack
from support import rehearsal
from support.rehearsal import Manner
from tritonclient.utils import InferenceServerException

SOUND, EQUAL, FAILING, SLOW, SHUFFLED, MORTAL, NARROW = rehearsal.EVERY_MANNER


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = rehearsal.repository(tmp_path_factory.mktemp("models"))
    rehearsal.add_rehearsal(folder, "growing", {"1": Manner.SOUND})
    rehearsal.add_rehearsal(folder, "stillborn", {"1": Manner.SOUND, "2": Manner.UNLOADABLE})
    return folder


@pytest.fixture(scope="module")
def stage(repository: Path) -> Iterator[RunningStack]:
    with running_stack(repository) as parts:
        yield parts


@pytest.fixture(scope="module")
def http(stage: RunningStack) -> Iterator[httpx.Client]:
    with stage.client() as client:
        yield client


@pytest.fixture
def control(stage: RunningStack) -> Iterator[tritonclient.grpc.InferenceServerClient]:
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{stage.at.triton_grpc_port}") as client:
        yield client


@pytest.mark.parametrize("version", [SOUND, EQUAL, SLOW, MORTAL])
def test_these_versions_name_the_brightest_column(http: httpx.Client, version: str) -> None:
    assert [label_of(ask(http, version, label)) for label in range(rehearsal.LABELS)] == list(
        range(rehearsal.LABELS)
    )


def test_two_sound_versions_give_the_same_scores(http: httpx.Client) -> None:
    for label in range(rehearsal.LABELS):
        answers = [ask(http, version, label).json()["results"] for version in (SOUND, EQUAL)]
        assert answers[0] == answers[1]


def test_the_failing_version_fails_every_tenth_call(http: httpx.Client) -> None:
    answers = [ask(http, FAILING, 3) for _ in range(40)]
    failed = [index for index, answer in enumerate(answers) if answer.status_code != 200]
    assert len(failed) == 40 * rehearsal.FAILING_SHARE
    assert {later - earlier for earlier, later in itertools.pairwise(failed)} == {10}
    assert {(answers[i].status_code, answers[i].json()["code"]) for i in failed} == {(502, "upstream_error")}
    assert {label_of(answer) for answer in answers if answer.status_code == 200} == {3}


def test_the_slow_version_computes_several_times_as_long(stage: RunningStack, http: httpx.Client) -> None:
    for _ in range(20):
        assert ask(http, SOUND, 1).status_code == ask(http, SLOW, 1).status_code == 200
    slow, sound = seconds_a_call(stage, SLOW), seconds_a_call(stage, SOUND)
    assert slow > 2 * sound  # four times, and what a busy machine adds to both


def test_the_shuffled_version_is_healthy_and_always_wrong(http: httpx.Client) -> None:
    for label in range(rehearsal.LABELS):
        answer = ask(http, SHUFFLED, label)
        assert label_of(answer) == (label + rehearsal.SHIFT) % rehearsal.LABELS
        sound = ask(http, SOUND, label).json()["results"][0]["predictions"]
        scores = [entry["score"] for entry in answer.json()["results"][0]["predictions"]]
        assert scores == [entry["score"] for entry in sound]


def test_the_narrow_version_answers_too_few_scores(http: httpx.Client) -> None:
    answer = ask(http, NARROW, 1)
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream_invalid_response")


def test_the_mortal_version_stays_dead_and_ready_until_it_is_changed_and_loaded(
    http: httpx.Client, repository: Path, control: tritonclient.grpc.InferenceServerClient
) -> None:
    """Triton neither starts a dead process again nor says that it is dead."""
    killed, spared = (
        post(http, MORTAL, picture) for picture in (rehearsal.fatal_picture(), rehearsal.picture(1))
    )
    assert (killed.status_code, killed.json()["code"]) == (503, "model_unavailable")
    assert (spared.status_code, spared.json()["code"]) == (503, "upstream_unavailable"), "by its breaker"
    assert control.is_model_ready("rehearsal", MORTAL)
    assert label_of(ask(http, SOUND, 1)) == 1
    assert post(http, SOUND, rehearsal.fatal_picture()).status_code == 200

    rehearsal.touch(repository / "rehearsal", MORTAL)
    control.load_model("rehearsal")
    until(lambda: ask(http, MORTAL, 1).status_code == 200)


def test_a_version_that_does_not_load_leaves_those_that_serve_alone(
    http: httpx.Client, repository: Path, control: tritonclient.grpc.InferenceServerClient
) -> None:
    growing = repository / "growing"
    rehearsal.add_version(growing, "2", Manner.UNLOADABLE)
    with pytest.raises(InferenceServerException, match="this version is made not to load"):
        control.load_model("growing")
    assert label_of(ask(http, "1", 4, model="growing")) == 4
    absent = ask(http, "2", 4, model="growing")
    assert (absent.status_code, absent.json()["code"]) == (404, "version_not_found")

    shutil.rmtree(growing / "2")
    rehearsal.add_version(growing, "3", Manner.SOUND)
    control.load_model("growing")
    until(lambda: ask(http, "3", 4, model="growing").status_code == 200)


def test_a_version_that_does_not_load_at_the_start_keeps_its_model_away(http: httpx.Client) -> None:
    answer = ask(http, "1", 4, model="stillborn")
    assert (answer.status_code, answer.json()["code"]) == (503, "model_unavailable")


def ask(http: httpx.Client, version: str, label: int, *, model: str = "rehearsal") -> httpx.Response:
    return post(http, version, rehearsal.picture(label), model=model)


def post(http: httpx.Client, version: str, content: bytes, *, model: str = "rehearsal") -> httpx.Response:
    url = f"/v1/classify?model={model}&version={version}"
    return http.post(url, content=content, headers={"content-type": "image/png"})


def label_of(answer: httpx.Response) -> int:
    """The best label of the one image."""
    assert answer.status_code == 200, answer.text
    return int(answer.json()["results"][0]["predictions"][0]["label"])


def seconds_a_call(parts: RunningStack, version: str) -> float:
    """What the model itself took for a call, on average, by Triton's own count."""
    url = f"http://127.0.0.1:{parts.at.triton_http_port}/v2/models/rehearsal/versions/{version}/stats"
    computing = httpx.get(url, trust_env=False).json()["model_stats"][0]["inference_stats"]["compute_infer"]
    return float(computing["ns"] / computing["count"] / 1e9)


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.05)
