import socket

from benchmarks import tcp


def test_a_flow_over_loopback_has_a_rate():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        assert tcp.flow([listener], lambda: socket.create_connection(address), 0.05) > 1e6


def test_without_a_lab_the_note_says_that_loopback_is_all():
    flows = tcp.rates(1, 0.02, with_lab=False)
    assert list(flows.rates) == ["loopback"]
    assert flows.note == "Loopback only: no lab was asked for."
