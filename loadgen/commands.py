"""What the commands of `loadgen.cli` do, which imports this when one of them is called: it takes a while.

Ties paths, a service, an experiment and a terminal together. Raises typer.Exit with the exit status.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path as File

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from loadgen.analysis import analyse
from loadgen.child import Child
from loadgen.endpoint import check_paths, service_facts, wait_until_ready
from loadgen.errors import LabError, LoadgenError, PathError, PlanError, ResultsError
from loadgen.experiment import Experiment
from loadgen.facts import machine_facts, program_facts
from loadgen.lab import Lab
from loadgen.method import Method, with_control
from loadgen.nics import nic_facts
from loadgen.paths import parse_paths
from loadgen.reanalysis import reanalyse
from loadgen.reanalysis_report import chance_sentence, reading_table, write_reanalysis
from loadgen.repeats import read_repeats
from loadgen.report import other_differences, verdict_table, write_report, write_together
from loadgen.results import BLOCKS, RESULTS, Kind, Results, Run, drop_cut_line, load, save
from loadgen.together import labels
from loadgen.topology import DEFAULT_PATHS, LabSettings
from reads.errors import ReadsError

FAILED, MISUSED, STOPPED = 1, 2, 130

LAB_BASELINE = "host/hostip"
SERVER_LOG = "server.log"
TABLE_COLUMNS = 120
"""Width of tables that are not printed to a terminal."""


def bench_lab(
    method: Method,
    out: File,
    *,
    paths: tuple[str, ...],
    mtu: int,
    line_rate_bps: int | None,
    shapes: Sequence[str],
    other_services: int,
    cni_bin: File | None,
    as_json: bool,
) -> None:
    """Measure the paths of a new lab, its default ones where none are named. Call it in the sandbox.

    `shapes` are typed as PATH=MBIT/S; for the others see topology.LabSettings.
    """
    with complaints(misuse=LabError):
        settings = LabSettings(
            paths=tuple(dict.fromkeys((LAB_BASELINE, *(paths or DEFAULT_PATHS)))),
            mtu=mtu,
            line_rate_bps=line_rate_bps,
            other_services=other_services,
            shaped_bps=dict(map(_parse_shape, shapes)),
            cni_bin=str(cni_bin.resolve()) if cni_bin else "",
        )
    with complaints(), Lab(settings) as lab:
        setup = method.setup("lab", lab.paths, LAB_BASELINE, asdict(settings))
        _bench_in(lab, Run(setup, setup.plan.rounds, absent=lab.absent), new_folder(out), as_json=as_json)


def _parse_shape(typed: str) -> tuple[str, int]:
    """Return the path and the rate [bit/s] that people type as PATH=MBIT/S. Raises LabError."""
    name, _, rate_mbps = typed.partition("=")
    try:
        return name, round(float(rate_mbps) * 1e6)
    except (ValueError, OverflowError) as error:
        raise LabError(f"{typed!r} is not PATH=MBIT/S, such as vxlan/podip=50") from error


def resume_lab(folder: File, *, as_json: bool) -> None:
    """Go on with the run in `folder`, in a lab like the one it was begun in. Call it in the sandbox."""
    with complaints():
        run = load_run("lab", folder)
        options = run.setup.options
        with Lab(LabSettings(**{**options, "paths": tuple(options["paths"])})) as lab:
            # The namespaces are new ones, and so are the files that stand for them.
            plan = replace(run.setup.plan, paths=with_control(lab.paths, run.setup.baseline))
            run = replace(run, setup=replace(run.setup, plan=plan), absent=lab.absent)
            _bench_in(lab, run, folder, as_json=as_json)


def _bench_in(lab: Lab, run: Run, folder: File, *, as_json: bool) -> None:
    command = [str(File(sys.executable).with_name("fiveways")), "serve"]
    command += [word for socket in lab.listeners for word in ("--fd", str(socket.fileno()))]
    if run.setup.plan.model:
        command += ["--model", run.setup.plan.model]
    descriptors = [socket.fileno() for socket in lab.listeners]
    with Child(command, folder / SERVER_LOG, descriptors=descriptors) as server:
        wait_until_ready(lab.paths[0], server)
        check_paths(lab.paths)
        facts = (*machine_facts(), *program_facts(), *service_facts(lab.paths[0]), *lab.facts())
        conduct(Experiment(replace(run, facts=facts), folder, server), as_json=as_json)


def bench_urls(
    method: Method,
    typed: Sequence[str],
    baseline: str,
    out: File,
    *,
    line_rate_bps: int | None,
    as_json: bool,
) -> None:
    """Measure paths that people typed as NAME=URL."""
    with complaints():
        paths = parse_paths(typed)
        if len(paths) < 2:
            raise PathError("name at least two paths: --path host=http://... --path svc=http://...")
        names = [path.name for path in paths]
        baseline = baseline or ("host" if "host" in names else names[0])
        setup = method.setup("urls", paths, baseline, {"line_rate_bps": line_rate_bps})
        check_paths(paths)
        _bench_at(Run(setup, setup.plan.rounds), new_folder(out), as_json=as_json)


def resume_urls(folder: File, *, as_json: bool) -> None:
    """Go on with the run in `folder`, over the same URLs."""
    with complaints():
        run = load_run("urls", folder)
        check_paths(run.setup.plan.paths)
        _bench_at(run, folder, as_json=as_json)


def _bench_at(run: Run, folder: File, *, as_json: bool) -> None:
    paths = run.setup.plan.paths
    nics = (fact for path in paths for fact in nic_facts(path))
    facts = (*machine_facts(), *program_facts(), *service_facts(paths[0]), *nics)
    conduct(Experiment(replace(run, facts=facts), folder), as_json=as_json)


def conduct(experiment: Experiment, *, as_json: bool) -> None:
    """Warm up, measure, and report, also what was measured before a failure or Ctrl-C."""
    status = 0
    # Whoever stops this with SIGTERM wants what was measured, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    typer.echo(f"writing to {experiment.folder}", err=True)
    try:
        with _progress() as show:
            show(experiment.run)
            if not experiment.is_over():
                experiment.warm_up()
                experiment.measure(show)
    except KeyboardInterrupt:
        status = STOPPED
        typer.echo("fiveways bench: stopped; this is the report of what was measured", err=True)
    except LoadgenError as error:
        status = FAILED
        typer.echo(f"fiveways bench: {error}", err=True)
    results, page = experiment.report()
    _print(experiment.run, results, experiment.folder, as_json=as_json)
    typer.echo(page, err=as_json)
    if not any(comparison.verdict.rounds for comparison in results.comparisons):
        status = status or FAILED
        typer.echo("fiveways bench: no round counts; the page says which gates failed", err=True)
    raise typer.Exit(status)


def report(folders: Sequence[File], out: File, *, as_json: bool) -> None:
    """Compute the results in `folders` again; the page of one goes to its folder, that of many to `out`."""
    with complaints():
        runs = {folder: load(folder) for folder in {folder.resolve(): folder for folder in folders}.values()}
        for folder, run in runs.items():
            results = analyse(run)
            save(run, results, folder)
            page = write_report(run, results, folder)
            if not as_json or len(runs) == 1:
                _print(run, results, folder, as_json=as_json)
        if len(runs) > 1:
            names = labels(tuple(runs))
            page, said = write_together({names[folder]: run for folder, run in runs.items()}, out)
            if as_json:
                typer.echo(said.decode())
        typer.echo(page, err=as_json)


def reread(file: File, baseline: str, delta: float, out: File, *, as_json: bool) -> None:
    """Say what follows from others' repeats in a CSV file; all goes to a folder in `out` of its name."""
    with complaints():
        repeats = read_repeats(file)
        reanalysis = reanalyse(repeats, baseline=baseline, delta=delta)
        folder = out / file.stem
        folder.mkdir(parents=True, exist_ok=True)
        page, said = write_reanalysis(reanalysis, repeats, file.name, folder)
    if as_json:
        typer.echo(said.decode())
    else:
        _console().print(reading_table(reanalysis))
        typer.echo(chance_sentence(reanalysis))
    typer.echo(page, err=as_json)


