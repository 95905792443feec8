"""``sim new``: a commented scenario, or comparison, to begin with."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sim.cli.terminal import say
from sim.errors import ScenarioError

SCENARIO: Final = """\
# A scenario: who asks whom for what, how long that takes, what breaks, and what is asked of it. Every key: docs/scenario.md.
#   sim check {file}     mistakes and doubts, before any run
#   sim run {file}       numbers with 95 % intervals
question: Does the shop keep its promises while payment crashes?

services:
  shop:
    replicas: 2
    workers: 16                     # requests a replica handles at once; held while it waits for calls
    queue: 100                      # more are rejected
    operations:
      buy:                          # steps, one after the other
        - work: {{lognormal: {{p50: 8ms, p99: 40ms}}}}    # measured, if you can: sim calibrate makes it of recorded spans
        - call: payment.charge
        - publish: mails            # answered when the broker has it; the mail itself follows
  payment:
    replicas: 2
    workers: 8
    operations:
      charge:
        - work: {{exponential: 30ms}}
        - fail: 0.5 %               # answers that are errors
  mail:
    workers: 24
    operations:
      send: [{{work: 120ms}}]

queues:
  mails: {{consumer: mail.send, consumers: 24, persist: 3ms}}

links:
  default: 0.5ms                    # one way; a pair has its own: shop -> payment: {{latency: 2ms, loss: 0.1 %}}

calls:                              # what callers do about failures; absent: they wait for ever and try once
  default: {{timeout: 1s}}
  shop -> payment:
    per_try_timeout: 200ms
    retry: {{max_attempts: 3, backoff: {{base: 20ms, jitter: full}}}}
    # preset: envoy@1.40            # or the rules of a real system below yours: sim presets

load: {{rate: 120/s, mix: shop.buy}}

faults:
  - {{crash: payment, replica: 0, at: 20s, for: 5s}}

slos:                               # what the verdict and --gate hold it against
  - success >= 99 %
  - p99 <= 500ms
  - effect p99 of mail.send <= 5s

run: {{warmup: 5s, duration: 60s, replications: 10}}
"""

COMPARISON: Final = """\
# Rivals under the same load and the same failures; only what differs is written.
#   sim compare {file}    numbers, paired differences, and which one to choose
question: How often should the shop try?
base: {base}
candidates:                         # the first one is what the others are compared with
  one try: {{calls: {{shop -> payment: {{retry: {{max_attempts: 1}}}}}}}}
  three tries: {{}}
conditions:
  normal: {{faults: []}}
  crash: {{}}
"""


def start(target: Path, *, rivals: bool, force: bool, quiet: bool) -> None:
    """Write a scenario; with rivals a comparison, too, beside it.

    Raises:
        ScenarioError: a file is there already, or cannot be written.
    """
    texts = {target: SCENARIO.format(file=target)}
    if rivals:
        other = target.with_name(f"{target.stem}-rivals{target.suffix}")
        texts[other] = COMPARISON.format(file=other, base=target.name)
    for path in texts:
        if path.exists() and not force:
            raise ScenarioError(f"{path}: exists already; choose another name, or replace it with --force")
    for path, text in texts.items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as exc:
            raise ScenarioError(f"{path}: cannot be written: {exc.strerror}") from exc
        if not quiet:
            say(f"wrote     {path}; next: sim {'compare' if path is not target else 'check'} {path}")
