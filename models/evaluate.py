"""`fiveways evaluate`: how good a model's calls are, against a reference."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer


def evaluate(
    reads: Annotated[list[Path], typer.Argument(help="Files or folders of reads.")],
    reference: Annotated[Path, typer.Option(help="The FASTA that the reads come from.")],
    model: Annotated[
        list[str] | None, typer.Option("-m", "--model", help="A model; given twice, both are compared.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, or cuda:N.")] = "auto",
    read_ids: Annotated[
        Path | None, typer.Option(help="Evaluate only the reads whose ids this file lists, one a line.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Call reads, map the calls to a reference, and print identity, errors and the qualities' honesty."""
    import json  # noqa: PLC0415 - keeps `fiveways --help` quick

    from models.errors import ModelError  # noqa: PLC0415
    from models.mapping import Reference  # noqa: PLC0415
    from models.zoo import DEFAULT, load  # noqa: PLC0415
    from reads.errors import ReadsError  # noqa: PLC0415
    from reads.files import open_reads  # noqa: PLC0415

    def report(problem: object) -> None:
        typer.echo(f"fiveways evaluate: {problem}", err=True)

    results: dict[str, dict[str, Any]] = {}
    try:
        index = Reference(reference)
        wanted = read_ids.read_text().split() if read_ids else None
        for name in model or [DEFAULT]:
            caller = load(name, device)
            with open_reads(reads, read_ids=wanted, on_problem=report) as stream:
                results[name] = evaluation(caller, stream, index)
    except (ReadsError, ModelError, OSError) as error:
        report(error)
        raise typer.Exit(1) from error
    compare(results)
    typer.echo(json.dumps(results) if as_json else table(results))


def evaluation(caller: Any, reads: Any, reference: Any) -> dict[str, Any]:
    """Return one model's figures: summary, qualities, homopolymers, per-read rows, samples/s."""
    import time  # noqa: PLC0415

    from models.accuracy import Tally, accuracy, calibration, summarise  # noqa: PLC0415
    from models.basecaller import call  # noqa: PLC0415

    tally, rows, samples = Tally.empty(), [], 0
    began, mapping_s = time.monotonic(), 0.0
    for read, basecall in call(caller, reads):
        mapping_began = time.monotonic()
        mapping = reference.map(basecall)
        if mapping:
            tally.add(basecall, mapping)
        rows.append(accuracy(read.read_id, basecall, mapping))
        samples += basecall.samples
        mapping_s += time.monotonic() - mapping_began
    seconds = time.monotonic() - began - mapping_s
    return {
        "summary": asdict(summarise(rows)),
        "samples_per_s": samples / seconds,
        "qualities": [
            {"reported": q, "empirical": empirical, "bases": bases}
            for q, bases, empirical in calibration(tally)
        ],
        "homopolymers": [
            {"length": length, "runs": int(runs), "wrong_share": int(wrong) / int(runs)}
            for length, (runs, wrong) in enumerate(tally.by_homopolymer)
            if runs
        ],
        "reads": [{**asdict(row), "identity": row.identity} for row in rows],
    }


def compare(results: dict[str, dict[str, Any]]) -> None:
    """Add, to the second of two models, its identity less the first's over the reads that both mapped."""
    from scipy.stats import wilcoxon  # noqa: PLC0415

    if len(results) != 2:
        return
    first, second = (
        {row["read_id"]: row["identity"] for row in result["reads"] if row["columns"]}
        for result in results.values()
    )
    differences = [second[read_id] - first[read_id] for read_id in first.keys() & second.keys()]
    if differences:
        results[list(results)[1]]["against_first"] = {
            "reads": len(differences),
            "mean_difference": sum(differences) / len(differences),
            "wilcoxon_p": float(wilcoxon(differences).pvalue),
        }


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the figures as text, a column a model."""
    lines = ["\t".join(["", *results])]
    lines += [
        "\t".join([name, *(f"{result['summary'][name]:.5g}" for result in results.values())])
        for name in next(iter(results.values()))["summary"]
    ]
    speeds = [f"{result['samples_per_s']:.0f}" for result in results.values()]
    lines.append("\t".join(["samples_per_s", *speeds]))
    for model, result in results.items():
        lines.append(f"\nqualities of {model}: reported, empirical, bases")
        lines += [f"{q['reported']}\t{q['empirical']:.1f}\t{q['bases']}" for q in result["qualities"]]
        lines.append(f"\nhomopolymers of {model}: length, wrong, runs")
        lines += [f"{h['length']}\t{h['wrong_share']:.3f}\t{h['runs']}" for h in result["homopolymers"]]
        if "against_first" in result:
            against = result["against_first"]
            lines.append(
                f"\n{model} less the other, identity over {against['reads']} reads: "
                f"{against['mean_difference']:+.4f} (Wilcoxon p = {against['wilcoxon_p']:.2g})"
            )
    return "\n".join(lines)
