"""What follows from a run: its blocks paired by round, and from them verdicts, headroom, and gates.

    x(path, round) / geometric mean of x over the two blocks of host networking in the same round

is one ratio a round. Both arms of the A/A control together are what the paths are held against: that has
half of the noise of one of them. What is counted and may be 0 (`loadgen.measure.RATES`) is held against their
mean, by difference. Pure.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from loadgen.facts import conflicts
from loadgen.gates import Gate, block_gates, control_gate, line_rate_gate, rate_control_gate
from loadgen.headroom import Headroom, expected_limits, headroom, line_limits
from loadgen.measure import BASES, MEASURES, RATES, Measure, Rate
from loadgen.noise import Noise, noise_of
from loadgen.observation import Observation
from loadgen.plan import Arm
from loadgen.results import Comparison, Contrast, Results, Run, Summary
from loadgen.tally import STAGES, Tally, merged
from loadgen.verdict import judge, judge_difference, phrase, phrase_difference

_WITHHELD = "no verdict: host networking differs from itself"


@dataclass(frozen=True, slots=True)
class _Logs:
    """For each path the logarithm of its value in each round; None where that block does not count."""

    measure: Measure
    arm: Arm
    of: Mapping[str, Sequence[float | None]]


def analyse(run: Run) -> Results:
    """Return what follows from a run, whether it has ended or not."""
    setup = run.setup
    comparisons, controls = list[Comparison](), list[Comparison]()
    contrasts, control_contrasts = list[Contrast](), list[Contrast]()
    # All controls of a run together may fail by chance as often as one comparison.
    controls_count = (len(MEASURES) + len(RATES)) * len(setup.plan.arms)
    both_hosts = (setup.baseline, setup.control)
    gates = [*run.gates, *block_gates(run.observations), *_line_gates(run)]
    for arm in setup.plan.arms:
        trusted = True
        for measure in MEASURES:
            logs = _logs(run, measure, arm)
            control = _compare(
                run, logs, setup.control, against=(setup.baseline,), comparisons=controls_count
            )
            gate = control_gate(arm, measure.title, control.verdict)
            controls.append(control)
            gates.append(gate)
            # Where bases/s differ between host networking and itself, nothing of that arm can be trusted.
            trusted = trusted and (gate.held or measure is not BASES)
            for path in setup.compared:
                row = _compare(run, logs, path, against=both_hosts, comparisons=len(setup.compared))
                withheld = not (trusted and gate.held)
                comparisons.append(replace(row, words=_WITHHELD, withheld=True) if withheld else row)
        for rate in _measured_rates(run, arm):
            mirror = _contrast(
                run, rate, arm, setup.control, against=(setup.baseline,), comparisons=controls_count
            )
            gate = rate_control_gate(arm, rate, mirror.difference)
            control_contrasts.append(mirror)
            gates.append(gate)
            for path in setup.compared:
                line = _contrast(run, rate, arm, path, against=both_hosts, comparisons=len(setup.compared))
                withheld = not (trusted and gate.held)
                contrasts.append(replace(line, words=_WITHHELD, withheld=True) if withheld else line)
    headrooms = tuple(_headrooms(run))
    lines = line_limits(clean_window(run, arm=setup.main_arm), setup.options.get("line_rate_bps"))
    return Results(
        comparisons=tuple(comparisons),
        controls=tuple(controls),
        contrasts=tuple(contrasts),
        control_contrasts=tuple(control_contrasts),
        noises=tuple(_noise(run, arm) for arm in setup.plan.arms),
        summaries=tuple(_summaries(run)),
        headrooms=headrooms,
        line_limits=lines,
        expected_limits=tuple(expected_limits(headrooms, lines, beside_the_line=_within_a_node(run))),
        gates=tuple(gates),
        conflicts=conflicts(run.facts),
    )


def is_resolved(results: Results, arm: Arm) -> bool:
    """Say whether every path has its verdict in bases/s, and the A/A control is found equivalent.

    A control that is too noisy to tell holds nothing.
    """
    compared = results.of(BASES, arm)
    return results.control(BASES, arm).verdict.word == "equivalent" and all(
        comparison.verdict.word != "unresolved" for comparison in compared
    )


def _logs(run: Run, measure: Measure, arm: Arm) -> _Logs:
    rounds = run.rounds
    logs: dict[str, list[float | None]] = {p.name: [None] * len(rounds) for p in run.setup.plan.paths}
    for number, blocks in enumerate(rounds):
        for block in blocks:
            if block.arm == arm and not block.voids:
                value = measure.of(block)
                logs[block.path][number] = math.log(value) if value else None
    return _Logs(measure, arm, logs)


def _compare(run: Run, logs: _Logs, path: str, *, against: tuple[str, ...], comparisons: int) -> Comparison:
    """Hold a path against the geometric mean of others, in the rounds in which all of them count."""
    values, hosts = list[float](), list[float]()
    for value, *others in zip(logs.of[path], *(logs.of[other] for other in against), strict=True):
        counted = [other for other in others if other is not None]
        if value is not None and len(counted) == len(against):
            values.append(value)
            hosts.append(math.fsum(counted) / len(counted))
    look = max(1, len(run.rounds))
    delta = run.setup.delta
    verdict = judge(
        [value - host for value, host in zip(values, hosts, strict=True)],
        look=look,
        looks=max(look, run.rounds_planned),
        delta=delta,
        comparisons=comparisons,
    )
    return Comparison(
        measure=logs.measure.name,
        arm=logs.arm,
        path=path,
        value=_geometric_mean(values),
        host_value=_geometric_mean(hosts),
        verdict=verdict,
        words=phrase(verdict, more=logs.measure.more, less=logs.measure.less, delta=delta),
        withheld=False,
    )


def _noise(run: Run, arm: Arm) -> Noise:
    of = _logs(run, BASES, arm).of
    whole = [values for values in zip(*of.values(), strict=True) if None not in values]
    logs = np.array(whole, dtype=np.float64).reshape(-1, len(of))
    planned = max(len(run.rounds), run.rounds_planned)
    return noise_of(arm, logs, rounds=planned, comparisons=len(run.setup.compared))


def _measured_rates(run: Run, arm: Arm) -> tuple[Rate, ...]:
    blocks = [block for block in _blocks(run, arm=arm) if not block.voids]
    return tuple(rate for rate in RATES if any(rate.of(block) is not None for block in blocks))


def _contrast(
    run: Run, rate: Rate, arm: Arm, path: str, *, against: tuple[str, ...], comparisons: int
) -> Contrast:
    """Hold a path's rate against the mean of others, in the rounds in which all of them count."""
    pairs = []
    for blocks in run.rounds:
        counted = {b.path: b for b in blocks if b.arm == arm and not b.voids and rate.of(b) is not None}
        if {path, *against} <= set(counted):
            pairs.append((counted[path], [counted[other] for other in against]))
    values = [rate.of(block) or 0.0 for block, _ in pairs]
    host_values = [_mean([rate.of(host) or 0.0 for host in hosts]) for _, hosts in pairs]
    # What host networking is measured with is as much as a path has, or more.
    among = min(
        math.fsum(rate.among(block) or 0.0 for block, _ in pairs),
        math.fsum(rate.among(host) or 0.0 for _, hosts in pairs for host in hosts),
    )
    yardsticks = [rate.yardstick(host) for _, hosts in pairs for host in hosts]
    known = [yardstick for yardstick in yardsticks if yardstick is not None]
    margin = run.setup.delta * _mean(known)
    look = max(1, len(run.rounds))
    difference = judge_difference(
        [value - host for value, host in zip(values, host_values, strict=True)],
        look=look,
        looks=max(look, run.rounds_planned),
        margin=margin,
        resolution=rate.quantum / among if among else math.inf,
        comparisons=comparisons,
    )
    words = phrase_difference(difference, more=rate.more, less=rate.less, unit=rate.unit, margin=margin)
    value, host_value = _mean(values), _mean(host_values)
    return Contrast(rate.name, arm, path, value, host_value, margin, difference, words, withheld=False)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _geometric_mean(logs: Sequence[float]) -> float:
    return math.exp(math.fsum(logs) / len(logs)) if logs else math.nan


