#include "tests/simulation/sim_coordinator.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "storage/keys.h"

namespace ursa::sim {
namespace {

constexpr absl::Duration kTickInterval = absl::Milliseconds(100);  // as in coordinator/main.cc

}  // namespace

SimCoordinator::Process::Process(SimCoordinator* owner)
    : records(&owner->disk_),
      metrics(&owner->disk_, MetricLog::Options()),
      logs(&owner->disk_, LogStore::Options()),
      ledger(&owner->disk_, PredictionLedger::Options()),
      executor(owner) {}

SimCoordinator::SimCoordinator(World* world, Network* network, Disk* disk, Promises* promises, const Options& options)
    : world_(*world), network_(*network), disk_(*disk), promises_(*promises), options_(options), clock_(world) {}

SimCoordinator::~SimCoordinator() = default;

void SimCoordinator::Start() {
  URSA_CHECK(process_ == nullptr);
  ++incarnation_;
  clock_.Jump(std::exchange(clock_jump_, absl::ZeroDuration()));
  world_.Trace("coordinator starts", incarnation_);
  auto process = std::make_unique<Process>(this);
  const auto start = [&]() -> absl::Status {
    URSA_RETURN_IF_ERROR(CheckStoreFormat(&disk_));
    URSA_ASSIGN_OR_RETURN(process->blobs, BlobStore::Open(&disk_, &clock_, BlobStore::Options()));
    Commit::Options options;
    options.on_failed_write = [this](const absl::Status&) {
      has_unwritten_ |= !disk_.has_torn_records();
      Die();
    };
    URSA_ASSIGN_OR_RETURN(process->commit, Commit::Open(&process->records, std::move(options)));
    return absl::OkStatus();
  };
  const absl::Status started = start();
  if (!started.ok()) {
    // The first start writes to the disk; systemd tries again.
    if (!absl::IsUnknown(started) && !absl::IsResourceExhausted(started)) {
      return world_.Fail(absl::StrCat("the coordinator cannot start: ", started.ToString()));
    }
    disk_.Crash();
    return world_.In(absl::Seconds(1), [this] { Start(); });
  }
  Environment env;
  env.commit = process->commit.get();
  env.clock = &clock_;
  env.executor = &process->executor;
  env.records = &process->records;
  env.blobs = process->blobs.get();
  env.metrics = &process->metrics;
  env.logs = &process->logs;
  env.ledger = &process->ledger;
  env.options = options_.coordinator;
  env.options.version = "simulated";
  env.options.free_disk_bytes = [this] { return disk_.FreeBytes(); };
  process->coordinator = std::make_unique<Coordinator>(std::move(env));
  process_ = std::move(process);
  if (expected_) CompareStates(*std::exchange(expected_, std::nullopt), ExportState());
  promises_.OnStart();
  ticked_at_ = world_.now();
  process_->coordinator->Restore();
  Ran();
  world_.In(kTickInterval, [this, incarnation = incarnation_] {
    if (incarnation == incarnation_) Tick();
  });
}

void SimCoordinator::Crash(absl::Duration downtime) {
  if (!is_up()) return;
  world_.Count(Fault::kCoordinatorKilled);
  downtime_ = downtime;
  Die();
  Bury();
}

void SimCoordinator::DieAtSending(int64_t n, absl::Duration downtime) {
  dies_at_sending_ = n;
  downtime_ = downtime;
}

void SimCoordinator::Pause(absl::Duration time) {
  world_.Count(Fault::kCoordinatorPaused);
  world_.Trace("coordinator paused", absl::ToInt64Milliseconds(time));
  paused_until_ = std::max(paused_until_, world_.now() + time);
}

void SimCoordinator::SlowDisk(absl::Duration time, absl::Duration sync_most) {
  world_.Count(Fault::kDiskSlow);
  slow_until_ = world_.now() + time;
  slow_sync_most_ = sync_most;
}

void SimCoordinator::Die() {
  if (is_dying_) return;
  world_.Trace("coordinator dies", incarnation_);
  is_dying_ = true;
  dies_at_sending_ = 0;
  disk_.Freeze();
}

// What is left of a process that died: its disk.
void SimCoordinator::Bury() {
  if (!std::exchange(has_unwritten_, false) && !process_->commit->has_queued()) expected_ = ExportState();
  promises_.OnDeath();
  process_ = nullptr;
  is_dying_ = has_commit_event_ = false;
  ++incarnation_;  // its events run no more
  disk_.Crash();
  network_.OnCoordinatorDied();
  world_.In(downtime_, [this] {
    if (process_ == nullptr) Start();
  });
}

void SimCoordinator::Ran() {
  if (is_dying_) return Bury();
  if (!has_commit_event_ && process_->commit->has_queued()) ScheduleCommit();
}

void SimCoordinator::ScheduleCommit() {
  has_commit_event_ = true;
  const absl::Duration most = world_.now() < slow_until_ ? slow_sync_most_ : options_.sync_most;
  const absl::Time time = world_.now() + world_.Between(options_.sync_least, most);
  world_.At(time, [this, incarnation = incarnation_] {
    if (incarnation == incarnation_) RunCommit();
  });
}

void SimCoordinator::RunCommit() {
  if (paused_until_ > world_.now()) {
    return world_.At(paused_until_, [this, incarnation = incarnation_] {
      if (incarnation == incarnation_) RunCommit();
    });
  }
  has_commit_event_ = false;
  process_->commit->RunQueued();
  Ran();
}

void SimCoordinator::Tick() {
  if (paused_until_ > world_.now()) {
    return world_.At(paused_until_, [this, incarnation = incarnation_] {
      if (incarnation == incarnation_) Tick();
    });
  }
  if (world_.now() - ticked_at_ > options_.coordinator.lease * 0.51) promises_.OnStoodStill(ticked_at_);
  ticked_at_ = world_.now();
  process_->coordinator->Tick();
  world_.In(kTickInterval, [this, incarnation = incarnation_] {
    if (incarnation == incarnation_) Tick();
  });
  Ran();
}

void SimCoordinator::EventExecutor::Run(std::function<void()> function) {
  ++num_waiting_;
  owner_.world_.In(owner_.world_.Between(absl::ZeroDuration(), owner_.options_.work_most),
                   [this, owner = &owner_, incarnation = incarnation_, function = std::move(function)]() mutable {
                     if (incarnation == owner->incarnation_) RunWhenAwake(std::move(function));
                   });
}

void SimCoordinator::EventExecutor::RunWhenAwake(std::function<void()> function) {
  if (owner_.paused_until_ > owner_.world_.now()) {
    return owner_.world_.At(owner_.paused_until_, [this, owner = &owner_, incarnation = incarnation_,
                                                   function = std::move(function)]() mutable {
      if (incarnation == owner->incarnation_) RunWhenAwake(std::move(function));
    });
  }
  --num_waiting_;
  function();
  owner_.Ran();
}

void SimCoordinator::OnStreamMessage(const std::shared_ptr<Connection>& session, worker::v1::ConnectRequest message,
                                     std::function<void(absl::Status)> processed) {
  promises_.OnHeard(session->name(), message);
  process_->coordinator->OnMessage(session, std::move(message), std::move(processed));
  Ran();
}

void SimCoordinator::OnStreamClosed(const WorkerSession* session) {
  process_->coordinator->OnDisconnected(session);
  Ran();
}

void SimCoordinator::OnCall(const std::function<void()>& serve) {
  serve();
  Ran();
}

bool SimCoordinator::MayLeave() {
  if (!is_up()) return false;
  if (dies_at_sending_ > 0 && --dies_at_sending_ == 0) {
    world_.Count(Fault::kDiedInCommit);
    Die();
    return false;
  }
  return true;
}

void SimCoordinator::OnLeaving(const StreamName& stream, const worker::v1::ConnectResponse& message) {
  promises_.OnTold(stream, message);
}

bool SimCoordinator::is_quiet() const {
  return is_up() && !process_->commit->has_queued() && process_->executor.num_waiting() == 0;
}

std::string SimCoordinator::ExportState() {
  const Tx tx(process_->commit.get());
  return tx.state().DebugExport(options_.readable_states);
}

void SimCoordinator::CompareStates(const std::string& live, const std::string& stored) {
  ++num_compared_;
  if (live != stored) {
    world_.Fail(absl::StrCat("the records give another state than lived: ", FirstDifference(live, stored)));
  }
}

void SimCoordinator::CheckRecords() {
  auto reread = Commit::Open(&process_->records, Commit::Options());
  if (!reread.ok()) return world_.Fail(absl::StrCat("the records cannot be read: ", reread.status().ToString()));
  CompareStates(ExportState(), Tx(reread->get()).state().DebugExport(options_.readable_states));
}

}  // namespace ursa::sim
