import sys
from ipaddress import IPv4Address

import pytest
from sandboxed import require_sandbox, run_in_sandbox

from loadgen.attributes import be32, nest, split, text
from loadgen.nat import FORMS, Form, ruleset
from loadgen.nftables import NEWRULE, NEWSETELEM, Table, service_key
from loadgen.services import POD_CIDR, SERVICE_CIDR, Service, other_services
from loadgen.topology import MOST_SERVICES

NODE = IPv4Address("172.18.0.10")


def rules_of(form: Form, services: list[Service]) -> list[str]:
    return [message.what for message in ruleset(form, services, NODE) if message.kind == NEWRULE]


def test_the_iptables_form_has_a_rule_for_every_service_in_their_order_and_node_ports_last() -> None:
    services = list(other_services(3))
    messages = [m for m in ruleset("iptables", services, NODE) if m.what == "rule of KUBE-SERVICES"]
    in_order = [service.cluster_ip.packed for service in services]
    assert [next(ip for ip in in_order if ip in message.body) for message in messages[:-1]] == in_order
    assert b"KUBE-NODEPORTS\0" in messages[-1].body


def test_the_nftables_form_looks_every_service_up_by_one_rule() -> None:
    assert rules_of("nftables", list(other_services(500))).count("rule of services") == 2
    assert rules_of("nftables", list(other_services(10))).count("rule of services") == 2


@pytest.mark.parametrize("form", FORMS)
def test_a_service_without_a_node_port_takes_as_many_rules_as_kube_proxy_writes(form: Form) -> None:
    ten, twenty = (len(rules_of(form, list(other_services(count)))) for count in (10, 20))
    # Of the service and its endpoint: whether to masquerade, and where to; and in iptables the way there.
    assert twenty - ten == 10 * {"nftables": 4, "iptables": 5}[form]


def test_elements_are_split_where_an_attribute_ends() -> None:
    keys = [service_key(service.cluster_ip, service.port) for service in other_services(5000)]
    messages = list(Table("t").elements("m", ((key, ("goto", "chain")) for key in keys)))
    assert len(messages) > 1
    assert {message.kind for message in messages} == {NEWSETELEM}
    lists = [payload for message in messages for kind, payload in split(message.body) if kind == 3]
    assert sum(1 for elements in lists for _ in split(elements)) == 5000


def test_attributes_come_apart_as_they_were_put_together() -> None:
    inner = text(1, "name") + be32(2, -100)
    assert list(split(nest(4, inner) + text(3, ""))) == [(4, inner), (3, b"\0")]
    assert list(split(inner)) == [(1, b"name\0"), (2, (-100 & 0xFFFFFFFF).to_bytes(4, "big"))]


def test_other_services_have_addresses_that_nobody_else_has() -> None:
    services = list(other_services(MOST_SERVICES))
    assert len({service.cluster_ip for service in services}) == MOST_SERVICES
    assert all(service.cluster_ip in SERVICE_CIDR for service in services)
    assert all(service.endpoint in POD_CIDR for service in services)
    assert len({service.endpoint for service in services}) == MOST_SERVICES


PROGRAM = """
import sys
from ipaddress import IPv4Address
from loadgen.nat import count_services, ruleset
from loadgen.netns import Netns
from loadgen.nfnetlink import Nfnetlink
from loadgen.services import other_services
form, count = sys.argv[1], int(sys.argv[2])
with Netns("node") as node, Nfnetlink(node.file) as kernel:
    kernel.apply(ruleset(form, list(other_services(count)), IPv4Address("172.18.0.10")))
    print(count_services(form, kernel))
"""


@pytest.mark.parametrize("count", [10, MOST_SERVICES])
@pytest.mark.parametrize("form", FORMS)
def test_the_kernel_takes_the_fewest_and_the_most_services(form: Form, count: int) -> None:
    require_sandbox()
    done = run_in_sandbox(sys.executable, "-c", PROGRAM, form, str(count))
    assert done.stdout == f"{count}\n", done.stderr


REFUSED = """
from loadgen.errors import LabError
from loadgen.netns import Netns
from loadgen.nfnetlink import Nfnetlink
from loadgen.nftables import Table, verdict
table = Table("t")
with Netns("node") as node, Nfnetlink(node.file) as kernel:
    try:
        kernel.apply([table.create(), table.chain("here"), table.rule("here", verdict(("jump", "nowhere")))])
    except LabError as error:
        print(error)
    print(kernel.rules(table, "here"))
    try:
        kernel.elements(table, "there")
    except LabError as error:
        print(error)
"""


def test_what_the_kernel_refuses_is_named_and_nothing_of_its_batch_stays() -> None:
    require_sandbox()
    refused, rules, asked = run_in_sandbox(sys.executable, "-c", REFUSED).stdout.splitlines()
    assert refused == "the kernel refuses nftables rule of here: No such file or directory"
    assert rules == "0"
    assert asked == "nftables does not answer: No such file or directory"
