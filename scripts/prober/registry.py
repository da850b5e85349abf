"""The checks, by name, and how one of them runs."""

import dataclasses
import time
import traceback

from client import Client
from link import Failure, Skip

CHECKS = []


@dataclasses.dataclass
class Check:
    """One behaviour, over one family of addresses."""

    name: str
    section: str
    run: callable
    family: int
    #: Runs alone, after the others: it floods the target, or counts on quiet.
    alone: bool = False
    #: Why Linux rightly or knowingly does otherwise.
    linux: str = ""


@dataclasses.dataclass
class Outcome:
    check: Check
    verdict: str
    seconds: float
    why: str = ""
    story: str = ""
    #: Why it was done a second time.
    repeated: str = ""


def check(section, families=(4,), alone=False, linux=""):
    """Registers a check; its docstring says what must happen, `section` where that stands."""
    def register(function):
        for family in families:
            suffix = "_v6" if family == 6 else ""
            CHECKS.append(Check(function.__name__ + suffix, section, function, family, alone, linux))
        return function
    return register


#: For checks that hold for both.
BOTH = (4, 6)
SIX = (6,)


def cases(section, *arguments, families=(4,), alone=False, linux=""):
    """Registers a check once for each case: (name, arguments...)."""
    def register(function):
        for label, *rest in arguments:
            def run(host, rest=tuple(rest)):
                return function(host, *rest)
            run.__name__ = f"{function.__name__}_{label}"
            run.__doc__ = function.__doc__
            check(section, families, alone, linux)(run)
        return function
    return register


def perform(link, one):
    """Runs a check with a host of its own and removes what it left."""
    begun = time.monotonic()
    host = link.host()
    host.family, host.client = one.family, Client
    why = ""
    try:
        one.run(host)
        verdict = "ok"
    except Skip as reason:
        verdict, why = "skipped", str(reason)
    except Failure as reason:
        verdict, why = "FAILED", str(reason)
        if one.linux and link.target.kind == "linux":
            verdict, why = "differs", one.linux
    except Exception:  # pylint: disable=broad-except
        verdict, why = "BROKEN", traceback.format_exc()
    finally:
        for flow in list(host.flows.values()):
            flow.reset()
    seconds = time.monotonic() - begun
    story = host.tell() if verdict in ("FAILED", "BROKEN") else ""
    if story:
        story = f"    {one.run.__doc__}\n{story}"
    host.answers = True
    return Outcome(one, verdict, seconds, why, story)
