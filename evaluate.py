"""Compare policies on the same worlds: `python evaluate.py --scenario rotterdam --policies base_stock nearest`."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from fabmesh.agents.evaluation.explain import export as explain_export
from fabmesh.agents.evaluation.explain import tables as explain_report
from fabmesh.agents.evaluation.explain.explain import default_reference, explain
from fabmesh.agents.evaluation.judge import manifest as manifests
from fabmesh.agents.evaluation.judge.comparison import Comparison, compare_entries
from fabmesh.agents.evaluation.judge.entries import ActionChoice, Entry, parse_entries
from fabmesh.agents.evaluation.judge.seeds import MOST_AT_ONCE, SeedSet, seed_set
from fabmesh.agents.evaluation.show import export
from fabmesh.agents.evaluation.show import tables as report
from fabmesh.agents.evaluation.show.outputs import Outputs, outputs_in, write_outputs, write_then_show
from fabmesh.agents.evaluation.studies import stress
from fabmesh.agents.registry import names, scenario_of
from fabmesh.envs.commands import MOST_THREADS, guarded, require_within, tell
from fabmesh.envs.errors import FabmeshError
from fabmesh.envs.files import check_writable, is_stream, write_text
from fabmesh.envs.network.loading import load_scenario
from fabmesh.envs.network.schema.recorded import RecordedOrders, days_read, read_orders
from fabmesh.envs.network.schema.scenario import Scenario
from fabmesh.envs.terminal import Terminal

OTHER_NUMBERS = 1  # exit code when a manifest's numbers do not come out again
FIXED_BY_MANIFEST = (
    "--policies",
    "--scenario",
    "--seeds",
    "--episodes",
    "--first-seed",
    "--actions",
    "--against",
    "--orders",
)


@dataclass(frozen=True)
class EvaluateConfig:
    """Compare policies on the same worlds: costs, service, markets and paired differences with 95 % intervals.

    Costs are EUR per episode over the whole network, settlement included. Prints tables; writes files where asked.
    """

    policies: Annotated[tuple[str, ...], tyro.conf.arg(metavar="POLICY [POLICY ...]")] = ()
    """Policies to compare: names of rules (tuned, base_stock, nearest, random, idle, ...), shipped:SCENARIO for the
    trained policy that comes with the package, or paths of run directories or checkpoints. A trained policy of another
    scenario is moved to this one where it fits; :sample after it takes sampled instead of most likely actions. Training
    runs of one algorithm are joined by commas and may be named: mappo=runs/a1,runs/a2,runs/a3; they make one row, whose
    interval covers training seeds and worlds."""
    scenario: str = "rotterdam"
    """Name of a shipped scenario or path of a YAML file."""
    orders: Path | None = None
    """CSV file of recorded orders (date, town, product, units, ...; docs/orders.md) that every world plays in place of
    drawn demand; outages, revisions and lead times stay those of the seed."""
    seeds: Annotated[str, tyro.conf.arg(metavar="{train,validation,test,holdout,holdout:SEED}")] = "validation"
    """Seed space: validation (64 named seeds, on which training chooses a run's checkpoint), test (256 named seeds
    that training never touches: use them for results), train, holdout, or holdout:SEED with a whole number of your
    own, for worlds that nobody has seen before."""
    episodes: int = 64
    """Number of seeds = episodes per policy and training run, at most 4096 at a time."""
    first_seed: int = 0
    """Index of the first seed in its space."""
    actions: ActionChoice = "likeliest"
    """Actions of trained policies: the likeliest, sampled ones, or both in a row each. Rules have no choice."""
    against: str | None = None
    """Row that all others are compared with where there are more than four (default: the first). With --explain: the
    policy that the other is explained against (default: tuned, or base_stock where nothing is tuned)."""
    explain: Annotated[str | None, tyro.conf.arg(metavar="POLICY")] = None
    """Take one policy apart instead, against the policy of --against on the same worlds: the difference in cost line by
    line, bids against what is seen, order levels, the days around outages, and which components are used
    (docs/explain.md). A trained policy plays its own scenario unless --scenario names another. Goes with --json,
    --csv, --markdown, --figures and --out (explain.json, explain.csv, explain.md and figures) for outputs."""
    stress: Annotated[str | None, tyro.conf.arg(metavar="{NAME,PATH,all}")] = None
    """Stress test instead: name of a disruption of configs/stress, path of a YAML file like those, or all. Each policy
    plays the same seeds with and without it; printed are cost added, units lost and late, and days to recover.
    Goes with --json, --csv, --markdown and --out (stress.json, stress.csv, stress.md) for outputs."""
    manifest: Annotated[Path | None, tyro.conf.arg(name="from", metavar="MANIFEST")] = None
    """Make the table of a manifest.json again: same policies, scenario and seeds, which are checked to be the same.
    Goes with options for outputs, threads and quiet only; exit code 1 if other numbers come out."""
    threads: int = 1
    """Threads that step the worlds; results do not depend on it."""
    out: Path | None = None
    """Directory for everything: table.md, table.csv, results.json, marl_eval.json, figures, tensorboard and, for
    --from, manifest.json. The options below name other places for parts of it."""
    json: Path | None = None
    """File for means, other aggregates, intervals and paired differences as JSON."""
    csv: Path | None = None
    """File for every measure of every episode as CSV, one row per policy, training run and seed."""
    markdown: Path | None = None
    """File for the tables as Markdown, the command above them."""
    figures: Path | None = None
    """Directory for figures (PNG)."""
    tensorboard: Path | None = None
    """Log directory for TensorBoard: scalars, hyperparameters, tables and figures."""
    quiet: bool = False
    """No progress bar."""

    @property
    def outputs(self) -> Outputs:
        """Everything to write."""
        named = {
            "json": self.json,
            "csv": self.csv,
            "markdown": self.markdown,
            "figures": self.figures,
            "tensorboard": self.tensorboard,
        }
        base = Outputs() if self.out is None else outputs_in(self.out)
        return replace(base, **{name: path for name, path in named.items() if path is not None})


@dataclass(frozen=True)
class Job:
    """What is to be judged, checked: nothing the user gave is wrong any more but the policies themselves."""

    scenario_given: str
    scenario: Scenario
    entries: tuple[Entry, ...]
    seeds: SeedSet
    against: str | None
    plan: manifests.Plan | None = None
    orders_given: str | None = None
    orders: RecordedOrders | None = None


def run(config: EvaluateConfig, arguments: Sequence[str], console: Terminal) -> int:
    """Compare, print and write; returns the exit code.

    Raises:
        FabmeshError: If something the user gave is wrong; then nothing has been written.
        KeyboardInterrupt: If the user stops it; with a message if files may have been written by then.
    """
    require_within(config, threads=(1, MOST_THREADS))
    if config.explain is not None:
        return _run_explain(config, arguments, console)
    if config.stress is not None:
        return _run_stress(config, arguments, console)
    job = _job_of_manifest(config.manifest, arguments) if config.manifest is not None else _job_of_options(config)
    outputs = config.outputs
    if config.out is not None:
        check_writable(config.out, "--out", directory=True)
    outputs.check()
    if outputs.manifest is not None and job.orders_given is not None and is_stream(Path(job.orders_given)):
        raise FabmeshError(f"--orders {job.orders_given}: cannot be read again for --out; save it in a file first")
    hashes = manifests.hashes_of(job.entries, job.scenario)

    if job.orders is not None:
        _tell_of_orders(job.orders, job.scenario)
    with nullcontext() if config.manifest is None else manifests.naming(config.manifest):
        comparison = compare_entries(
            job.entries, job.scenario, job.seeds, config.threads, config.quiet, job.against, job.orders
        )

    def write() -> None:
        command = shlex.join(["fabmesh-evaluate", *arguments])
        made = manifests.make_manifest(comparison, job.entries, hashes, job.scenario_given, command, job.orders_given)
        write_outputs(outputs, comparison, made)

    chosen = job.seeds.space == "validation" and any(entry.trained for entry in job.entries)
    _write_then_print(outputs, [write] if outputs.places else [], report.sheets(comparison), chosen, console)
    return 0 if job.plan is None else _say_whether_same(job.plan, comparison, console)


def _write_then_print(
    outputs: Outputs,
    writers: Iterable[Callable[[], object]],
    tables: Sequence[report.Sheet],
    chosen: bool,
    console: Terminal,
) -> None:
    """Write the results, then print them and where they are; `chosen`: on the worlds that a checkpoint was chosen on.

    Raises:
        FabmeshError: If something could not be written; the rest is, and the tables are printed.
        KeyboardInterrupt: If the user stops the writing, saying what may be missing.
    """

    def show() -> None:
        report.print_sheets(tables, console)
        if chosen:
            console.say("", report.CHOSEN_NOTE)

    where = ", ".join(str(path) for path in outputs.places)
    try:
        write_then_show(writers, show)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(where and f"stopped while writing: {where} may be missing, or from before") from None
    if where:
        console.say(f"written: {where}")


def orders_notes(orders: RecordedOrders, scenario: Scenario) -> list[str]:
    """What a user should know of recorded orders before believing a table: what is in them, and if it is enough."""
    notes = [f"orders: {orders.summary()}"]
    missing = days_read(scenario) - orders.days
    if missing > 0:
        notes.append(
            f"note: an episode of {scenario.name} reads {days_read(scenario)} days of orders; the last {missing} have "
            "none, and stock that only they could need is written down at the end"
        )
    return notes


def _tell_of_orders(orders: RecordedOrders, scenario: Scenario) -> None:
    for line in orders_notes(orders, scenario):
        tell(line)


def _run_stress(config: EvaluateConfig, arguments: Sequence[str], console: Terminal) -> int:
    """The policies under stress tests.

    Raises:
        FabmeshError: If something the user gave is wrong; then nothing has been written.
    """
    assert config.stress is not None
    _refuse_beside("--stress", config, "manifest", "figures", "tensorboard", "against")
    outputs = _named_outputs(config, "stress")
    job = _job_of_options(config)
    if job.orders is not None:
        _tell_of_orders(job.orders, job.scenario)
    found = stress.stress_test(
        job.entries, job.scenario, job.seeds, config.stress, config.threads, config.quiet, job.orders
    )
    tables = stress.sheets(found)

    def writers() -> Iterator[Callable[[], object]]:
        if outputs.json is not None:
            yield partial(export.write_json, stress.to_json(found), outputs.json)
        if outputs.csv is not None:
            yield partial(stress.write_csv, found, outputs.csv)
        if outputs.markdown is not None:
            yield partial(_write_markdown, tables, outputs.markdown, arguments)

    _write_then_print(outputs, writers(), tables, False, console)
    return 0


def _run_explain(config: EvaluateConfig, arguments: Sequence[str], console: Terminal) -> int:
    """One policy taken apart against another.

    Raises:
        FabmeshError: If something the user gave is wrong; then nothing has been written.
    """
    assert config.explain is not None
    _refuse_beside("--explain", config, "policies", "manifest", "stress", "tensorboard")
    outputs = _named_outputs(config, "explain", figures=True)
    if config.actions == "both":
        raise FabmeshError("--actions both: --explain takes one policy apart; choose likeliest or sampled")
    given = {argument.partition("=")[0] for argument in arguments}
    own = None if "--scenario" in given else scenario_of(parse_entries([config.explain])[0].members[0])
    name = own or config.scenario
    against = config.against or default_reference(load_scenario(name))
    job = _job_of_options(replace(config, scenario=name, policies=(config.explain, against)))
    policy, reference = job.entries
    if job.orders is not None:
        _tell_of_orders(job.orders, job.scenario)
    found = explain(policy, reference, job.scenario, job.seeds, config.threads, config.quiet, job.orders)
    tables = explain_report.sheets(found)

    def writers() -> Iterator[Callable[[], object]]:
        if outputs.json is not None:
            yield partial(export.write_json, explain_export.to_json(found), outputs.json)
        if outputs.csv is not None:
            yield partial(explain_export.write_csv, found, outputs.csv)
        if outputs.markdown is not None:
            yield partial(_write_markdown, tables, outputs.markdown, arguments)
        if outputs.figures is not None:
            from fabmesh.agents.evaluation.explain.figures import explanation_figures  # matplotlib takes a second
            from fabmesh.agents.evaluation.show.figures import save_figures

            yield partial(save_figures, explanation_figures(found), outputs.figures)

    _write_then_print(outputs, writers(), tables, job.seeds.space == "validation" and policy.trained, console)
    return 0


def _refuse_beside(option: str, config: EvaluateConfig, *fields: str) -> None:
    """Refuses options that do not go with one.

    Raises:
        FabmeshError: If one of them is given.
    """
    for field in fields:
        given = getattr(config, field)
        if given not in (None, ()):
            name = "from" if field == "manifest" else field
            shown = " ".join(given) if isinstance(given, tuple) else given
            raise FabmeshError(f"--{name} {shown}: does not go with {option}; leave one of them out")


def _named_outputs(config: EvaluateConfig, name: str, figures: bool = False) -> Outputs:
    """Where to write something else than a comparison: what is asked for, of --out files of that name.

    Raises:
        FabmeshError: If it could not be written.
    """
    base = Outputs()
    if config.out is not None:
        check_writable(config.out, "--out", directory=True)
        base = Outputs(*(config.out / f"{name}.{suffix}" for suffix in ("json", "csv", "md")))
        base = replace(base, figures=config.out / "figures" if figures else None)
    outputs = Outputs(
        config.json or base.json,
        config.csv or base.csv,
        config.markdown or base.markdown,
        figures=config.figures or base.figures,
    )
    outputs.check()
    return outputs


def _write_markdown(tables: Sequence[report.Sheet], path: Path, arguments: Sequence[str]) -> None:
    write_text(path, report.markdown_sheets(tables, [shlex.join(["fabmesh-evaluate", *arguments])]))


def _job_of_options(config: EvaluateConfig) -> Job:
    """What the options ask for.

    Raises:
        FabmeshError: If one of them is wrong.
    """
    if not config.policies:
        raise FabmeshError("--policies: name at least one policy, or give a manifest with --from")
    if config.episodes > MOST_AT_ONCE:
        raise FabmeshError(
            f"--episodes {config.episodes}: at most {MOST_AT_ONCE} at a time; go on with --first-seed {MOST_AT_ONCE}"
        )
    entries = tuple(parse_entries(config.policies, config.actions))
    seeds = seed_set(config.seeds, config.episodes, config.first_seed)
    scenario = load_scenario(config.scenario)
    given = None if config.orders is None else str(config.orders)
    return Job(
        config.scenario,
        scenario,
        entries,
        seeds,
        config.against,
        orders_given=given,
        orders=None if given is None else read_orders(given, scenario),
    )


def _job_of_manifest(path: Path, arguments: Sequence[str]) -> Job:
    """What a manifest asks for.

    Raises:
        FabmeshError: If it cannot be used, what it is about has changed, or options contradict it.
    """
    given = {argument.partition("=")[0] for argument in arguments}
    clash = [option for option in FIXED_BY_MANIFEST if option in given]
    if clash:
        raise FabmeshError(f"--from {path}: the manifest says what is judged; leave out {', '.join(clash)}")
    plan = manifests.read_manifest(path)
    with manifests.naming(path):
        scenario = load_scenario(plan.scenario)
    manifests.require_same_inputs(plan, scenario, path)
    others = manifests.other_versions(plan)
    if others:
        tell(f"note: other versions than the manifest's: {', '.join(others)}")
    orders = None if plan.orders is None else read_orders(plan.orders, scenario)
    return Job(plan.scenario, scenario, plan.entries, plan.seeds, plan.against, plan, plan.orders, orders)


def _say_whether_same(plan: manifests.Plan, comparison: Comparison, console: Terminal) -> int:
    difference = manifests.difference_from(plan, comparison)
    if difference is None:
        console.say("the same numbers as in the manifest, bit for bit")
        return 0
    tell(f"error: other numbers than in the manifest: {difference}")
    return OTHER_NUMBERS


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 for other numbers than a manifest's, 2 for wrong input."""
    arguments = list(sys.argv[1:] if args is None else args)

    def judge() -> int:
        about = f"{inspect.getdoc(EvaluateConfig)}\n\nPolicies that have a name: {', '.join(names())}."
        config = tyro.cli(EvaluateConfig, args=arguments, prog="fabmesh-evaluate", description=about)
        return run(config, arguments, Terminal(report.WIDTH))

    return guarded(judge, "stopped; nothing has been written")


if __name__ == "__main__":
    sys.exit(main())
