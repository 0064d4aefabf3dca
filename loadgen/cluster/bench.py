"""The data flow of `fiveways bench cluster`: overlays -> access -> stage -> paths -> facts -> experiment ->
nothing left.

Ties a cluster, an experiment and a terminal together. Raises typer.Exit with the exit status.
"""

import secrets
import signal
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path as File

import typer
import yaml

from loadgen.cluster.access import ROLE, cluster_role, missing, needed, wanted
from loadgen.cluster.apiserver import ApiServer, Manifest
from loadgen.cluster.jobs import WORKER
from loadgen.cluster.look import HOST, facts_of
from loadgen.cluster.nodes import choose_nodes, name_of
from loadgen.cluster.overlay import Overlay, find_overlay, render, sibling
from loadgen.cluster.play import play_on
from loadgen.cluster.settings import ClusterSettings
from loadgen.cluster.stage import PREFIX, own_namespaces, staged
from loadgen.commands import STOPPED, complaints, conduct, load_run, new_folder
from loadgen.errors import ClusterError, PathError
from loadgen.experiment import Experiment
from loadgen.method import Method, with_control
from loadgen.paths import Path
from loadgen.results import Run

POD = "pod"
BASELINE = "host/hostip"


def bench_cluster(
    method: Method,
    settings: ClusterSettings,
    out: File,
    *,
    paths: tuple[str, ...],
    reads: str,
    as_json: bool,
) -> None:
    """Measure the paths of a way, all of them where none are named, in a cluster that has it.

    `reads` are where the load generator's pods have them, empty for simulated ones: they are not this
    machine's.
    """

    def begin(found: tuple[Path, ...]) -> Run:
        setup = method.setup("cluster", found, BASELINE, asdict(settings))
        if reads:
            source = replace(setup.plan.reads, paths=(reads,))
            setup = replace(setup, plan=replace(setup.plan, reads=source))
        return Run(setup, setup.plan.rounds)

    _bench(settings, paths, begin, lambda: new_folder(out), as_json=as_json)


def resume_cluster(folder: File, *, as_json: bool) -> None:
    """Go on with the run in `folder`, with pods like those it was begun with."""
    with complaints(misuse=ClusterError):
        run = load_run("cluster", folder)
    options = dict(run.setup.options)
    settings = ClusterSettings(**{**options, "components": tuple(options["components"])})
    names = tuple(path.name for path in run.setup.plan.paths if path.name != run.setup.control)

    def begin(found: tuple[Path, ...]) -> Run:
        # The pods are new ones, and so are their addresses.
        plan = replace(run.setup.plan, paths=with_control(found, BASELINE))
        return replace(run, setup=replace(run.setup, plan=plan))

    _bench(settings, names, begin, lambda: folder, as_json=as_json)


def print_role(settings: ClusterSettings) -> None:
    """Print the ClusterRole that a run needs."""
    with complaints(), ApiServer(settings.context, patience_s=settings.patience_s) as api:
        overlays = _overlays(settings, PREFIX + "role")
        accesses = (*needed(api, overlays.values(), {o.namespace for o in overlays.values()}), *wanted(api))
        typer.echo(yaml.safe_dump(cluster_role(accesses), sort_keys=False), nl=False)


def _bench(
    settings: ClusterSettings,
    typed: tuple[str, ...],
    begin: Callable[[tuple[Path, ...]], Run],
    folder: Callable[[], File],
    *,
    as_json: bool,
) -> None:
    """Set a stage, and measure what `begin` makes of its paths of these names, all of the way where none
    are."""
    # Whoever stops this, in whatever way it can notice, wants nothing left behind.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with complaints(), ApiServer(settings.context, patience_s=settings.patience_s) as api:
            instance = PREFIX + secrets.token_hex(4)
            with complaints(misuse=ClusterError):
                overlays = _overlays(settings, instance)
                names = _names(overlays.values(), typed)
                # What makes no sense is said before anything is made; only addresses are not known yet.
                begin(tuple(Path(name, "", "", "http://127.0.0.1") for name in names))
            check_access(api, overlays)
            nodes = _nodes(api, overlays, settings)
            say(f"servers on {name_of(nodes[0])}, clients on {name_of(nodes[1])}, all labelled {instance}")
            with staged(
                api,
                overlays,
                instance=instance,
                nodes=nodes,
                wait_s=settings.wait_s,
                keep=settings.keep,
                say=say,
            ) as stage:
                found = {path.name: path for path in stage.paths()}
                run = begin(tuple(found[name] for name in names))
                run = replace(run, facts=facts_of(stage, run.setup.plan))
                player = partial(play_on, stage, workers=settings.workers)
                conduct(Experiment(run, folder(), player=player), as_json=as_json)
    except KeyboardInterrupt as stopped:
        say("stopped before anything was measured")
        raise typer.Exit(STOPPED) from stopped


def say(words: str) -> None:
    """Tell people what is going on."""
    typer.echo(f"fiveways bench cluster: {words}", err=True)


def _overlays(settings: ClusterSettings, instance: str) -> dict[str, Overlay]:
    """Return the overlays of a run by attachment: that of host networking, and the way's."""
    folder = find_overlay(settings.overlay)
    rendered = partial(render, instance=instance, images=settings.images, components=settings.components)
    overlays = {HOST: rendered(sibling(folder, HOST), namespace=settings.host_namespace)}
    way = rendered(folder, namespace=settings.namespace)
    if way.way != HOST:
        overlays[POD] = way
    return overlays


def check_access(api: ApiServer, overlays: Mapping[str, Overlay]) -> None:
    """Return if the cluster allows a run. Raises ClusterError, which names all that it does not."""
    made = own_namespaces(api, overlays.values())
    lacking = missing(api, needed(api, overlays.values(), made))
    if lacking:
        raise ClusterError(
            f"you may not {'; nor '.join(map(str, lacking))}. What a run needs is the ClusterRole {ROLE} that"
            " --rbac prints"
        )
    for access in missing(api, wanted(api)):
        say(f"you may not {access}: facts will be missing")


def _nodes(
    api: ApiServer, overlays: Mapping[str, Overlay], settings: ClusterSettings
) -> tuple[Manifest, Manifest]:
    way = tuple(overlays.values())[-1]
    server, client = choose_nodes(
        api.items("v1", "Node"),
        way.one("Deployment", "fiveways")["spec"]["template"]["spec"],
        way.one("Job", WORKER)["spec"]["template"]["spec"],
        server=settings.server_node,
        client=settings.client_node,
    )
    return dict(server), dict(client)


def _names(overlays: Collection[Overlay], typed: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the paths to measure: host networking, and those typed or else all of the way.
    Raises PathError."""
    ways = {f"{overlay.way}/{target}": overlay.way for overlay in overlays for target in overlay.targets}
    for name in (BASELINE, *typed):
        if name not in ways:
            raise PathError(f"there is no path {name} here; there are {', '.join(ways)}")
    way = tuple(ways.values())[-1]
    return tuple(dict.fromkeys((BASELINE, *(typed or [name for name in ways if ways[name] == way]))))
