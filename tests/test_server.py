"""The listening socket."""

import socket

import pytest
from ports import free_port

from boot import StartupError
from server import listen


@pytest.mark.prd("EXIT-04")
def test_a_port_in_use_is_named() -> None:
    """A port that another program has is 78 and a sentence."""
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(StartupError) as caught:
        listen("127.0.0.1", other.getsockname()[1])

    assert caught.value.exit_code == 78


def test_the_protocol_of_the_socket_is_named() -> None:
    """Without it asyncio leaves Nagle's algorithm on, and each answer waits for an acknowledgement."""
    with listen("127.0.0.1", free_port()) as listener:
        assert listener.proto == socket.IPPROTO_TCP
