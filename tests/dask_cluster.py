"""A small Dask cluster of real processes: ``python dask_cluster.py`` says where it is, and runs until it is killed
or nobody is left who asked for it.

A scheduler with two workers, and one without any. Processes are forked after the imports, which take longer than all the rest.
A worker that dies is replaced, as Dask's nannies do it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Coroutine
from typing import Any

import dask
from distributed import Scheduler, Worker

import sim
from sim.scenario.yaml import loads

HOST = "127.0.0.1"


async def schedule(told: int) -> None:
    async with Scheduler(host=HOST, port=0, dashboard=False) as scheduler:
        os.write(told, scheduler.address.encode() + b"\n")
        await scheduler.finished()


async def work(address: str) -> None:
    async with Worker(address, host=HOST, nthreads=1) as worker:
        await worker.finished()


def forked(role: Coroutine[Any, Any, None]) -> None:
    if os.fork() == 0:
        asyncio.run(role)
        os._exit(0)
    role.close()


def scheduler() -> str:
    read, write = os.pipe()
    forked(schedule(write))
    os.close(write)
    with os.fdopen(read) as told:
        return told.readline().strip()


SHOP = """\
services: {shop: {workers: 1, operations: {buy: [{work: 10ms}]}}}
load: {rate: 10/s, mix: shop.buy}
run: {duration: 1s}
"""

if __name__ == "__main__":
    sim.replicate(loads(SHOP), 1, workers=1)  # imports the rest
    dask.config.set({"distributed.scheduler.allowed-failures": 1})
    full, empty = scheduler(), scheduler()
    for _ in range(2):
        forked(work(full))
    print(json.dumps([full, empty]), flush=True)
    parent = os.getppid()
    while os.getppid() == parent:  # whoever is killed cannot end us
        if os.waitpid(-1, os.WNOHANG)[0]:
            forked(work(full))
        time.sleep(0.02)
    os.killpg(0, signal.SIGKILL)
