"""The Python client against a real gateway: typed answers, typed errors, and retries that do as they are told."""

import copy
import pickle
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import pytest
from processes import RunningStack
from stack import ROOT, create_key, free_port
from triton_gateway_client import (
    AsyncClient,
    Client,
    Forbidden,
    GatewayError,
    InputError,
    InvalidRequest,
    ModelFailed,
    NotFound,
    Overloaded,
    RateLimited,
    Refused,
    Retries,
    Unauthenticated,
    Unreachable,
    Unreadable,
)
from triton_gateway_client.errors import refusal
from triton_gateway_client.retries import Attempts, Budget

DIGIT = (ROOT / "clients" / "samples" / "digit.png").read_bytes()
SCENE = (ROOT / "clients" / "samples" / "scene.jpg").read_bytes()
ONCE = Retries(most=0)


@pytest.fixture(scope="module")
def gateway(stack: RunningStack) -> Iterator[Client]:
    with Client(stack.url, stack.key) as client:
        yield client


def test_images_are_classified_in_their_order_and_a_bad_one_has_its_own_error(gateway: Client) -> None:
    answer = gateway.classify(DIGIT, b"no image", DIGIT, top_k=1)
    good, bad, again = answer.results
    assert not isinstance(good, InputError)
    assert [(one.label, 0 < one.score <= 1) for one in good] == [("7", True)]
    assert isinstance(bad, InputError)
    assert (bad.status, bad.code) == (422, "image_undecodable")
    assert again == good
    assert (answer.model.name, answer.model.version, answer.model.variant) == (
        "digits_classifier",
        "1",
        "stable",
    )


def test_options_reach_the_model(gateway: Client) -> None:
    answer = gateway.classify(DIGIT, model="digits_classifier", version="2", classes=["7", 3])
    (found,) = answer.results
    assert not isinstance(found, InputError)
    assert {one.label for one in found} == {"7", "3"}
    assert (answer.model.version, answer.model.variant) == ("2", "pinned")


def test_an_option_that_is_none_is_left_out(gateway: Client) -> None:
    assert gateway.classify(DIGIT, model=None).model.name == "digits_classifier"
    assert gateway.classify_texts(["Suomi"], top_k=None).model.name == "languages_bert"


def test_objects_have_boxes(gateway: Client) -> None:
    (found,) = gateway.detect(SCENE, min_score=0.5).results
    assert not isinstance(found, InputError)
    assert found
    assert all(one.box.x_min < one.box.x_max and one.box.y_min < one.box.y_max for one in found)


def test_texts_are_classified(gateway: Client) -> None:
    answer = gateway.classify_texts(["Vereinigte Staaten", "Nouvelle-Zélande"], top_k=1)
    assert answer.model.name == "languages_bert"
    assert len(answer.results) == 2


def test_the_models_are_listed(gateway: Client) -> None:
    defaults = {model.task: model.name for model in gateway.models() if model.default}
    assert defaults["image-classification"] == "digits_classifier"


async def test_the_twin_for_asyncio_answers_the_same(stack: RunningStack, gateway: Client) -> None:
    async with AsyncClient(stack.url, stack.key) as twin:
        assert (await twin.classify(DIGIT)).results == gateway.classify(DIGIT).results
        assert (await twin.detect(SCENE)).results == gateway.detect(SCENE).results
        assert (await twin.classify_texts(["Suomi"])).results == gateway.classify_texts(["Suomi"]).results
        assert await twin.models() == gateway.models()
        with pytest.raises(NotFound):
            await twin.classify(DIGIT, model="nobody")


def test_a_refusal_is_an_error_with_the_gateways_code(stack: RunningStack, gateway: Client) -> None:
    with pytest.raises(NotFound) as missing:
        gateway.classify(DIGIT, model="nobody")
    assert (missing.value.status, missing.value.code) == (404, "model_not_found")
    assert missing.value.request_id
    with pytest.raises(InvalidRequest) as invalid:
        gateway.classify(DIGIT, top_k=0)
    assert invalid.value.code == "validation_failed"
    assert list(invalid.value.fields) == ["?top_k"]
    with Client(stack.url, "gw_dev_nobody") as stranger, pytest.raises(Unauthenticated):
        stranger.models()
    narrow = create_key(stack.at, "tests", "infer")
    with Client(stack.url, narrow) as caller:
        _until_known(caller)
        with pytest.raises(Forbidden) as forbidden:
            caller.classify(DIGIT, version="2")
    assert "pin-version" in forbidden.value.detail


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("htp://127.0.0.1:8080", "key"),
        ("127.0.0.1:8080", "key"),
        ("http://[::1", "key"),
        ("http://", "key"),
        ("http://a b/", "key"),
        ("http://127.0.0.1:99999", "key"),
        ("http://127.0.0.1:8080", "gw_dev\nkey"),
        ("http://127.0.0.1:8080", "schlüssel"),
        ("http://127.0.0.1:8080", "key "),
    ],
    ids=[
        "another scheme",
        "no scheme",
        "a bracket that stays open",
        "no host",
        "a space in it",
        "no such port",
        "a line end",
        "an umlaut",
        "a space behind",
    ],
)
def test_what_no_request_can_be_made_with_is_refused_at_once(
    client: type[Client | AsyncClient], url: str, key: str
) -> None:
    with pytest.raises(ValueError, match="the "):
        client(url, key)


