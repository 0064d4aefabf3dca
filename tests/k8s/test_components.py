import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.zoo import find
from service.metrics import Metrics
from service.settings import Settings

FROM_PROMETHEUS = {"namespace", "pod", "le"}
"""Labels that Prometheus adds to what it scrapes from pods, and that of a histogram's buckets."""


@pytest.fixture
def site(write: Any) -> Any:
    """Render components, named with spaces between, onto the service alone."""

    def run(components: str) -> Any:
        lines = [
            "apiVersion: kustomize.config.k8s.io/v1beta1",
            "kind: Kustomization",
            "namespace: fiveways",
            "resources: [../../base]",
            "components:",
            *(f"  - ../../components/{component}" for component in components.split()),
        ]
        return write("\n".join(lines))

    return run


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """The labels of every metric that the service exports, by the name of its samples."""
    metrics = Metrics()
    metrics.watch("m", backlog_samples=lambda: 0, backlog_s=lambda: 0, samples_per_s=lambda: 0)
    metrics.count_request(200, "m")
    metrics.count_call("m", samples=1, bases=1, stage_s={"queue": 0.1})
    engine = metrics.engine("m", "cpu")
    engine.batch_fill.observe(1)
    engine.engine_restarts.inc()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(metrics.page().decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def unknown(query: str, exported: dict[str, set[str]]) -> Iterator[str]:
    """Yield what a PromQL query names that neither the service nor Prometheus knows."""
    names = set(re.findall(r"\b(?:fiveways|process)_\w+", query))
    assert names, query
    labels = {label for name in names for label in exported.get(name, ())} | FROM_PROMETHEUS
    yield from names - set(exported)
    asked = re.findall(r"(?:by|on) \(([^)]+)\)", query)
    asked += re.findall(r"[{,](\w+)(?==|!=)", query)
    yield from {label.strip() for group in asked for label in group.split(",")} - labels


def test_the_scaler_asks_for_a_metric_that_the_service_exports(
    site: Any, exported: dict[str, set[str]]
) -> None:
    (trigger,) = site("keda").one("ScaledObject")["spec"]["triggers"]
    query = trigger["metadata"]["query"]
    assert not list(unknown(query, exported))
    assert "fiveways_backlog_seconds" in query
    assert list(unknown("sum(fiveways_backlog_minutes) by (colour)", exported)) == [
        "fiveways_backlog_minutes",
        "colour",
    ]


def test_the_scaler_asks_for_its_own_namespace_and_acts_before_requests_are_refused(site: Any) -> None:
    scaler = site("keda").one("ScaledObject")
    (trigger,) = scaler["spec"]["triggers"]
    assert f'namespace="{scaler["metadata"]["namespace"]}"' in trigger["metadata"]["query"]
    assert float(trigger["metadata"]["threshold"]) < Settings(model="null").max_backlog_s / 2


@pytest.mark.parametrize("scaler", ["hpa", "keda"])
def test_replicas_are_left_to_the_scaler(scaler: str, site: Any) -> None:
    rendered = site(scaler)
    assert "replicas" not in rendered.one("Deployment")["spec"]
    kind = {"hpa": "HorizontalPodAutoscaler", "keda": "ScaledObject"}[scaler]
    assert rendered.one(kind)["spec"]["scaleTargetRef"]["name"] == "fiveways"


def test_the_autoscaler_has_a_request_to_hold_the_use_against(site: Any) -> None:
    rendered = site("hpa")
    (metric,) = rendered.one("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["resource"]["name"] in rendered.server["resources"]["requests"]


def test_each_pod_is_scraped_once(site: Any) -> None:
    rendered = site("monitoring target/nodeport")
    monitor = rendered.one("ServiceMonitor")
    selector = monitor["spec"]["selector"]["matchLabels"]
    matching = [s for s in rendered.of("Service") if selector.items() <= s["metadata"]["labels"].items()]
    assert [service["metadata"]["name"] for service in matching] == ["fiveways"]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in matching[0]["spec"]["ports"]}
    assert endpoint["path"] == "/metrics"


def test_every_panel_of_the_dashboard_shows_what_the_service_exports(
    site: Any, exported: dict[str, set[str]]
) -> None:
    config = site("monitoring").one("ConfigMap", "fiveways-dashboard")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    dashboard = json.loads(config["data"]["fiveways.json"])
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]) == 14
    for panel in dashboard["panels"]:
        assert panel["description"]
        for target in panel["targets"]:
            query = target["expr"]
            used = set(re.findall(r"\$(\w+)", query)) - {"__rate_interval"}
            assert used <= variables, query
            assert not list(unknown(query, exported)), query
            for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
                assert re.search(rf"\b{label}\b", query) or label == "pod", query


