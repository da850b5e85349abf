"""The one appliance that most tests share, and the base of their classes."""

import unittest

import appliance as _appliance
from machine import inside

#: Set by __main__ before the first test.
appliance = None
#: Prefix of all instances of this run.
prefix = None
shards = 1
#: Whether mosquitto and the kernel stand in for the appliance.
stand_in = False


class Test(unittest.TestCase):
    """Runs in the namespace of the clients, against the shared appliance."""

    maxDiff = 2000

    def setUp(self):
        self.appliance = appliance
        self.address = _appliance.ADDRESS
        self.enterContext(inside(appliance.namespace))


class RealTest(Test):
    """A test of something only the appliance has."""

    def setUp(self):
        if stand_in:
            self.skipTest("the stand-in has none of this")
        super().setUp()
