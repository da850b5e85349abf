"""A black-box prober: raw Ethernet frames against an echo listener, checked against the RFCs.

    python3 scripts/prober [--against appliance|linux] [--shards N] [--jobs N] [CHECK ...]

CHECK is a part of a check's name. Every check has an address and ports of its own and knows nothing
of what it talks to. Linux shows that the checks themselves are right.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

# pylint: disable=wrong-import-position
from machine import cleaned_up
from registry import CHECKS, perform
from targets import Linux, Trunkline
import checks


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--against", choices=("appliance", "linux"), default="appliance")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--veth", action="store_true",
                        help="the appliance on a packet socket behind a veth, not on a tap")
    parser.add_argument("--jobs", type=int, default=48, help="checks at the same time")
    parser.add_argument("--list", action="store_true", help="name the checks and end")
    parser.add_argument("--json", type=pathlib.Path, help="write the verdicts there")
    parser.add_argument("--family", type=int, choices=(4, 6), help="only checks over IPv4 or IPv6")
    parser.add_argument("--times", action="store_true", help="show the slowest checks")
    parser.add_argument("checks", nargs="*", metavar="CHECK")
    options = parser.parse_args()
    checks.load()
    chosen = [one for one in CHECKS
              if options.family in (None, one.family)
              and (not options.checks or any(word in one.name for word in options.checks))]
    if options.list:
        for one in chosen:
            print(f"{one.name:60} {one.section}")
        print(len(chosen), "checks")
        return 0
    with cleaned_up() as stack:
        name = f"p{os.getpid()}"
        target = (Linux(name) if options.against == "linux"
                  else Trunkline(name, options.shards, options.veth))
        stack.callback(target.stop)
        target.start()
        link = target.link()
        stack.callback(link.close)
        begun = time.monotonic()
        outcomes = run_all(link, chosen, options.jobs)
        seconds = time.monotonic() - begun
        return report(link, outcomes, seconds, options)


def run_all(link, chosen, jobs):
    """Those that may run together at the same time, then the others.

    What fails is done once more, with the link to itself: on a busy machine the prober or its target
    may be stopped for longer than a check can tell from silence.
    """
    outcomes = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        together = [pool.submit(perform, link, one) for one in chosen if not one.alone]
        for done in concurrent.futures.as_completed(together):
            outcomes.append(done.result())
    outcomes += [perform(link, one) for one in chosen if one.alone]
    for at, outcome in enumerate(outcomes):
        if outcome.verdict == "FAILED":
            again = perform(link, outcome.check)
            again.repeated = outcome.why
            outcomes[at] = again
        show(outcomes[at])
    return outcomes


def show(outcome):
    if outcome.verdict == "ok":
        if outcome.repeated:
            print(f"ok the second time: {outcome.check.name}: first {outcome.repeated}")
        return
    print(f"{outcome.verdict} {outcome.check.name} ({outcome.check.section}): {outcome.why}")
    if outcome.story:
        print(outcome.story)
    sys.stdout.flush()


def report(link, outcomes, seconds, options):
    """The sums, and the exit code."""
    repeated = [one for one in outcomes if one.repeated and one.verdict == "ok"]
    failed = [one for one in outcomes if one.verdict in ("FAILED", "BROKEN")]
    skipped = [one for one in outcomes if one.verdict == "skipped"]
    differs = [one for one in outcomes if one.verdict == "differs"]
    if options.times:
        for one in sorted(outcomes, key=lambda one: -one.seconds)[:25]:
            print(f"{one.seconds:6.1f} s {one.check.name}")
    if options.json:
        options.json.write_text(json.dumps({
            one.check.name: [one.check.section, one.verdict, one.why] for one in outcomes}))
    for fault in link.faults[:20]:
        print(f"malformed frame from the target: {fault}")
    print(f"prober against {options.against}: "
          f"{len(outcomes) - len(failed) - len(skipped) - len(differs)} passed, "
          f"{len(failed)} failed, {len(repeated)} passed only the second time, "
          f"{len(differs)} known differences, {len(skipped)} skipped, "
          f"{len(link.faults)} malformed frames, {seconds:.0f} s")
    return 1 if failed or link.faults else 0


sys.exit(main())
