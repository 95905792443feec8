"""The command line: scenarios (``new``, ``check``, ``show``, ``presets``, ``protocols``, ``measure-codecs``, ``calibrate``),
simulation (``run``, ``compare``, ``sweep``, ``search``, ``select``, ``sensitivity``, ``optimise``, ``warmup``, ``validate``)
and results (``report``, ``explain``, ``regret``, ``waterfall``, ``traces``); each says more, with examples, after ``--help``.

Exit codes: 0 all right, 1 the gate, a run or a case failed, 2 bad input or usage, 130 interrupted. Data goes to standard
output, everything else to standard error. Nothing heavy is imported before a command needs it.
"""

from sim.cli.app import app, main

__all__ = ["app", "main"]
