#include "worker/agent/agent.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "worker/agent/failpoints.h"

namespace ursa {
namespace {

using worker::v1::TaskEvent;

// Owners of pins in the cache.
std::string FetchOwner(const ProcessKey& key) { return absl::StrCat("task:", key.ToString()); }
// Until an event names the blob.
std::string PutOwner(const ProcessKey& key) { return absl::StrCat("put:", key.ToString()); }
std::string EventOwner(int64_t event_id) { return absl::StrCat("event:", event_id); }

constexpr size_t kSelfCheckBytesMax = 4096;

uint64_t RandomSeed() { return std::stoull(RandomHex(8), nullptr, 16); }

}  // namespace

Agent::Agent(CoordinatorLink* link, BlobCache* cache, Clock* clock, worker::v1::Hello hello, const Options& options)
    : link_(link),
      cache_(cache),
      clock_(clock),
      options_(options),
      rng_(RandomSeed()),
      state_(options.state, hello, &rng_),
      health_(options.health, hello.slots(), options.devices, &rng_) {
  state_.AwaitSlots();
  reader_.emplace(options_.read_machine, [this](MachineReading reading) {
    Post([this, reading = std::move(reading)] { health_.OnReading(reading, clock_->Now()); });
  });
  fetcher_.emplace(link_, cache_, clock_, options_.fetch);
  uploader_.emplace(link_, cache_, clock_, options_.upload, [this](int64_t event_id, const absl::Status& status) {
    Post([this, event_id, status] {
      if (status.ok()) {
        state_.OnUploaded(event_id);
      } else {
        state_.OnUploadFailed(event_id, status);
      }
    });
  });
  supervisor_.emplace(ProcessSupervisor::Callbacks{
      [this](int64_t id, std::string_view printed) { OnOutput(id, printed); },
      [this](int64_t id, const ProcessSupervisor::Exit& exit) { Post([this, id, exit] { OnExit(id, exit); }); }});
  launcher_.emplace(&*supervisor_, this,
                    TaskLauncher::Options{options_.task_binary, options_.dir, options_.fabric_address, hello.kind(),
                                          options_.server});
  spare_.emplace(
      &*launcher_, clock_, &rng_, [this](std::function<void()> input) { Post(std::move(input)); }, options_.spare);
}

Agent::~Agent() {
  {
    absl::MutexLock lock(&mu_);
    closed_ = true;
  }
  link_->Stop();
  supervisor_.reset();
  spare_.reset();
  processes_.clear();
  stream_.reset();
  uploader_.reset();
  fetcher_.reset();
  reader_.reset();
}

absl::Status Agent::Run() {
  while (!exit_.has_value()) {
    std::deque<std::function<void()>> inputs;
    {
      absl::MutexLock lock(&mu_);
      auto due = [this] { return !mailbox_.empty(); };
      clock_->AwaitWithDeadline(&mu_, absl::Condition(&due),
                                std::min({state_.NextWakeup(), health_.NextWakeup(), spare_->NextWakeup()}));
      inputs.swap(mailbox_);
    }
    for (const auto& input : inputs) input();
    // What was printed too fast comes when there are tokens for it, also of a process that has fallen silent: each
    // heartbeat leads here.
    for (auto& [id, process] : processes_) {
      if (process.log.holds_lines()) TakeOutput(&process, "");
    }
    StepHealth();
    for (AgentAction& action : state_.TakeActions(clock_->Now()))
      std::visit([this](auto& a) { Do(std::move(a)); }, action);
    spare_->Step(state_.awaits_tasks());
  }
  {
    absl::MutexLock lock(&mu_);
    closed_ = true;
  }
  return *exit_;
}

void Agent::Post(std::function<void()> input) {
  absl::MutexLock lock(&mu_);
  if (!closed_) mailbox_.push_back(std::move(input));
}

void Agent::Shutdown() {
  Post([this] { state_.BeginShutdown(); });
}

void Agent::KillAll() {
  Post([this] {
    state_.KillAll();
    is_killing_ = true;
  });
}

// ---- the machine

void Agent::StepHealth() {
  const SlotHealth::Todo todo = health_.TakeTodo(clock_->Now());
  if (todo.read) reader_->Request();
  if (todo.self_check) StartSelfCheck();
  if (todo.end_self_check && self_check_id_ != 0) launcher_->Kill(self_check_id_);
  if (todo.has_news && health_.is_checked() && state_.SetSlots(health_.States())) {
    for (const v1::WorkerSlot& slot : health_.States()) {
      if (slot.reason().empty()) continue;
      URSA_LOG(WARNING) << "slot=" << slot.index() << " ->WITHHELD reason=\"" << slot.reason() << '"';
    }
  }
  for (auto it = ended_.begin(); it != ended_.end();) {
    const bool is_over = is_killing_ || std::count(todo.released.begin(), todo.released.end(), it->first) > 0;
    if (is_over) state_.OnEnded(it->second.key, it->second.exited);
    it = is_over ? ended_.erase(it) : std::next(it);
  }
}

void Agent::StartSelfCheck() {
  self_check_printed_.clear();
  const absl::StatusOr<int64_t> process_id = launcher_->LaunchSelfCheck();
  self_check_id_ = process_id.value_or(0);
  if (!process_id.ok()) health_.OnSelfCheck(process_id.status(), clock_->Now());
}

// ---- processes

void Agent::Do(TaskTable::Start action) {
  const absl::Status status = StartProcess(action);
  if (status.ok()) {
    if (action.slot) health_.OnStarted(*action.slot);
    return state_.OnStarted(action.key);
  }
  URSA_LOG(ERROR) << "task=" << action.key.ToString() << " cannot be started: " << status;
  worker::v1::TaskExited exited;
  exited.set_exit_code(127);
  exited.set_last_words(absl::StrCat("worker: ", status.message()));
  state_.OnEnded(action.key, exited);
  Post([] {});  // the state has news
}

absl::Status Agent::StartProcess(const TaskTable::Start& action) {
  URSA_RETURN_IF_ERROR(failpoints::agent_before_spawn.Pass());
  LogCollector log(options_.log, clock_->Now());
  std::optional<SpareTask::Taken> spare = spare_->TakeFor(action.key, action.assignment);
  if (!spare) return LaunchProcess(action, &log);
  URSA_LOG(INFO) << "task=" << action.key.ToString() << " STARTED pid=" << spare->process.pid
                 << (spare->is_ready ? " was=spare" : " was=warming");
  failpoints::agent_spawned.Pass();
  Process* const process = AddProcess(action, std::move(spare->process), &log);
  if (!spare->is_ready) process->start_again = action;
  TakeOutput(process, spare->printed);
  return absl::OkStatus();
}

absl::Status Agent::LaunchProcess(const TaskTable::Start& action, LogCollector* log) {
  URSA_ASSIGN_OR_RETURN(LaunchedTask launched, launcher_->Launch(action.key, action.assignment));
  URSA_LOG(INFO) << "task=" << action.key.ToString() << " STARTED pid=" << launched.pid;
  failpoints::agent_spawned.Pass();
  AddProcess(action, std::move(launched), log);
  return absl::OkStatus();
}

Agent::Process* Agent::AddProcess(const TaskTable::Start& action, LaunchedTask launched, LogCollector* log) {
  // What it prints and its end come through the mailbox, so after this.
  const auto [it, is_new] = processes_.try_emplace(
      launched.process_id, Process{action.key, std::move(launched.server), std::move(*log), action.slot});
  URSA_CHECK(is_new) << "process " << launched.process_id << " started twice";
  return &it->second;
}

Agent::Process* Agent::ProcessToTell(const ProcessKey& key) {
  for (auto& [id, process] : processes_) {
    if (!(process.key == key)) continue;
    process.start_again.reset();
    return &process;
  }
  return nullptr;
}

void Agent::Do(TaskTable::TellStop action) {
  URSA_LOG(INFO) << "task=" << action.key.ToString() << " STOPPING reason=\"" << action.reason << '"';
  Process* process = ProcessToTell(action.key);
  if (process == nullptr) return;
  worker::v1::TaskDirective directive;
  directive.mutable_stop()->set_reason(action.reason);
  directive.mutable_stop()->set_keeps_state(action.keeps_state);
  const absl::Status status = process->server->Tell(std::move(directive));
  if (!status.ok()) URSA_LOG(WARNING) << status;
}

void Agent::Do(TaskTable::Reform action) {
  URSA_LOG(INFO) << "task=" << action.key.ToString() << " goes on in the group of epoch " << action.epoch;
  Process* process = ProcessToTell(action.key);
  if (process == nullptr) return;
  worker::v1::TaskDirective directive;
  directive.mutable_reform()->set_epoch(action.epoch);
  directive.mutable_reform()->set_world_size(action.world_size);
  const absl::Status status = process->server->Tell(std::move(directive));
  if (!status.ok()) URSA_LOG(WARNING) << status;
}

void Agent::Do(TaskTable::Kill action) {
  URSA_LOG(INFO) << "task=" << action.key.ToString() << " KILLED reason=\"" << action.reason << '"';
  for (auto& [id, process] : processes_) {
    if (!(process.key == action.key)) continue;
    process.start_again.reset();
    launcher_->Kill(id);
  }
}

void Agent::OnOutput(int64_t process_id, std::string_view printed) {
  absl::MutexLock lock(&mu_);
  auto room = [this] { return closed_ || output_bytes_ < options_.output_bytes_max; };
  mu_.Await(absl::Condition(&room));
  if (closed_) return;
  output_bytes_ += printed.size();
  mailbox_.push_back([this, process_id, text = std::string(printed)] {
    {
      absl::MutexLock lock(&mu_);
      output_bytes_ -= text.size();
    }
    const auto it = processes_.find(process_id);
    if (it != processes_.end()) return TakeOutput(&it->second, text);
    if (spare_->OnOutput(process_id, text) || process_id != self_check_id_) return;
    self_check_printed_ += text;
    // The last words are what matters.
    if (self_check_printed_.size() > kSelfCheckBytesMax)
      self_check_printed_.erase(0, self_check_printed_.size() - kSelfCheckBytesMax);
  });
}

void Agent::TakeOutput(Process* process, std::string_view printed) {
  std::vector<worker::v1::LogChunk> chunks = process->log.Append(printed, state_.LogRoom(process->key), clock_->Now());
  if (!chunks.empty()) state_.OnPrinted(process->key, std::move(chunks));
}

void Agent::OnExit(int64_t process_id, const ProcessSupervisor::Exit& exit) {
  if (process_id == self_check_id_) {
    self_check_id_ = 0;
    return health_.OnSelfCheck(ExitStatus(exit, self_check_printed_), clock_->Now());
  }
  if (spare_->OnExit(process_id, exit)) return;
  const auto it = processes_.find(process_id);
  if (it == processes_.end()) return;
  Process& process = it->second;
  const ProcessKey key = process.key;
  failpoints::agent_reaped.Pass();
  if (process.start_again && !process.server->WasAsked()) {
    URSA_LOG(WARNING) << "task=" << key.ToString() << " starts anew, its spare ended before it was ready: "
                      << ExitStatus(exit, process.log.LastWords());
    const absl::Status status = LaunchProcess(*process.start_again, &process.log);
    if (status.ok()) return void(processes_.erase(it));
    URSA_LOG(ERROR) << "task=" << key.ToString() << " cannot be started: " << status;
  }
  URSA_LOG(INFO) << "task=" << key.ToString() << " ENDED exit_code=" << exit.exit_code << " signal=" << exit.signal;
  state_.OnPrinted(key, process.log.Finish(state_.LogRoom(key), clock_->Now()));
  worker::v1::TaskExited exited;
  exited.set_exit_code(exit.exit_code);
  exited.set_signal(exit.signal);
  exited.set_last_words(process.log.LastWords());
  if (process.slot) {
    health_.OnReaped(*process.slot, clock_->Now());
    ended_[*process.slot] = {key, exited};
  } else {
    state_.OnEnded(key, exited);
  }
  processes_.erase(it);  // its server ends the calls that still run
  fetcher_->Cancel(FetchOwner(key));
  cache_->Release(FetchOwner(key));
  cache_->Release(PutOwner(key));
}

// ---- the coordinator

void Agent::Do(OpenStream action) {
  const int64_t id = action.stream_id;
  stream_.reset();
  stream_id_ = id;
  stream_ = link_->Connect(CoordinatorLink::StreamCallbacks{
      [this, id](worker::v1::ConnectResponse message) {
        Post([this, id, message = std::move(message)] {
          const bool was_connected = state_.connected();
          state_.OnMessage(id, message, clock_->Now());
          if (message.has_ack()) failpoints::agent_ack_received.Pass();
          if (was_connected || !state_.connected()) return;
          away_reason_.clear();
          URSA_LOG(INFO) << "coordinator CONNECTED worker=" << state_.worker_id();
        });
      },
      [this, id](const absl::Status& status) {
        Post([this, id, status] {
          // Not each of many tries that fail alike.
          const std::string reason = status.ToString();
          if (state_.connected() || reason != away_reason_)
            URSA_LOG(WARNING) << "coordinator " << (state_.connected() ? "CONNECTED->" : "") << "AWAY reason=\""
                              << reason << '"';
          away_reason_ = reason;
          state_.OnStreamClosed(id, status, clock_->Now());
        });
      }});
}

void Agent::Do(CloseStream action) {
  if (stream_ != nullptr && action.stream_id == stream_id_) stream_->Close();
}

void Agent::Do(SendMessage action) {
  if (stream_ == nullptr || action.stream_id != stream_id_) return;
  const bool has_hello = action.message.has_hello();
  const bool has_events = action.message.has_events();
  stream_->Send(std::move(action.message));
  if (has_hello) failpoints::agent_hello_sent.Pass();
  if (has_events) failpoints::agent_events_sent.Pass();
}

void Agent::Do(KeepWorkerId action) {
  failpoints::agent_before_worker_id.Pass();
  const absl::Status status = WriteFileAtomically(options_.worker_id_file, action.worker_id + "\n");
  failpoints::agent_worker_id_kept.Pass();
  if (!status.ok()) URSA_LOG(ERROR) << "worker id " << action.worker_id << " cannot be kept: " << status;
}

void Agent::Do(UploadBlobs action) { uploader_->Upload(action.event_id, std::move(action.hashes)); }

void Agent::Do(ReleaseBlobs action) {
  uploader_->Cancel(action.event_id);
  cache_->Release(EventOwner(action.event_id));
}

void Agent::Do(DeliverPredict action) {
  Process* process = ProcessToTell(action.key);
  if (process == nullptr) return;
  const int64_t call_id = action.input.call_id();
  const int num_pictures = action.input.pictures_size();
  worker::v1::TaskDirective directive;
  *directive.mutable_predict() = std::move(action.input);
  const absl::Status status = process->server->Tell(std::move(directive));
  if (status.ok()) return;
  TaskEvent refusal;
  refusal.mutable_predict()->set_call_id(call_id);
  for (int i = 0; i < num_pictures; ++i)
    refusal.mutable_predict()->add_answers()->set_error(std::string(status.message()));
  ReportEvents(action.key, {std::move(refusal)}, [](const absl::Status&) {});
}

void Agent::Do(ExitAgent action) { exit_ = action.status; }

// ---- calls of tasks

void Agent::FetchBlobs(const ProcessKey& key, const std::vector<std::string>& hashes,
                       std::function<void(absl::StatusOr<std::vector<std::string>>)> done) {
  fetcher_->Fetch(hashes, FetchOwner(key), std::move(done));
}

absl::StatusOr<std::unique_ptr<BlobCache::Writer>> Agent::NewBlob(const ProcessKey&) { return cache_->NewWriter(); }

absl::StatusOr<std::string> Agent::CommitBlob(const ProcessKey& key, BlobCache::Writer* writer) {
  return writer->Commit(PutOwner(key));
}

void Agent::ReportEvents(const ProcessKey& key, std::vector<TaskEvent> events, std::function<void(absl::Status)> done) {
  std::vector<int64_t> event_ids(events.size(), 0);
  auto give_back = [&] {
    for (const int64_t event_id : event_ids) cache_->Release(EventOwner(event_id));
  };
  for (size_t i = 0; i < events.size(); ++i) {
    if (events[i].has_log() || events[i].has_exited()) {
      give_back();
      return done(
          absl::InvalidArgumentError(absl::StrCat("task ", key.task_id, ": this event is the agent's to make")));
    }
    for (const std::string& hash : EventOutbox::BlobsOf(events[i])) {
      if (event_ids[i] == 0) event_ids[i] = next_event_id_++;
      const absl::Status pinned = cache_->Pin(hash, EventOwner(event_ids[i])).status();
      if (!pinned.ok()) {
        give_back();
        return done(absl::InvalidArgumentError(
            absl::StrCat("task ", key.task_id, ": an event names a blob that was not put, ", pinned.message())));
      }
      cache_->Unpin(hash, PutOwner(key));
    }
  }
  Post([this, key, events = std::move(events), event_ids = std::move(event_ids), done = std::move(done)]() mutable {
    const int64_t report_id = next_event_id_++;
    reports_[report_id] = std::move(done);
    state_.OnReport(key, report_id, std::move(events), std::move(event_ids), clock_->Now());
  });
}

void Agent::Do(AnswerReport action) {
  auto node = reports_.extract(action.report_id);
  if (!node.empty()) node.mapped()(action.status);
}

void Agent::ReportPosition(const ProcessKey& key, worker::v1::RankPosition position) {
  Post([this, key, position = std::move(position)]() mutable {
    state_.OnPosition(key, std::move(position), clock_->Now());
  });
}

void Agent::Rendezvous(const ProcessKey& key, worker::v1::StoreRequest request,
                       std::function<void(absl::StatusOr<worker::v1::StoreResponse>)> done) {
  Post([this, key, request = std::move(request), done = std::move(done)]() mutable {
    const int64_t call_id = next_event_id_++;
    calls_[call_id] = std::move(done);
    state_.OnRendezvous(key, call_id, std::move(request), clock_->Now());
  });
}

void Agent::Do(AnswerRendezvous action) {
  auto node = calls_.extract(action.call_id);
  if (!node.empty()) node.mapped()(std::move(action.response));
}

}  // namespace ursa
