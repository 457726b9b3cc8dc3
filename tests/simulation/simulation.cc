#include "tests/simulation/simulation.h"

#include <algorithm>
#include <cstdio>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "base/log.h"

namespace ursa::sim {
namespace {

constexpr int kManyWorkers = 50;
constexpr absl::Duration kProgressLimit = absl::Seconds(60);  // after healing
constexpr absl::Duration kCheckInterval = absl::Seconds(5);
constexpr absl::Duration kReturnLimit = absl::Seconds(60);  // for an agent to come back, after healing
constexpr absl::Duration kTimePerJob = absl::Seconds(60);   // to the end of all, after healing, at most

// What a seed decides beside the course of events.
struct Draw {
  int num_workers = 0;
  absl::Duration fault_time;
  std::string kind;
  SimCoordinator::Options coordinator;
  Network::Options network;
  Fabric::Options fabric;
  Workload::Options workload;
};

Draw DrawCluster(World* world, const SimulationOptions& options) {
  Draw draw;
  draw.num_workers = options.num_workers.value_or(static_cast<int>(world->Between(2, 6)));
  draw.fault_time = options.fault_time.value_or(world->Between(absl::Seconds(60), absl::Seconds(240)));
  draw.kind = world->Chance(0.25) ? "cuda" : "cpu";
  // Times are shorter than in production, so that what they lead to happens in a short run.
  CoordinatorOptions& coordinator = draw.coordinator.coordinator;
  // Longer than anything may be under way of a worker that is not lost: what it has brought, it comes to name. A call's
  // deadline, a lease and a standstill of a quarter of this time; in production 30 s, 3 s and 15 s of 60 s.
  coordinator.garbage_age = world->Between(absl::Seconds(11), absl::Seconds(18));
  coordinator.heartbeat =
      draw.num_workers < kManyWorkers ? world->Between(absl::Milliseconds(300), absl::Seconds(1)) : absl::Seconds(1);
  coordinator.leaving_time = world->Between(absl::Seconds(2), absl::Seconds(20));
  coordinator.finish_time = world->Between(absl::Seconds(2), absl::Seconds(20));
  draw.coordinator.readable_states = options.print_from.has_value();
  draw.workload.num_jobs = static_cast<int>(world->Between(4, 14)) * (draw.num_workers < kManyWorkers ? 1 : 3);
  draw.workload.submit_within = draw.fault_time * 0.8;
  draw.fabric.bit_equal = world->Chance(0.5);
  if (!options.has_faults) return draw;
  draw.network.late_share = world->Chance(0.5) ? 0.01 : 0;
  draw.network.call_loss = world->Chance(0.7) ? 0.1 : 0;
  draw.fabric.fault_share = world->Chance(0.7) ? 0.01 : 0;
  draw.fabric.break_share = world->Chance(0.5) ? 0.01 : 0;
  draw.fabric.hang_share = world->Chance(0.3) ? 0.1 : 0;
  draw.fabric.ignored_stop_share = world->Chance(0.3) ? 0.2 : 0;
  return draw;
}

SimAgent::Options DrawAgent(World* world, const Draw& draw, bool has_faults) {
  SimAgent::Options options;
  options.hello.set_host("simulated");
  options.hello.set_kind(draw.kind);
  options.hello.set_slots(static_cast<int32_t>(world->Between(1, 4)));
  options.hello.set_cores(8);
  options.hello.set_simd("avx2");
  options.start_failure_share = has_faults ? 0.01 : 0;
  AgentState::Options& state = options.state;
  state.tasks.stop_limit = world->Between(absl::Seconds(5), absl::Seconds(30));
  state.tasks.finished_limit = world->Between(absl::Seconds(1), absl::Seconds(5));
  state.flush_limit = world->Between(absl::Seconds(1), absl::Seconds(10));
  state.flush_limit_away = absl::Seconds(2);
  if (world->Chance(0.3)) {
    // Small buffers, so that they are full now and then.
    state.events.bytes_max = static_cast<size_t>(world->Between(500, 5000));
    state.events.message_bytes_aim = static_cast<size_t>(world->Between(100, 1000));
    state.events.messages_in_flight_max = static_cast<size_t>(world->Between(1, 16));
  }
  return options;
}

class Simulation {
 public:
  explicit Simulation(const SimulationOptions& options)
      : options_(options),
        world_(options.seed),
        draw_(DrawCluster(&world_, options)),
        invariants_(&world_, draw_.coordinator.coordinator.garbage_age),
        promises_(&world_, &invariants_, draw_.coordinator.coordinator.lease),
        network_(&world_, draw_.network),
        disk_(&world_, [this](const WriteBatch& batch) { invariants_.OnDurable(batch); }),
        coordinator_(&world_, &network_, &disk_, &promises_, draw_.coordinator),
        fabric_(&world_, &invariants_, draw_.fabric),
        cluster_{&world_, &network_, &coordinator_, &invariants_, &fabric_},
        workload_(cluster_, &promises_, draw_.workload),
        faults_(cluster_, &disk_, &agents_, &workload_) {
    network_.SetCoordinator(&coordinator_);
    invariants_.SetOnWorker([this](int64_t worker_id) { promises_.OnLost(worker_id); },
                            [this](int64_t worker_id) { workload_.ReopenLater(worker_id); });
    invariants_.SetRuns([this](const JobKey& key, int64_t epoch, int32_t rank, int64_t worker_id) {
      const std::string worker = WorkerId(worker_id).ToString();
      return std::any_of(agents_.begin(), agents_.end(), [&](const std::unique_ptr<SimAgent>& agent) {
        return agent->is_up() && agent->state()->worker_id() == worker && agent->Runs({ToString(key), epoch, rank});
      });
    });
    for (int host = 1; host <= draw_.num_workers; ++host) {
      agents_.push_back(std::make_unique<SimAgent>(cluster_, host, DrawAgent(&world_, draw_, options.has_faults)));
    }
  }

