"""End-to-end tests: real clients, in a namespace of their own, against the built appliance.

    python3 scripts/e2e [--shards N] [--stand-in] [TEST ...]

TEST is a module, class or method, as `test_sockets.Echo`. With --stand-in, mosquitto and the kernel
serve instead of the appliance: it shows that the tests themselves are right.
"""

import argparse
import os
import sys
import time
import unittest

import world
from appliance import Appliance, StandIn, remove_all
from machine import cleaned_up, leftovers, unowned_hugepages

#: The scripts' own tests start instances by themselves, so once is enough.
MODULES = ["test_sockets", "test_ipv6", "test_mosquitto", "test_paho", "test_mqtt", "test_metrics",
           "test_look", "test_impaired", "test_lifecycle"]
MODULES_ONCE = ["test_scripts"]


class Result(unittest.TextTestResult):
    """One line a test, with its time."""

    def startTest(self, test):
        self._begun = time.monotonic()
        super().startTest(test)

    def addSuccess(self, test):
        unittest.TestResult.addSuccess(self, test)
        self.stream.writeln(f"ok ({time.monotonic() - self._begun:.1f} s)")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    arguments.add_argument("--shards", type=int, default=1)
    arguments.add_argument("--stand-in", action="store_true")
    arguments.add_argument("tests", nargs="*", metavar="TEST")
    options = arguments.parse_args()

    world.shards, world.stand_in = options.shards, options.stand_in
    world.prefix = f"e{os.getpid()}"
    once = MODULES_ONCE if options.shards == 1 and not options.stand_in else []
    suite = unittest.defaultTestLoader.loadTestsFromNames(options.tests or MODULES + once)
    hugepages = unowned_hugepages()

    name = world.prefix + "a"
    with cleaned_up() as stack:
        stack.callback(remove_all)
        world.appliance = StandIn(name) if options.stand_in else Appliance(name, options.shards)
        result = unittest.TextTestRunner(verbosity=2, resultclass=Result).run(suite)
        if not result.wasSuccessful():
            print(world.appliance.logs())

    left = leftovers(world.prefix)
    if unowned_hugepages() != hugepages:
        left.append(f"{unowned_hugepages() - hugepages} hugepages")
    for thing in left:
        print(f"left behind: {thing}")
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    skipped = f", {len(result.skipped)} skipped" if result.skipped else ""
    print(f"e2e: {result.testsRun - failed - len(result.skipped)} passed, {failed} failed{skipped}")
    return 1 if failed or left else 0


sys.exit(main())
