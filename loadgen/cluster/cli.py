"""`fiveways bench cluster`: its options. The work is `loadgen.cluster.bench`, slow to import."""

from importlib.util import find_spec
from pathlib import Path as File
from typing import Annotated

import typer

from loadgen.cli import (
    Arms,
    AsJson,
    BlockS,
    BudgetS,
    ChunkSamples,
    Connection,
    Delta,
    Model,
    Out,
    Resume,
    Seed,
    SettleS,
    Users,
)


def cluster(
    *,
    overlay: Annotated[
        str,
        typer.Option(help="Way of k8s/overlays that the cluster has, or a folder with a kustomization.yaml."),
    ] = "",
    path: Annotated[
        list[str] | None,
        typer.Option(help="WAY/TARGET; once for each path; all that the overlay has if not set."),
    ] = None,
    context: Annotated[
        str | None, typer.Option(help="Context of the kubeconfig; its current one if not set.")
    ] = None,
    namespace: Annotated[
        str, typer.Option(help="Namespace of the way's pods; those of host networking are in NAMESPACE-host.")
    ] = "fiveways-bench",
    server_node: Annotated[str | None, typer.Option(help="Node of the servers; chosen if not set.")] = None,
    client_node: Annotated[str | None, typer.Option(help="Node of the clients; chosen if not set.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Locust's workers at each attachment.")] = 2,
    service_image: Annotated[str, typer.Option(help="Image of the service; the overlay's if not set.")] = "",
    loadgen_image: Annotated[
        str, typer.Option(help="Image of the load generator; the overlay's if not set.")
    ] = "",
    component: Annotated[
        list[str] | None,
        typer.Option(help="Component of k8s/components to add, such as gpu-shared; repeat it."),
    ] = None,
    reads: Annotated[
        str,
        typer.Option(
            help="Reads to send, a path in the pods that your overlay mounts; simulated if not set."
        ),
    ] = "",
    budget_s: BudgetS = 1800.0,
    block_s: BlockS = 10.0,
    settle_s: SettleS = 2.0,
    users: Users = 16,
    chunk_samples: ChunkSamples = 4000,
    delta: Delta = 0.01,
    seed: Seed = 1,
    model: Model = "",
    arms: Arms = "model,null",
    connection: Connection = "keep-alive",
    wait_s: Annotated[
        float, typer.Option(min=1.0, help="Seconds that pods may take until they are ready.")
    ] = 600.0,
    patience_s: Annotated[
        float, typer.Option(min=0.0, help="Seconds that the API server may be away.")
    ] = 60.0,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything in the cluster.")] = False,
    rbac: Annotated[
        bool, typer.Option("--rbac", help="Print the ClusterRole that a run needs, and measure nothing.")
    ] = False,
    out: Out = File("results"),
    resume: Resume = None,
    as_json: AsJson = False,
) -> None:
    """Measure on Kubernetes: host networking and the way of an overlay, between two nodes of a cluster."""
    if not find_spec("kubernetes"):
        typer.echo("fiveways: this needs the Kubernetes client: pip install 'fiveways[cluster]'", err=True)
        raise typer.Exit(1)
    if bool(overlay) == bool(resume):
        typer.echo("fiveways: name a way with --overlay, or a run to go on with --resume", err=True)
        raise typer.Exit(2)
    from loadgen.cluster import bench  # noqa: PLC0415 - slow to import
    from loadgen.cluster.settings import ClusterSettings  # noqa: PLC0415 - likewise
    from loadgen.method import Method  # noqa: PLC0415 - likewise

    if resume:
        bench.resume_cluster(resume, as_json=as_json)
        return
    settings = ClusterSettings(
        overlay=overlay,
        context=context,
        namespace=namespace,
        server_node=server_node,
        client_node=client_node,
        workers=workers,
        service_image=service_image,
        loadgen_image=loadgen_image,
        components=tuple(component or ()),
        wait_s=wait_s,
        patience_s=patience_s,
        keep=keep,
    )
    if rbac:
        bench.print_role(settings)
        return
    method = Method(
        reads=None,
        budget_s=budget_s,
        block_s=block_s,
        settle_s=settle_s,
        users=users,
        chunk_samples=chunk_samples,
        delta=delta,
        seed=seed,
        model=model,
        arms=tuple(arms.split(",")),
        connection=connection,
    )
    bench.bench_cluster(method, settings, out, paths=tuple(path or ()), reads=reads, as_json=as_json)
