"""The command line: ``sim check``, ``show``, ``run``, ``compare``, ``calibrate``.

Exit codes: 0 all right, 1 the gate failed, 2 bad input or usage, 130 interrupted. Data goes to standard output, everything
else to standard error. Nothing heavy is imported before a command needs it.
"""

from sim.cli.app import app, main

__all__ = ["app", "main"]
