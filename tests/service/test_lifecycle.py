"""Loading, serving, draining, stopping: what clients and probes see of each, on real sockets."""

import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest
from live_service import WAIT_S, GatedCaller, Running, TinyCaller, call, of, random_signal, serving, wait_for

from service.server import SignalledServer


def later(pool: ThreadPoolExecutor, running: Running, **options: object) -> "Future[httpx.Response]":
    return pool.submit(running.call, random_signal(100), **options)


def test_what_is_in_flight_is_finished_and_nothing_new_is_taken() -> None:
    caller = GatedCaller()
    with serving(of(caller)) as running, ThreadPoolExecutor() as pool, running.client() as idle:
        assert idle.get("/readyz").json() == {"status": "ok"}
        caller.gate.clear()
        in_flight = later(pool, running)
        assert caller.waiting.wait(WAIT_S)
        running.server.handle_exit(signal.SIGTERM, None)
        wait_for(lambda: idle.get("/readyz").status_code != 200)
        assert idle.get("/readyz").json() == {"status": "draining"}
        assert idle.get("/healthz").status_code == 200
        refused = running.call(random_signal(100))
        assert (refused.status_code, refused.json()["title"]) == (503, "The service is stopping")
        assert int(refused.headers["retry-after"]) >= 1
        # Behind one address of several replicas, the next connection may lead to another.
        assert refused.headers["connection"] == "close"
        caller.gate.set()
        assert in_flight.result(WAIT_S).status_code == 200
        assert running.ended.wait(WAIT_S)
        assert running.statuses == [0]


def test_an_idle_service_ends_at_once() -> None:
    with serving() as running:
        running.server.handle_exit(signal.SIGTERM, None)
        assert running.ended.wait(WAIT_S)
        assert running.statuses == [0]


@pytest.mark.parametrize(("second", "status"), [(signal.SIGTERM, 1), (signal.SIGINT, 130)])
def test_a_second_signal_answers_what_is_queued_503_and_stops(second: int, status: int) -> None:
    caller = GatedCaller()
    with serving(of(caller)) as running, ThreadPoolExecutor() as pool:
        caller.gate.clear()
        answers = [later(pool, running) for _ in range(3)]
        assert caller.waiting.wait(WAIT_S)
        wait_for(lambda: running.service.lifecycle.requests == 3)
        running.server.handle_exit(signal.SIGTERM, None)
        running.server.handle_exit(second, None)
        assert [answer.result(WAIT_S).status_code for answer in answers] == [503] * 3
        caller.gate.set()
        assert running.ended.wait(WAIT_S)
        assert running.statuses == [status]


def test_what_cannot_be_finished_in_time_is_answered_503() -> None:
    caller = GatedCaller()
    with serving(of(caller), drain_s=0.05) as running, ThreadPoolExecutor() as pool:
        caller.gate.clear()
        answer = later(pool, running)
        assert caller.waiting.wait(WAIT_S)
        running.server.handle_exit(signal.SIGTERM, None)
        assert answer.result(WAIT_S).status_code == 503
        caller.gate.set()
        assert running.ended.wait(WAIT_S)
        assert running.statuses == [1]


def test_probes_and_requests_are_answered_while_the_model_is_loaded() -> None:
    loading, loaded = threading.Event(), threading.Event()

    def load(model: str, device: str) -> TinyCaller:
        loading.set()
        assert loaded.wait(WAIT_S)
        return TinyCaller()

    seen: dict[str, httpx.Response] = {}

    def look(server: SignalledServer, port: int) -> None:
        assert loading.wait(WAIT_S)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_S) as client:
            seen["ready"], seen["health"] = client.get("/readyz"), client.get("/healthz")
            seen["call"], seen["models"] = call(client, random_signal(10)), client.get("/v1/models")
        loaded.set()

    with serving(load, while_loading=look) as running:
        assert seen["ready"].status_code == 503
        assert seen["ready"].json() == {"status": "loading"}
        assert seen["health"].status_code == 200
        assert seen["call"].status_code == 503
        assert int(seen["call"].headers["retry-after"]) >= 1
        assert seen["models"].json() == {"models": []}
        assert running.call(random_signal(10)).status_code == 200


def test_a_signal_while_a_model_is_proven_ends_the_service() -> None:
    caller = GatedCaller()
    caller.gate.clear()

    def stop(server: SignalledServer, port: int) -> None:
        assert caller.waiting.wait(WAIT_S)
        server.handle_exit(signal.SIGTERM, None)
        caller.gate.set()

    with serving(of(caller), while_loading=stop) as running:
        assert running.ended.wait(WAIT_S)
        assert running.statuses == [0]


def test_an_engine_that_does_not_work_is_seen_in_healthz() -> None:
    class Doomed(TinyCaller):
        working = True

        def score(self, batch):  # type: ignore[no-untyped-def]
            if not self.working:
                raise RuntimeError("gone")
            return super().score(batch)

    caller = Doomed()

    def load(model: str, device: str) -> TinyCaller:
        if not caller.working:
            raise RuntimeError("no device")
        return caller

    with pytest.MonkeyPatch.context() as patch, serving(load) as running, running.client() as client:
        patch.setattr("service.engine.BACKOFF_S", 0.001)
        assert client.get("/healthz").json() == {"status": "ok"}
        caller.working = False
        response = call(client, random_signal(100))
        assert (response.status_code, response.json()["title"]) == (500, "The engine failed")
        wait_for(lambda: client.get("/healthz").status_code != 200)
        assert client.get("/healthz").json() == {"status": "an engine does not work"}


def test_a_deadline_that_passes_is_answered_504_and_the_read_is_dropped() -> None:
    caller = GatedCaller()
    with serving(of(caller)) as running, ThreadPoolExecutor() as pool:
        caller.gate.clear()
        first = later(pool, running)
        assert caller.waiting.wait(WAIT_S)
        late = running.call(random_signal(100), headers={"x-deadline-ms": "200"})
        assert (late.status_code, late.json()["title"]) == (504, "The deadline cannot be met")
        assert "200 ms" in late.json()["detail"]
        caller.gate.set()
        assert first.result(WAIT_S).status_code == 200
        wait_for(lambda: running.service.admission.backlog_samples("tiny") == 0)