  void Run() {
    if (options_.print_from) world_.PrintTraceFrom(world_.now() + *options_.print_from);
    coordinator_.Start();
    for (auto& agent : agents_) {
      world_.In(world_.Between(absl::ZeroDuration(), absl::Seconds(1)), [&agent] { agent->Boot(); });
    }
    world_.In(absl::Seconds(2), [this] { workload_.Start(); });
    if (options_.has_faults) {
      world_.In(absl::Seconds(5), [this] { faults_.Start(); });
    }
    RunUntil(draw_.fault_time);
    Heal();
    const absl::Duration limit = draw_.fault_time + kProgressLimit + draw_.workload.num_jobs * kTimePerJob;
    while (!world_.failed() && !IsDone()) {
      RunUntil(world_.elapsed() + kCheckInterval);
      CheckProgress();
      if (world_.elapsed() > limit) world_.Fail(absl::StrCat("not all has ended: ", Describe()));
    }
    if (!world_.failed()) CheckEnd();
  }

  SimulationResult Result() const {
    SimulationResult result;
    result.failure = world_.failure();
    result.failed_at = world_.failed() ? world_.elapsed() : absl::ZeroDuration();
    result.last_trace = world_.failed() ? world_.LastTrace(60) : "";
    result.trace_hash = world_.trace_hash();
    result.virtual_time = world_.elapsed();
    result.num_events = world_.num_events();
    result.num_jobs = static_cast<int64_t>(invariants_.jobs().size());
    result.num_compared = coordinator_.num_compared();
    result.faults = world_.faults();
    return result;
  }

  World& world() { return world_; }

 private:
  void RunUntil(absl::Duration elapsed) {
    // An event of its own, so that time moves even when nothing happens.
    world_.In(elapsed - world_.elapsed(), [] {});
    while (!world_.failed() && world_.elapsed() < elapsed && world_.Step()) {
    }
  }

  void Heal() {
    world_.Trace("heal");
    faults_.Stop();
    network_.Heal();
    disk_.Heal();
    coordinator_.Heal();
    fabric_.Heal();
    for (auto& agent : agents_) agent->Heal();
    healed_at_ = world_.now();
  }

  bool IsDone() const {
    const auto& jobs = invariants_.jobs();
    return workload_.is_done() && std::all_of(jobs.begin(), jobs.end(), [](const auto& job) {
             return job.second.has_ended() && !job.second.has_gang();
           });
  }

  // What waits for more than there is, its user gives up: a machine that was replaced still counted when it was
  // submitted.
  void CancelTooLarge() {
    int64_t num_slots = 0;
    for (const auto& [id, worker] : invariants_.workers()) num_slots += worker.lost ? 0 : worker.slots;
    for (const auto& [key, job] : invariants_.jobs()) {
      const bool is_too_large = job.state == v1::Experiment::STATE_QUEUED && job.slots > num_slots;
      if (is_too_large && world_.now() - healed_at_ > kProgressLimit && canceled_.insert(key.first).second) {
        workload_.Cancel(absl::StrCat("experiments/", ExperimentId(key.first).ToString()));
      }
    }
  }

  // How many slots of healthy workers nobody has.
  int64_t NumFreeSlots() const {
    int64_t num_free = 0;
    for (const auto& [id, worker] : invariants_.workers()) {
      if (!worker.lost && !worker.is_closed) num_free += worker.slots - invariants_.NumPlaces(id);
    }
    return num_free;
  }

  // Notes whether a gang has begun since the last call: what is free may be kept for others as long as some do.
  void NoteStarts() {
    int64_t num_epochs = 0;
    for (const auto& [key, job] : invariants_.jobs()) num_epochs += job.epoch;
    if (std::exchange(num_epochs_, num_epochs) != num_epochs) started_at_ = world_.now();
  }

