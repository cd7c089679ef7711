"""Every way in which the network or the server can fail: the service says so truthfully, and recovers by itself."""

import pytest
from process import Start
from proxy import REASONS, Proxy


@pytest.mark.prd("BOOT-02", "WHY-01", "PROBE-01")
@pytest.mark.parametrize(("fault", "reason"), REASONS.items())
def test_a_fault_at_boot_is_named_while_the_service_waits(start: Start, proxy: Proxy, fault: str, reason: str) -> None:
    """While the fault lasts /health says 503 and why, liveness says 200; when it ends, the service gets ready."""
    proxy.break_with(fault)
    service = start(MYSQL_PORT=proxy.port)

    waiting = service.wait_for_reason(reason)
    alive = service.ask("/health/live")
    answer = service.ask("/health")
    proxy.heal()
    ready = service.wait_until_ok(seconds=10)

    assert (waiting["status"], waiting["database"]["status"]) == ("starting", "waiting")
    assert str(proxy.port) in waiting["database"]["hint"]
    assert alive.status == 200
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert (ready["database"]["status"], ready["database"]["reason"]) == ("up", None)
    assert f": {reason}, attempt 1, " in service.log
    assert service.terminate() == 0


@pytest.mark.prd("WHY-01", "HEALTH-02", "API-02", "LOG-04")
@pytest.mark.parametrize(("fault", "reason"), REASONS.items())
def test_a_fault_after_boot_is_reported_and_healed(start: Start, proxy: Proxy, fault: str, reason: str) -> None:
    """An outage turns /health to 503 with the reason within the deadline, and back to 200 when it ends."""
    service = start(MYSQL_PORT=proxy.port)
    service.wait_until_ok()

    proxy.break_with(fault)
    down = service.wait_for_reason(reason)
    request = service.ask("/api/test")
    proxy.heal()
    up = service.wait_until_ok(seconds=10)

    assert (down["status"], down["database"]["status"]) == ("unavailable", "down")
    assert (request.status, request.headers["Retry-After"], request.json["reason"]) == (503, "1", reason)
    assert up["database"]["since"] > down["database"]["since"]
    assert service.log.count("database down") == 1
    assert service.log.count("database up again") == 1
    assert service.terminate() == 0
