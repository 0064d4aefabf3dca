"""What the service says of whoever asks; the rest of what it says of itself is in test_lifecycle."""

import httpx
import pytest
from live_service import WAIT_S, Running, serving

from service.status import unmapped


def asked_from(url: str, address: str) -> dict[str, object]:
    """What the service says to a client that is bound to `address`."""
    with httpx.Client(transport=httpx.HTTPTransport(local_address=address), timeout=WAIT_S) as client:
        # Whoever could say so in a header could hide that its address was translated.
        answer = client.get(
            url + "/v1/peer", headers={"x-forwarded-for": "203.0.113.9", "forwarded": "for=x"}
        )
    assert answer.status_code == 200
    document: dict[str, object] = answer.json()
    assert 0 < int(str(document.pop("port"))) < 2**16
    return document


def test_a_client_is_told_the_address_that_the_service_sees(running: Running) -> None:
    assert asked_from(running.url, "127.0.0.1") == {"address": "127.0.0.1"}
    assert asked_from(running.url, "127.0.0.3") == {"address": "127.0.0.3"}


def test_on_a_socket_of_both_families_an_ipv4_client_has_its_ipv4_address(ipv6: None) -> None:
    with serving(host="::") as both:
        assert asked_from(f"http://127.0.0.1:{both.port}", "127.0.0.2") == {"address": "127.0.0.2"}
        assert asked_from(f"http://[::1]:{both.port}", "::1") == {"address": "::1"}


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ("::ffff:10.244.1.7", "10.244.1.7"),
        ("10.244.1.7", "10.244.1.7"),
        ("fd00:10:244::7", "fd00:10:244::7"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_only_mapped_addresses_are_written_otherwise(seen: str, told: str) -> None:
    assert unmapped(seen) == told