@pytest.mark.parametrize(
    ("texts", "options"),
    [("abc", {}), (["abc"], {"classes": "57"})],
    ids=["a text in place of a list", "classes in one text"],
)
def test_a_text_is_no_list_of_its_letters(gateway: Client, texts: Any, options: Any) -> None:
    with pytest.raises(TypeError, match="sequence"):
        gateway.classify_texts(texts, **options)
    if options:
        with pytest.raises(TypeError, match="sequence"):
            gateway.classify(DIGIT, **options)


@pytest.mark.parametrize(
    "image",
    ["digit.png", ROOT / "clients" / "samples" / "digit.png", bytearray(DIGIT), memoryview(DIGIT)],
    ids=["a name", "a path", "a bytearray", "a memoryview"],
)
def test_an_image_is_bytes(gateway: Client, image: Any) -> None:
    with pytest.raises(TypeError, match="bytes"):
        gateway.classify(DIGIT, image)


def test_a_text_that_is_none_is_a_value_error(gateway: Client) -> None:
    with pytest.raises(ValueError, match="surrogate"):
        gateway.classify_texts(["\ud800"])


def test_an_error_is_the_same_when_it_is_copied_and_pickled(gateway: Client) -> None:
    with pytest.raises(InvalidRequest) as caught:
        gateway.classify(DIGIT, top_k=0)
    error = caught.value
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(again), str(again), vars(again)) == (InvalidRequest, str(error), vars(error))


