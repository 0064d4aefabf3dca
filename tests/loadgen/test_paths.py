import json
import socket
import sys
from dataclasses import asdict

import pytest
from sandboxed import require_sandbox, run_in_sandbox

from loadgen.errors import PathError
from loadgen.paths import Path, open_socket, parse_paths


def test_typed_paths_keep_their_order_and_say_nothing_of_way_or_target() -> None:
    assert parse_paths(["host=http://10.0.0.7:8000", "svc=https://[fd00::1]/prefix/"]) == (
        Path("host", "", "", "http://10.0.0.7:8000"),
        Path("svc", "", "", "https://[fd00::1]/prefix"),
    )


def test_the_name_ends_at_the_first_equals_sign() -> None:
    with pytest.raises(PathError, match="more than scheme, host, port"):
        parse_paths(["host=http://10.0.0.7:8000/?a=b"])


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ("http://10.0.0.7:8000", "no name for a path|is not NAME=URL"),
        ("=http://10.0.0.7:8000", "'' is no name"),
        ("two words=http://10.0.0.7:8000", "'two words' is no name"),
        ("host=10.0.0.7:8000", "path host: '10.0.0.7:8000' is no URL"),
        ("host=ftp://10.0.0.7", "is no URL to dial"),
        ("host=http://", "is no URL to dial"),
        ("host=http://10.0.0.7:port", "is no URL"),
        ("host=http://10.0.0.7:99999", "is no URL"),
        ("host=http://me:secret@10.0.0.7", "more than scheme, host, port"),
    ],
)
def test_what_cannot_be_dialled_is_refused_with_what_is_wrong(typed: str, complaint: str) -> None:
    with pytest.raises(PathError, match=complaint):
        parse_paths([typed])


def test_two_paths_of_one_name_are_refused_with_both_urls() -> None:
    with pytest.raises(PathError, match="two paths are called 'a': http://b and http://c"):
        parse_paths(["a=http://b", "a=http://c"])


def test_a_path_survives_json() -> None:
    path = Path("vxlan/clusterip", "vxlan", "clusterip", "http://10.96.0.10:8000", "/proc/7/fd/3")
    assert Path(**json.loads(json.dumps(asdict(path)))) == path


def test_without_a_namespace_a_socket_is_opened_where_one_is() -> None:
    with open_socket(None, socket.AF_INET, socket.SOCK_STREAM) as opened:
        opened.bind(("127.0.0.1", 0))
        assert opened.getsockname()[0] == "127.0.0.1"


def test_a_namespace_that_is_none_is_an_os_error() -> None:
    with pytest.raises(OSError, match="No such file"):
        open_socket("/nowhere", socket.AF_INET, socket.SOCK_STREAM)


GREENLETS = """
from gevent import monkey
monkey.patch_all()
import socket, struct
import gevent
from loadgen.netns import Netns
from loadgen.paths import open_socket

SO_NETNS_COOKIE = 71

def cookie(opened):
    return struct.unpack("=Q", opened.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))[0]

def cookies(file):
    found = set()
    for _ in range(50):
        with open_socket(file, socket.AF_INET, socket.SOCK_STREAM) as opened:
            found.add(cookie(opened))
        gevent.sleep(0)
    return found

with Netns("a") as a, Netns("b") as b:
    jobs = [gevent.spawn(cookies, file) for file in (a.file, b.file, None, a.file)]
    gevent.joinall(jobs)
    a_1, b_1, own, a_2 = (job.value for job in jobs)
    assert a_1 == a_2 and [len(found) for found in (a_1, b_1, own)] == [1, 1, 1]
    assert len(a_1 | b_1 | own) == 3
    try:
        open_socket(a.file, socket.AF_INET, 77)
    except OSError:
        with socket.socket() as here:
            assert {cookie(here)} == own
            print("held")
"""


def test_greenlets_never_get_a_socket_of_another_namespace() -> None:
    require_sandbox()
    done = run_in_sandbox(sys.executable, "-c", GREENLETS)
    assert (done.stdout, done.returncode) == ("held\n", 0), done.stderr
