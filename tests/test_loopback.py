"""The model's round trips against a real client and server: TCP, TLS, HTTP/1.1 (h11) and HTTP/2 (h2), with an injected delay.

A relay between the two holds every piece of data up for half a round trip, each way. What the kernel answers by itself, TCP's
SYN, passes the loopback at once; so the relay begins to read a round trip after a connection was made, as if that had taken one.
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from contextlib import contextmanager

import h2.config
import h2.connection
import h2.events
import h11
import pytest

from sim.scenario.model import Scenario
from sim.single import run

RTT_S = 0.2
#: Whole round trips are counted; what is less than half of one is processor time and a busy machine.
TOLERANCE = 0.5
#: A busy machine only makes things slower: the fastest of so many counts.
TRIES = 3

CERTIFICATE = """-----BEGIN CERTIFICATE-----
MIIBlDCCATugAwIBAgIUQS6NLIiLOcIzLgv9wZ3C/nm2qzcwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyODA0NDQxN1oYDzIxMjYxMTA0
MDQ0NDE3WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASa3wMC3OjXwAn0TFGtozXMaIz0XkUNtImc4BJpowIFF61GmezGCkmi
Es96YJx4pXK9ORE13dqEmgYERjI68Wbmo2kwZzAdBgNVHQ4EFgQUtusMlXu2a/4+
koyS/Phx9BFsVBYwHwYDVR0jBBgwFoAUtusMlXu2a/4+koyS/Phx9BFsVBYwDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
RwAwRAIgdj6FRX1V6jb0sUlQQjJz2r/rwz/yQ0KtS10DCkAIpTMCIFUZm3b0YB+U
uR2cPtP2YRZk738opoDamcwlNIFWgf0R
-----END CERTIFICATE-----
"""
KEY = """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgeee4Mv7Rf1jUfM31
D68o/cJbAmt1c7IZnLPBevITvCyhRANCAASa3wMC3OjXwAn0TFGtozXMaIz0XkUN
tImc4BJpowIFF61GmezGCkmiEs96YJx4pXK9ORE13dqEmgYERjI68Wbm
-----END PRIVATE KEY-----
"""  # of localhost, for these tests only


def _answer_http1(stream):
    connection = h11.Connection(h11.SERVER)
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(stream.recv(65536))
        elif isinstance(event, h11.EndOfMessage):
            headers = [("content-length", "2")]
            answer = connection.send(h11.Response(status_code=200, headers=headers)) + connection.send(h11.Data(b"ok"))
            stream.sendall(answer + connection.send(h11.EndOfMessage()))
            connection.start_next_cycle()
        elif isinstance(event, h11.ConnectionClosed):
            return


def _ask_http1(stream, state):
    connection = state.setdefault("h11", h11.Connection(h11.CLIENT))
    if connection.our_state is h11.DONE:
        connection.start_next_cycle()
    ask = connection.send(h11.Request(method="GET", target="/", headers=[("host", "localhost")]))
    stream.sendall(ask + connection.send(h11.EndOfMessage()))
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            connection.receive_data(stream.recv(65536))


def _answer_http2(stream):
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    connection.initiate_connection()
    stream.sendall(connection.data_to_send())
    while data := stream.recv(65536):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                connection.send_headers(event.stream_id, [(":status", "200")])
                connection.send_data(event.stream_id, b"ok", end_stream=True)
        stream.sendall(connection.data_to_send())


def _ask_http2(stream, state):
    connection = state.get("h2")
    if connection is None:
        connection = state["h2"] = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        connection.initiate_connection()
    number = connection.get_next_available_stream_id()
    headers = [(":method", "GET"), (":path", "/"), (":authority", "localhost"), (":scheme", "https")]
    connection.send_headers(number, headers, end_stream=True)
    stream.sendall(connection.data_to_send())
    while True:
        events = connection.receive_data(stream.recv(65536))
        stream.sendall(connection.data_to_send())
        if any(isinstance(event, h2.events.StreamEnded) for event in events):
            return


HTTP = {"http/1.1": (_ask_http1, _answer_http1), "http/2": (_ask_http2, _answer_http2)}
TLS = {"tls-1.2": ssl.TLSVersion.TLSv1_2, "tls-1.3": ssl.TLSVersion.TLSv1_3}


@contextmanager
def server(security, answer, directory):
    """A server of one connection; its port."""
    (directory / "crt.pem").write_text(CERTIFICATE)
    (directory / "key.pem").write_text(KEY)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        stream, _ = listener.accept()
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if security != "none":
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.minimum_version = context.maximum_version = TLS[security]
                context.load_cert_chain(directory / "crt.pem", directory / "key.pem")
                stream = context.wrap_socket(stream, server_side=True)
            answer(stream)
        except OSError:
            pass  # the client has gone
        finally:
            stream.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()
        thread.join(5)


@contextmanager
def relay(port):
    """What holds data up for half a round trip each way; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def pass_on(source, target, begins_s):
        held: queue.Queue = queue.Queue()

        def let_go():
            while (item := held.get()) is not None:
                due_s, data = item
                time.sleep(max(0.0, due_s - time.monotonic()))
                try:
                    target.sendall(data)
                except OSError:
                    return
            target.close()

        threading.Thread(target=let_go, daemon=True).start()
        try:
            while data := source.recv(65536):
                held.put((max(time.monotonic(), begins_s) + RTT_S / 2, data))
        except OSError:
            pass
        held.put(None)

    def accept():
        inner, _ = listener.accept()
        outer = socket.create_connection(("127.0.0.1", port))
        for end in (inner, outer):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begins_s = time.monotonic() + RTT_S  # SYN and SYN+ACK
        threading.Thread(target=pass_on, args=(outer, inner, 0.0), daemon=True).start()
        pass_on(inner, outer, begins_s)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def measured_trips(security, http, directory):
    """Round trips of a first request and of a second one on the same connection."""
    ask, answer = HTTP[http]
    with server(security, answer, directory) as port, relay(port) as delayed:
        began_s = time.monotonic()
        stream = socket.create_connection(("127.0.0.1", delayed))
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if security != "none":
            context = ssl.create_default_context(cadata=CERTIFICATE)
            stream = context.wrap_socket(stream, server_hostname="localhost")
        state: dict = {}
        ask(stream, state)
        first_s = time.monotonic()
        ask(stream, state)
        second_s = time.monotonic()
        stream.close()
    return (first_s - began_s) / RTT_S, (second_s - first_s) / RTT_S