def _blocks(run: Run, path: str | None = None, arm: Arm | None = None) -> list[Observation]:
    return [o for o in run.observations if path in {None, o.path} and arm in {None, o.arm}]


def clean_window(run: Run, path: str | None = None, arm: Arm | None = None) -> Tally:
    """Return the sum of the windows of all blocks that count, of one path or arm or of all."""
    return merged(o.window for o in _blocks(run, path, arm) if not o.voids)


def _line_gates(run: Run) -> Iterator[Gate]:
    rate_bps = run.setup.options.get("line_rate_bps")
    if rate_bps:
        within = _within_a_node(run)
        yield line_rate_gate([o for o in run.observations if o.path not in within], rate_bps)


def _within_a_node(run: Run) -> frozenset[str]:
    """Return the names of the paths that never leave a node: those of the way `bridge`."""
    return frozenset(path.name for path in run.setup.plan.paths if path.way == "bridge")


def _summaries(run: Run) -> Iterator[Summary]:
    for arm in run.setup.plan.arms:
        for path in run.setup.plan.paths:
            blocks = _blocks(run, path.name, arm)
            counted = [block for block in blocks if not block.voids]
            window = merged(block.window for block in counted)
            total = merged(block.total for block in blocks)
            window_s = math.fsum(block.window_s for block in counted) or math.nan
            yield Summary(
                path=path.name,
                arm=arm,
                blocks=len(blocks),
                voided=len(blocks) - len(counted),
                requests=total.requests,
                failures=total.failures,
                bases_per_s=math.fsum(block.spread_bases for block in counted) / window_s,
                samples_per_s=math.fsum(b.spread_samples for b in counted) / window_s
                if window_s
                else math.nan,
                p50_ms=window.latency.quantile_ms(0.5),
                p99_ms=window.latency.quantile_ms(0.99),
                shares_ms=_shares_ms(window),
            )


def _shares_ms(tally: Tally) -> dict[str, float]:
    """Return where the time of a mean answer went, by results.SHARES; nothing without answers."""
    if not tally.answers:
        return {}
    named = {stage: tally.stage_ms[stage] for stage in STAGES if stage != "total"}
    other = max(0.0, tally.stage_ms["total"] - math.fsum(named.values()))
    return {
        share: ms / tally.answers
        for share, ms in {"network": tally.network_ms, **named, "other": other}.items()
    }


def _headrooms(run: Run) -> Iterator[Headroom]:
    if not {"model", "null"} <= set(run.setup.plan.arms):
        return
    for path in run.setup.plan.paths:
        blocks = [
            {block.arm: block for block in blocks if block.path == path.name and not block.voids}
            for blocks in run.rounds
        ]
        pairs = [(arms["model"], arms["null"]) for arms in blocks if len(arms) == 2]
        factors = [math.log(null.samples_per_s / model.samples_per_s) for model, null in pairs]
        model_bases_per_s = _geometric_mean([math.log(model.bases_per_s) for model, _ in pairs])
        yield headroom(path.name, factors, model_bases_per_s)