def _print(run: Run, results: Results, folder: File, *, as_json: bool) -> None:
    if as_json:
        typer.echo((folder / RESULTS).read_text(encoding="utf-8"))
        return
    console = _console()
    for arm in run.setup.plan.arms:
        console.print(verdict_table(run, results, arm))
        for line in other_differences(results, arm):
            console.print(f"  {line}", highlight=False, markup=False)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else TABLE_COLUMNS)


@contextmanager
def _progress() -> Iterator[Callable[[Run], None]]:
    """Show on a terminal, and only there, how far a run is; yield what is to be called after each block."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, refresh_per_second=2, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("warming up", total=None)

        def show(run: Run) -> None:
            if not run.observations:
                return
            last = run.observations[-1]
            done = f"round {last.round + 1}, {last.path}, {last.arm}"
            blocks_a_round = len(run.setup.plan.paths) * len(run.setup.plan.arms)
            progress.update(
                task,
                description=f"{done}: {last.bases_per_s:,.0f} bases/s",
                completed=len(run.observations),
                total=blocks_a_round * run.rounds_planned,
            )

        yield show


@contextmanager
def complaints(misuse: type[Exception] = PathError) -> Iterator[None]:
    """Turn what is wrong into a message on stderr and an exit status: 2 for what was typed, which is `misuse`
    and whatever can be nothing else, and 1 for all else, such as a folder that cannot be written."""
    try:
        yield
    except (misuse, PathError, PlanError, ReadsError, ResultsError) as error:
        typer.echo(f"fiveways: {error}", err=True)
        raise typer.Exit(MISUSED) from error
    except (LoadgenError, OSError) as error:
        typer.echo(f"fiveways: {error}", err=True)
        raise typer.Exit(FAILED) from error


def load_run(kind: Kind, folder: File) -> Run:
    """Read the run to go on with. Raises ResultsError."""
    if (folder / BLOCKS).exists():
        drop_cut_line(folder / BLOCKS)
    run = load(folder)
    if run.setup.kind != kind:
        raise ResultsError(f"{folder} is a run of fiveways bench {run.setup.kind}, not {kind}")
    return run


def new_folder(out: File) -> File:
    """Make a folder in `out`, named after the time. Raises OSError that names it where that cannot be."""
    folder = out / time.strftime("%Y%m%d-%H%M%S")
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise type(error)(f"{folder} cannot be made: {error.strerror}") from error
    return folder
