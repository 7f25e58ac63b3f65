from __future__ import annotations

import asyncio

from tenantry_syncer.kube.client import ApiError
from tenantry_syncer.kube.work_queue import SLOW_AT, RequeueAfter, WorkQueue


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario(), 10))


async def served(queue: WorkQueue, until: asyncio.Event) -> None:
    serving = asyncio.ensure_future(queue.run())
    await until.wait()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


def test_keys_are_processed_in_order_and_once():
    async def scenario():
        seen, done = [], asyncio.Event()

        async def work(key):
            seen.append(key)
            if key == "end":
                done.set()

        queue = WorkQueue(work, workers=1)
        for key in ("a", "b", "a", "c", "b", "end"):
            queue.add(key)
        await served(queue, done)
        assert seen == ["a", "b", "c", "end"]

    run(scenario)


def test_key_has_one_worker_and_is_requeued_on_change():
    async def scenario():
        done, go, other = asyncio.Event(), asyncio.Event(), asyncio.Event()
        busy, seen = set(), []

        async def work(key):
            seen.append(key if key not in busy else f"{key} twice")
            busy.add(key)
            if key == "a" and seen.count("a") == 1:
                queue.add("a")
                queue.add("a")
                queue.add("b")
                await go.wait()
            elif key == "b":
                other.set()
            else:
                done.set()
            busy.discard(key)

        queue = WorkQueue(work, workers=3)
        queue.add("a")
        serving = asyncio.ensure_future(served(queue, done))
        await other.wait()  # other keys are processed meanwhile
        assert seen == ["a", "b"]
        go.set()
        await serving
        assert seen == ["a", "b", "a"]

    run(scenario)


def test_failure_is_retried_with_back_off():
    async def scenario():
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        times = []

        async def work(key):
            times.append(loop.time())
            if len(times) == 1:
                raise ApiError(500, "", "no")
            if len(times) == 2:
                raise KeyError("a bug ends nothing")
            done.set()

        queue = WorkQueue(work)
        queue.add("a")
        await served(queue, done)
        first, second = times[1] - times[0], times[2] - times[1]
        assert first >= 0.03
        assert second >= 0.06

    run(scenario)


def test_requeue_after_keeps_the_earlier_time():
    async def scenario():
        done, seen = asyncio.Event(), []

        async def work(key):
            seen.append(key)
            if len(seen) == 1:
                queue.add_later(key, 0.02)
                raise RequeueAfter(30)
            done.set()

        queue = WorkQueue(work)
        queue.add("a")
        await served(queue, done)
        assert seen == ["a", "a"]

    run(scenario)


def test_many_delayed_keys_wait_longer():
    async def scenario():
        async def work(key):
            raise RequeueAfter(10)

        queue, loop = WorkQueue(work), asyncio.get_running_loop()
        for number in range(10 * SLOW_AT):
            queue.add_later(number, 1000)
        await queue._process("rejected")
        assert queue._timers["rejected"].when() - loop.time() > 90
        for timer in queue._timers.values():
            timer.cancel()

    run(scenario)


def test_requeue_after_ends_a_series_of_failures():
    async def scenario():
        results = [KeyError("bug"), KeyError("bug"), RequeueAfter(0), KeyError("bug")]

        async def work(key):
            raise results.pop(0)

        queue = WorkQueue(work)
        counts = []
        while results:
            await queue._process("a")
            counts.append(queue._failures.get("a"))
        assert counts == [1, 2, None, 1]
        queue._timers["a"].cancel()

    run(scenario)
