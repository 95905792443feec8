"""Envoy's outlier detection, in any order of answers and pauses, against a plain and slow model of its rules."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from sim.policies.outlier import OutlierDetection
from sim.records import ERROR, OK, REJECTED, TIMEOUT, UNREACHABLE


class Model:
    """Envoy's rules, written down plainly: a clock of quarter seconds, and all answers kept."""

    def __init__(self, spec, endpoints):
        self.spec, self.now, self.changes = spec, 0, []  # now in quarters
        self.hosts = {i: self.new() for i in range(endpoints)}
        self.told, self.timer = -(10**9), None
        self.seen = list(self.hosts)

    def new(self):
        return {"any": 0, "gateway": 0, "local": 0, "answers": [], "locals": [], "out": None, "k": 0, "back": None}

    def ejected(self):
        return [i for i, host in self.hosts.items() if host["out"] is not None]

    def tell(self):
        spec, hosts = self.spec, list(self.hosts)
        healthy = [i for i in hosts if i not in self.ejected()]
        percent = 100 * len(healthy) / len(hosts)
        self.seen = hosts if percent < spec.healthy_panic_threshold_percent and int(1.4 * percent) < 100 else healthy
        self.told, self.timer = self.now, None

    def changed(self, i, is_out):
        self.changes.append((self.now / 4, i, is_out))
        window = self.spec.update_merge_window * 4
        if self.now - self.told > window or window == 0:
            self.tell()
        elif self.timer is None:
            self.timer = self.now + window

    def eject(self, i, enforcing):
        one_more = 100 * (len(self.ejected()) + 1) / len(self.hosts) <= self.spec.max_ejection_percent
        if enforcing and (one_more or (self.spec.always_eject_one_host and not self.ejected())):
            host = self.hosts[i]
            host["out"] = self.now
            longest = max(self.spec.base_ejection_time, self.spec.max_ejection_time)
            if host["k"] * self.spec.base_ejection_time < longest + self.spec.base_ejection_time:
                host["k"] += 1
            self.changed(i, True)

    def streak(self, i, name, limit, enforcing):
        host = self.hosts[i]
        host[name] += 1
        if host[name] == limit and host["out"] is None:
            self.eject(i, enforcing)
            host[name] = 0

    def answer(self, i, outcome):
        spec, host = self.spec, self.hosts.get(i)
        if host is None:
            return
        local = outcome in (TIMEOUT, UNREACHABLE)
        if spec.split_external_local_origin_errors:
            host["locals"].append(not local)
            if local:
                self.streak(i, "local", spec.consecutive_local_origin_failure, spec.enforcing_consecutive_local_origin_failure)
                return
            host["local"] = 0
        host["answers"].append(outcome == OK)
        if outcome == OK:
            host["any"] = host["gateway"] = 0
            return
        if outcome == ERROR:
            host["gateway"] = 0
        else:
            self.streak(i, "gateway", spec.consecutive_gateway_failure, spec.enforcing_consecutive_gateway_failure)
        self.streak(i, "any", spec.consecutive_5xx, spec.enforcing_consecutive_5xx)

    def wait(self, quarters):
        for _ in range(quarters):
            self.now += 1
            if self.timer == self.now:
                self.tell()
            if self.now % (self.spec.interval * 4) == 0:
                self.tick()

    def tick(self):
        spec = self.spec
        for i, host in self.hosts.items():
            time = 4 * min(spec.base_ejection_time * host["k"], max(spec.base_ejection_time, spec.max_ejection_time))
            if host["out"] is not None and self.now - host["out"] >= time:
                host["out"], host["back"] = None, self.now
                host["any"] = host["gateway"] = host["local"] = 0
                self.changed(i, False)
        for name, rate, failures in (
            ("answers", spec.enforcing_success_rate, spec.enforcing_failure_percentage),
            ("locals", spec.enforcing_local_origin_success_rate, spec.enforcing_failure_percentage_local_origin),
        ):
            self.compare(name, rate, failures)
        for host in self.hosts.values():
            host["answers"], host["locals"] = [], []
            if host["out"] is None and host["back"] is not None and self.now - host["back"] >= spec.interval * 4:
                host["k"] = max(0, host["k"] - 1)

    def compare(self, name, enforcing_rate, enforcing_failures):
        spec = self.spec
        rates = {i: (h[name].count(True) * 100 / len(h[name]), len(h[name])) for i, h in self.hosts.items() if h[name]}
        rates = {i: rate for i, rate in rates.items() if self.hosts[i]["out"] is None}
        enough = {i: rate for i, (rate, calls) in rates.items() if calls >= spec.success_rate_request_volume}
        if enough and len(enough) >= spec.success_rate_minimum_hosts:
            mean = sum(enough.values()) / len(enough)
            sigma = (sum((rate - mean) ** 2 for rate in enough.values()) / len(enough)) ** 0.5
            for i, rate in enough.items():
                if rate < mean - sigma * spec.success_rate_stdev_factor / 1000:
                    self.eject(i, enforcing_rate)
        enough = {i: rate for i, (rate, calls) in rates.items() if calls >= spec.failure_percentage_request_volume}
        if len(enough) >= spec.failure_percentage_minimum_hosts:
            for i, rate in enough.items():
                if 100 - rate >= spec.failure_percentage_threshold and self.hosts[i]["out"] is None:
                    self.eject(i, enforcing_failures)

    def discover(self, believed):
        if believed == list(self.hosts):
            return
        for i in self.ejected():
            if i not in believed:
                self.changes.append((self.now / 4, i, False))
        self.hosts = {i: self.hosts.get(i) or self.new() for i in believed}
        self.tell()


