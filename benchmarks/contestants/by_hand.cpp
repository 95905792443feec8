// All four workloads by hand: a binary heap of plain entries and one function per kind of event. The floor under every price.
//
//     g++ -O2 by_hand.cpp -o by_hand && ./by_hand requests=200000 seed=1 services=1 replicas=1 workers=1 ...
//
// Prints one line of JSON. The words are those of benchmarks/workloads.py; what is absent is 0.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <fstream>
#include <map>
#include <queue>
#include <random>
#include <string>
#include <vector>

namespace {

enum Kind : int { ARRIVE, REACH, WORKED, ANSWER, EXPIRE, CALL };

struct Entry {
    double time_s;
    std::uint64_t number;  // first come, first served among simultaneous entries
    Kind kind;
    int visit;
    bool operator>(const Entry& other) const {
        return time_s != other.time_s ? time_s > other.time_s : number > other.number;
    }
};

struct Breaker {
    int failures = 0;
    double open_until_s = 0;
    bool probing = false;
};

struct Server {
    int busy = 0;
    std::deque<int> line;
    Breaker breaker;  // of this process, towards the next service
};

// One attempt, at the callee: it is the caller of at most one call at a time. A request's origin is a visit at level -1.
struct Visit {
    int parent, level, replica, tries, mentions;  // mentions: entries and servers that still know it
    bool given_up, ok;
    double arrived_s;
};

std::map<std::string, double> words;
double word(const std::string& name) { return words.count(name) ? words[name] : 0; }

struct Model {
    int services = int(word("services")), replicas = int(word("replicas")), workers = int(word("workers"));
    int max_attempts = int(word("max_attempts")), breaker_failures = int(word("breaker_failures"));
    double rate_rps = word("rate_rps"), work_s = word("work_s"), network_s = word("network_s");
    double backoff_base_s = word("backoff_base_s"), backoff_cap_s = word("backoff_cap_s"), open_s = word("breaker_open_s");
    std::vector<double> timeouts_s;
    long requests = long(word("requests"));

    double now_s = 0;
    std::uint64_t entries = 0;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<Entry>> heap;
    std::vector<Server> servers;
    std::vector<Visit> visits;
    std::vector<int> unused;
    Breaker client;
    std::mt19937_64 random;
    std::vector<double> latencies_s;
    long issued = 0, attempts = 0, timeouts = 0, opened = 0;

    Model() : servers(std::size_t(services) * replicas), random(std::uint64_t(word("seed"))) {
        for (int i = 0; i < services; i++) timeouts_s.push_back(word("timeout_" + std::to_string(i) + "_s"));
        latencies_s.reserve(std::size_t(requests));
    }

    double uniform() { return double(random() >> 11) * 0x1.0p-53; }
    double exponential(double mean_s) { return -mean_s * std::log1p(-uniform()); }
    Server& server(int visit) { return servers[std::size_t(visits[visit].level * replicas + visits[visit].replica)]; }
    Breaker& breaker(int caller) { return visits[caller].level < 0 ? client : server(caller).breaker; }

    void later(double delay_s, Kind kind, int visit) { heap.push({now_s + delay_s, entries++, kind, visit}); }

    void over_the_network(Kind kind, int visit) {
        if (network_s > 0) later(network_s, kind, visit);
        else fire(kind, visit);
    }

    int fresh(int parent, int level, int replica) {
        if (unused.empty()) {
            unused.push_back(int(visits.size()));
            visits.emplace_back();
        }
        int visit = unused.back();
        unused.pop_back();
        visits[visit] = {parent, level, replica, 0, 1, false, true, now_s};
        return visit;
    }

    void forget(int visit) {
        if (--visits[visit].mentions == 0) unused.push_back(visit);
    }

    void fire(Kind kind, int visit) {
        switch (kind) {
            case ARRIVE: return arrive();
            case REACH: return reach(visit);
            case WORKED: return visits[visit].level + 1 < services ? call(visit) : leave(visit, true);
            case ANSWER: return answer(visit);
            case EXPIRE: return expire(visit);
            case CALL: return call(visit);
        }
    }

    void arrive() {
        if (++issued < requests) later(exponential(1 / rate_rps), ARRIVE, -1);
        call(fresh(-1, -1, 0));
    }

