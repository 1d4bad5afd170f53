"""What an operator reads when nothing could be done."""

import pytest
from support.admin_server import AdminServer, Run


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("set", "pets", "--weight", "120%"), "'120%'"),
        (("set", "pets", "--lease", "soon"), "a duration such as"),
        (("set", "pets", "--steps", "5%,1%"), "rise"),
        (("set", "pets"), "at least one option"),
        (("set", "pets", "--error-z", "nan"), "not finite"),
        (("set", "pets", "--latency-factor", "inf"), "not finite"),
        (("show", ""), "'' is no name of a model"),
        (("rollback", ".."), "'..' is no name of a model"),
    ],
)
def test_what_cannot_be_meant_is_refused_without_a_call(
    run: Run, server: AdminServer, words: tuple[str, ...], says: str
) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert server.seen == []


def test_a_gateway_that_is_not_there_gets_a_line_that_helps(run: Run) -> None:
    result = run("list", GATEWAY_URL="http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "no gateway answers at http://127.0.0.1:1" in result.stderr
    assert "is it running?" in result.stderr


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"GATEWAY_ADMIN_KEY": ""}, "there is no key"),
        ({"GATEWAY_ADMIN_KEY": "gw_dev_x"}, "Invalid key: This key is not valid.\n  the key comes from"),
        ({"GATEWAY_ADMIN_KEY": "gw\x00secret"}, "holds characters that no key has"),
        ({"GATEWAY_URL": "127.0.0.1"}, "'127.0.0.1' is no address"),
        ({"GATEWAY_URL": "http://[::1"}, "is no address"),
    ],
)
def test_a_key_or_an_address_that_is_wrong_is_said_so(
    run: Run, environment: dict[str, str], says: str
) -> None:
    if "\x00" in environment.get("GATEWAY_ADMIN_KEY", ""):
        result = run("--key", environment["GATEWAY_ADMIN_KEY"], "list")
        assert "secret" not in result.stderr
    else:
        result = run("list", **environment)
    assert result.exit_code == 1
    assert says in result.stderr


def test_an_unknown_model_is_the_gateway_s_answer(run: Run) -> None:
    result = run("show", "a/b ?")
    assert result.exit_code == 1
    assert result.stderr == "Error: Model not found: There is no model a/b ?.\n"
