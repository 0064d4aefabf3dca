"""`fiveways bench` and `fiveways report`: the experiment, and its results once more.

Here are the options; the work is `loadgen.commands`. Results go to stdout, all else to stderr; the exit
status is 0, 1 where it failed, 2 where it was used wrongly, 130 where it was stopped.
"""

from pathlib import Path as File
from typing import Annotated

import typer

bench = typer.Typer(no_args_is_help=True, help="Measure paths to the service against host networking.")

Reads = Annotated[
    File | None, typer.Option(help="File or folder of reads to send; simulated ones where none is named.")
]
BudgetS = Annotated[float, typer.Option(min=1.0, help="Seconds of rounds after which no further one begins.")]
BlockS = Annotated[float, typer.Option(help="Seconds from a block's first request to its last.")]
SettleS = Annotated[float, typer.Option(help="Seconds at the start of a block that do not count.")]
Users = Annotated[int, typer.Option(min=1, help="Requests in flight at any time.")]
ChunkSamples = Annotated[
    int, typer.Option(min=0, help="Send reads in pieces of so many samples; 0 sends them whole.")
]
Delta = Annotated[
    float, typer.Option(min=0.0001, max=0.5, help="A difference within ± this share does not matter.")
]
Seed = Annotated[int, typer.Option(min=0, help="Decides the order of blocks and of reads.")]
Model = Annotated[
    str, typer.Option("--model", "-m", help="Model to call with; the service's own where empty.")
]
Arms = Annotated[str, typer.Option(help="What is computed: model, null, or both with a comma between.")]
Connection = Annotated[str, typer.Option(help="keep-alive, or new: a connection for every request.")]
Out = Annotated[File, typer.Option(help="Folder in which the folder of this run is made.")]
Resume = Annotated[
    File | None,
    typer.Option(help="Go on with the run in this folder; its settings are kept, others ignored."),
]
Baseline = Annotated[
    str, typer.Option(help="Name of the path the others are held against; host, or else the first.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print results.json instead of tables.")]


@bench.command()
def lab(
    *,
    path: Annotated[
        list[str] | None, typer.Option(help="Name of a path, such as vxlan/clusterip; once for each path.")
    ] = None,
    mtu: Annotated[int, typer.Option(help="MTU of the network between the nodes, bytes.")] = 1500,
    line_rate_mbps: Annotated[
        float | None,
        typer.Option(help="What each node's NIC sends, Mbit/s; what the machine can if not set."),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(help="PATH=MBIT/S: a control, PATH/shaped, whose client sends no faster; repeat it."),
    ] = None,
    other_services: Annotated[int, typer.Option(help="Services in the tables besides those dialled.")] = 100,
    cni_bin: Annotated[
        File | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Folder of CNI plugins, such as /usr/lib/cni, that plug the pods instead of us.",
        ),
    ] = None,
    reads: Reads = None,
    budget_s: BudgetS = 240.0,
    block_s: BlockS = 1.6,
    settle_s: SettleS = 0.4,
    users: Users = 8,
    chunk_samples: ChunkSamples = 4000,
    delta: Delta = 0.01,
    seed: Seed = 1,
    model: Model = "",
    arms: Arms = "model,null",
    connection: Connection = "keep-alive",
    out: Out = File("results"),
    resume: Resume = None,
    as_json: AsJson = False,
) -> None:
    """Measure on this machine alone: network namespaces stand in for the nodes and pods of a cluster."""
    from loadgen import sandbox  # noqa: PLC0415 - only for this command

    sandbox.enter()
    from loadgen import commands  # noqa: PLC0415 - slow to import
    from loadgen.method import Method  # noqa: PLC0415 - likewise

    if resume:
        commands.resume_lab(resume, as_json=as_json)
        return
    method = Method(
        reads=reads,
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
    commands.bench_lab(
        method,
        out,
        paths=tuple(path or ()),
        mtu=mtu,
        line_rate_bps=None if line_rate_mbps is None else round(line_rate_mbps * 1e6),
        shapes=tuple(shape or ()),
        other_services=other_services,
        cni_bin=cni_bin,
        as_json=as_json,
    )


@bench.command()
def urls(
    *,
    path: Annotated[
        list[str] | None,
        typer.Option(help="NAME=URL, such as svc=http://10.96.0.10:8000; once for each path."),
    ] = None,
    baseline: Baseline = "",
    line_rate_mbps: Annotated[
        float | None,
        typer.Option(
            min=1.0, help="What the line is said to carry, Mbit/s: for a gate, and for the headroom."
        ),
    ] = None,
    reads: Reads = None,
    budget_s: BudgetS = 240.0,
    block_s: BlockS = 5.0,
    settle_s: SettleS = 1.0,
    users: Users = 8,
    chunk_samples: ChunkSamples = 0,
    delta: Delta = 0.01,
    seed: Seed = 1,
    model: Model = "",
    arms: Arms = "model,null",
    connection: Connection = "keep-alive",
    out: Out = File("results"),
    resume: Resume = None,
    as_json: AsJson = False,
) -> None:
    """Measure paths to a service that runs already, wherever it is."""
    from loadgen import commands  # noqa: PLC0415 - slow to import
    from loadgen.method import Method  # noqa: PLC0415 - likewise

    if resume:
        commands.resume_urls(resume, as_json=as_json)
        return
    method = Method(
        reads=reads,
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
    line_rate_bps = None if line_rate_mbps is None else round(line_rate_mbps * 1e6)
    commands.bench_urls(method, path or (), baseline, out, line_rate_bps=line_rate_bps, as_json=as_json)


def report(
    results: Annotated[list[File] | None, typer.Argument(help="Folders of results.")] = None,
    *,
    imported: Annotated[
        File | None,
        typer.Option("--import", help="CSV of others' repeats: system, path, repeat, value, order."),
    ] = None,
    baseline: Baseline = "",
    delta: Delta = 0.01,
    out: Annotated[File, typer.Option(help="Folder for the page of several runs, or of a CSV.")] = File(),
    as_json: AsJson = False,
) -> None:
    """Compute results again from their blocks: tables, and a page for each run or for several together.

    With --import, read again what others have measured; --baseline and --delta are for that alone, since a
    run keeps its own.
    """
    if bool(results) == bool(imported):
        raise typer.BadParameter("name folders of results, or a CSV with --import, and not both")
    from loadgen import commands  # noqa: PLC0415 - slow to import

    if imported:
        commands.reread(imported, baseline, delta, out, as_json=as_json)
    else:
        commands.report(results or (), out, as_json=as_json)