def simulated_trips(security, http):
    """The same, of the model."""
    case = Scenario.model_validate(
        {
            "services": {"s": {"workers": 1, "operations": {"get": {"response": 2, "steps": []}}}},
            "links": {"default": {"latency": RTT_S / 2}},
            "calls": {"default": {"protocol": {"profile": "rest-json", "security": security, "http": http}}},
            "load": {"kind": "replay", "times": [1.0, 5.0], "mix": "s.get"},
            "run": {"duration": 10.0},
        }
    )
    found = run(case, seed=1).requests
    return tuple(((found.ended_s - found.arrived_s) / RTT_S).tolist())


@pytest.mark.slow
@pytest.mark.parametrize("http", ["http/1.1", "http/2"])
@pytest.mark.parametrize(("security", "expected"), [("none", 2), ("tls-1.3", 3), ("tls-1.2", 4)])
def test_a_real_client_and_server_need_as_many_round_trips(security, http, expected, tmp_path):
    tries = [measured_trips(security, http, tmp_path) for _ in range(TRIES)]
    first, second = (min(column) for column in zip(*tries, strict=True))
    cold, warm = simulated_trips(security, http)
    assert (first, second) == (pytest.approx(cold, abs=TOLERANCE), pytest.approx(warm, abs=TOLERANCE))
    assert (round(first), round(second)) == (expected, 1)