def test_a_gpu_is_asked_for_and_used(site: Any) -> None:
    rendered = site("gpu")
    pod = rendered.pods["Deployment/fiveways"]["spec"]
    assert rendered.server["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["runtimeClassName"] == "nvidia"
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert rendered.one("ConfigMap")["data"]["FIVEWAYS_DEVICE"] == "cuda:0"
    assert rendered.server["image"].endswith("-cuda")
    # There may be no GPU to spare for a second pod.
    assert rendered.one("Deployment")["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0


def test_a_shared_gpu_is_asked_for_by_the_name_that_the_device_plugin_gives_it(
    site: Any, k8s: Any, manifests: Any
) -> None:
    (values,) = manifests(k8s / "clusters/nvidia-device-plugin/values.yaml")
    (config,) = manifests(values["config"]["map"][values["config"]["default"]])
    slicing = config["sharing"]["timeSlicing"]
    (resource,) = slicing["resources"]
    assert slicing["renameByDefault"] is True
    # The pod's server and the host's.
    assert resource["replicas"] == 2
    limits = site("gpu-shared").server["resources"]["limits"]
    assert {name for name in limits if "nvidia" in name} == {resource["name"] + ".shared"}


def test_policies_let_in_the_load_generator_and_whoever_scrapes(site: Any) -> None:
    rendered = site("network-policy")
    policy = rendered.one("NetworkPolicy")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= (
        rendered.pods["Deployment/fiveways"]["metadata"]["labels"].items()
    )
    (rule,) = policy["ingress"]
    assert rule["ports"] == [{"port": rendered.server["ports"][0]["name"]}]
    loadgen = rendered.pods["Job/fiveways-worker"]["metadata"]["labels"]
    assert rule["from"][0]["podSelector"]["matchLabels"].items() <= loadgen.items()
    assert "egress" not in policy
    assert policy["policyTypes"] == ["Ingress", "Egress"]


def test_policies_let_the_load_generator_reach_the_service_its_master_and_names(site: Any) -> None:
    rendered = site("network-policy")
    policy = rendered.one("NetworkPolicy", "fiveways-loadgen")["spec"]
    service, master, names = policy["egress"]
    has = {name: pod["metadata"]["labels"].items() for name, pod in rendered.pods.items()}
    assert service["to"][0]["podSelector"]["matchLabels"].items() <= has["Deployment/fiveways"]
    for job in ("Job/fiveways-master", "Job/fiveways-worker"):
        assert policy["podSelector"]["matchLabels"].items() <= has[job]
        assert master["to"][0]["podSelector"]["matchLabels"].items() <= has[job]
    assert {port["port"] for port in names["ports"]} == {53}
    assert {port["port"] for rule in (*policy["ingress"], service, master) for port in rule["ports"]} == {
        "http",
        "locust",
    }


def test_https_ends_at_the_gateway_and_waits_longer_than_the_service_may(site: Any) -> None:
    rendered = site("tls")
    (listener,) = rendered.one("Gateway")["spec"]["listeners"]
    assert (listener["protocol"], listener["tls"]["mode"]) == ("HTTPS", "Terminate")
    route = rendered.one("HTTPRoute")["spec"]
    assert route["parentRefs"] == [{"name": "fiveways", "sectionName": listener["name"]}]
    (rule,) = route["rules"]
    told = Settings(model="null")
    timeout_s = int(rule["timeouts"]["request"].removesuffix("s"))
    assert timeout_s > told.upload_s + told.max_backlog_s + told.answer_s
    (backend,) = rule["backendRefs"]
    assert backend["port"] == rendered.one("Service", backend["name"])["spec"]["ports"][0]["port"]


def test_health_and_metrics_are_not_routed_from_outside(site: Any) -> None:
    (rule,) = site("tls").one("HTTPRoute")["spec"]["rules"]
    paths = {match["path"]["value"] for match in rule["matches"]}
    assert paths == {"/v1", "/v2", "/docs", "/static-offline-docs", "/openapi.json"}


@pytest.mark.parametrize("source", ["configmap", "pvc", "image"])
def test_a_model_is_mounted_where_the_service_looks_for_it(source: str, site: Any) -> None:
    rendered = site(f"model-{source}")
    (mount,) = (mount for mount in rendered.server["volumeMounts"] if mount["name"] == "model")
    assert mount["readOnly"] is True
    assert rendered.one("ConfigMap")["data"]["FIVEWAYS_MODEL"] == mount["mountPath"]
    (volume,) = (v for v in rendered.pods["Deployment/fiveways"]["spec"]["volumes"] if v["name"] == "model")
    assert set(volume) == {
        "name",
        {"configmap": "configMap", "pvc": "persistentVolumeClaim"}.get(source, source),
    }


def test_the_model_of_a_configmap_is_the_one_that_the_kustomization_makes(
    documented: dict[str, str], write: Any
) -> None:
    site = write(documented["model-configmap"])
    made = site.one("ConfigMap", "fiveways-model")
    assert set(made["data"]) | set(made["binaryData"]) == {"config.toml", "weights.safetensors"}
    (volume,) = (v for v in site.pods["Deployment/fiveways"]["spec"]["volumes"] if v["name"] == "model")
    assert volume["configMap"]["name"] == made["metadata"]["name"]


def test_the_default_model_fits_a_configmap() -> None:
    files = list(find("r9.4.1_fast@v3").iterdir())
    assert sum(file.stat().st_size for file in files if file.suffix in {".toml", ".safetensors"}) < 2**20