  void CheckProgress() {
    const absl::Time now = world_.now();
    const int64_t num_free = NumFreeSlots();
    NoteStarts();
    CancelTooLarge();
    for (const auto& [key, job] : invariants_.jobs()) {
      absl::Time& since = stuck_since_.try_emplace(key, absl::InfiniteFuture()).first->second;
      const bool is_stuck = job.state == v1::Experiment::STATE_QUEUED && !job.has_gang() && job.slots <= num_free;
      if (!is_stuck) since = absl::InfiniteFuture();
      if (is_stuck && since == absl::InfiniteFuture()) since = std::max(now, healed_at_);
      const bool is_still = (job.state == v1::Experiment::STATE_RUNNING || job.has_gang()) &&
                            now - std::max(invariants_.LastChange(key), healed_at_) > kProgressLimit;
      if (is_still || now - std::max(since, started_at_) > kProgressLimit) {
        return world_.Fail(absl::StrCat(ToString(key), ": no progress for ", absl::FormatDuration(kProgressLimit),
                                        " after healing; ", Describe()));
      }
    }
  }

  void CheckEnd() {
    workload_.VerifyAudit();
    for (int i = 0; i < 100 && !world_.failed() && !(workload_.is_done() && coordinator_.is_quiet()); ++i) {
      RunUntil(world_.elapsed() + absl::Milliseconds(100));
    }
    if (!coordinator_.is_quiet()) return world_.Fail("the coordinator does not come to rest");
    coordinator_.CheckRecords();
    // An agent that was cut off learns only when it is back that its last ranks are not wanted any more: a rank of a
    // lost worker counts as gone, whether it runs or not.
    const absl::Duration limit = world_.elapsed() + kReturnLimit;
    while (!world_.failed() && HostWithTraining() != 0 && world_.elapsed() < limit) {
      RunUntil(world_.elapsed() + absl::Seconds(1));
    }
    if (const int64_t host = HostWithTraining(); host != 0) {
      world_.Fail(absl::StrCat("host ", host, ": a rank still runs after all jobs have ended"));
    }
  }

  // A host where a rank runs; 0: none.
  int64_t HostWithTraining() const {
    const auto it = std::find_if(agents_.begin(), agents_.end(),
                                 [](const std::unique_ptr<SimAgent>& agent) { return agent->num_training() > 0; });
    return it == agents_.end() ? 0 : (*it)->host();
  }

  std::string Describe() const {
    std::string text = absl::StrCat(NumFreeSlots(), " slots are free");
    for (const auto& [key, job] : invariants_.jobs()) {
      if (job.has_ended() && !job.has_gang()) continue;
      absl::StrAppend(&text, "; ", ToString(key), " ", v1::Experiment::State_Name(job.state), " epoch ", job.epoch,
                      " slots ", job.slots, " last change ",
                      absl::FormatDuration(world_.now() - invariants_.LastChange(key)), " ago");
      for (const Rank& rank : job.ranks) {
        absl::StrAppend(&text, " w", rank.place.first, "/", rank.place.second, rank.gone ? " gone" : "");
      }
    }
    return text;
  }

  const SimulationOptions options_;
  World world_;
  const Draw draw_;
  Invariants invariants_;
  Promises promises_;
  Network network_;
  Disk disk_;
  SimCoordinator coordinator_;
  Fabric fabric_;
  const Cluster cluster_;
  Workload workload_;
  std::vector<std::unique_ptr<SimAgent>> agents_;
  Faults faults_;
  absl::Time healed_at_ = absl::InfinitePast();
  std::set<int64_t> canceled_;  // experiments
  int64_t num_epochs_ = 0;
  absl::Time started_at_ = absl::InfinitePast();  // a gang, last
  std::map<JobKey, absl::Time> stuck_since_;
};

}  // namespace

SimulationResult RunSimulation(const SimulationOptions& options) {
  Simulation simulation(options);
  World& world = simulation.world();
  TakeLogLines(options.print_from ? LogLevel::kInfo : LogLevel::kError,
               [&world, &options](LogLevel level, std::string_view line) {
                 if (options.print_from && world.elapsed() >= *options.print_from) {
                   std::fprintf(stderr, "%12.6f %.*s\n", absl::ToDoubleSeconds(world.elapsed()),
                                static_cast<int>(line.size()), line.data());
                 }
                 if (level >= LogLevel::kError && line.find("->SET_ASIDE") == std::string_view::npos) {
                   world.Fail(absl::StrCat("an error is logged: ", std::string(line)));
                 }
               });
  simulation.Run();
  TakeLogLines(LogLevel::kInfo, nullptr);
  return simulation.Result();
}

}  // namespace ursa::sim