@contextmanager
def somebody_else(body: bytes, headers: Mapping[str, str], status: int = 200) -> Iterator[str]:
    """A server that answers this, whatever it is asked; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the base class's name
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        pytest.param(b"<html>sign in", {}, 200, id="a page"),
        pytest.param(b"", {"Location": "https://login.example/"}, 302, id="a way to a page"),
        pytest.param(b"", {}, 200, id="nothing"),
        pytest.param(b"[]", {}, 200, id="a list"),
        pytest.param(b"[" * 100_000, {}, 200, id="lists in lists"),
        pytest.param(b'{"models": [{"name": "a"}]}', {}, 200, id="half a model"),
        pytest.param(b'{"models": 5}', {}, 200, id="a number for a list"),
        pytest.param(b"no gzip", {"Content-Encoding": "gzip"}, 200, id="what cannot be unpacked"),
    ],
)
async def test_an_answer_that_is_not_the_gateways_is_unreadable(
    body: bytes, headers: Mapping[str, str], status: int
) -> None:
    with somebody_else(body, headers, status) as url:
        with Client(url, "key", timeout=5.0) as client, pytest.raises(Unreadable):
            client.models()
        async with AsyncClient(url, "key", timeout=None) as twin:
            with pytest.raises(Unreadable):
                await twin.models()


def test_nobody_there_is_unreachable() -> None:
    with Client(f"http://127.0.0.1:{free_port()}", "key", retries=Retries(most=2)) as client:
        with pytest.raises(Unreachable) as error:
            client.models()
        assert isinstance(error.value.__cause__, httpx.ConnectError)


def test_a_client_without_retries_hears_of_its_quota(slow_key: str, stack: RunningStack) -> None:
    with Client(stack.url, slow_key, retries=ONCE) as client, pytest.raises(RateLimited) as error:
        _exhaust(client)
    assert error.value.retry_after
    assert error.value.retry_after >= 1


async def test_the_clients_come_back_when_they_are_told_to(slow_key: str, stack: RunningStack) -> None:
    with Client(stack.url, slow_key) as client:
        assert [client.classify(DIGIT).model.name for _ in range(4)] == ["digits_classifier"] * 4
    async with AsyncClient(stack.url, slow_key) as twin:
        assert [(await twin.classify(DIGIT)).model.name for _ in range(3)] == ["digits_classifier"] * 3


@pytest.fixture
def slow_key(stack: RunningStack) -> str:
    """A key for two requests, and one more each second."""
    key = create_key(stack.at, "tests", "infer", rate="1/1:2")
    with Client(stack.url, key) as client:
        _until_known(client)
    return key


def _until_known(client: Client) -> None:
    """Returns once the gateway counts the key: it hears of new ones from the store."""
    while True:
        try:
            client.models()
        except Unauthenticated:
            time.sleep(0.3)  # each try counts as a failed attempt of this address
        else:
            return


def _exhaust(client: Client) -> None:
    for _ in range(50):
        client.classify(DIGIT)


LIMITED = refusal(httpx.Response(429, headers={"Retry-After": "3"}))
BUSY = refusal(httpx.Response(503, headers={"Retry-After": "2"}))


@pytest.mark.parametrize(
    ("error", "least"),
    [(LIMITED, 3.0), (BUSY, 2.0), (Unreachable("connection refused"), 0.0)],
    ids=["the quota is used up", "there is no capacity", "nobody answers"],
)
def test_what_passes_is_tried_again_no_sooner_than_asked(error: GatewayError, least: float) -> None:
    wait = Attempts(Retries(), Budget(Retries()), begun=100.0).pause(error, now=100.0)
    assert wait is not None
    assert least <= wait <= least + 0.1


@pytest.mark.parametrize(
    "error",
    [
        refusal(httpx.Response(400)),
        refusal(httpx.Response(401)),
        refusal(httpx.Response(502)),
        refusal(httpx.Response(504)),
        refusal(httpx.Response(429)),
        refusal(httpx.Response(503, headers={"Retry-After": "soon"})),
    ],
    ids=["bad request", "no key", "model failed", "deadline", "limited, no time named", "busy, no such time"],
)
def test_what_stays_is_not_tried_again(error: Refused) -> None:
    assert Attempts(Retries(), Budget(Retries()), begun=0.0).pause(error, now=0.0) is None


def test_no_try_begins_after_the_patience_of_a_call() -> None:
    attempts = Attempts(Retries(patience=4.0), Budget(Retries()), begun=0.0)
    assert attempts.pause(LIMITED, now=0.5) is not None
    assert attempts.pause(LIMITED, now=3.5) is None


def test_a_call_has_so_many_retries() -> None:
    attempts = Attempts(Retries(most=2, patience=100), Budget(Retries()), begun=0.0)
    waits = [attempts.pause(LIMITED, now=0.0) for _ in range(3)]
    assert [wait is not None for wait in waits] == [True, True, False]


def test_retries_are_a_share_of_all_requests() -> None:
    retries = Retries(share=0.1, burst=10)
    budget = Budget(retries)
    pauses = [Attempts(retries, budget, begun=0.0).pause(LIMITED, now=0.0) for _ in range(1000)]
    made = sum(pause is not None for pause in pauses)
    assert made <= 110
    assert made >= 100


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (413, InvalidRequest),
        (415, InvalidRequest),
        (422, InvalidRequest),
        (401, Unauthenticated),
        (403, Forbidden),
        (404, NotFound),
        (429, RateLimited),
        (500, ModelFailed),
        (502, ModelFailed),
        (503, Overloaded),
        (504, ModelFailed),
    ],
)
def test_an_answer_of_somebody_in_between_is_still_a_typed_error(status: int, kind: type[Refused]) -> None:
    for text in ("<html>a proxy's own page</html>", "[" * 100_000):
        error = refusal(httpx.Response(status, text=text))
        assert type(error) is kind
        assert (error.status, error.code) == (status, "")


@pytest.mark.parametrize(
    "problem",
    [{"errors": ["a"]}, {"detail": [{"loc": ["a"], "msg": "b"}]}, {"errors": [{"detail": 1}]}, {"errors": 5}],
    ids=["errors in words", "a list for a detail", "an error without a pointer", "a number for errors"],
)
def test_a_problem_of_another_form_is_still_a_typed_error(problem: Mapping[str, object]) -> None:
    error = refusal(httpx.Response(422, json=problem))
    assert (type(error), error.detail, error.fields) == (InvalidRequest, "Unprocessable Entity", {})
    assert str(error) == "422 : Unprocessable Entity"