    void call(int caller) {
        visits[caller].tries++;
        if (breaker_failures && !allowed(breaker(caller))) return again(caller);
        attempts++;
        int level = visits[caller].level + 1;
        int visit = fresh(caller, level, replicas > 1 ? int(uniform() * replicas) : 0);
        if (timeouts_s[std::size_t(level)] > 0) {
            visits[visit].mentions++;
            later(timeouts_s[std::size_t(level)], EXPIRE, visit);
        }
        over_the_network(REACH, visit);
    }

    void reach(int visit) {
        Server& at = server(visit);
        if (at.busy == workers) return at.line.push_back(visit);
        at.busy++;
        later(exponential(work_s), WORKED, visit);
    }

    void leave(int visit, bool ok) {
        Server& at = server(visit);
        if (at.line.empty()) at.busy--;
        else {
            later(exponential(work_s), WORKED, at.line.front());
            at.line.pop_front();
        }
        visits[visit].ok = ok;
        over_the_network(ANSWER, visit);
    }

    void answer(int visit) {
        bool given_up = visits[visit].given_up, ok = visits[visit].ok;
        int caller = visits[visit].parent;
        visits[visit].given_up = true;  // whoever has an answer waits no more
        forget(visit);
        if (given_up) return;
        if (breaker_failures) settle(breaker(caller), ok);
        if (!ok) return again(caller);
        if (visits[caller].level >= 0) return leave(caller, true);
        latencies_s.push_back(now_s - visits[caller].arrived_s);
        forget(caller);
    }

    void expire(int visit) {
        bool given_up = visits[visit].given_up;
        int caller = visits[visit].parent;
        visits[visit].given_up = true;
        forget(visit);
        if (given_up) return;
        timeouts++;
        if (breaker_failures) settle(breaker(caller), false);
        again(caller);
    }

    void again(int caller) {
        if (visits[caller].tries < max_attempts) {
            double pause_s = std::min(backoff_cap_s, backoff_base_s * std::pow(2.0, visits[caller].tries - 1));
            return later(uniform() * pause_s, CALL, caller);
        }
        if (visits[caller].level >= 0) return leave(caller, false);
        forget(caller);  // the request failed
    }

    bool allowed(Breaker& breaker) {
        if (breaker.failures < breaker_failures) return true;
        if (now_s < breaker.open_until_s || breaker.probing) return false;
        return breaker.probing = true;
    }

    void settle(Breaker& breaker, bool ok) {
        breaker.probing = false;
        if (ok) breaker.failures = 0;
        else if (++breaker.failures >= breaker_failures) {
            breaker.open_until_s = now_s + open_s;
            opened++;
        }
    }

    void run() {
        later(exponential(1 / rate_rps), ARRIVE, -1);
        while (!heap.empty()) {
            Entry next = heap.top();
            heap.pop();
            now_s = next.time_s;
            fire(next.kind, next.visit);
        }
    }
};

long status_kib(const std::string& name) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);)
        if (line.rfind(name, 0) == 0) return std::atol(line.c_str() + name.size());
    return 0;
}

double cpu_s() { return double(std::clock()) / CLOCKS_PER_SEC; }

}  // namespace

int main(int count, char** arguments) {
    for (int i = 1; i < count; i++) {
        std::string text = arguments[i];
        std::size_t sign = text.find('=');
        if (sign != std::string::npos) words[text.substr(0, sign)] = std::atof(text.c_str() + sign + 1);
    }
    long before_kib = status_kib("VmRSS:");
    double setup_s = cpu_s();
    Model model;
    model.run();
    double spent_s = cpu_s() - setup_s;
    long after_kib = status_kib("VmHWM:");
    std::vector<double>& sorted = model.latencies_s;
    std::sort(sorted.begin(), sorted.end());
    double sum_s = 0;
    for (double latency_s : sorted) sum_s += latency_s;
    double n = double(sorted.size());
    std::printf(
        "{\"requests\": %zu, \"mean_s\": %.9g, \"p99_s\": %.9g, \"attempts\": %ld, \"timeouts\": %ld, \"opened\": %ld, "
        "\"events\": %llu, \"cpu_s\": %.6f, \"setup_s\": %.6f, \"memory_mib\": %.3f}\n",
        sorted.size(), sum_s / n, sorted[std::size_t(std::ceil(0.99 * n)) - 1], model.attempts, model.timeouts, model.opened,
        (unsigned long long)model.entries, spent_s, setup_s, double(after_kib - before_kib) / 1024);
}