ON_OFF = st.sampled_from([0, 100])


class AgainstTheModel(RuleBasedStateMachine):
    """Calls that succeed and fail at a few endpoints, pauses, and a discovery that changes its mind."""

    @initialize(
        spec=st.builds(
            OutlierDetection,
            interval=st.sampled_from([1, 2]),
            base_ejection_time=st.sampled_from([1, 2, 3]),
            max_ejection_time=st.sampled_from([1, 3, 6]),
            max_ejection_percent=st.sampled_from([20, 34, 50, 100]),
            always_eject_one_host=st.booleans(),
            consecutive_5xx=st.integers(1, 4),
            consecutive_gateway_failure=st.integers(1, 4),
            consecutive_local_origin_failure=st.integers(1, 4),
            split_external_local_origin_errors=st.booleans(),
            success_rate_minimum_hosts=st.integers(1, 3),
            success_rate_request_volume=st.integers(1, 3),
            success_rate_stdev_factor=st.sampled_from([300, 700, 1200]),
            failure_percentage_threshold=st.sampled_from([50, 75]),
            failure_percentage_minimum_hosts=st.integers(1, 3),
            failure_percentage_request_volume=st.integers(1, 3),
            enforcing_consecutive_5xx=ON_OFF,
            enforcing_consecutive_gateway_failure=ON_OFF,
            enforcing_consecutive_local_origin_failure=ON_OFF,
            enforcing_success_rate=ON_OFF,
            enforcing_local_origin_success_rate=ON_OFF,
            enforcing_failure_percentage=ON_OFF,
            enforcing_failure_percentage_local_origin=ON_OFF,
            healthy_panic_threshold_percent=st.sampled_from([0, 50, 90]),
            update_merge_window=st.sampled_from([0, 0.5, 1]),
        ),
        endpoints=st.integers(2, 5),
    )
    def begin(self, spec, endpoints):
        self.endpoints = endpoints
        self.gate, self.model = spec.gate(endpoints), Model(spec, endpoints)
        self.believed = list(range(endpoints))

    @rule(quarters=st.integers(1, 12))
    def wait(self, quarters):
        self.model.wait(quarters)

    @rule(endpoint=st.integers(0, 4), outcomes=st.lists(st.sampled_from([OK, ERROR, TIMEOUT, REJECTED, UNREACHABLE]), max_size=5))
    def answers(self, endpoint, outcomes):
        for outcome in outcomes:
            self.gate.settle(endpoint % self.endpoints, outcome, self.model.now / 4)
            self.model.answer(endpoint % self.endpoints, outcome)

    @rule(gone=st.integers(0, 9))
    def discover(self, gone):
        self.believed = [i for i in range(self.endpoints) if i != gone]
        self.model.discover(self.believed)
        self.compare()

    @rule()
    def compare(self):
        assert self.gate.usable(self.model.now / 4, self.believed) == self.model.seen
        assert self.gate.changes == self.model.changes

    def teardown(self):
        if hasattr(self, "model"):
            self.compare()


TestAgainstTheModel = AgainstTheModel.TestCase
TestAgainstTheModel.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
